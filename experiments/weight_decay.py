"""Weight decay lowers the training error (section 5).

"... this small amount of weight decay was important for the model to learn. In other words, weight
decay here is not merely a regularizer: it reduces the model's training error." No number is given,
so only the direction can be judged. The metric stands in for the training error at the end: it is
the epochs to a training error of 0.4, measured in training, with dropped neurons.
"""

METRIC = "epochs to a training error of 0.4"
ARMS = {"baseline": {}, "no_decay": {"optimizer.weight_decay": 0.0}}
CLAIMS = {
    "no_decay": {
        "claim": "without weight decay: epochs to a training error (5)",
        "paper": "worse",
        "direction": 1,
        "caveat": "how soon a training error is reached, not how low it ends",
    },
}
SCALES = {
    "digits": {
        "config": "../configs/digits.py",
        "seeds": 3,
        "overrides": {"epochs": 5, "log_every": 3},
    },
    "small": {"config": "../configs/cifar10.py:pocket", "seeds": 8},
    "full": {"config": "../configs/imagenet.py", "seeds": 1},
}
