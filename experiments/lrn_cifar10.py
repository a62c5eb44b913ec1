"""Response normalisation lowers a four-layer net's error on CIFAR-10 from 13 to 11% (section 3.3).

"We also verified the effectiveness of this scheme on the CIFAR-10 dataset: a four-layer CNN
achieved a 13% test error rate without normalization and 11% with normalization." The paper refers
to cuda-convnet for the net. This project takes conv-local-11pct, which has four layers before the
classifier, with and without its norms. The published 13% are of a net with half as many maps in
local3. Both were tested over ten crops (nine in some versions of the code). The claim compares
centre crops; the arms with ten crops are for comparison with the published errors. Scale `quarter`
trains for a quarter of the net's schedule, 130 of 520 epochs; `whole` trains for all of it.
"""

TEN = {"views": "ten_crop"}
ARMS = {
    "norm": {},
    "no_norm": {"net.norm": False},
    "norm_ten_crop": {"evaluate": {"of": {"norm": 1}} | TEN},
    "no_norm_ten_crop": {"evaluate": {"of": {"no_norm": 1}} | TEN},
}
CLAIMS = {
    "no_norm": {
        "claim": "without LRN, four-layer net on CIFAR-10 (3.3)",
        "paper": "13, with it 11",
        "log": "conv-local-13pct: 13, conv-local-11pct: 11",
        "effect": 2.0,
        "between": (1.0, 3.0),  # the difference of two rounded errors
    },
}
SCALES = {
    "digits": {
        "config": "../configs/cifar10.py:conv-local-11pct",
        "seeds": 3,
        "overrides": {
            "data.name": "digits",
            "augment.flip": False,  # a mirrored 2 is not a 2
            "epochs": 8,
            "schedule.milestones": (),
            "log_every": 10,
        },
    },
    "quarter": {
        "config": "../configs/cifar10.py:conv-local-11pct",
        "seeds": 1,
        "overrides": {
            "epochs": 130,
            "schedule.milestones": ((125, 0.0001), (127.5, 0.00001)),
            "log_every": 100,
        },
    },
    "whole": {"config": "../configs/cifar10.py:conv-local-11pct", "seeds": 1},
}
