"""Dropout keeps the net from overfitting (section 4.2).

"Without dropout, our network exhibits substantial overfitting." No number is given, so only the
direction can be judged. `dropout_iterations.py` measures the cost of dropout.
The eight epochs of `small` are too few to overfit: without dropout, the training error ends close
to the test error. So that scale shows what dropout costs rather than what it prevents, and gives no
verdict. (Changed on 2026-11-28, after the runs: before, its verdict was "contradicted".)
"""

ARMS = {"baseline": {}, "no_dropout": {"net.dropout": 0.0}}
CLAIMS = {
    "no_dropout": {
        "claim": "without dropout (4.2)",
        "paper": "substantial overfitting",
        "direction": 1,
    },
}
SCALES = {
    "digits": {"config": "../configs/digits.py", "seeds": 3, "overrides": {"epochs": 5}},
    "small": {
        "config": "../configs/cifar10.py:pocket",
        "seeds": 8,
        "claims": {
            "no_dropout": CLAIMS["no_dropout"]
            | {"caveat": "8 epochs are too few to overfit", "tests": False}
        },
    },
    "full": {"config": "../configs/imagenet.py", "seeds": 1},
}
