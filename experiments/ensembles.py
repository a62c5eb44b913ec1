"""Averaging the predictions of five nets lowers the error (section 6, Table 2).

One CNN: 40.7 / 18.2. Five "similar CNNs": 38.1 / 16.4 (2012 validation). Here the five differ in
their seeds. No net is in two averages; each average is compared with the mean error of its nets.
The claim compares centre crops; the arm with ten crops is for comparison with the paper's errors.
"""

FIVE = {"of": {"baseline": 5}}
ARMS = {"baseline": {}, "five_nets": {"evaluate": FIVE}}
CLAIMS = {
    "five_nets": {
        "claim": "Table 2: five CNNs, not one",
        "paper": "38.1 / 16.4 (test top-5 16.4), one 40.7 / 18.2",
        "log": "145: 40.6640 / 18.2100",
        "effect": -2.6,
        "between": (-2.7, -2.5),  # the difference of two rounded errors
        "effect_top5": -1.8,
    },
}
SCALES = {
    "digits": {"config": "../configs/digits.py", "seeds": 10, "overrides": {"epochs": 5}},
    "small": {"config": "../configs/cifar10.py:pocket", "seeds": 25},
    "full": {
        "config": "../configs/imagenet.py",
        "seeds": 5,
        "arms": ARMS | {"five_nets_ten_crop": {"evaluate": FIVE | {"views": "ten_crop"}}},
    },
}
