"""Intervals, smallest effects and verdicts, against hand-computed numbers and simulations."""

import math

import numpy as np
import pytest

from alexnet.comparison import statistics
from alexnet.comparison.statistics import (
    CANNOT_TELL,
    CONTRADICTED,
    SUPPORTED,
    Estimate,
    estimate,
    verdict,
)

# Quantiles of Student's t, 97.5%, and of n - 1 degrees of freedom, from a printed table.
TABLE = {2: 12.706, 3: 4.303, 5: 2.776, 8: 2.365, 31: 2.042}


def test_an_estimate_by_hand():
    found = estimate([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (found.n, found.mean) == (5, 3.0)
    assert found.std == pytest.approx(math.sqrt(2.5))
    half = 2.776 * math.sqrt(2.5 / 5)
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half), rel=1e-3)


@pytest.mark.parametrize("n", TABLE)
def test_the_interval_has_the_tables_quantile(n):
    found = estimate(np.random.default_rng(n).normal(size=n))
    assert (found.high - found.mean) * math.sqrt(n) / found.std == pytest.approx(TABLE[n], rel=1e-3)


def test_one_difference_has_no_interval():
    assert estimate([0.5]) == Estimate(1, 0.5)


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_an_interval_holds_the_truth_in_95_of_100_experiments(n):
    draws = np.random.default_rng(1).normal(0.7, 2.0, (2000, n))
    held = [found.low <= 0.7 <= found.high for found in map(estimate, draws)]
    assert np.mean(held) == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 2000))


@pytest.mark.parametrize("n", [2, 5, 8, 30])
def test_the_smallest_effect_is_found_in_80_of_100_experiments(n):
    """`smallest` goes by the spread that was found; here it is scaled to the true one."""
    spread = 0.3
    ideal = spread * np.array([-1, 1] * (n // 2) + [0] * (n % 2))
    found = estimate(ideal)
    effect = found.smallest * spread / found.std
    draws = np.random.default_rng(2).normal(effect, spread, (2000, n))
    shown = [found.low > 0 or found.high < 0 for found in map(estimate, draws)]
    assert np.mean(shown) == pytest.approx(0.8, abs=4 * math.sqrt(0.8 * 0.2 / 2000))


@pytest.mark.parametrize("std", [0.01, 0.3, 0.5, 1.0, 3.0])
def test_the_pairs_that_are_needed_are_the_fewest_that_decide(std):
    """`decides` is what a verdict asks."""

    def decides(n: int, effect: float) -> bool:
        values = std * np.array([-1, 1] * (n // 2) + [0] * (n % 2))
        found = estimate(values * std / np.std(values, ddof=1))
        return statistics.decides(found, effect)

    for effect in (-0.4, 1.4):
        n = statistics.needed(std, effect)
        assert decides(n, effect)
        assert n == 5 or not decides(n - 1, effect)


def test_an_effect_of_zero_is_found_in_5_of_100_experiments():
    for n in (2, 8, 50):
        assert statistics.power(n, 0.0) == pytest.approx(0.05, abs=1e-4)


def of(low: float, high: float, n: int = 8, smallest: float = 0.5) -> Estimate:
    return Estimate(n, (low + high) / 2, 1.0, low, high, smallest)


@pytest.mark.parametrize(
    ("found", "effect", "expected"),
    [
        (of(0.2, 1.0), 1.4, SUPPORTED),  # smaller than claimed, but on its side
        (of(1.0, 3.0), 1.4, SUPPORTED),
        (of(-0.5, 0.5), 1.4, CONTRADICTED),
        (of(-2.0, -1.0), 1.4, CONTRADICTED),  # the other way round
        (of(-0.1, 1.5), 1.4, CANNOT_TELL),  # both 0 and the claim are possible
        (of(0.2, 1.0, n=4), 1.4, CANNOT_TELL),
        (of(0.2, 1.0, smallest=1.5), 1.4, CANNOT_TELL),
        (of(-0.5, 0.5, smallest=1.5), 1.4, CANNOT_TELL),
        (of(0.2, 1.0), None, CANNOT_TELL),
        # a claim that an error falls
        (of(-2.0, -1.0), -1.4, SUPPORTED),
        (of(1.0, 2.0), -1.4, CONTRADICTED),
        (of(-0.5, 0.5), -1.4, CONTRADICTED),
        (of(-1.5, 0.1), -1.4, CANNOT_TELL),
    ],
)
def test_verdicts(found, effect, expected):
    assert verdict(found, effect) == expected


@pytest.mark.parametrize(
    ("low", "high", "direction", "expected"),
    [
        (0.1, 9.0, 1, SUPPORTED),
        (-0.1, 9.0, 1, CANNOT_TELL),
        (-9.0, -0.1, 1, CONTRADICTED),
        (-0.5, 0.5, 1, CANNOT_TELL),
        (-9.0, -0.1, -1, SUPPORTED),
        (0.1, 9.0, -1, CONTRADICTED),
    ],
)
def test_a_claim_without_a_number_has_a_direction(low, high, direction, expected):
    assert verdict(of(low, high, smallest=99.0), None, direction) == expected
    assert verdict(of(low, high, n=4), None, direction) == CANNOT_TELL


@pytest.mark.parametrize("effect", [1.4, None])
def test_differences_that_are_all_zero_say_nothing(effect):
    """Such are the top-5 errors of five classes, and the errors of nets that guess."""
    found = estimate([0.0] * 8)
    assert not statistics.decides(found, effect)
    assert verdict(found, effect, direction=1) == CANNOT_TELL
    assert verdict(estimate([0.5] * 8), effect, direction=1) == SUPPORTED


def test_false_claims_look_supported_as_often_as_expected_by_chance():
    draws = np.random.default_rng(3).normal(0.0, 0.1, (2000, 6))
    supported = sum(verdict(found, 1.0) == SUPPORTED for found in map(estimate, draws))
    expected = statistics.by_chance(2000)
    assert expected == pytest.approx(50)
    assert supported == pytest.approx(expected, abs=4 * math.sqrt(expected))


@pytest.mark.parametrize(
    ("low", "high", "effect", "how"),
    [
        (1.5, 2.5, 1.4, "larger"),
        (1.4, 2.5, 1.4, ""),
        (0.5, 1.4, 1.4, ""),
        (0.5, 1.3, 1.4, "smaller"),
        (-0.5, 1.3, 1.4, "smaller"),
        (-0.5, -0.3, 1.4, ""),  # of the other sign
        (-2.5, -1.5, -1.4, "larger"),
        (-1.3, 0.2, -1.4, "smaller"),
        (None, None, 1.4, ""),
    ],
)
def test_an_interval_may_exclude_the_claimed_size(low, high, effect, how):
    found = statistics.Estimate(5, 1.0, 0.2, low, high, 1.0)
    assert statistics.excluded(found, effect) == how


@pytest.mark.parametrize(
    ("low", "high", "effect", "sizes", "how"),
    [
        (2.14, 3.58, 2.0, (1.5, 2.5), ""),  # "about 2"
        (2.51, 3.58, 2.0, (1.5, 2.5), "larger"),
        (0.3, 1.5, 2.0, (1.5, 2.5), ""),
        (0.3, 1.4, 2.0, (1.5, 2.5), "smaller"),
        (-2.12, -1.55, -1.5, (1.4, 1.6), ""),  # 37.5 - 39.0
        (-1.39, -0.4, -1.5, (1.4, 1.6), "smaller"),
        (7.0, 9.0, 1.0, (1.0, math.inf), ""),  # "over 1"
        (0.2, 0.9, 1.0, (1.0, math.inf), "smaller"),
    ],
)
def test_a_claim_that_is_not_exact_is_excluded_only_beyond_what_it_allows(
    low, high, effect, sizes, how
):
    found = statistics.Estimate(5, 1.0, 0.2, low, high, 1.0)
    assert statistics.excluded(found, effect, sizes) == how


@pytest.mark.parametrize(("least", "expected"), [(None, CONTRADICTED), (1.5, CANNOT_TELL)])
def test_a_claim_is_contradicted_only_below_the_least_that_it_allows(least, expected):
    found = statistics.Estimate(5, 0.7, 0.2, -0.3, 1.7, 1.0)
    assert verdict(found, 2.0, least=least) == expected
