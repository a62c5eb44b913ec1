"""Local response normalisation lowers the error (section 3.3).

"Response normalization reduces our top-1 and top-5 error rates by 1.4% and 1.2%, respectively." The
2012 source's run 148 is run 145 without any norm: also without the second norm after conv2, over
pixels, which the text does not mention and the pocket net of `small` does not have. The paper's
other measurement, a four-layer net on CIFAR-10, is `lrn_cifar10.py`.
"""

ARMS = {"baseline": {}, "no_lrn": {"net.norm": False}}
CLAIMS = {
    "no_lrn": {
        "claim": "without LRN (3.3)",
        "paper": "worse by 1.4 / 1.2",
        "log": "148: 42.0340 / 19.3620, 145: 40.6640 / 18.2100",
        "effect": 1.4,
        "effect_top5": 1.2,
    },
}
SCALES = {
    "digits": {"config": "../configs/digits.py", "seeds": 3, "overrides": {"epochs": 5}},
    "small": {"config": "../configs/cifar10.py:pocket", "seeds": 8},
    "imagenette": {
        "config": "../configs/imagenette.py",
        "seeds": 1,
        "overrides": {
            "epochs": 30,
            "schedule.milestones": ((20, 0.001), (27, 0.0001)),
            "precision": "tf32",  # faster on GPUs; CPUs compute in float32
        },
    },
    "full": {"config": "../configs/imagenet.py", "seeds": 1},
}
