"""The same layers in one tower: is it better?

The paper makes no claim about this. One tower has more weights (the pocket net 463,562, not
368,842), as each kernel reads all maps. At scale `full`, Krizhevsky's later net in cuda-convnet2
has one tower and fewer kernels. It reached about the errors of the two-tower net (2012 validation:
centre 42.548 / 19.810, ten-crop 40.42 / 18.15).
"""

ARMS = {"baseline": {}, "one_tower": {"net.towers": 1}}
CLAIMS = {
    "one_tower": {
        "claim": "one tower",
        "paper": "-",
    },
}
CC2 = {
    "claim": "cuda-convnet2's single tower",
    "paper": "-",
    "log": "cuda-convnet2: centre 42.548 / 19.810, ten-crop 40.42 / 18.15, 145: 40.6640 / 18.2100",
}
SCALES = {
    "digits": {"config": "../configs/digits.py", "seeds": 3, "overrides": {"epochs": 5}},
    "small": {"config": "../configs/cifar10.py:pocket", "seeds": 8},
    "full": {
        "config": "../configs/imagenet.py",
        "seeds": 1,
        "arms": {
            "baseline": {},
            "one_tower": {"net.towers": 1},
            "cc2": {"config": "../configs/imagenet.py:cc2_single_tower"},
        },
        "claims": CLAIMS | {"cc2": CC2},
    },
}
