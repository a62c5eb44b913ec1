"""What differences between paired runs say about a claim, by Student's t alone.

Runs of two arms are paired by their seed, which gives both the same initial weights (in layers that
both have), the same order of images and the same crops.
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

LEVEL = 0.95  # of the intervals
POWER = 0.8  # the probability of finding `Estimate.smallest`
LEAST = 5  # pairs needed for a verdict

SUPPORTED, CONTRADICTED, CANNOT_TELL = "supported", "contradicted", "cannot tell"


class Estimate(NamedTuple):
    """The mean of some differences, and its uncertainty.

    Attributes:
        n: how many differences there are.
        mean: of the differences.
        std: their sample standard deviation; None if n is 1.
        low, high: the 95% interval of the mean, by Student's t; None if n is 1.
        smallest: the smallest effect that n differences with this spread could show: a test at the
            5% level would find it with a `power` of 80%; None if n is 1, or if all are 0.
    """

    n: int
    mean: float
    std: float | None = None
    low: float | None = None
    high: float | None = None
    smallest: float | None = None


def estimate(differences: Sequence[float]) -> Estimate:
    """The mean of some differences, with its interval."""
    values = np.asarray(differences, np.float64)
    n, mean = len(values), float(values.mean())
    if n < 2:
        return Estimate(n, mean)
    std = float(values.std(ddof=1))
    error = std / math.sqrt(n)
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * error
    smallest = _detectable(n) * error if mean or std else None
    return Estimate(n, mean, std, mean - half, mean + half, smallest)


def power(n: int, effect: float) -> float:
    """The probability that a two-sided t test on n differences finds an effect.

    `effect` is in standard errors of the mean. Given the sample's standard deviation, the
    probability is the normal distribution's; Gaussian quadrature averages it over the deviation.
    (scipy's noncentral t gives NaN for n = 2.)
    """
    nodes, weights = np.polynomial.legendre.leggauss(200)
    std = np.sqrt(stats.chi2.ppf((nodes + 1) / 2, n - 1) / (n - 1))
    critical = stats.t.ppf((1 + LEVEL) / 2, n - 1) * std
    found = stats.norm.sf(critical - effect) + stats.norm.cdf(-critical - effect)
    return float(weights @ found / 2)


@functools.cache
def _detectable(n: int) -> float:
    """The effect, in standard errors of the mean, that is found with POWER."""
    return float(optimize.brentq(lambda effect: power(n, effect) - POWER, 0, 100))


def decides(found: Estimate, effect: float | None) -> bool:
    """Whether there are 5 pairs, and enough to show an effect as small as the claimed one.

    Differences that are all 0 show nothing: such are top-5 errors of five classes, or of guessing.
    """
    shows = not effect or (found.smallest is not None and found.smallest <= abs(effect))
    return found.n >= LEAST and shows and bool(found.mean or found.std)


def needed(std: float, effect: float) -> int:
    """The fewest differences with this spread, at least 5, that could show an effect."""
    ratio = std / abs(effect)
    normal = float(stats.norm.ppf((1 + LEVEL) / 2) + stats.norm.ppf(POWER))  # a bound for all n
    n = max(LEAST, math.floor((normal * ratio) ** 2))
    while _detectable(n) * ratio > math.sqrt(n):
        n += 1
    return n


def verdict(
    found: Estimate, effect: float | None, direction: int = 0, least: float | None = None
) -> str:
    """What an estimate says about a claimed difference, `effect`.

    "supported": the interval lies on the claim's side of 0. "contradicted": it does not, and does
    not reach the claimed effect; if only a `direction` is claimed, it lies on the other side of 0.
    "cannot tell": neither, or nothing is claimed, or there are fewer than 5 pairs, or the smallest
    effect that these pairs could show exceeds the claimed one.

    Args:
        least: the smallest size that the claim's words allow; None is that of `effect`.
    """
    sign = math.copysign(1, effect) if effect else direction
    bounds = _towards(found, sign)
    if not sign or not decides(found, effect) or bounds is None:
        return CANNOT_TELL
    low, high = bounds
    if low > 0:
        return SUPPORTED
    return CONTRADICTED if high < abs((effect if least is None else least) or 0) else CANNOT_TELL


def excluded(found: Estimate, effect: float, sizes: tuple[float, float] | None = None) -> str:
    """How the interval misses a claimed difference on its side of 0.

    "larger" if it lies beyond the claim, "smaller" if before it; "" if it reaches it, has no
    bounds, or lies on the other side.

    Args:
        sizes: the least and the most that the claim's words allow; None is `effect` alone.
    """
    bounds = _towards(found, effect)
    if bounds is None:
        return ""
    (low, high), (least, most) = bounds, sizes or (abs(effect), abs(effect))
    if low > most:
        return "larger"
    return "smaller" if 0 <= high < least else ""


def _towards(found: Estimate, sign: float) -> tuple[float, float] | None:
    """The interval, mirrored if `sign` is negative, so that the claim's side is above 0."""
    if found.low is None or found.high is None:
        return None
    return (found.low, found.high) if sign > 0 else (-found.high, -found.low)


def by_chance(claims: int) -> float:
    """How many of `claims` would look supported if no arm differed from its baseline, at most.

    A claim can only look supported if its interval lies on one side of 0, which happens to 2.5%.
    """
    return claims * (1 - LEVEL) / 2
