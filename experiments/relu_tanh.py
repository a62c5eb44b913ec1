"""With ReLUs a net learns several times as fast as with tanh (section 3.1, Figure 1).

"A four-layer convolutional neural network with ReLUs (solid line) reaches a 25% training error rate
on CIFAR-10 six times faster than an equivalent network with tanh neurons (dashed line). The
learning rates for each network were chosen independently to make training as fast as possible. No
regularization of any kind was employed." The paper does not name the net; cuda-convnet's
layers-19pct without weight decay fits.

Scale `search` tries each rate with one seed. Scale `small` uses the rate that needs the fewest
epochs to a training error of 25%. If that is the largest rate tried, its double is tried, too. The
best rate is .004 for ReLU and .008 for tanh; the search for tanh went on to .016. tanh needed 42.5
of the search's 45 epochs, so `small` gives it 50. The search looks at training errors, as the claim
does, so no images had to be held out for it.
"""

METRIC = "epochs to a training error of 0.25"
NO_DECAY = {
    "optimizer.weight_decay": 0.0,
    "optimizer.layer_decay": (),
    "schedule.milestones": (),
}
RATES = (0.0005, 0.001, 0.002, 0.004, 0.008)  # and .016 for tanh
RELU = {"epochs": 15}
TANH = {"epochs": 45, "net.activation": "tanh"}
ARMS = {
    "relu": RELU | {"schedule.rate": 0.004},
    "tanh": TANH | {"schedule.rate": 0.008, "epochs": 50},
}
CLAIMS = {
    "tanh": {
        "claim": "Figure 1: epochs to 25% training error, tanh relative to ReLU",
        "paper": "x6",
        "effect": 6.0,
    },
}
SEARCH = {
    f"{name}_{rate}": arm | {"schedule.rate": rate}
    for name, arm, rates in (("relu", RELU, RATES), ("tanh", TANH, (*RATES, 0.016)))
    for rate in rates
}
SCALES = {
    "digits": {
        "config": "../configs/cifar10.py:19pct",
        "seeds": 3,
        "overrides": NO_DECAY | {"data.name": "digits", "log_every": 3},
        "arms": {"relu": ARMS["relu"] | {"epochs": 5}, "tanh": ARMS["tanh"] | {"epochs": 15}},
    },
    "search": {
        "config": "../configs/cifar10.py:19pct",
        "seeds": 1,
        "overrides": NO_DECAY,
        "arms": SEARCH,
        "claims": {},
    },
    "small": {"config": "../configs/cifar10.py:19pct", "seeds": 3, "overrides": NO_DECAY},
}
