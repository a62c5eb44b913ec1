"""Reads an experiment from its file, such as lrn.py, and checks it.

The docstring of a file in experiments/ says what is claimed and where. The file defines

    ARMS = {"baseline": {}, "no_lrn": {"net.norm": False}}
    SCALES = {"digits": {"config": "../configs/digits.py", "seeds": 3}, ...}
    CLAIMS = {"no_lrn": {"claim": ..., "paper": ..., "log": ..., "effect": 1.4}}

An arm is a dict of overrides; the first arm is the baseline. "config" names a config file in place
of the scale's, "evaluate" makes the arm an evaluation of other arms' runs, and "init_from" may be
"arm:NAME", which starts a run from NAME's run with the same seed.
Arms are compared by top-1 error, or by METRIC = "epochs to a training error of 0.25".
A scale may have its own "arms", "claims" and "metric", and "overrides" of its config for all arms.
An arm's own settings win. Where an arm or the command line chooses another function, the overrides
that this function has as well apply on top of its defaults.
"""

import dataclasses
import difflib
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from alexnet import cli
from alexnet import config as configs
from alexnet.data.augment import VIEWS
from alexnet.errors import UserError, choice, is_number, local_path, nearest
from alexnet.sweeps.essence import FROM_ARM
from alexnet.sweeps.experiment import (
    DEMONSTRATION,
    EPOCHS_TO,
    ERROR,
    Arm,
    Claim,
    Experiment,
    check_distinct,
)
from alexnet.training.settings import KINDS
from alexnet.workdir.record import ELSEWHERE

SCALE = (  # keys of a scale, all but "metric": (name, type, the type in words)
    ("config", str, "a file such as ../configs/digits.py"),
    ("seeds", int, "a whole number"),
    ("arms", Mapping, "a dict"),
    ("claims", Mapping, "a dict"),
    ("overrides", Mapping, "a dict"),
)
NAMES = ("ARMS", "SCALES", "CLAIMS", "METRIC")
BETWEEN = "(low, high) around the effect and on its side of 0, None for no bound"


def scales(file: Path) -> list[str]:
    """The scales of an experiment's file."""
    return list(_read(file)["SCALES"])


def named(texts: Iterable[str]) -> list[Experiment]:
    """Each FILE[:SCALE], and for a folder its experiments at all scales but the demonstration.

    Raises:
        UserError: for an unknown file or scale, or a folder without such experiments.
    """
    found: list[str] = []
    for text in texts:
        folder = local_path("experiment", text)
        if not folder.is_dir():
            found.append(text)
            continue
        every = [(file, scale) for file in sorted(folder.glob("*.py")) for scale in scales(file)]
        judged = [f"{file}:{scale}" for file, scale in every if scale != DEMONSTRATION]
        if not judged:
            raise UserError(f"{folder} holds no experiments with scales beside {DEMONSTRATION!r}")
        found += judged
    return [load(one) for one in found]


def load(file_and_scale: str, overrides: Mapping[str, str] | None = None) -> Experiment:
    """An experiment at a scale; by default, at the first of the file's scales.

    Args:
        overrides: settings of all arms as text, by dotted name; an arm's own overrides win.

    Raises:
        UserError: for an unknown file, scale or setting, naming the nearest.
    """
    text, _, scale = file_and_scale.partition(":")
    file = local_path("experiment", text)
    found = _read(file)
    scale = scale or next(iter(found["SCALES"]))
    if scale not in found["SCALES"]:
        known = ", ".join(found["SCALES"])
        near = nearest(scale, found["SCALES"])
        raise UserError(f"{file}: no scale {scale!r}: choose one of {known}{near}")
    settings = {"arms": found["ARMS"], "claims": found.get("CLAIMS", {}), "overrides": {}}
    settings |= _dict(found["SCALES"][scale], f"{file}: scale {scale!r}")
    allowed = [*(name for name, *_ in SCALE), "metric"]
    for name in settings:
        if name not in allowed:
            near = nearest(str(name), allowed)
            raise UserError(
                f"{file}: scale {scale!r} has {name!r}, not one of {', '.join(allowed)}{near}"
            )
    for name, kind, needs in SCALE:
        if not isinstance(settings.get(name), kind) or isinstance(settings[name], bool):
            raise UserError(f"{file}:{scale}: {name} is {settings.get(name)!r}, not {needs}")
    arms: dict[str, Arm] = {}
    for name, changes in settings["arms"].items():
        try:
            changes = _dict(changes, "it")
            arms[str(name)] = _arm(str(name), changes, arms, file, settings, overrides or {})
        except UserError as error:
            raise UserError(f"{file}:{scale}, arm {name!r}: {error}") from None
    check_distinct(arms, f"{file}:{scale}")
    _check_effect(arms, overrides or {}, f"{file}:{scale}")
    if settings["seeds"] < 1:
        raise UserError(f"{file}:{scale}: seeds is {settings['seeds']}: expected at least 1")
    claims = settings["claims"]
    for name in claims:
        if name not in arms:
            raise UserError(f"{file}: claim {name!r}: scale {scale} has no such arm")
    metric = settings.get("metric", found.get("METRIC", ERROR))
    if metric != ERROR and not re.fullmatch(EPOCHS_TO + r"0?\.\d+", str(metric)):
        raise UserError(f"{file}: METRIC is {metric!r}, not {ERROR!r} or '{EPOCHS_TO}0.25'")
    changes = [
        f"{key}={text}" for key, text in (overrides or {}).items() if not key.startswith(ELSEWHERE)
    ]
    return Experiment(
        name=file.stem,
        scale=scale,
        title=(found["__doc__"] or "").partition("\n")[0],
        arms=arms,
        claims={
            name: _claim(claim, metric, f"{file}: claim {name!r}") for name, claim in claims.items()
        },
        seeds=settings["seeds"],
        metric=metric,
        source=", ".join([f"{file.name}:{scale}", *changes]),
    )


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        near = nearest(file.stem, [path.stem for path in file.parent.glob("*.py")])
        where = configs.in_checkout("experiments")
        raise UserError(f"{file}: no such file (experiments are in {where}){near}")
    with configs.siblings_importable(file.resolve().parent):
        found = configs.run_file(file)
    for name in ("ARMS", "SCALES"):
        if not isinstance(found.get(name), Mapping) or not found[name]:
            raise UserError(f"{file}: an experiment needs a dict {name} that is not empty")
    for name in found:  # a claim that is overlooked would be missed after days
        close = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.8)
        if close and name not in NAMES and close[0] not in found:
            raise UserError(f"{file}: {name} has no meaning there; did you mean {close[0]}?")
    return found


def _dict(value: Any, called: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise UserError(f"{called} is {value!r}, not a dict")
    return dict(value)


def _check_effect(arms: Mapping[str, Arm], texts: Mapping[str, str], where: str) -> None:
    """Raises UserError for a setting for all arms that each arm overrides."""
    trained = [arm for arm in arms.values() if not arm.of]
    for key in texts:
        if all(key in arm.overrides for arm in trained):
            raise UserError(f"has no effect: each arm of {where} sets it itself", f"config.{key}")


def _claim(value: Any, metric: str, called: str) -> Claim:
    try:
        found = Claim(**_dict(value, called))
    except TypeError:
        needed, *others = (field.name for field in dataclasses.fields(Claim))
        raise UserError(
            f"{called} has {', '.join(value)}; it needs {needed}, and may have {', '.join(others)}"
        ) from None
    effect, target, epochs = found.effect, found.target, metric != ERROR
    words = all(isinstance(one, str) for one in (found.claim, found.paper, found.log, found.caveat))
    known = effect is None or (is_number(effect) and not (epochs and (effect <= 0 or effect == 1)))
    top5 = found.effect_top5 is None or (is_number(found.effect_top5) and not epochs)
    none = 0 in (effect, found.effect_top5)
    sign = 0.0
    if known and effect:
        sign = math.copysign(1, math.log(effect) if epochs else effect)
    agree = found.direction == 0 or (target is None and sign in (0, found.direction))
    for name, good, needs in (
        ("claim, paper, log, caveat", words, "text"),
        ("effect", known, "a number, and for epochs above 0 and not 1"),
        ("effect", not none, "a number other than 0: runs cannot show that there is no effect"),
        ("between", _holds(found.between, effect), BETWEEN),
        ("effect_top5", top5, "a number, and none for epochs"),
        ("direction", found.direction in (1, 0, -1), "1, 0 or -1"),
        ("direction", agree, "none beside a target, and that of the effect beside an effect"),
        ("tests", isinstance(found.tests, bool), "True or False"),
        ("caveat", found.tests or found.caveat, "why this scale cannot test the claim"),
        ("target", target is None or (is_number(target) and not epochs), "an error in per cent"),
        ("target", target is None or effect is None, "no effect beside it: that is of a baseline"),
    ):
        if not good:
            raise UserError(f"{called}: {name}: expected {needs}")
    return found


def _holds(between: Any, effect: Any) -> bool:
    """Whether `Claim.between` is a range around the effect that does not reach 0."""
    if between is None:
        return True
    if not (isinstance(between, tuple | list) and len(between) == 2 and is_number(effect)):
        return False
    low, high = between
    if not all(one is None or (is_number(one) and one * effect > 0) for one in between):
        return False
    return (low is None or low <= effect) and (high is None or effect <= high)


def _arm(
    name: str,
    changes: dict[str, Any],
    earlier: Mapping[str, Arm],
    file: Path,
    settings: Mapping[str, Any],
    texts: Mapping[str, str],
) -> Arm:
    if "evaluate" in changes:
        evaluated = _dict(changes.pop("evaluate"), '"evaluate"')
        return _evaluation(name, evaluated, changes, earlier)
    for key in changes:
        if not isinstance(key, str):
            raise UserError(f"{key!r} is not a setting: expected text such as net.norm")
    named = changes.pop("config", settings["config"])
    if not isinstance(named, str):
        raise UserError(f"config: expected text, not {named!r}")
    config = configs.load(str(file.parent / named), KINDS)
    origin = str(changes.get("init_from", ""))
    starts_from = origin.removeprefix(FROM_ARM) if origin.startswith(FROM_ARM) else ""
    if starts_from and starts_from not in earlier:
        raise UserError(f"init_from: {starts_from!r} is not an earlier arm")
    given = settings["overrides"]
    configs.apply_overrides(config, given, KINDS)
    chosen = {key: text for key, text in texts.items() if key in KINDS and key not in changes}
    cli.override(config, chosen)
    configs.apply_overrides(config, changes, KINDS)
    # If an arm chooses a function, its section has been reset: what all arms get applies on top.
    there, own = configs.flat(config.to_dict()), {*changes, *KINDS}
    again = {key: value for key, value in given.items() if key in there and key not in own}
    configs.apply_overrides(config, again, KINDS)
    cli.override(config, {key: text for key, text in texts.items() if key not in own})
    return Arm(name, config, changes, starts_from=starts_from)


def _evaluation(
    name: str, how: Mapping[str, Any], rest: Mapping[str, Any], earlier: Mapping[str, Arm]
) -> Arm:
    unknown = {*how} - {"of", "views"}
    if unknown or rest:
        raise UserError(f'it has {sorted(unknown | {*rest})}: an evaluation has "of" and "views"')
    views, of = how.get("views", "centre"), how.get("of", {})
    choice("views", views, VIEWS)
    for other, count in _dict(of, '"of"').items():
        if not isinstance(count, int) or count < 1:
            raise UserError(f'"of": {other!r}: {count!r}: expected a whole number of at least 1')
        if other not in earlier or earlier[other].of:
            raise UserError(f'"of": {other!r} is not an earlier arm that trains')
    if not of:
        raise UserError('"of" names no arm: write "of": {"baseline": 1}')
    first = earlier[next(iter(of))]
    return Arm(name, first.config, {"evaluate": dict(how)}, views, dict(of))
