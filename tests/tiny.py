"""A run small enough for a test, for fixtures of any scope."""

from pathlib import Path

from ml_collections import ConfigDict

from alexnet import config as configs

ROOT = Path(__file__).parent.parent


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
