"""AlexNet on a folder of your own images: one sub-folder a class, or train/ and validation/.

    python -m alexnet.train --config=configs/folder.py --workdir=runs/mine \
        --config.data.name=folder:/path/to/images

Without a validation/ folder, a tenth of each class is held out, by a hash of the file names. It has
the variants of `configs/imagenet.py`.
"""

from imagenet import get_config as imagenet
from ml_collections import ConfigDict


def get_config(variant: str = "original") -> ConfigDict:
    config = imagenet(variant)
    config.data.name = "folder:images"
    config.epochs = 60.0
    config.schedule.events = ()
    if config.schedule.kind == "milestones":
        rate = config.schedule.rate
        config.schedule.milestones = ((40, rate / 10), (55, rate / 100))
    config.log_every = 10
    config.checkpoint_every = 500
    return config
