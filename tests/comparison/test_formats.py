"""Numbers of a table as text."""

import math
from types import SimpleNamespace

import pytest

from alexnet.comparison import formats
from alexnet.comparison.table import Table
from alexnet.sweeps.experiment import EPOCHS_TO, ERROR, Claim, Experiment


@pytest.mark.parametrize(
    ("claim", "ratio", "text"),
    [
        (None, False, ""),
        (Claim(""), False, "-"),
        (Claim("", target=18.2), False, "18.2%"),
        (Claim("", target=18), True, "18%"),
        (Claim("", effect=1.4), False, "+1.4"),
        (Claim("", effect=-0.5), False, "-0.5"),
        (Claim("", effect=6), True, "x6"),
    ],
)
def test_what_is_claimed(claim, ratio, text):
    assert formats.claim_of(SimpleNamespace(claim=claim), ratio) == text


@pytest.mark.parametrize(
    ("scale", "more"), [("small", []), ("digits", ["(a demonstration: no verdicts)"])]
)
def test_a_demonstration_says_that_it_judges_nothing(scale, more):
    experiment = Experiment("lrn", scale, "LRN.", {}, {}, 5, source=f"lrn.py:{scale}")
    titled = formats._titled(Table(experiment, "CIFAR-10", [], [], []))
    assert titled == [f"lrn.py:{scale}, CIFAR-10: LRN.", *more]


def test_each_goal_has_its_own_legend():
    metrics = [ERROR, f"{EPOCHS_TO}0.4", ERROR, f"{EPOCHS_TO}0.25"]
    tables = [Table(Experiment("", "", "", {}, {}, 1, one), "", [], [], []) for one in metrics]
    for made in (formats.text(tables, "best"), formats.markdown(tables, "best")):
        words = " ".join(made.split())
        assert words.count("error: top-1 in per cent, of the best checkpoint;") == 1
        assert words.count("epochs: to a training error of 0.4;") == 1
        assert words.count("epochs: to a training error of 0.25;") == 1


@pytest.mark.parametrize(("direction", "text"), [(1, "above"), (-1, "below"), (0, "-")])
def test_a_claim_without_a_number_has_a_direction(direction, text):
    claim = SimpleNamespace(target=None, effect=None, direction=direction)
    assert formats.claim_of(SimpleNamespace(claim=claim), False) == text


@pytest.mark.parametrize(
    ("mean", "std", "text"), [(None, None, "-"), (18.204, None, "18.20"), (18, 0.5, "18.00 ± 0.50")]
)
def test_a_mean_and_its_deviation(mean, std, text):
    assert formats.value_of(SimpleNamespace(mean=mean, std=std)) == text


@pytest.mark.parametrize(
    ("ratio", "mean", "interval", "smallest"),
    [(False, "+0.69", "+0.69 [+0.00 +0.69]", "1.10"), (True, "2.00", "2.00 [1.00 2.00]", "3.00")],
)
def test_a_difference_or_for_epochs_a_factor(ratio, mean, interval, smallest):
    none, known = SimpleNamespace(against=None), SimpleNamespace(claim=None)
    assert formats.difference_of(none, ratio) == formats.smallest_of(none, ratio) == ""
    known.against = SimpleNamespace(mean=math.log(2), low=None, high=None, smallest=None)
    assert formats.difference_of(known, ratio) == mean
    assert formats.smallest_of(known, ratio) == ""
    known.against = SimpleNamespace(mean=math.log(2), low=0.0, high=math.log(2), smallest=1.1)
    assert formats.difference_of(known, ratio) == interval
    assert formats.smallest_of(known, ratio) == smallest
    known.claim = SimpleNamespace(effect=0.5)  # half as many epochs: a factor below 1 shows it
    assert formats.smallest_of(known, ratio) == ("0.33" if ratio else smallest)
    known.claim = SimpleNamespace(effect=None)
    known.against.mean = -1.0
    assert formats.smallest_of(known, ratio) == ("0.33" if ratio else smallest)


@pytest.mark.parametrize(("known", "text"), [([1.0, 2.0], "2"), ([2.0], "1 of 2"), ([], "0 of 2")])
def test_runs_without_a_value_are_not_counted_among_those_with_one(known, text):
    assert formats.count_of(SimpleNamespace(values={0: 1, 1: 2}, known=known)) == text
