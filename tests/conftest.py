"""What several tests share: the digits, prepared once, and a config small enough for seconds."""

import os
import signal
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # also where there are GPUs: before jax

import hypothesis
import jax
import pytest
from ml_collections import ConfigDict
from support.tiny import ROOT, tiny_config

from alexnet.devices import runtime

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what ends with &
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests press Ctrl-C
hypothesis.settings.register_profile("busy", deadline=None)  # for machines with other work
hypothesis.settings.load_profile("busy")


def pytest_addoption(parser) -> None:
    """Of tests/faults: see docs/faults.md."""
    parser.addoption("--faults", type=int, default=0, help="how many faults each test makes")
    parser.addoption("--faults-seed", type=int, help="repeats what a test drew that failed")


@pytest.fixture(scope="session", autouse=True)
def this_checkout() -> None:
    """The commands that tests start run this checkout, also where another one is installed."""
    paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)


@pytest.fixture(scope="session", autouse=True)
def compile_once(tmp_path_factory) -> None:
    """Runs of the same config share their compiled steps: in all of pytest-xdist's workers, and in
    all sessions where JAX_COMPILATION_CACHE_DIR is set."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    cache = Path(os.environ.get("JAX_COMPILATION_CACHE_DIR") or folder / "jax")
    cache.mkdir(parents=True, exist_ok=True)
    runtime.write_compilations_whole()
    for name, value in (
        ("jax_compilation_cache_dir", str(cache)),
        ("jax_persistent_cache_min_compile_time_secs", 0),
    ):
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)  # for the commands that tests start


@pytest.fixture(scope="module")
def compile_quickly():
    """Random numbers and gradients compile for minutes when XLA optimises them.

    Here and in the commands that tests start, which are to give the same bits.
    """
    before = os.environ.get("JAX_DISABLE_MOST_OPTIMIZATIONS", "") not in ("", "0", "false")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        jax.config.update("jax_disable_most_optimizations", True)
        yield
        jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> str:
    """A data directory of the tests' own."""
    return str(tmp_path_factory.mktemp("data"))


@pytest.fixture
def tiny(data_dir) -> ConfigDict:
    """The digits config, cut down to three small epochs of a net that compiles in seconds."""
    return tiny_config(data_dir)
