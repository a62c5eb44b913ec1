r"""AlexNet on a folder of your own images: a sub-folder for each class, directly or within splits.

    python -m alexnet.train --config=configs/folder.py --workdir=runs/mine \
        --config.data.name=folder:/path/to/images

docs/folders.md says which folders are splits and classes, and which images are held out. This
config has the variants of `configs/imagenet.py`, with the rate lowered at epochs 40 and 55 in place
of their milestones and events ("paper" and "cc2_single_tower" have schedules without milestones,
and keep these), and one more:

    pocket    a small net that sees 56x56 crops of images stored at 64x64, for small photos, few
              photos and small machines

On two CPU cores an epoch of 1,000 photos takes about 20 seconds, of "pocket" less.
"""

from base import BASE, one_of
from imagenet import VARIANTS, own_drops
from imagenet import get_config as imagenet

FOLDER = {
    "data.name": "folder:images",
    "epochs": 60,
    "log_every": 10,
    "checkpoint_every": 500,
}

POCKET = {
    "batch_size": 32,
    "data.image_size": 64,
    "net.name": "pocket",
    "net.image_size": 56,
    "schedule.milestones": ((40, 0.001), (55, 0.0001)),
}


def get_config(variant: str = "original") -> list[dict]:
    one_of(VARIANTS | {"pocket": POCKET}, variant)
    if variant == "pocket":
        return [BASE, FOLDER, POCKET]
    return [*imagenet(variant), FOLDER, own_drops(variant, 40, 55)]
