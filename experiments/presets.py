"""The paper's text and the authors' source differ: which one is better?

The paper makes no claim about this. `original` has the layers and the recipe of the source: conv1's
ReLU comes after pooling, alpha is divided by n, conv2 has a second norm, and conv3 to conv5 start
from a deviation of .03. The mean image's centre is subtracted, the noisy image is divided by 1.1,
and 32 images share a crop. Biases have no weight decay and twice the rate, which does not drop.
`paper` follows the text. In the scales `digits` and `small`, both arms have the pocket net's own
rates of kernels and its initial weights, which `initial_weights.py` compares.
"""

SOURCE = {
    "net.preset": "original",
    "augment.divide_by_noise": True,
    "augment.crop_chunk": 32,
    "augment.mean": "centre",
    "schedule.bias_drops": False,
}
TEXT = {
    "net.preset": "paper",
    "optimizer.bias_decay": 0.0005,
    "schedule.bias_factor": 1.0,
}
ARMS = {"original": SOURCE, "paper": TEXT}
CLAIM = {"claim": "as the text describes it, not the source", "paper": "-"}
SHARED = "both arms have the pocket net's initial weights and rates of kernels"
CLAIMS = {"paper": CLAIM | {"caveat": SHARED}}
SCALES = {
    "digits": {"config": "../configs/digits.py", "seeds": 3, "overrides": {"epochs": 5}},
    "small": {"config": "../configs/cifar10.py:pocket", "seeds": 8},
    "full": {
        "config": "../configs/imagenet.py",
        "seeds": 1,
        "arms": {"original": {}, "paper": {"config": "../configs/imagenet.py:paper"}},
        "claims": {"paper": CLAIM},
    },
}
