"""Runs small enough for a test, for fixtures of any scope."""

from pathlib import Path

import jax
from ml_collections import ConfigDict

from alexnet import config as configs
from alexnet.models import network
from alexnet.training import settings, setup
from alexnet.workdir import record
from alexnet.workdir.checkpoint import Checkpoints
from alexnet.workdir.record import Progress

ROOT = Path(__file__).parents[2]


def tiny_config(data_dir: str) -> ConfigDict:
    config = configs.load(str(ROOT / "configs/digits.py"), settings.KINDS)
    config.data.data_dir = data_dir
    config.data.image_size = 20
    config.net.image_size = 18
    config.net.remove = "conv4,conv5,fc7"
    config.epochs = 3.0
    config.batch_size = 256
    config.log_every = 2
    return config


def drawn(config: ConfigDict) -> network.Params:
    """The weights that a run from scratch starts with."""
    net = setup.setup(config).net
    return jax.device_get(jax.jit(lambda: network.init(net, jax.random.key(config.seed)))())


def plant(workdir: Path, config: ConfigDict, params: network.Params) -> None:
    """Makes `workdir` that of a run which ended with these weights."""
    record.save_config(config, workdir)
    with Checkpoints(workdir / "checkpoints") as checkpoints:
        checkpoints.save(1, {"params": params}, Progress(epoch=1.0), error=0.5)
