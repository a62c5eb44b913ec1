r"""AlexNet on ImageNet (ILSVRC-2012, 1000 classes): the paper and the runs of its authors' source.

    python -m alexnet.prepare imagenet2012
    python -m alexnet.train --config=configs/imagenet.py:original --workdir=runs/original

Most variants are experiments of the paper. Errors are top-1 / top-5 over ten crops of the 2012
validation images unless noted, from the paper or the source's log. None of these was run here: 90
epochs took the authors five to six days on two GPUs. Here, one_gpu to six_conv lower the rate at
run 145's epochs; in the source, each had its own, and run 147 kept its colour noise to the end and
conv1's rate until epoch 79.

    original            run 145, the two-tower net                               40.7 / 18.2
    paper               net and training as the text describes them; where it leaves a choice:
                        conv1 pads 3 pixels at the bottom and right, colour noise scales with
                        deviations (the eigenvalues themselves would be absurd), the rate drops
                        after 5 validations without a better error; its initial weights may
                        not train (docs/fidelity.md)
    one_gpu             run 145-half: one tower, half the kernels                39.2 / 18.2 (2010)
    no_lrn              run 148: without response normalisation                  42.0 / 19.4
    nonoverlapping_pool run 147: pooling with z = s = 2                          41.1 / 18.5
    no_communication    run 150: the towers meet in fc8 only                     41.8 / 19.3
    six_conv            run 146's net: a sixth convolution over pool5
    fall_2009           run 146-2009: that net, with run 145's conv1 to conv5, trained on
                        ImageNet's Fall 2009 release
    fall_2011           run 146-2011: that net, with the convolutions of run 146-2009, trained
                        on the Fall 2011 release (that run also had 2,048 linear units between
                        fc7 and its 21,843 outputs; here there are none)
    fine_tune           run 146-2012-2011: run 146-2011's net, fine-tuned    39.0 / 16.6
                        on 2012
    cc2_single_tower    Krizhevsky's later net in one tower, cuda-convnet2       40.4 / 18.2
                        (centre crop:                                            42.5 / 19.8)

In the chain original, fall_2009, fall_2011, fine_tune, each run starts from the last checkpoint of
the one before (in 2012, run 146-2009 started from run 145 after 43 hours); see
`alexnet.training.start.fine_tune`. TFDS lacks both releases, so they are read from folders of
images; a tenth is held out for validation. The paper's 67.4 / 40.9 on Fall 2009 (10,184 classes,
8.9 million images) is of a net trained on half of them: put half of each class in train/ and half
in test/, and evaluate with --split=test. The log has no such run of this net (its run on half,
141-2009-half, has another first stage), so the schedule is still that of 146-2009, which trained on
all. And run 145's training images may be in the test half, so start from random weights instead:
see the last command, with longer milestones of your own.

    python -m alexnet.train --config=configs/imagenet.py:fall_2009 --workdir=runs/fall_2009 \
        --config.init_from=runs/original --config.data.name=folder:/path/to/fall_2009
    python -m alexnet.train --config=configs/imagenet.py:fall_2011 --workdir=runs/pretrained \
        --config.init_from=runs/fall_2009 --config.data.name=folder:/path/to/fall_2011
    python -m alexnet.train --config=configs/imagenet.py:fine_tune --workdir=runs/fine_tuned \
        --config.init_from=runs/pretrained

Both can start from random weights, fall_2011 also without the 2009 release: --config.init_from=
--config.init_layers=all --config.schedule.events='()'.

The AlexNets of other frameworks, with the settings of their scripts and solvers; `alexnet.convert`
reads the weights that they publish. The published errors are of the centre crop of the 2012
validation set:

    torchvision         single tower, no response normalisation (for its random resized
                        crops, random 224-pixel crops of the stored 256)         43.5
    caffe_alexnet       bvlc_alexnet                                             42.9 / 19.8
    caffenet            bvlc_reference_caffenet                                  42.6

Caffe's nets were trained on images minus the mean image (`--config.augment.mean=crop` with
`--config.augment.mean_pixel='()'`). Here they subtract its average colour, as published code does
that uses their weights without ImageNet.

Other ablations of the paper are overrides of `original`. Without colour noise (top-1 error worse by
more than 1 point): `--config.augment.colour_noise=0`. Without a middle convolution (worse by about
2): `--config.net.remove=conv3` (conv2, conv4). Without dropout: `--config.net.dropout=0`. The five
nets of the ensemble differ in their seeds: `--config.seed=1`.
"""

from base import BASE, one_of

# Run 145: what the comments of `layer-params-145.cfg` log.
IMAGENET = {
    "epochs": 91,
    "augment.divide_by_noise": True,
    "augment.crop_chunk": 32,
    "augment.mean": "centre",
    "schedule.bias_drops": False,
    "schedule.milestones": ((25, 0.001), (51, 0.0001), (79, 0.00001)),
    "schedule.events": (
        (67, "conv1.kernel", 0.00001),
        (67, "conv1.bias", 0.002),  # as in layer-params-149.cfg
        (67, "colour_noise", 0.0),
        (72, "conv1", 0.0),
    ),
}

# As the text says in section 5: divide by 10 when the validation error stops improving, three
# times; these are the defaults of `plateau`.
PAPER = {
    "epochs": 90,
    "net.preset": "paper",
    "augment.divide_by_noise": False,
    "augment.crop_chunk": 1,
    "augment.mean": "crop",
    "optimizer.bias_decay": 0.0005,
    "schedule.kind": "plateau",
    "schedule.bias_factor": 1.0,
}

# Run 146-2012-2011: what the comments of its `layer-params-146-2012-2011.cfg` log. An event holds
# until the next event for the same rate and overrides the milestones; the kernels of fc8 and conv1
# follow events alone from their first one on. The log does not mention biases; .02 is their rate in
# the file (conv6's .022 is taken for a slip; its files for the other runs have .002).
FINE_TUNE = {
    "epochs": 54,
    "init_from": "runs/pretrained",
    "net.sixth_conv": 256,
    "schedule.rate": 0.001,
    "schedule.bias_factor": 20.0,
    "schedule.milestones": ((22, 0.0001), (42, 0.00001)),
    "schedule.events": (
        (0, "conv1.kernel", 0.0001),
        # "300 batches" in the log: files of 1024 images, as `fix-big-imgnet.py` wrote those of
        # 2010, of 1,281,167
        (300 * 1024 / 1281167, "fc8.kernel", 0.01),
        (5, "conv1.kernel", 0.00001),
        (7, "conv1", 0.0),
        (9, "fc8.kernel", 0.001),
        (22, "fc8.kernel", 0.0001),
        (38, "colour_noise", 0.0),
        (42, "fc8.kernel", 0.00001),
    ),
}

# Runs 146-2009 and 146-2011: the comments of their files. The new layers' rate drops at the
# milestone, to that of the others. The log does not mention biases: theirs are the files' rates.
# "epoch 6.6491: killed" is batch 6491 of the sixth pass (`print_iteration` in `convnet.py`). A pass
# had 8,800 batches in 2009 (`layer-params-135-2009.cfg`), and in 2011 those of 14,197,122 images.
FALL_2009 = {
    "data.name": "folder:/path/to/fall_2009",
    "epochs": 5 + 6491 / 8800,
    "init_from": "runs/original",
    "init_layers": "conv1,conv2,conv3,conv4,conv5",
    "net.sixth_conv": 256,
    "schedule.milestones": ((1 + 1600 / 8800, 0.001),),
    "schedule.events": (
        *((0, f"conv{number}.kernel", 0.001) for number in range(1, 6)),
        (0, "conv6.bias", 0.002),
    ),
}
FALL_2011 = {
    "data.name": "folder:/path/to/fall_2011",
    "epochs": 7 + 11295 * 1024 / 14_197_122,
    "init_from": "runs/fall_2009",
    "init_layers": "conv",
    "net.sixth_conv": 256,
    "schedule.milestones": ((6, 0.001),),
    "schedule.events": (
        *((0, f"conv{number}.kernel", 0.001) for number in range(1, 7)),
        (0, "conv6.bias", 0.002),
    ),
}

# Net and rates follow cuda-convnet2's `layer-params-223-ce2-1gpu.cfg` and training example. As in
# run 145, the centre of the mean image is subtracted from every crop and the noisy image is divided
# by 1.1 (`convdata.py`), but each image has its own crop and reflection.
CC2 = {
    "epochs": 90,
    "net.name": "cc2",
    "augment.crop_chunk": 1,
    "schedule.kind": "stepwise",  # its defaults are cuda-convnet2's
}

# torchvision's references/classification, Caffe's solver.prototxt: 450,000 batches of 256.
FRAMEWORK = {
    "batch_size": 256,
    "epochs": 90,
    "augment.colour_noise": 0.0,
    "augment.divide_by_noise": False,
    "augment.crop_chunk": 1,
    "augment.mean": "pixel",
    "schedule.bias_drops": True,
    "schedule.events": (),
}
CAFFE = FRAMEWORK | {
    "augment.mean_pixel": (122.679, 116.669, 104.007),  # of Caffe's mean image
    "schedule.milestones": ((20, 1e-3), (40, 1e-4), (60, 1e-5), (80, 1e-6)),
}
TORCHVISION = FRAMEWORK | {
    "net.name": "torchvision_alexnet",
    "augment.mean_pixel": (123.675, 116.28, 103.53),  # 255 x (.485, .456, .406)
    "optimizer.weight_decay": 0.0001,
    "optimizer.bias_decay": 0.0001,
    "schedule.bias_factor": 1.0,
    "schedule.milestones": ((30, 1e-3), (60, 1e-4)),
}

VARIANTS = {
    "original": {},
    "paper": PAPER,
    "one_gpu": {"net.towers": 1, "net.kernels": (48, 128, 192, 192, 256)},
    "no_lrn": {"net.norm": False},
    "nonoverlapping_pool": {"net.overlapping_pool": False},
    "no_communication": {
        "net.communicate": False,
        "net.kernels": (96, 320, 384, 384, 256),
        "net.hidden": (8192, 4096),
    },
    "six_conv": {"net.sixth_conv": 256},
    "fall_2009": FALL_2009,
    "fall_2011": FALL_2011,
    "fine_tune": FINE_TUNE,
    "cc2_single_tower": CC2,
    "torchvision": TORCHVISION,
    "caffe_alexnet": CAFFE | {"net.name": "caffe_alexnet"},
    "caffenet": CAFFE | {"net.name": "caffenet"},
}


def get_config(variant: str = "original") -> list[dict]:
    return [BASE, IMAGENET, one_of(VARIANTS, variant)]


def own_drops(variant: str, *epochs: int) -> dict:
    """For another dataset: no events, and milestones that divide the rate by 10 at these epochs.

    A variant with another kind of schedule keeps it.
    """
    said = BASE | IMAGENET | one_of(VARIANTS, variant)
    overrides = {"schedule.events": ()}
    if said["schedule.kind"] == "milestones":
        rates = (said["schedule.rate"] / 10**number for number in range(1, len(epochs) + 1))
        overrides["schedule.milestones"] = tuple(zip(epochs, rates, strict=True))
    return overrides
