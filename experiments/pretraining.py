"""A net trained on more classes first, then fine-tuned, has a lower error (section 6, Table 2).

"Training one CNN, with an extra sixth convolutional layer over the last pooling layer, to classify
the entire ImageNet Fall 2011 release (15M images, 22K categories), and then fine-tuning it on
ILSVRC-2012 gives an error rate of 16.6%" (top-5; top-1 39.0). The average of two such CNNs and
five others reaches 36.7 / 15.4. Pre-training takes 8 epochs (run 146-2011: 7.8), at the rates of
its new layers; that run began from convolutions trained on Fall 2009, here all weights are new.
Before scale `full`, write the folder of Fall 2011 into this file: `--config.data.name` would change
the other arms only. At the small scale, CIFAR-100 stands in for the larger dataset
(`alexnet prepare cifar100`, which needs TensorFlow). At scale `thumbnails`, CIFAR-10 does, with
five times the images of Imagenette, whose photos are stored at 32 pixels (`alexnet prepare
imagenette/160px-v2 --image_size=32`); the net has no sixth layer, and there are no more classes.
Eight seeds are planned; both nets train for the same number of steps on Imagenette.
The claims compare centre crops; the arm with ten crops is for comparison with the paper's errors.
"""

ARMS = {
    "baseline": {},
    "pretrained": {"data.name": "cifar100"},
    "fine_tuned": {"init_from": "arm:pretrained"},
}
CLAIMS = {
    "fine_tuned": {
        "claim": "Table 2: 1 CNN*, pre-trained",
        "paper": "39.0 / 16.6, without 40.7 / 18.2",
        "log": "146-2012-2011: 38.9900 / 16.6220, 145: 40.6640 / 18.2100",
        "effect": -1.7,
        "between": (-1.8, -1.6),  # the difference of two rounded errors
        "effect_top5": -1.6,
    },
}
SEVEN_NETS = {"of": {"baseline": 5, "fine_tuned": 2}}
SEVEN = {
    "seven_nets": {
        "claim": "Table 2: 7 CNNs*, not one",
        "paper": "36.7 / 15.4 (test top-5 15.3), one 40.7 / 18.2",
        "effect": -4.0,
        "between": (-4.1, -3.9),
        "effect_top5": -2.8,
    },
}
SCALES = {
    "small": {"config": "../configs/cifar10.py:pocket", "seeds": 8},
    "thumbnails": {
        "config": "../configs/cifar10.py:pocket",
        "seeds": 8,
        "overrides": {
            "data.name": "imagenette/160px-v2",
            "epochs": 20,
            "schedule.milestones": ((15, 0.001),),
        },
        "arms": {
            "baseline": {},
            "pretrained": {
                "data.name": "cifar10",
                "epochs": 8,
                "schedule.milestones": ((6, 0.001),),
            },
            "fine_tuned": {"init_from": "arm:pretrained"},
        },
        "claims": {
            "fine_tuned": CLAIMS["fine_tuned"] | {"caveat": "pre-trained on CIFAR-10, ten classes"},
        },
    },
    "full": {
        "config": "../configs/imagenet.py",
        "seeds": 5,
        "arms": {
            "baseline": {},
            "pretrained": {
                "config": "../configs/imagenet.py:fall_2011",
                "data.name": "folder:/path/to/fall_2011",
                "epochs": 8,
                "init_from": "",
                "init_layers": "all",
                "schedule.events": (),
            },
            "fine_tuned": {
                "config": "../configs/imagenet.py:fine_tune",
                "init_from": "arm:pretrained",
            },
            "seven_nets": {"evaluate": SEVEN_NETS},
            "seven_nets_ten_crop": {"evaluate": SEVEN_NETS | {"views": "ten_crop"}},
        },
        "claims": CLAIMS | SEVEN,
    },
}
