"""What several tests share: the digits, prepared once, and a config small enough for seconds."""

import os
from pathlib import Path

import jax
import pytest
from ml_collections import ConfigDict

from alexnet import config as configs

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session", autouse=True)
def compile_once(tmp_path_factory) -> None:
    """Runs of the same config share their compiled steps."""
    cache = str(tmp_path_factory.mktemp("jax"))
    for name, value in (
        ("jax_compilation_cache_dir", cache),
        ("jax_persistent_cache_min_compile_time_secs", 0),
    ):
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)  # for the commands that tests start


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> str:
    """A data directory of the tests' own."""
    return str(tmp_path_factory.mktemp("data"))


@pytest.fixture
def tiny(data_dir) -> ConfigDict:
    """The digits config, cut down to three small epochs of a net that compiles in seconds."""
    return tiny_config(data_dir)


def tiny_config(data_dir: str) -> ConfigDict:
    config = configs.load(str(ROOT / "configs/digits.py"))
    config.data.data_dir = data_dir
    config.data.image_size = 20
    config.net.image_size = 18
    config.net.remove = "conv4,conv5,fc7"
    config.epochs = 3.0
    config.batch_size = 256
    config.conv_chunk = 0
    config.log_every = 2
    return config
