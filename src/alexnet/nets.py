"""Prints the table of a net, with shapes and sizes.

    python -m alexnet.nets alexnet --towers=1
    python -m alexnet.nets --config=configs/imagenet.py:one_gpu [--config.a.b=value]
    python -m alexnet.nets --workdir=runs/digits

Name a net (`alexnet.nets NAME --help` lists its options), or give a config or a run. A run's net
has the classes that it was trained on, a config's those of its dataset, or 1000 if they are not
known yet. Without arguments, it lists all nets.
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from alexnet import config as configs
from alexnet.cli import (
    arguments,
    asks_help,
    command_help,
    described,
    listing,
    parse,
    path,
    positional,
    run,
    typed,
    values,
)
from alexnet.errors import UserError, nearest
from alexnet.models.build import NETS, build, defaults
from alexnet.models.describe import describe
from alexnet.models.table import Net
from alexnet.text import aligned
from alexnet.workdir import record

CLASSES = 1000  # ImageNet's, if the dataset is not known
OPTIONS = {
    "config": ("", "instead of a name: a config file, and its variant after a colon"),
    "workdir": ("", "instead of a name: the folder of a run"),
}


def main(argv: Sequence[str]) -> None:
    """Prints the table of a net: one named first, with options, or a --config's or --workdir's."""
    name, flags = positional(argv)
    if asks_help(argv):
        print(command_help(__doc__, OPTIONS))
        if name:
            settings = described(defaults(name), build, NETS[name])
            print(f"\nOptions of net {name}:\n\n{listing(settings)}")
    elif name and name not in NETS and (".py" in name or os.path.isdir(name)):
        option = "config" if ".py" in name else "workdir"
        raise UserError(f"{name} is not a net's name: write --{option}={name}")
    elif name:
        print(describe(named(name, arguments(flags))))
    elif any(flag.startswith("--workdir=") for flag in flags):
        options = values(flags, {"workdir": OPTIONS["workdir"]})
        print(of_run(path("workdir", options["workdir"])))
    elif any(flag.startswith("--config=") for flag in flags):
        print(of_config(parse(flags, {})[0]))
    elif flags:
        raise UserError("which net? write its name first, or --config=FILE or --workdir=DIR")
    else:
        print("\n".join(aligned([(name, summary(make)) for name, make in NETS.items()], names=2)))
        print("\nFor the table of one: alexnet nets NAME")


def summary(make: Callable[..., Net]) -> str:
    """The first line of a function's docstring."""
    return (make.__doc__ or "").partition("\n")[0]


def named(name: str, texts: dict[str, str]) -> Net:
    """The net `name`, with options given as text.

    Raises:
        UserError: for an unknown name or option, or a value of another type.
    """
    options = defaults(name)
    for key, text in texts.items():
        if key not in options:
            raise UserError(f"--{key}: net {name} has no such option{nearest(key, options)}")
        options[key] = typed(key, text, options[key])
    return build(name, **options)


def of_run(workdir: Path) -> str:
    """The table of a run's net, with the classes that it was trained on."""
    from alexnet.training.start.dataset import class_count

    config = record.saved_config(workdir)
    if not (classes := class_count(workdir)):
        return of_config(config)
    net = configs.call(build, "net", config.net, classes=classes)
    return f"{describe(net)}\nthe classes are those of the run"


def of_config(config: ConfigDict) -> str:
    """The table of a config's net, and where its number of classes comes from."""
    from alexnet.training.settings import class_count

    classes, name = class_count(config), config.data.name
    net = configs.call(build, "net", config.net, classes=classes or CLASSES)
    known = f"the classes are those of {name}"
    assumed = f"{CLASSES} classes are assumed: those of {name} are known once it is prepared"
    return f"{describe(net)}\n{known if classes else assumed}"


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
