"""Towers that meet in the last layer only are worse, even with more kernels (run 150).

The paper gives no number. Run 150 of the 2012 source has 160 kernels of conv2 in each tower and an
fc6 of 8192 neurons that reads its own tower; conv3 and fc7 read their own as well. The pocket net's
arm grows in the same proportions.
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
