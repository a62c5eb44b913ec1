"""The CIFAR-10 nets of the authors' cuda-convnet, with their rates, decays and test.

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
"""

from ml_collections import ConfigDict

# variant: net, epochs, weight decay of the convolutions, of single layers, (epoch, rate)
VARIANTS = {
    "80sec": ("cifar_80sec", 10, 0.004, (("fc64", 0.03), ("fc10", 0.03)), ((8, 1e-4),)),
    "19pct": ("cifar_19pct", 140, 0.004, (("fc10", 3.0),), ((120, 1e-4), (130, 1e-5))),
    "18pct": ("cifar_18pct", 140, 0.004, (("fc10", 1.0),), ((120, 1e-4), (130, 1e-5))),
    "conv-local-13pct": (
        "cifar_conv_local_13pct",
        520,
        0.0,
        (("local3", 0.004), ("local4", 0.004), ("fc10", 0.004)),
        ((500, 1e-4), (510, 1e-5)),
    ),
    "conv-local-11pct": (
        "cifar_conv_local_11pct",
        520,
        0.0,
        (("local3", 0.004), ("local4", 0.004), ("fc10", 0.004)),
        ((500, 1e-4), (510, 1e-5)),
    ),
}


def get_config(variant: str = "80sec") -> ConfigDict:
    if variant not in VARIANTS:
        raise ValueError(f"no variant {variant!r}: choose one of {', '.join(VARIANTS)}")
    net, epochs, weight_decay, layer_decay, milestones = VARIANTS[variant]
    crops = variant.startswith("conv-local")
    config = ConfigDict()
    config.seed = 0
    config.batch_size = 128
    config.epochs = float(epochs)
    config.data = ConfigDict({"name": "cifar10", "data_dir": "", "image_size": 32, "quality": 95})
    config.net = ConfigDict(
        {
            "name": net,
            "image_size": 24 if crops else 32,
            "activation": "relu",
            "norm": True,
            "remove": "",
        }
    )
    config.augment = ConfigDict(
        {
            "random_crop": crops,
            "flip": crops,
            "colour_noise": 0.0,
            "colour_scale": "deviation",
            "divide_by_noise": False,
            "crop_chunk": 1,
            "mean": "crop",
            "mean_pixel": (),
        }
    )
    config.optimizer = ConfigDict(
        {
            "momentum": 0.9,
            "weight_decay": weight_decay,
            "bias_decay": 0.0,
            "layer_decay": layer_decay,
        }
    )
    config.schedule = ConfigDict(
        {
            "kind": "milestones",
            "rate": 0.001,
            "bias_factor": 2.0,
            "bias_drops": False,  # cuda-convnet's methodology lowers epsW alone
            "milestones": milestones,
            "events": (),
        }
    )
    config.init_from = ""  # the workdir of a run whose weights this one starts from
    config.init_layers = "all"  # or conv, or names: conv1,conv2
    config.mesh = ConfigDict({"data": 0, "tower": 0})
    config.dtype = "float32"  # or bfloat16: mixed precision
    config.accumulate = 1  # parts that a batch is taken in, to save memory
    config.conv_chunk = -1  # as the platform likes it
    config.log_every = 50
    config.checkpoint_every = 1000
    return config
