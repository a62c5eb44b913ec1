"""AlexNet on ImageNet (ILSVRC-2012, 1000 classes): the paper and the runs of its authors' source.

    python -m alexnet.prepare imagenet2012
    python -m alexnet.train --config=configs/imagenet.py:original --workdir=runs/original

Each variant is one experiment of the paper; the errors are top-1 / top-5 on the 2012 validation set
unless noted, as the paper or the log of the source's run gives them. None was run here: 90 epochs
took the authors five to six days on two GPUs.

    original            run 145, the two-tower net                               40.7 / 18.2
    paper               the same net and training as the text has them; where it leaves a choice:
                        conv1 pads 3 pixels at one side, colour noise scales with deviations (the
                        eigenvalues themselves would be absurd), 5 validations without gain drop
                        the rate
    one_gpu             run 145-half: one tower, half the kernels                39.2 / 18.2 (2010)
    no_lrn              run 148: without response normalisation                  42.0 / 19.4
    nonoverlapping_pool run 147: pooling with z = s = 2                          41.1 / 18.5
    no_communication    run 150: the towers meet in fc8 only                     41.8 / 19.3
    six_conv            run 146's net: a sixth convolution over pool5
    fine_tune           run 146-2012-2011: that net, pre-trained on all of   39.0 / 16.6
                        ImageNet's Fall 2011 release, then on 2012
    cc2_single_tower    the author's later net in one tower, cuda-convnet2       42.5 / 19.8
                        (ten-crop                                                40.4 / 18.2)

`fine_tune` starts from the last checkpoint of another run of the net, as
`alexnet.training.fine_tune` says. The release is not in TFDS, so bring it as a folder of images:

    python -m alexnet.train --config=configs/imagenet.py:six_conv --workdir=runs/pretrained \
        --config.data.name=folder:/path/to/fall2011 --config.epochs=8
    python -m alexnet.train --config=configs/imagenet.py:fine_tune --workdir=runs/fine_tuned \
        --config.init_from=runs/pretrained

The AlexNets of other frameworks, trained as their scripts and solvers say; `alexnet.convert` reads
the weights that they publish. Centre crop of the 2012 validation set, top-1 error as published:

    torchvision         single tower, no response normalisation (its random resized crops are
                        random crops of 256 pixels here)                         43.5
    caffe_alexnet       bvlc_alexnet                                             42.9 / 19.8
    caffenet            bvlc_reference_caffenet                                  42.6

What the paper removes without a run of its own is an override of `original`: colour noise, worth
more than 1 of top-1 error, `--config.augment.colour_noise=0`; a middle convolution, worth about 2,
`--config.net.remove=conv3` (conv4, conv5); dropout `--config.net.dropout=0`. Other seeds for an
ensemble of five: `--config.seed=1`.

ImageNet's Fall 2009 release (10,184 classes, 8.9 million images; the paper's six-layer net reached
67.4 / 40.9) is not in TFDS. With half of each class in train/ and half in test/:

    python -m alexnet.train --config=configs/imagenet.py:six_conv --workdir=runs/fall_2009 \
        --config.data.name=folder:/path/to/fall_2009
"""

from ml_collections import ConfigDict

VARIANTS = {
    "original": {},
    "paper": {},
    "one_gpu": {"towers": 1, "kernels": (48, 128, 192, 192, 256)},
    "no_lrn": {"norm": False},
    "nonoverlapping_pool": {"overlapping_pool": False},
    "no_communication": {
        "communicate": False,
        "kernels": (96, 320, 384, 384, 256),
        "hidden": (8192, 4096),
    },
    "six_conv": {"sixth_conv": 256},
    "fine_tune": {"sixth_conv": 256},
    "cc2_single_tower": {},
}
FRAMEWORKS = ("torchvision", "caffe_alexnet", "caffenet")


def get_config(variant: str = "original") -> ConfigDict:
    if variant in FRAMEWORKS:
        return framework(variant)
    if variant not in VARIANTS:
        names = ", ".join((*VARIANTS, *FRAMEWORKS))
        raise ValueError(f"no variant {variant!r}: choose one of {names}")
    text = variant == "paper"
    config = ConfigDict()
    config.seed = 0
    config.batch_size = 128
    config.epochs = 90.0 if text else 91.0
    config.data = ConfigDict(
        {"name": "imagenet2012", "data_dir": "", "image_size": 256, "quality": 95}
    )
    config.net = ConfigDict(
        {
            "name": "alexnet",
            "preset": "paper" if text else "original",
            "init": "",  # the preset's
            "towers": 2,
            "image_size": 224,
            "kernels": (96, 256, 384, 384, 256),
            "hidden": (4096, 4096),
            "communicate": True,
            "overlapping_pool": True,
            "sixth_conv": 0,
            "activation": "relu",
            "norm": True,
            "dropout": 0.5,
            "remove": "",
        }
        | VARIANTS[variant]
    )
    config.augment = ConfigDict(
        {
            "random_crop": True,
            "flip": True,
            "colour_noise": 0.1,
            "colour_scale": "deviation",
            "divide_by_noise": not text,
            "crop_chunk": 1 if text else 32,
            "mean": "crop" if text else "centre",
            "mean_pixel": (),
        }
    )
    config.optimizer = ConfigDict(
        {
            "momentum": 0.9,
            "weight_decay": 0.0005,
            "bias_decay": 0.0005 if text else 0.0,
            "layer_decay": (),
        }
    )
    config.schedule = ConfigDict(text_schedule() if text else run_145())
    if variant == "fine_tune":
        config.schedule = ConfigDict(run_146_2012_2011())
        config.epochs = 54.0
    # The workdir of a run whose weights this one starts from.
    config.init_from = "runs/pretrained" if variant == "fine_tune" else ""
    config.init_layers = "all"  # or conv, or names: conv1,conv2
    config.mesh = ConfigDict({"data": 0, "tower": 0})  # 0: as the devices allow
    config.dtype = "float32"  # or bfloat16: mixed precision
    config.accumulate = 1  # parts that a batch is taken in, to save memory
    config.conv_chunk = -1  # as the platform likes it
    config.log_every = 50
    config.checkpoint_every = 2000
    if variant == "cc2_single_tower":
        to_cc2(config)
    return config


def framework(variant: str) -> ConfigDict:
    """torchvision's references/classification, Caffe's solver.prototxt: 450,000 batches of 256."""
    torch = variant == "torchvision"
    config = get_config("paper")
    config.batch_size = 256
    config.net = ConfigDict(
        {
            "name": "torchvision_alexnet" if torch else variant,
            "image_size": 224 if torch else 227,
            "activation": "relu",
            "dropout": 0.5,
            "remove": "",
        }
        | ({} if torch else {"norm": True})
    )
    config.augment.colour_noise = 0.0
    config.augment.mean = "pixel"
    # torchvision's 255 x (.485, .456, .406); the mean over the pixels of Caffe's mean image
    config.augment.mean_pixel = (123.675, 116.28, 103.53) if torch else (122.679, 116.669, 104.007)
    config.optimizer.weight_decay = 0.0001 if torch else 0.0005
    config.optimizer.bias_decay = 0.0001 if torch else 0.0
    config.schedule = ConfigDict(
        {
            "kind": "milestones",
            "rate": 0.01,
            "bias_factor": 1.0 if torch else 2.0,
            "bias_drops": True,
            "milestones": ((30, 1e-3), (60, 1e-4))
            if torch
            else ((20, 1e-3), (40, 1e-4), (60, 1e-5), (80, 1e-6)),
            "events": (),
        }
    )
    return config


def text_schedule() -> dict:
    """Section 5: divide by 10 when the validation error stops improving, three times."""
    return {
        "kind": "plateau",
        "rate": 0.01,
        "bias_factor": 1.0,
        "bias_drops": True,
        "events": (),
        "factor": 10.0,
        "drops": 3,
        "patience": 5,
        "improvement": 0.0,
    }


def run_145(drops: tuple[int, int, int] = (25, 51, 79), slowed: int = 67) -> dict:
    """What the comments of `layer-params-145.cfg` log; on 2010 the epochs are others."""
    return {
        "kind": "milestones",
        "rate": 0.01,
        "bias_factor": 2.0,
        "bias_drops": False,
        "milestones": tuple(zip(drops, (0.001, 0.0001, 0.00001), strict=True)),
        "events": (
            (slowed, "conv1.kernel", 0.00001),
            (slowed, "conv1.bias", 0.002),  # as in layer-params-149.cfg
            (slowed, "colour_noise", 0.0),
            (72, "conv1", 0.0),
        ),
    }


def to_cc2(config: ConfigDict) -> None:
    """Net and rates of cuda-convnet2, its `layer-params-223-ce2-1gpu.cfg` and training example.

    There, too, every crop has the centre of the mean image subtracted and the noisy image is
    divided by 1.1 (`convdata.py`), but each image has a crop and a reflection of its own.
    """
    config.epochs = 90.0
    config.net = ConfigDict(
        {
            "name": "cc2",
            "image_size": 224,
            "activation": "relu",
            "norm": True,
            "dropout": 0.5,
            "remove": "",
        }
    )
    config.augment.crop_chunk = 1
    config.schedule = ConfigDict(
        {
            "kind": "stepwise",
            "rate": 0.01,
            "bias_factor": 2.0,
            "bias_drops": True,
            "events": (),
            "divisor": 250.0,
            "steps": 4,
            "bias_divisor": 10.0,
            "bias_steps": 2,
        }
    )


def run_146_2012_2011() -> dict:
    """What the comments of `layer-params-146-2012-2011.cfg` log.

    An event holds until the next of its name, whatever the milestones do, so fc8 and the frozen
    conv1 are led by events throughout. The log does not mention biases: .02 is their rate in the
    file, all of whose other layers end with the same.
    """
    return {
        "kind": "milestones",
        "rate": 0.001,
        "bias_factor": 20.0,
        "bias_drops": False,
        "milestones": ((22, 0.0001), (42, 0.00001)),
        "events": (
            (0, "conv1.kernel", 0.0001),
            # "300 batches": files of 1024 of the 1,281,167 images (`fix-big-imgnet.py`)
            (300 * 1024 / 1281167, "fc8.kernel", 0.01),
            (5, "conv1.kernel", 0.00001),
            (7, "conv1", 0.0),
            (9, "fc8.kernel", 0.001),
            (22, "fc8.kernel", 0.0001),
            (38, "colour_noise", 0.0),
            (42, "fc8.kernel", 0.00001),
        ),
    }
