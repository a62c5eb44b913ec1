"""Towers that meet in the last layer only are worse, even with more kernels (run 150).

The paper makes no such claim. In run 150 of the 2012 source, conv2 has 160 kernels in each tower,
fc6 has 8192 neurons, and conv3, fc6 and fc7 read only their own tower. The pocket net grows in the
same proportions.
"""

ARMS = {
    "baseline": {},
    "no_communication": {
        "net.communicate": False,
        "net.kernels": (32, 80, 96, 96, 64),
        "net.hidden": (512, 256),
    },
}
CLAIMS = {
    "no_communication": {
        "claim": "towers that meet in fc8 only",
        "paper": "-",
        "log": "150: 41.8280 / 19.3300, 145: 40.6640 / 18.2100",
        "effect": 1.16,
        "effect_top5": 1.12,
    },
}
SCALES = {
    "digits": {"config": "../configs/digits.py", "seeds": 3, "overrides": {"epochs": 5}},
    "small": {"config": "../configs/cifar10.py:pocket", "seeds": 8},
    "full": {
        "config": "../configs/imagenet.py",
        "seeds": 1,
        "arms": {
            "baseline": {},
            "no_communication": {"config": "../configs/imagenet.py:no_communication"},
        },
    },
}
