"""Starting from another run's weights: pre-training and fine-tuning ("1 CNN*" of Table 2).

`config.init_from` is the other run's workdir, whose last checkpoint is read; `config.init_layers`
chooses the layers:

    all           every layer: all must have the same shapes, but for the last one's classes; if
                  these differ, in number or by name, the last layer starts fresh
    conv          the convolutions alone, as run 146-2011 of the source took them from run 146-2009
    conv1,conv2   the layers named, as run 146-2009 took conv1 to conv5 from run 145

Settings of the nets that differ are listed.

All else is as in a run from scratch: the other layers start from the seed's weights, velocities are
zero, the step is 0, and the mean image and the colour PCA are those of the new dataset, not the
other run's. A resumed run reads only its own checkpoint.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ml_collections import ConfigDict

from alexnet import config as configs
from alexnet.data import synsets
from alexnet.errors import UserError, nearest
from alexnet.models.table import Conv
from alexnet.text import difference, some
from alexnet.training.run import Layer, Layers, Run
from alexnet.workdir import checkpoint, record


def check(config: ConfigDict) -> None:
    """Raises UserError unless there is a run to start from, or none is named; reads nothing."""
    workdir, choice = config.init_from, config.init_layers
    if not workdir:
        if choice != "all":
            raise UserError(
                "from which run? set config.init_from", f"config.init_layers={choice!r}"
            )
        return
    try:
        if not Path(workdir, "config.json").exists():
            record.saved_config(Path(workdir))  # raises, and says what is there
        checkpoint.find(workdir, "last")
    except UserError as error:
        raise UserError(str(error), "config.init_from") from None


def read_layers(run: Run) -> tuple[Layers, str]:
    """({layer: its weights} from the other run, text that lists the layers).

    ({}, "") if `config.init_from` is empty.

    Raises:
        UserError: if there is no such run, or a layer is missing or has another shape.
    """
    check(run.config)
    workdir, choice = run.config.init_from, run.config.init_layers
    if not workdir:
        return {}, ""
    here = run.shapes
    try:
        other = record.saved_config(Path(workdir))
        source = other.data.name
        there, progress = checkpoint.load_params(workdir, "last")
    except UserError as error:
        raise UserError(str(error), "config.init_from") from None

    names = [row.name for row in run.net.weighted]
    wanted, last = _chosen(run, choice, names), names[-1]
    other_classes = ""
    if last in there and _but_classes(here[last]) == _but_classes(there[last]):
        classes = progress.classes or synsets.implied(source, progress.class_count)
        if _size(here[last]) != _size(there[last]):
            other_classes = f"{_size(here[last])} here, {_size(there[last])} there"
        elif not classes and progress.class_count not in (0, len(run.store.classes)):
            # With two towers, fc8 has the same shape for 5 and for 6 classes.
            other_classes = f"{len(run.store.classes)} classes here, {progress.class_count} there"
        elif classes not in ((), run.store.classes):  # imported nets name none
            other_classes = f"other classes there: {some(classes, 3)}"
    if choice == "all":
        wanted += [name for name in there if name not in names]
        if other_classes:
            wanted.remove(last)
    found, expected = (
        {name: _size(layers[name]) for name in wanted if name in layers} for layers in (there, here)
    )
    where = f"config.init_from={workdir}"
    if line := difference(found, where, expected, f"net {run.net.name} here"):
        fitting = [n for n in names if n in there and _size(here[n]) == _size(there[n])]
        if other_classes and last in fitting:
            fitting.remove(last)
        these = f"these layers fit: config.init_layers={','.join(fitting)}"
        theirs = f"; the net there is {other.net.name}" * (other.net.name != run.config.net.name)
        raise UserError(f"{line}{theirs}; {these if fitting else 'no layer fits'}")
    after = f"after {progress.epoch:.2f} epochs of {source}" if progress.epoch else "imported"
    lines = [f"\nfrom {workdir}, {after}:"]
    width = max(map(len, names))
    for name in names:
        why = f": {other_classes}" if name == last and choice == "all" else ""
        state = f"restored  {_size(here[name])}" if name in wanted else f"fresh{why}"
        lines.append(f"  {name.ljust(width)}  {state}")
    for key, old, new in configs.differences(other, run.config, "net."):
        # Nets with the same shapes may compute different things
        lines.append(f"config.{key}={new!r} here, {old!r} there")
    return {name: there[name] for name in wanted}, "\n".join(lines)


def _chosen(run: Run, choice: str, names: Sequence[str]) -> list[str]:
    """The layers of the net that `config.init_layers` names, in the net's order."""
    if choice == "all":
        return list(names)
    if choice == "conv":
        listed = [row.name for row in run.net.rows if isinstance(row, Conv)]
    else:
        listed = [part.strip() for part in choice.split(",") if part.strip()]
    for name in listed:
        if name not in names:
            raise UserError(
                f"net {run.net.name} has no layer {name!r}{nearest(name, names)}",
                "config.init_layers",
            )
    if not listed:
        raise UserError(
            f"names no layer; choose all, conv, or names such as {','.join(names[:2])}",
            f"config.init_layers={choice!r}",
        )
    return [name for name in names if name in listed]


class _Size(NamedTuple):
    """A layer's shapes, printed as the kernel's alone: "2 x 11x11x3x48" with two towers."""

    kernel: tuple[int, ...]
    bias: tuple[int, ...]

    def __str__(self) -> str:
        towers, *kernel = self.kernel
        return f"{towers} x {'x'.join(map(str, kernel))}"


def _size(layer: Layer) -> _Size:
    return _Size(*(tuple(layer[part].shape) for part in ("kernel", "bias")))


def _but_classes(layer: Layer) -> list[tuple[int, ...]]:
    return [shape[:-1] for shape in _size(layer)]
