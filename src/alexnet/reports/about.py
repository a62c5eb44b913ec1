"""Parts in words and numbers: what a run is, and how it was made."""

import contextlib
import datetime
import functools
import math
from collections import Counter
from typing import Any

from markupsafe import Markup
from ml_collections import ConfigDict

from alexnet import config as configs
from alexnet.errors import UserError
from alexnet.figures import curves
from alexnet.figures.curves import Curve
from alexnet.figures.style import drawn
from alexnet.models.build import build
from alexnet.models.describe import describe_html
from alexnet.models.table import Net
from alexnet.reports.part import Part, Shown, Table
from alexnet.reports.subject import Subject
from alexnet.training.settings import KINDS, class_count, load_config
from alexnet.training.start import dataset
from alexnet.workdir.provenance import ROOT

BASE = ROOT / "configs/base.py"  # in a checkout; an installed package has none
NAMES = ("command", "commit", "device", "host", "began", "ended", "outcome")  # of a chapter


def curve_part(named: list[tuple[str, Subject]]) -> Part:
    """Errors and losses of runs over their epochs; runs of the same name have the same colour."""
    found, without = [], []
    for name, subject in named:
        try:
            found.append(Curve(name, subject.rows))
        except UserError as error:  # such as of an import, which has no log
            without.append(f"Without {name}: {error}.")
    if not any(curve.rows for curve in found):
        raise UserError(without[0].rstrip(".") if without else "nothing has been logged yet")
    names = len({name for name, _ in named})
    lines = min(curves.MOST, names) if names > 1 else 0  # of the legend
    height = 3.1 + 0.17 * lines
    shown = [
        Shown(
            f"curve_{what}",
            f"{title} over epochs: validation as thick lines, training as thin ones",
            drawn(functools.partial(curves.draw, curves=found, what=what), height),
        )
        for what, title in (("top1_error", "Top-1 error"), ("loss", "Loss"))
    ]
    text = (
        "Training errors are measured during training, on its views and with dropout, if the net "
        "has any."
    )
    if max(Counter(curve.name for curve in found).values()) >= curves.SEVERAL:
        text += (
            " Where an arm has four or more runs, all logged at the same epochs, the lines are "
            "their means, and bands reach from the lowest to the highest validation."
        )
    return Part(text="\n".join([text, *without]), figures=shown)


def facts(subject: Subject) -> list[tuple[str, str]]:
    """The main facts about a run: (name, value), as far as they are known."""
    with contextlib.suppress(UserError):  # the part "Curves" says what is wrong with the log
        return [*_reached(subject), *_given(subject.config)]
    return _given(subject.config)


def _reached(subject: Subject) -> list[tuple[str, str]]:
    history = [row for row in subject.history if row["top1_error"] is not None]
    found = []
    if history:
        last, best = history[-1], min(row["top1_error"] for row in history)
        tells_top5 = any(row["top5_error"] for row in history)  # of five classes it is always 0
        found = [
            ("last top-1 error", f"{last['top1_error']:.2%}"),
            ("best top-1 error", f"{best:.2%}"),
            *([("last top-5 error", f"{last['top5_error']:.2%}")] if tells_top5 else []),
            ("validated on", f"{last['count']:,}"),
            ("epochs", _done(last["epoch"], subject.config.epochs)),
        ]
    if subject.rows and "seconds" in subject.rows[-1]:
        whole = datetime.timedelta(seconds=round(subject.rows[-1]["seconds"]))
        found.append(("time", str(whole)))
    return found


def _done(epoch: float, epochs: float) -> str:
    """How many epochs are done, in whole ones until all are."""
    return f"{epochs:g} of {epochs:g}" if epoch >= epochs else f"{math.floor(epoch)} of {epochs:g}"


def _given(config: ConfigDict) -> list[tuple[str, str]]:
    return [("dataset", config.data.name), ("seed", str(config.seed))]


def net_part(subject: Subject) -> Part:
    """The table of the net's layers."""
    net = _net(subject)
    total = sum(layer.parameters for layer in net.layers)
    html = Markup(describe_html(net))
    return Part(text=f"{total:,} parameters.", html=html)


def _net(subject: Subject) -> Net:
    """The net; the weights, which a run may lack, are read only if no dataset is remembered."""
    config = subject.config
    classes: int | None = dataset.class_count(subject.workdir)
    if not classes:
        classes = class_count(config)
    if not classes:
        return subject.net.net
    return configs.call(build, "net", config.net, classes=classes)


def config_part(subject: Subject) -> Part:
    """The settings that differ from the base; all of them if there is no base."""
    settings = configs.flat(subject.config.to_dict())
    if not BASE.is_file():
        all_rows = [(key, _word(value)) for key, value in settings.items()]
        return Part(tables=[Table(("setting", "value"), all_rows, 2)])
    base = expected(load_config(str(BASE)), subject.config)
    rows = [
        (key, _word(value), _word(base.get(key, "")))
        for key, value in settings.items()
        if _word(base.get(key, "")) != _word(value)
    ]
    text = (
        f"{len(rows)} of {len(settings)} settings differ from configs/base.py. A net, optimizer or "
        "schedule other than the base's is compared with its own defaults."
    )
    return Part(text=text, tables=[Table(("setting", "here", "base"), rows, 3)])


def expected(base: ConfigDict, config: ConfigDict) -> dict[str, Any]:
    """The base's settings; if the config chooses another function, that function's defaults.

    Changes `base`.
    """
    own, chosen = (configs.flat(one.to_dict()) for one in (base, config))
    configs.apply_overrides(base, {key: chosen[key] for key in KINDS}, KINDS)
    return configs.flat(base.to_dict()) | {key: own[key] for key in KINDS}


def provenance_part(subject: Subject) -> Part:
    """Which commands trained the run, where, and on which images."""
    if not subject.chapters:
        raise UserError(
            "the workdir has no provenance.json: imports and earlier versions write none"
        )
    rows = []
    for chapter in subject.chapters:
        versions = ", ".join(f"{name} {x}" for name, x in chapter.get("versions", {}).items())
        found = {name: chapter.get(name) for name in NAMES} | {"versions": versions}
        for key, (old, new) in (chapter.get("changes") or {}).items():
            found[key] = f"{_word(new)} from step {chapter['start']} on, so far {_word(old)}"
        rows += [(name, _word(value)) for name, value in found.items() if value]
    known = dataset.remembered(subject.workdir)
    if known is not None:
        counts = ", ".join(f"{count:,} {split}" for split, count in known.counts.items())
        about = ", ".join(filter(None, (counts, f"{len(known.classes)} classes")))
        rows.append(("dataset", f"{known.name}: {about}"))
        rows += [(f"digest of {split}", digest) for split, digest in known.contents.items()]
    return Part(tables=[Table(("", ""), rows, 2)])


def _word(value: Any) -> str:
    """A setting as a user writes it: JSON's lists are tuples again."""
    return str(configs.tuples(value)) if value != "" else '""'
