"""What a reader should know about the runs behind a table: a line for each fact."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from alexnet.comparison.arms import Runs
from alexnet.comparison.statistics import LEAST, Estimate
from alexnet.results import curve
from alexnet.results.result import THEN, Result
from alexnet.sweeps.experiment import Claim, Experiment


def caveats(claims: Mapping[str, Claim | None]) -> list[str]:
    """What the experiments say about their claims."""
    return [f"{name}: {one.caveat}" for name, one in claims.items() if one and one.caveat]


def images(elsewhere: Sequence[str], first: str) -> list[str]:
    """Arms that were trained on other images than the first."""
    return [f"{name} and {first} saw different images: not compared" for name in elsewhere]


def never(
    values: Mapping[str, Mapping[int, float | None]],
    runs: Mapping[str, Runs],
    experiment: Experiment,
) -> list[str]:
    """Runs that diverged, or never reached the training error that an experiment is about."""
    goal = experiment.metric.removeprefix("epochs to ")
    other = f" or never reached {goal}" if experiment.counts_epochs else ""
    lacking = _by_seeds(
        {
            name: [s for s, one in seeds.items() if one is None and s not in runs[name].begun]
            for name, seeds in values.items()
        }
    )
    return [f"{_listed(names)} with {_seeds(seeds)} diverged{other}" for seeds, names in lacking]


def guessing(runs: Mapping[str, Runs]) -> list[str]:
    """Runs that learnt nothing: how much worse they are says how bad guessing is."""
    return [
        f"{name} with {_seeds(stuck)} never got beyond guessing"
        for name, of in runs.items()
        if (stuck := [s for s, r in of.results.items() if r.finished and curve.guesses(r)])
    ]


def equal(against: Mapping[str, Estimate | None], first: str) -> list[str]:
    """Arms that do not differ from the first in any pair, as if nothing had been learnt."""
    names = [n for n, found in against.items() if found and found.n > 1 and found.smallest is None]
    words = f"every run equals its partner of {first}: no effect shows"
    return [f"{_listed(names)}: {words}"] if names else []


def partners(
    values: Mapping[str, Mapping[int, Any]], first: str, free: Collection[str]
) -> list[str]:
    """Runs without one of the `first` arm with the same seed; arms in `free` need none."""
    alone = _by_seeds(
        {
            name: [seed for seed in seeds if seed not in values[first]]
            for name, seeds in values.items()
            if name not in free
        }
    )
    return [
        f"{_listed(names)} {'has' if len(names) == 1 else 'have'} {_seeds(seeds)}, {first} does "
        "not: left out of the pairs"
        for seeds, names in alone
    ]


def unfinished(runs: Mapping[str, Runs]) -> list[str]:
    """Runs that have begun but not finished; some may have been validated, and have errors."""
    found = []
    for name, of in runs.items():
        so_far = [seed for seed in of.begun if seed in of.results]
        others = [seed for seed in of.begun if seed not in of.results]
        if so_far:
            counts = "what it has reached so far is counted"
            found.append(f"{name} with {_seeds(so_far)} has not finished: {counts}; no verdict")
        if others:
            found.append(f"{name} with {_seeds(others)} has not finished: no verdict")
    return found


def unplanned(runs: Mapping[str, Runs], experiment: Experiment) -> list[str]:
    """Arms with more or fewer runs than planned: their results may have decided when to stop.

    Args:
        runs: of the arms about which something is claimed.
    """
    counts = defaultdict(list)
    for name, of in runs.items():
        planned = experiment.seeds // max(experiment.arms[name].of.values(), default=1)
        if (count := len({*of.results, *of.failures, *of.begun})) not in (0, planned):
            counts[count, planned].append(name)
    return [
        f"{_listed(names)} {'has' if len(names) == 1 else 'have'} "
        + (f"{count} runs, more than the {planned} planned" if count > planned else "")
        + (f"{count} of the {planned} planned runs" if count < planned else "")
        for (count, planned), names in counts.items()
    ]


def too_few(needed: Mapping[str, tuple[int, bool]]) -> list[str]:
    """How many runs each claim with too few would need.

    Args:
        needed: {arm: (how many, whether in pairs)}.
    """
    found = []
    for name, (count, pairs) in needed.items():
        what = "pairs" if pairs else "runs"
        shows = "the claimed effect" if pairs else "a difference of one point"
        if count == LEAST:
            found.append(f"{name}: a verdict needs {LEAST} {what}")
        else:
            found.append(f"{name}: {count} {what} with this spread could show {shows}")
    return found


def sizes(missed: Mapping[str, str]) -> list[str]:
    """The decided claims whose size the interval excludes.

    Args:
        missed: {arm: "larger", "smaller" or ""}.
    """
    return [f"{name}: {how} than claimed" for name, how in missed.items() if how]


def failures(runs: Mapping[str, Runs]) -> list[str]:
    """Runs that failed, by reason."""
    found = []
    for name, of in runs.items():
        for reason in dict.fromkeys(of.failures.values()):
            seeds = [seed for seed, why in of.failures.items() if why == reason]
            found.append(f"{name} with {_seeds(seeds)} failed: {reason}: left out")
    return found


def changed(runs: Mapping[str, Runs]) -> list[str]:
    """Runs of which a setting was changed on the way, such as a rate after a divergence."""
    return [
        f"{name} with {_seeds([seed])}: {_listed(keys)} changed on the way"
        for name, of in runs.items()
        for seed, result in of.results.items()
        if (keys := result.about.get("changed"))
    ]


def shared(runs: Mapping[str, Runs]) -> list[str]:
    """Averages that share nets, as separate sweeps can produce, and so are not independent."""
    found = []
    for name, of in runs.items():
        members = Counter(member for result in of.results.values() for member in result.of)
        if common := [member for member, count in members.items() if count > 1]:
            found.append(f"averages of {name} share {_listed(common)}: no verdict")
    return found


def intervals(used: Sequence[Result], experiment: Experiment) -> list[str]:
    """Runs that were logged at different intervals, if epochs are read from the log."""
    steps = sorted({result.config["log_every"] for result in used})
    if not experiment.counts_epochs or len(steps) < 2:
        return []
    return [f"runs were logged every {_listed(steps)} steps: their epochs differ by that, too"]


def views(alike: Mapping[str, str], first: str) -> list[str]:
    """Evaluations that are compared with one of the same views, not with the `first` arm."""
    return [
        f"{name} is compared with {other}: the same views"
        for name, other in alike.items()
        if other != first
    ]


def of_last(names: Sequence[str]) -> list[str]:
    """Evaluations, which are of last checkpoints, where the best are compared."""
    words = "evaluations are of the last checkpoint: not compared"
    return [f"{_listed(names)}: {words}"] if names else []


def machines(used: Sequence[Result]) -> list[str]:
    """Commits, devices, cores and versions that differ, and changes that were not committed."""
    found = []
    commits = Counter(str(result.about.get("commit") or "unknown") for result in used)
    if _several(commits):
        each = ", ".join(f"{_short(name)} ({count})" for name, count in commits.items())
        found.append(f"runs of different commits: {each}")
    elif any("+" in name for name in commits):
        found.append(f"commit {_short(next(iter(commits)))}: with uncommitted changes")
    devices = Counter(str(result.about["device"]) for result in used if result.about.get("device"))
    if _several(devices):
        each = ", ".join(f"{name} ({count})" for name, count in devices.items())
        found.append(f"runs on different devices: {each}")
    cores = {str(result.about["cores"]) for result in used if result.about.get("cores")}
    if _several(cores):
        found.append(f"runs on different numbers of cores: {_listed(sorted(cores, key=_first))}")
    known = [result.about["versions"] for result in used if result.about.get("versions")]
    versions = {one["jaxlib"] for one in known if "jaxlib" in one}
    if _several(versions):  # last bits may depend on it
        found.append(f"runs with different versions of jaxlib: {_listed(sorted(versions))}")
    return found


def _several(values: Collection[str]) -> bool:
    """Whether runs differ in a value, or one run had several, "a then b"."""
    return len(values) > 1 or any(THEN in value for value in values)


def _first(cores: str) -> int:
    return int(cores.partition(THEN)[0])


def _by_seeds(seeds: Mapping[str, Sequence[int]]) -> list[tuple[tuple[int, ...], list[str]]]:
    """[(seeds, the arms with just these)]; arms without seeds are left out."""
    found = defaultdict(list)
    for name, some in seeds.items():
        if some:
            found[tuple(some)].append(name)
    return list(found.items())


def _short(commit: str) -> str:
    """The first digits of a commit, or of several; "+" and a digest of changes stay."""
    each = (one.partition("+") for one in commit.split(THEN))
    return THEN.join(f"{name[:7]}{plus}{digest}" for name, plus, digest in each)


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {_listed(seeds)}"


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))
