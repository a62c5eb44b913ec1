"""The paper's text and the authors' source differ: which one is better?

No claim of the paper. `original` is the source's layers and recipe: conv1's ReLU after its pooling,
alpha divided by n, a second norm over conv2, colour noise that the image is divided by, 32 images
that share a crop, biases whose rate does not drop. `paper` is the text's.
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
CLAIMS = {"paper": {"claim": "the text's reading, not the source's", "paper": "-"}}
SCALES = {
    "digits": {"config": "../configs/digits.py", "seeds": 3, "overrides": {"epochs": 5}},
    "small": {"config": "../configs/cifar10.py:pocket", "seeds": 8},
    "full": {
        "config": "../configs/imagenet.py",
        "seeds": 1,
        "arms": {"original": {}, "paper": {"config": "../configs/imagenet.py:paper"}},
    },
}
