"""The full AlexNet on Imagenette: ten classes of ImageNet, 9,469 training photos.

    python -m alexnet.prepare imagenette/160px-v2
    python -m alexnet.train --config=configs/imagenette.py --workdir=runs/imagenette

Validation top-1 error after epochs 1, 2 and 3 of "original" (seed 0, n = 1): 71.7%, 52.8%, 46.4%.

This config has the variants of `configs/imagenet.py`. An epoch is 74 steps, not ImageNet's 10,009,
so milestones are at epochs 60 and 80, and the events of the authors' run are left out. "paper" and
"cc2_single_tower" have schedules without milestones, and keep these.
"""

from imagenet import get_config as imagenet
from imagenet import own_drops

IMAGENETTE = {
    "data.name": "imagenette/160px-v2",
    "epochs": 90,
    "log_every": 10,
    "checkpoint_every": 100,
}


def get_config(variant: str = "original") -> list[dict]:
    return [*imagenet(variant), IMAGENETTE, own_drops(variant, 60, 80)]
