"""Verdicts on claims: about a difference from the baseline, or about an error.

Where arms are compared by epochs (`ratio`), differences are logarithms of factors.
"""

import math

from alexnet.comparison import statistics
from alexnet.comparison.statistics import CANNOT_TELL, Estimate
from alexnet.sweeps.experiment import Claim

TARGET_POINTS = 1.0  # published errors, such as 26%, are rounded to this; 14.2% is judged alike


def verdict(against: Estimate | None, claim: Claim | None, ratio: bool, lost: bool) -> str:
    """What the runs say about a claim; "" if nothing is claimed, or there is nothing to judge.

    Args:
        against: the difference from what the claim is about.
        lost: whether runs are missing that would have been the worst: then nothing is decided.
    """
    if claim is None or (against is None and not lost):
        return ""
    size = effect(claim, ratio)
    if size is None and not claim.direction and claim.target is None:
        return ""
    if against is None or lost or not claim.tests:
        return CANNOT_TELL
    if claim.target is not None:
        return reached(against)
    least, _ = _sizes(claim, ratio)
    return statistics.verdict(against, size, claim.direction, least)


def effect(claim: Claim | None, ratio: bool) -> float | None:
    """The claimed difference; None if no size is claimed."""
    size = claim.effect if claim else None
    return math.log(size) if size and ratio else size


def needed(against: Estimate | None, claim: Claim, ratio: bool) -> int:
    """How many runs or pairs could decide about a claim; 0 if there are as many, or none would."""
    size = effect(claim, ratio) if claim.target is None else TARGET_POINTS
    if not against or statistics.decides(against, size):
        return 0
    if against.std and size:
        return statistics.needed(against.std, size)
    return statistics.LEAST if against.n < statistics.LEAST else 0


def missed(against: Estimate | None, claim: Claim | None, ratio: bool) -> str:
    """How an interval misses the claimed size: "larger", "smaller" or ""."""
    size = effect(claim, ratio)
    if not (claim and against and size):
        return ""
    return statistics.excluded(against, size, _sizes(claim, ratio))


def _sizes(claim: Claim, ratio: bool) -> tuple[float, float]:
    """The least and the most that a claimed difference may be, both without their sign."""
    if claim.between is None:
        size = abs(effect(claim, ratio) or 0)
        return size, size
    measured = math.log if ratio else float
    low, high = sorted(math.inf if one is None else abs(measured(one)) for one in claim.between)
    return low, high


def reached(against: Estimate) -> str:
    """The verdict on a target, by where the interval lies.

    "supported" if all of it, and "contradicted" if none of it, lies below or in what rounds to the
    target. Else "cannot tell", as with fewer than 5 runs, or if they could not show a point.
    """
    if against.n < statistics.LEAST or against.low is None or against.high is None:
        return CANNOT_TELL
    if against.smallest is None or against.smallest > TARGET_POINTS:
        return CANNOT_TELL
    if against.low > TARGET_POINTS / 2:
        return statistics.CONTRADICTED
    return statistics.SUPPORTED if against.high <= TARGET_POINTS / 2 else CANNOT_TELL
