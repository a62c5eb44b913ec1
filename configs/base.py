"""Every setting and what it means; the other configs and their variants override some of them.

A section holds the arguments of one function, here with that function's defaults. The defaults
together train AlexNet on ImageNet at a constant rate; no run used exactly these.

The key of an override is the setting's dotted name: {"net.norm": False} in the files beside this
one, `--config.net.norm=false` on the command line. `net.name`, `optimizer.name` and `schedule.kind`
choose a function: a new value replaces the section's settings with that function's defaults.
"""

BASE = {
    "seed": 0,  # of the initial weights, the order of the images, crops, noise and dropout
    "batch_size": 128,  # images per step, on all devices together
    "epochs": 90.0,  # passes over the training set
    # The images: alexnet.data.recipe.Recipe
    # digits, folder:/path, any TFDS dataset of labelled images, or held_out:NAME (docs/data.md)
    "data.name": "imagenet2012",
    "data.data_dir": "",  # their place; "" is $TFDS_DATA_DIR, else ~/tensorflow_datasets
    "data.image_size": 256,  # side of the stored squares, in pixels
    "data.quality": 95,  # of their JPEG; 0 stores raw pixels
    "data.encoding": "auto",  # auto: raw up to 64 pixels a side, JPEG above; or jpeg, raw
    # The network; settings of every net: alexnet.models.build.build
    "net.name": "alexnet",  # `python -m alexnet.nets` lists them
    "net.activation": "relu",  # or tanh, sigmoid, none
    "net.norm": True,  # response normalisation
    "net.dropout": 0.5,  # rate of every dropout layer; 0 leaves dropout out
    "net.remove": "",  # layers to leave out, such as conv3,conv4
    # ... and those of the net "alexnet"
    "net.preset": "original",  # as in the authors' source; or paper, as in the text
    "net.init": "",  # of the weights: paper, original or caffe; "" is the preset's own
    "net.towers": 2,  # or 1: the same layers, unsplit
    "net.image_size": 224,  # side of the square that the net sees, in pixels
    "net.kernels": (96, 256, 384, 384, 256),  # of conv1..conv5
    "net.hidden": (4096, 4096),  # neurons of fc6, fc7
    "net.communicate": True,  # False: the towers meet in fc8 only
    "net.overlapping_pool": True,  # False: pooling with z = s = 2
    "net.sixth_conv": 0,  # kernels of a conv6 over pool5; 0 leaves it out
    # How images become inputs: alexnet.data.augment.Augmentation
    "augment.random_crop": True,  # False: the centre crop
    "augment.flip": True,  # reflect half of the training images
    "augment.colour_noise": 0.1,  # deviation of the alphas of section 4.1; 0 is off
    "augment.colour_scale": "deviation",  # an alpha times its component's deviation; or variance
    "augment.divide_by_noise": False,  # True divides the noisy image by 1 + colour_noise
    "augment.crop_chunk": 1,  # consecutive images that share one crop and flip
    "augment.mean": "crop",  # the mean image's part to subtract: crop, centre; or pixel: one colour
    "augment.mean_pixel": (),  # for pixel: red, green and blue on 0-255
    # The update rule: alexnet.training.optimizer
    "optimizer.name": "momentum",  # or nesterov, adamw, which bring their own settings
    "optimizer.momentum": 0.9,
    "optimizer.weight_decay": 0.0005,  # of the kernels
    "optimizer.bias_decay": 0.0,
    "optimizer.layer_decay": (),  # (layer, weight decay) of single layers
    # Rates over time: alexnet.training.schedule; plateau and stepwise have other settings
    "schedule.kind": "milestones",
    "schedule.rate": 0.01,  # at the start
    "schedule.bias_factor": 2.0,  # the biases' rate, divided by that of the kernels
    "schedule.bias_drops": True,  # False: the biases keep their first rate
    "schedule.events": (),  # (epoch, conv1 or conv1.bias, rate from then on); or colour_noise, 0
    "schedule.milestones": (),  # (epoch, rate from then on)
    # The devices: alexnet.devices.mesh.make
    "mesh.data": 0,  # how many devices the batch is split over; 0: the most that divide it
    "mesh.tower": 0,  # how many devices the towers are split over; 0: one per tower, if possible
    # Weights to start from: alexnet.training.start.fine_tune
    "init_from": "",  # the workdir of a run whose weights this one starts from
    "init_layers": "all",  # or conv, or names: conv1,conv2
    # How a step is computed, logged and saved: alexnet.training.settings.check_top_level
    "dtype": "float32",  # or bfloat16: mixed precision
    "accumulate": 1,  # parts into which a batch is divided, to save memory
    "precision": "float32",  # of products on GPUs; or tf32
    "kernels": "auto",  # forms of the operations: plain, cpu, gpu, or auto: by device
    "cuda_graphs": False,  # True, for small nets on a GPU: a step with its convolutions is a graph
    "steps_per_dispatch": 1,  # steps per program, for GPUs and nets whose steps take milliseconds
    "fetch": "step",  # when the host fetches losses: step, during the next step; log, with each row
    "log_every": 50,  # steps per row of the log, which averages them
    "checkpoint_every": 2000,  # steps between checkpoints; the end of an epoch has one as well
    "wandb_project": "",  # the project on Weights & Biases to log to; "" for none
}


def get_config() -> list[dict]:
    return [BASE]


def one_of(variants: dict[str, dict], variant: str) -> dict:
    """The overrides of a variant. Raises ValueError, naming the known ones, for any other."""
    if variant not in variants:
        raise ValueError(f"no variant {variant!r}: choose one of {', '.join(variants)}")
    return variants[variant]
