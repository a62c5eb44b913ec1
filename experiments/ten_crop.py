"""Averaging over ten crops of a test image lowers the error (sections 4.1 and 6).

Table 1: 37.5 / 17.0 with ten crops. "The error rates without averaging predictions over ten patches
as described in Section 4.1 are 39.0% and 18.3%." The arm trains nothing; it evaluates
the runs of the baseline, on the validation images; Table 1 is of the test set of ILSVRC-2010.
"""

TEN = {"evaluate": {"of": {"baseline": 1}, "views": "ten_crop"}}
ARMS = {"baseline": {}, "ten_crop": TEN}
CLAIMS = {
    "ten_crop": {
        "claim": "ten crops, not the centre (4.1)",
        "paper": "37.5 / 17.0, centre 39.0 / 18.3",
        "log": "145-2010: 37.4727 / 16.9987, centre 39.0247 / 18.2953",
        "effect": -1.5,
        "between": (-1.6, -1.4),  # the difference of two rounded errors
        "effect_top5": -1.3,
    },
}
SCALES = {
    # trained with reflections, because half of the crops are reflected
    "digits": {
        "config": "../configs/digits.py",
        "seeds": 3,
        "overrides": {"epochs": 5, "augment.flip": True},
        "arms": {
            "reflected": {},
            "ten_crop": {"evaluate": {"of": {"reflected": 1}, "views": "ten_crop"}},
        },
    },
    "small": {"config": "../configs/cifar10.py:pocket", "seeds": 8},
    "full": {"config": "../configs/ilsvrc2010.py", "seeds": 1},
}
