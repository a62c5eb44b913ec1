"""Which initial weights are best: the text's, the source's or Caffe's?

The text has a standard deviation of .01 everywhere, and biases of 1 in conv2, conv4, conv5, fc6 and
fc7. The source has .03 in conv3 to conv5. Caffe's bvlc_alexnet has .005 in fc6 and fc7, and biases
of .1. The paper claims only that its biases speed up "the early stages of learning". By default
the pocket net has .05 in all layers but conv1, because they have fewer inputs, and biases of .1.
"""

ARMS = {
    "baseline": {},
    "init_original": {"net.init": "original"},
    "init_paper": {"net.init": "paper"},
    "init_caffe": {"net.init": "caffe"},
}
CLAIMS = {
    name: {"claim": f"initial weights: {words}", "paper": "-"}
    for name, words in (
        ("init_original", "the source's"),
        ("init_paper", "the text's"),
        ("init_caffe", "Caffe's"),
    )
}
SCALES = {
    "digits": {"config": "../configs/digits.py", "seeds": 3, "overrides": {"epochs": 5}},
    "small": {"config": "../configs/cifar10.py:pocket", "seeds": 8},
    "full": {
        "config": "../configs/imagenet.py",
        "seeds": 1,
        "arms": {name: arm for name, arm in ARMS.items() if name != "init_original"},
        "claims": {name: claim for name, claim in CLAIMS.items() if name != "init_original"},
    },
}
