"""The full AlexNet on Imagenette: ten classes of ImageNet, 9,469 training photos.

    python -m alexnet.prepare imagenette/160px-v2
    python -m alexnet.train --config=configs/imagenette.py --workdir=runs/imagenette

Reached in 3 epochs of "original" (seed 0, n = 1): validation top-1 error 71.7%, 52.8%, 46.4%.

It has the variants of `configs/imagenet.py`. An epoch is 74 steps, not ImageNet's 10,009, so the
rate drops by epochs of its own and the last events of the authors' run are left out.
"""

from imagenet import get_config as imagenet
from ml_collections import ConfigDict


def get_config(variant: str = "original") -> ConfigDict:
    config = imagenet(variant)
    config.data.name = "imagenette/160px-v2"
    config.epochs = 90.0
    config.schedule.events = ()
    if config.schedule.kind == "milestones":
        rate = config.schedule.rate
        config.schedule.milestones = ((60, rate / 10), (80, rate / 100))
    config.log_every = 10
    config.checkpoint_every = 100
    return config
