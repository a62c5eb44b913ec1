"""The default of `make train`: a pocket AlexNet on scikit-learn's handwritten digits, no download.

    python -m alexnet.train --config=configs/digits.py --workdir=runs/digits

30 epochs take about two minutes on two CPU cores. Validation top-1 error with --config.seed=0 to 4
(of 359 validation images, so one is 0.28 points):

    best  0.67 +- 0.15%  (0.56, 0.84, 0.84, 0.56, 0.56)
    last  1.11 +- 0.34%  (1.11, 1.11, 1.67, 0.84, 0.84)

Other CPUs round differently; there the error may differ by an image or more.
"""

from base import BASE

DIGITS = {
    "epochs": 30,
    "data.name": "digits",
    "data.image_size": 32,
    "net.name": "pocket",
    "augment.flip": False,  # a mirrored 2 is not a 2
    "schedule.milestones": ((24, 0.001),),
    "log_every": 10,
    "checkpoint_every": 1000,
}


def get_config() -> list[dict]:
    return [BASE, DIGITS]
