"""The runs of each arm: those of its config, whatever they are called."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from alexnet import config as configs
from alexnet.data.recipe import without_place
from alexnet.errors import UserError
from alexnet.results.result import Result, matches, settings
from alexnet.sweeps.essence import arm_of
from alexnet.sweeps.experiment import Arm, Experiment
from alexnet.text import counted, some


@dataclasses.dataclass(frozen=True)
class Runs:
    """The runs of an arm, by seed.

    Attributes:
        results: of the runs that count.
        failures: why others failed.
        begun: the seeds of those that have not finished, even if they count.
    """

    results: Mapping[int, Result]
    failures: Mapping[int, str]
    begun: Sequence[int]

    @property
    def evaluated(self) -> bool:
        """Whether any is an evaluation, which is of a last checkpoint."""
        return any(result.views for result in self.results.values())


def placed(
    found: Sequence[Result], experiments: Sequence[Experiment]
) -> list[tuple[Experiment, dict[str, list[Result]]]]:
    """Each experiment with runs, and its runs by arm; the other runs form one for each dataset.

    There, a run that does not count forms no arm of its own. It joins the arm that has its config,
    if one has.
    """
    made, used = [], set()
    for experiment in experiments:
        runs = {
            name: [result for result in found if matches(result, arm)]
            for name, arm in experiment.arms.items()
        }
        used |= ids(runs)
        if any(one.counts or one.failure for several in runs.values() for one in several):
            made.append((experiment, runs))
    rest = [result for result in found if id(result) not in used]
    several = _by_dataset(rest)
    for runs_there in several:
        sound = [result for result in runs_there if result.counts]
        if not sound:
            continue
        last, groups = _grouped(sound, named=len(several) > 1)
        waiting = [result for result in runs_there if not result.counts]
        for group in groups.values():
            group += [result for result in waiting if _same(group[0], result)]
        made.append((last, groups))
    return made


def stranger(found: Sequence[Result], experiment: Experiment) -> str:
    """Why no run belongs to an experiment: how the nearest differs; "" if one belongs to it.

    `found` are all runs that there are, at least one.
    """
    arms = experiment.arms.values()
    if any(matches(result, arm) for result in found for arm in arms):
        return ""
    pairs = [(one, arm) for one in found for arm in arms if bool(one.of) == bool(arm.of)]
    if not pairs:
        return "there are no such evaluations"
    near, arm = min(pairs, key=lambda pair: len(_differing(pair[0].essence, pair[1].essence)))
    keys = _differing(near.essence, arm.essence)
    first = [f"{key}={near.essence.get(key)!r}, not {arm.essence.get(key)!r}" for key in keys]
    if not keys:
        return f"the nearest, {near.name}, is another average or has other views"
    return f"the nearest, {near.name}, has {some(first, 2)}"


def ids(runs: Mapping[str, list[Result]]) -> set[int]:
    """The `id` of every run of some arms."""
    return {id(result) for several in runs.values() for result in several}


def by_seed(results: Sequence[Result]) -> Runs:
    """The runs of an arm; a seed with a run that counts has no failure.

    Of two runs that agree, the one that was logged more often counts.

    Raises:
        UserError: if two runs of one seed differ.
    """
    found: dict[int, Result] = {}
    for result in results:
        if not result.counts:
            continue
        other = found.setdefault(result.seed, result)
        if other.last != result.last:
            raise UserError(
                f"{other.place} and {result.place} are two runs of one config and seed with "
                "different results: leave one out"
            )
        if result.config["log_every"] < other.config["log_every"]:
            found[result.seed] = result
    failures = {
        result.seed: result.failure
        for result in results
        if result.failure and result.seed not in found
    }
    begun = {
        result.seed
        for result in results
        if not (result.finished or result.failure) and found.get(result.seed, result) is result
    }
    return Runs(dict(sorted(found.items())), dict(sorted(failures.items())), sorted(begun))


def check_images(runs: Mapping[str, Runs], experiment: Experiment) -> None:
    """Raises UserError if runs on one dataset saw different images."""
    seen: dict[Any, tuple[str, str]] = {}
    for arm, of in runs.items():
        data = experiment.arms[arm].config.data
        for result in of.results.values():
            for split, digest in result.dataset["contents"].items():
                key = data.name, data.image_size, split
                other, place = seen.setdefault(key, (digest, result.place))
                if other != digest:
                    raise UserError(
                        f"{place} and {result.place} saw different {split} images of {data.name}: "
                        "compare them separately"
                    )


# --- Runs that belong to no experiment ------------------------------------------------------------


def _by_dataset(found: Sequence[Result]) -> list[list[Result]]:
    """The runs by dataset: it has one name, or one content, as a folder that was moved."""
    groups: list[list[Result]] = []
    for result in found:
        same = [group for group in groups if any(_same_dataset(one, result) for one in group)]
        if not same:
            groups.append([result])
            continue
        first, *others = same  # its name is one's, its images may be another's
        first += [one for other in others for one in other] + [result]
        groups = [group for group in groups if group not in others]
    return groups


def _same_dataset(one: Result, other: Result) -> bool:
    names = {without_place(result.config["data.name"]) for result in (one, other)}
    contents = one.dataset["contents"], other.dataset["contents"]
    return len(names) == 1 or (any(contents) and contents[0] == contents[1])


def _grouped(found: Sequence[Result], named: bool) -> tuple[Experiment, dict[str, list[Result]]]:
    """An experiment with an arm for each config, and its runs, all on one dataset.

    The first arm is the one that differs from the others in the fewest settings.

    Args:
        named: whether the title names the dataset.
    """
    data = without_place(found[0].config["data.name"])
    groups: list[list[Result]] = []
    for result in found:
        for group in groups:
            if _same(group[0], result):
                group.append(result)
                break
        else:
            groups.append([result])
    essences = [_settings(group[0]) for group in groups]
    far = [sum(len(_differing(one, other)) for other in essences) for one in essences]
    order = sorted(range(len(groups)), key=lambda place: (far[place], groups[place][0].name))
    middle, arms, runs_of = essences[order[0]], {}, {}
    short = [arm_of(group[0].name) for group in groups]
    for place in order:
        differing = _differing(middle, essences[place])
        overrides = {key: essences[place].get(key) for key in differing}
        # The number is no seed if another group has the same name
        name = short[place] if short.count(short[place]) == 1 else groups[place][0].name
        while name in arms:
            name += "'"
        config = configs.nested({**groups[place][0].config, "data.name": data})
        arms[name] = Arm(name, ConfigDict(config), overrides)
        runs_of[name] = groups[place]
    count = sum(len(by_seed(runs).results) for runs in groups)  # a run may have been read twice
    title = counted(count, "run") + f" on {data}" * named
    return Experiment("", "", title, arms, {}, 0), runs_of


def _same(one: Result, other: Result) -> bool:
    return _settings(one) == _settings(other)


def _settings(result: Result) -> dict[str, Any]:
    """What tells arms on one dataset apart, whatever it is called."""
    return {key: value for key, value in settings(result).items() if key != "data.name"}


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The keys whose values differ."""
    return [key for key in {**one, **other} if one.get(key) != other.get(key)]
