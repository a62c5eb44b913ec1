"""Overlapping pooling lowers the error a little (section 3.4).

"This scheme reduces the top-1 and top-5 error rates by 0.4% and 0.3%, respectively, as compared
with the non-overlapping scheme s = 2, z = 2." Run 147 of the 2012 source is the non-overlapping
net; all its layers have as many weights as in run 145, because it also pads conv2 and conv5 by a
pixel less. It also kept its colour noise to the end and conv1's rate until epoch 79, so its
difference from run 145 is not of pooling and padding alone; here, it is. In the pocket net of
`small`, conv5 alone loses its padding.
"""

ARMS = {"baseline": {}, "no_overlap": {"net.overlapping_pool": False}}
CLAIMS = {
    "no_overlap": {
        "claim": "pooling without overlap (3.4)",
        "paper": "worse by 0.4 / 0.3",
        "log": "147: 41.0580 / 18.5100, 145: 40.6640 / 18.2100",
        "effect": 0.4,
        "effect_top5": 0.3,
    },
}
SCALES = {
    "digits": {"config": "../configs/digits.py", "seeds": 3, "overrides": {"epochs": 5}},
    "small": {"config": "../configs/cifar10.py:pocket", "seeds": 8},
    "full": {"config": "../configs/imagenet.py", "seeds": 1},
}
