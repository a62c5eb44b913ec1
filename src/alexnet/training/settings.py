"""The settings of a config: loaded, checked, and the function that each section is for."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from ml_collections import ConfigDict

from alexnet import config as configs
from alexnet.data.augment import Augmentation
from alexnet.data.recipe import Recipe
from alexnet.devices import mesh as meshes
from alexnet.errors import UserError, require
from alexnet.kernels.choose import Choice
from alexnet.models.build import NETS, build
from alexnet.models.table import Net
from alexnet.training import optimizer, schedule
from alexnet.training.schedule import SCHEDULES

# Settings that choose a function; the rest of their section holds its arguments.
KINDS = {
    "net.name": configs.Kind(build, NETS, filled_in=("classes",)),
    "optimizer.name": configs.Kind(
        optimizer.build, optimizer.OPTIMIZERS, filled_in=("params", "decay", "rates")
    ),
    "schedule.kind": configs.Kind(schedule.build, SCHEDULES, filled_in=("epochs",)),
}
Precision = Literal["float32", "tf32"]
PRECISIONS: dict[Precision, str] = {"float32": "float32", "tf32": "tensorfloat32"}  # by our names
Fetch = Literal["step", "log"]
Dtype = Literal["float32", "bfloat16"]


def load_config(file: str | os.PathLike, overrides: Mapping[str, Any] | None = None) -> ConfigDict:
    """The config of `file[:variant]` with overrides, such as {"net.remove": "conv4"}.

    Raises:
        UserError: if there is no such file, variant or setting, or a value has the wrong type.
    """
    if not isinstance(file, str | os.PathLike):
        raise UserError(f"expected a config's file, not {type(file).__name__}", "file")
    if not isinstance(overrides, Mapping | None):
        raise UserError('expected a dict such as {"epochs": 2}', f"overrides={overrides!r}")
    config = configs.load(str(file), KINDS)
    configs.apply_overrides(config, overrides or {}, KINDS)
    return config


def config_of(config: ConfigDict | str | os.PathLike) -> ConfigDict:
    """The config, or that of the file with this name, as for `load_config`."""
    return config if isinstance(config, ConfigDict) else load_config(config)


@contextlib.contextmanager
def recipe_of(config: ConfigDict) -> Iterator[Recipe]:
    """What `config.data` describes; in the block, an error about it names the setting.

    Raises:
        UserError: as `Recipe`, and for a key that it lacks.
    """
    recipe = configs.call(Recipe, "data", config.data)
    with configs.within("data"):
        yield recipe


def class_count(config: ConfigDict) -> int | None:
    """How many classes the dataset of `config.data` has; None if only preparing it would tell.

    Raises:
        UserError: as `recipe_of`, and for a dataset that is unknown.
    """
    from alexnet.data import prepare  # slow to import, and many commands only read settings

    with recipe_of(config) as recipe:
        return prepare.class_count(recipe)


def check_fits(net: Net, stored: int) -> None:
    """Raises UserError if a net reads larger images than those stored, `stored` pixels wide."""
    if net.image_size > stored:
        raise UserError(
            f"net {net.name} sees {net.image_size} pixels, more than the stored {stored}: store at "
            f"least {net.image_size}, or lower config.net.image_size",
            f"config.data.image_size={stored}",
        )


def remaining(config: ConfigDict, section: str) -> dict[str, Any]:
    """A section without the decays and events of the layers that `net.remove` takes out."""
    gone = {name.strip() for name in config.net.get("remove", "").split(",")}
    found = dict(config[section])
    for key, place in (("layer_decay", 0), ("events", 1)):
        if isinstance(found.get(key), tuple | list):
            found[key] = tuple(
                entry
                for entry in found[key]
                if not (
                    isinstance(entry, Sequence)
                    and len(entry) > place
                    and str(entry[place]).partition(".")[0] in gone
                )
            )
    return found


def check_settings(config: ConfigDict) -> None:
    """Raises UserError for a setting that is missing, unknown or impossible."""
    configs.check_choices(config, KINDS)
    configs.call(check_top_level, "", config)


def check_top_level(
    *,
    seed: int,
    batch_size: int,
    epochs: float,
    data: Mapping[str, Any],
    net: Mapping[str, Any],
    augment: Mapping[str, Any],
    optimizer: Mapping[str, Any],
    schedule: Mapping[str, Any],
    mesh: Mapping[str, Any],
    init_from: str,
    init_layers: str,
    dtype: Dtype,
    precision: Precision,
    kernels: Choice,
    accumulate: int,
    cuda_graphs: bool,
    steps_per_dispatch: int,
    fetch: Fetch,
    log_every: int,
    checkpoint_every: int,
    wandb_project: str,
) -> None:
    """Checks the settings outside all sections, and that no section is missing.

    Args:
        seed: of the initial weights, the order of the images, crops, noise and dropout.
        batch_size: images per step, on all devices together.
        epochs: how many times the run sees the training set.
        data, net, augment, optimizer, schedule, mesh: sections, each with one function's arguments.
        init_from: the workdir of a run whose weights this one starts from; "" is none.
        init_layers: which layers it takes from there: all, conv, or names such as conv1,conv2.
        dtype: what the net computes in; bfloat16 is mixed precision.
        precision: of float32 products on GPUs; tf32 is faster, but rounds the factors.
        kernels: how operations are implemented: plain, cpu, gpu, or auto, which suits the device.
        accumulate: parts that a batch is split into, computed one after the other to save memory.
        cuda_graphs: on GPUs, whether a step is launched as one CUDA graph, with its convolutions,
            which suits small nets. If cuDNN cannot capture them, the second step fails.
        steps_per_dispatch: steps in one program, for nets that take milliseconds a step on GPUs.
            Results stay the same; compiling takes that many times as long.
        fetch: when the host fetches a step's loss, and notices that it is NaN: step, while the next
            step runs, or log, with the next row of the log or checkpoint.
        log_every: steps between rows of the log.
        checkpoint_every: steps between checkpoints, besides the one at the end of each epoch.
        wandb_project: the Weights & Biases project that tracks the run (pip install wandb); "" is
            none.

    Raises:
        UserError: for an impossible value.
    """
    require("seed", seed, 0 <= seed < 2**32, "from 0 to 2^32 - 1")
    require("epochs", epochs, epochs > 0, "must be more than 0")
    require("batch_size", batch_size, batch_size >= 1, "must be at least 1")
    counts = {"log_every": log_every, "checkpoint_every": checkpoint_every}
    for name, steps in (counts | {"steps_per_dispatch": steps_per_dispatch}).items():
        require(name, steps, steps >= 1, "a number of steps, at least 1")


# The function whose arguments a section holds, unless a setting in it chooses the function; "" is
# the top level.
SECTIONS: dict[str, Callable[..., Any]] = {
    "": check_top_level,
    "data": Recipe,
    "augment": Augmentation,
    "mesh": meshes.make,
}
