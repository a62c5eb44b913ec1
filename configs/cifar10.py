r"""The CIFAR-10 nets of the authors' cuda-convnet, with their rates, decays and test.

    python -m alexnet.prepare cifar10
    python -m alexnet.train --config=configs/cifar10.py:80sec --workdir=runs/80sec

Variants and cuda-convnet's test error: "80sec" 26%; "19pct" 19%; "18pct" 18%; "conv-local-13pct"
13%; "conv-local-11pct" 11%. The last two train on 24x24 crops and their reflections; cuda-convnet
tested them over nine crops (`python -m alexnet.evaluate --views=nine_crop`), and trained the last
for ~350 epochs on four fifths of the images and ~150 on all, here 500 on all.

Reached: "80sec" 26.13% top-1 error on the 10,000 test images after its 10 epochs (seed 0, n = 1;
the images had been through JPEG).

Figure 1 (a four-layer net on CIFAR-10, ReLU against tanh) fits "19pct" without weight decay:

    --config.optimizer.weight_decay=0 --config.optimizer.layer_decay='()'
    --config.net.activation=tanh

"pocket" is none of theirs: the two-tower pocket net of `configs/digits.py`, on which the paper's
ablations take minutes (`experiments/`). 8 epochs, because more seeds tell more than more epochs.
"""

from base import BASE, one_of
from digits import DIGITS

CIFAR10 = {
    "data.name": "cifar10",
    "data.image_size": 32,
    "augment.random_crop": False,
    "augment.flip": False,
    "augment.colour_noise": 0.0,
    "optimizer.weight_decay": 0.004,
    "schedule.rate": 0.001,
    "schedule.bias_drops": False,  # cuda-convnet's methodology lowers epsW alone
    "schedule.milestones": ((120, 1e-4), (130, 1e-5)),
    "epochs": 140,
    "checkpoint_every": 1000,
}
CONV_LOCAL = {
    "augment.random_crop": True,
    "augment.flip": True,
    "optimizer.weight_decay": 0.0,
    "optimizer.layer_decay": (("local3", 0.004), ("local4", 0.004), ("fc10", 0.004)),
    "schedule.milestones": ((500, 1e-4), (510, 1e-5)),
    "epochs": 520,
}
VARIANTS = {
    "80sec": {
        "net.name": "cifar_80sec",
        "optimizer.layer_decay": (("fc64", 0.03), ("fc10", 0.03)),
        "schedule.milestones": ((8, 1e-4),),
        "epochs": 10,
    },
    "19pct": {"net.name": "cifar_19pct", "optimizer.layer_decay": (("fc10", 3.0),)},
    "18pct": {"net.name": "cifar_18pct", "optimizer.layer_decay": (("fc10", 1.0),)},
    "conv-local-13pct": CONV_LOCAL | {"net.name": "cifar_conv_local_13pct"},
    "conv-local-11pct": CONV_LOCAL | {"net.name": "cifar_conv_local_11pct"},
}
POCKET = DIGITS | {
    "data.name": "cifar10",
    "augment.flip": True,
    "epochs": 8,
    "schedule.milestones": ((6, 0.001),),
    "log_every": 100,
}


def get_config(variant: str = "80sec") -> list[dict]:
    if variant == "pocket":
        return [BASE, POCKET]
    return [BASE, CIFAR10, one_of(VARIANTS, variant)]
