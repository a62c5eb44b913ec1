"""The default: a pocket AlexNet on scikit-learn's handwritten digits, which need no download.

python -m alexnet.train --config=configs/digits.py --workdir=runs/digits

30 epochs take about two minutes on two CPU cores. Best validation top-1 error of the 359 images:
0.56% (seed 0, n = 1).
"""

from base import BASE

DIGITS = {
    "epochs": 30,
    "data.name": "digits",
    "data.image_size": 32,
    "net.name": "pocket",
    "augment.flip": False,  # a mirrored 2 is no 2
    "schedule.milestones": ((24, 0.001),),
    "log_every": 10,
    "checkpoint_every": 1000,
}


def get_config() -> list[dict]:
    return [BASE, DIGITS]
