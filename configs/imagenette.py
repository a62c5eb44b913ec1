"""The full AlexNet on Imagenette: ten classes of ImageNet, 9,469 training photos.

    python -m alexnet.prepare imagenette/160px-v2
    python -m alexnet.train --config=configs/imagenette.py --workdir=runs/imagenette

The store has 256 pixels a side, so the photos of 160 pixels are enlarged; those of
`imagenette/320px-v2` (`--config.data.name`, and to `prepare`) are not. An epoch takes minutes on
two CPU cores.

Reached with `--config.epochs=30` and milestones at 20 and 27 (`experiments/depth.py:imagenette`;
"original", seed 0, n = 1, products in TF32, on an H100): 19.97% top-1 error on the validation
images (`experiments/results/h100_2`).

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
