"""AlexNet on a folder of your own images: one sub-folder a class, or train/ and validation/.

    python -m alexnet.train --config=configs/folder.py --workdir=runs/mine \
        --config.data.name=folder:/path/to/images

Without a validation/ folder, a tenth of each class is held out, by a hash of the file names. It has
the variants of `configs/imagenet.py`.
"""

from imagenet import get_config as imagenet
from imagenet import own_drops

FOLDER = {
    "data.name": "folder:images",
    "epochs": 60,
    "log_every": 10,
    "checkpoint_every": 500,
}


def get_config(variant: str = "original") -> list[dict]:
    return [*imagenet(variant), FOLDER, own_drops(variant, 40, 55)]
