"""alexnet.training.schedule: rates and events at their exact epochs, from the history alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiny import ROOT

from alexnet import config as configs
from alexnet.errors import UserError
from alexnet.training import schedule
from alexnet.training.schedule import Hyperparameters, Milestones, Plateau, Schedule, Stepwise
from alexnet.training.settings import KINDS

LAYERS = ["conv1", "conv2", "fc8"]

# .01; epoch 23 -> .001; 51 -> .0001; 68: conv1 -> 1e-5 and colour noise off; 72: conv1 frozen;
# 78 -> 1e-5; stopped at 93. The biases keep their .02, but conv1's follow its kernels from 68 on.
RUN_145_2010 = [
    # epoch, fc8, conv1, conv1's biases, noise
    (0, 1e-2, 1e-2, 2e-2, 1),
    (22.999, 1e-2, 1e-2, 2e-2, 1),
    (23, 1e-3, 1e-3, 2e-2, 1),
    (50.999, 1e-3, 1e-3, 2e-2, 1),
    (51, 1e-4, 1e-4, 2e-2, 1),
    (67.999, 1e-4, 1e-4, 2e-2, 1),
    (68, 1e-4, 1e-5, 2e-3, 0),
    (71.999, 1e-4, 1e-5, 2e-3, 0),
    (72, 1e-4, 0, 0, 0),
    (77.999, 1e-4, 0, 0, 0),
    (78, 1e-5, 0, 0, 0),
    (93, 1e-5, 0, 0, 0),
]
# The same on ImageNet 2012: 25, 51, 67, 72, 79; stopped at 91.
RUN_145 = [
    (0, 1e-2, 1e-2, 2e-2, 1),
    (24.999, 1e-2, 1e-2, 2e-2, 1),
    (25, 1e-3, 1e-3, 2e-2, 1),
    (50.999, 1e-3, 1e-3, 2e-2, 1),
    (51, 1e-4, 1e-4, 2e-2, 1),
    (66.999, 1e-4, 1e-4, 2e-2, 1),
    (67, 1e-4, 1e-5, 2e-3, 0),
    (72, 1e-4, 0, 0, 0),
    (78.999, 1e-4, 0, 0, 0),
    (79, 1e-5, 0, 0, 0),
    (91, 1e-5, 0, 0, 0),
]


def rate(hyperparameters: Hyperparameters, layer: str = "fc8", leaf: str = "kernel") -> float:
    return float(hyperparameters.rates[layer][leaf])


def of_config(name: str) -> tuple[float, schedule.Schedule]:
    """The epochs and the schedule of a config in configs/."""
    config = configs.load(f"{ROOT}/configs/{name}", KINDS)
    built = configs.call(schedule.build, "schedule", config.schedule, epochs=config.epochs)
    return config.epochs, built


def around(drops: tuple[int, ...], last: int) -> list[tuple[int, float]]:
    """(how many drops came before, epoch) where each stage begins, and just before it ends."""
    stages = enumerate(zip((0, *drops), (*drops, last), strict=True))
    return [(number, epoch) for number, (a, b) in stages for epoch in (a, b - 0.001)]


@pytest.mark.parametrize(
    ("name", "log"), [("ilsvrc2010.py", RUN_145_2010), ("imagenet.py", RUN_145)]
)
def test_runs_145_2010_and_145_epoch_by_epoch(name, log):
    epochs, eps = of_config(name)
    assert epochs == log[-1][0]
    for epoch, fc8, conv1, bias1, noise in log:
        now = eps(epoch, [], LAYERS)
        rates = [rate(now, layer) for layer in LAYERS]
        assert rates == pytest.approx([conv1, fc8, fc8]), epoch
        biases = [rate(now, layer, "bias") for layer in LAYERS]
        assert biases == pytest.approx([bias1, 2e-2, 2e-2]), epoch
        assert now.colour_noise == noise, epoch


@pytest.mark.parametrize(
    ("variant", "epochs", "drops"),
    [
        # "to 26% in 80 seconds"; "120 epochs, then /10 for 10 more, and again"; 11pct is 350 + 150
        # epochs at the first rate
        ("80sec", 10, (8,)),
        ("19pct", 140, (120, 130)),
        ("19pct-translations", 140, (120, 130)),
        ("18pct", 140, (120, 130)),
        ("conv-local-13pct", 160, (140, 150)),
        ("conv-local-11pct", 520, (500, 510)),
    ],
)
def test_cuda_convnets_rates(variant, epochs, drops):
    """Kernels .001, divided by 10 at each drop; biases .002 throughout."""
    said, eps = of_config(f"cifar10.py:{variant}")
    assert said == epochs
    for number, epoch in around(drops, epochs):
        now = eps(epoch, [], LAYERS)
        assert [rate(now, layer) for layer in LAYERS] == pytest.approx([1e-3 / 10**number] * 3)
        assert [rate(now, layer, "bias") for layer in LAYERS] == pytest.approx([2e-3] * 3)
        assert now.colour_noise == 1  # times a deviation of 0


@pytest.mark.parametrize(
    ("variant", "drops", "last"),
    [
        # solver.prototxt: gamma .1 every 100,000 steps of 256 images, 450,000 in all; the biases'
        # lr_mult is 2
        ("caffe_alexnet", (20, 40, 60, 80), 90),
        ("caffenet", (20, 40, 60, 80), 90),
        ("torchvision", (30, 60), 90),  # --lr 0.01 --lr-step-size 30 --lr-gamma 0.1 --epochs 90
    ],
)
def test_the_rates_of_other_frameworks(variant, drops, last):
    epochs, eps = of_config(f"imagenet.py:{variant}")
    assert epochs == last
    factor = 1 if variant == "torchvision" else 2
    for number, epoch in around(drops, last):
        now, expected = eps(epoch, [], LAYERS), 1e-2 / 10**number
        assert [rate(now, layer) for layer in LAYERS] == pytest.approx([expected] * 3)
        biases = [rate(now, layer, "bias") for layer in LAYERS]
        assert biases == pytest.approx([factor * expected] * 3)


def test_rates_and_noise_are_float32_scalars():
    hyperparameters = Milestones(rate=0.01)(0, [], LAYERS)
    assert list(hyperparameters.rates) == LAYERS
    leaves = [leaf for layer in hyperparameters.rates.values() for leaf in layer.values()]
    assert len(leaves) == 6
    assert all(type(leaf) is np.float32 for leaf in [*leaves, hyperparameters.colour_noise])


def test_no_milestones_is_a_constant_rate():
    assert {Milestones(rate=0.3).base_rate(epoch, [0.5] * 50) for epoch in range(90)} == {0.3}


def test_biases_that_do_not_drop():
    """The final layer-params-145-2010.cfg has epsB .002 beside epsW .00001."""
    drops = {"milestones": ((23, 1e-3), (51, 1e-4), (78, 1e-5)), "events": ((72, "conv1", 0),)}
    eps = Milestones(rate=1e-3, **drops, bias_drops=False)
    hyperparameters = eps(90, [], LAYERS)
    assert rate(hyperparameters) == pytest.approx(1e-5)
    assert rate(hyperparameters, "fc8", "bias") == pytest.approx(2e-3)
    assert rate(hyperparameters, "conv1", "bias") == 0  # frozen all the same


def test_colour_noise_may_come_back():
    events = ((1, "colour_noise", 0), (2, "colour_noise", 1))
    eps = Milestones(rate=0.01, events=events)
    assert [eps(epoch, [], LAYERS).colour_noise for epoch in (0, 1, 2)] == [1, 0, 1]
    with pytest.raises(UserError, match=r"'colour_noise', 2\): colour_noise is 1, on, or 0, off"):
        Milestones(rate=0.01, events=((1, "colour_noise", 2),))


def test_bias_factor():
    hyperparameters = Milestones(rate=0.01, bias_factor=1.5)(0, [], LAYERS)
    assert rate(hyperparameters, "conv2", "bias") == pytest.approx(0.015)


def test_an_event_for_one_part_of_a_layer_and_the_later_event_wins():
    events = ((1, "conv1.bias", 0.5), (2, "conv1.kernel", 0.0), (3, "conv1", 0.1))
    eps = Milestones(rate=0.01, events=events)
    found = [
        (rate(hyperparameters, "conv1", "kernel"), rate(hyperparameters, "conv1", "bias"))
        for hyperparameters in (eps(epoch, [], LAYERS) for epoch in (0.5, 1, 2, 3))
    ]
    expected = [(0.01, 0.02), (0.01, 0.5), (0, 0.5), (0.1, 0.2)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_later_event_is_the_later_one_in_the_list():
    for events in (((3, "conv1", 0.1), (1, "conv1", 0.5)), ((3, "conv1", 0.7), (3, "conv1", 0.5))):
        eps = Milestones(rate=0.01, events=events)
        assert rate(eps(3, [], LAYERS), "conv1", "kernel") == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("epoch", "conv1", "others", "fc8", "noise"),
    [
        (0, 1e-4, 1e-3, 1e-3, 1),
        (299 * 1024 / 1281167, 1e-4, 1e-3, 1e-3, 1),
        (300 * 1024 / 1281167, 1e-4, 1e-3, 1e-2, 1),
        (4.999, 1e-4, 1e-3, 1e-2, 1),
        (5, 1e-5, 1e-3, 1e-2, 1),
        (7, 0, 1e-3, 1e-2, 1),
        (9, 0, 1e-3, 1e-3, 1),
        (21.999, 0, 1e-3, 1e-3, 1),
        (22, 0, 1e-4, 1e-4, 1),
        (38, 0, 1e-4, 1e-4, 0),
        (42, 0, 1e-5, 1e-5, 0),
        (54, 0, 1e-5, 1e-5, 0),
    ],
)
def test_run_146_2012_2011_epoch_by_epoch(epoch, conv1, others, fc8, noise):
    """The log in `layer-params-146-2012-2011.cfg`, line by line."""
    epochs, eps = of_config("imagenet.py:fine_tune")
    assert epochs == 54
    hyperparameters = eps(epoch, [], LAYERS)
    assert [rate(hyperparameters, layer) for layer in LAYERS] == pytest.approx([conv1, others, fc8])
    biases = [0.02 if epoch < 7 else 0, 0.02, 0.02]
    assert [rate(hyperparameters, layer, "bias") for layer in LAYERS] == pytest.approx(biases)
    assert hyperparameters.colour_noise == noise


@pytest.mark.parametrize(
    ("variant", "drop", "killed", "conv6"),
    # in 2009 "2.1600" and "6.6491", in 2011 "6" and "8.11295": EPOCH.BATCH, from 1
    [("fall_2009", 1.1818, 5.7376, 0.01), ("fall_2011", 6, 7.8147, 0.001)],
)
def test_runs_146_2009_and_146_2011(variant, drop, killed, conv6):
    """Their files: .001 on convolutions (in 2009 not on conv6), .01 on new layers until `drop`."""
    epochs, eps = of_config(f"imagenet.py:{variant}")
    assert epochs == pytest.approx(killed, abs=1e-4)
    layers = [f"conv{number}" for number in range(1, 7)] + ["fc6", "fc7", "fc8"]
    for epoch, new in ((0, 0.01), (drop - 0.01, 0.01), (drop + 0.001, 0.001), (killed, 0.001)):
        hyperparameters = eps(epoch, [], layers)
        rates = [rate(hyperparameters, layer) for layer in layers]
        assert rates == pytest.approx([0.001] * 5 + [min(conv6, new)] + [new] * 3)
        biases = [rate(hyperparameters, layer, "bias") for layer in layers]
        assert biases == pytest.approx([0.02] * 5 + [0.002] + [0.02] * 3)


# --- Plateau --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("errors", "drops"),
    [
        ([], 0),
        ([0.5, 0.4, 0.4], 0),
        ([0.5, 0.4, 0.4, 0.4], 1),  # two in a row no better than .4
        ([0.5, 0.4, 0.45, 0.39, 0.45], 0),  # .39 came in time
        ([0.5, 0.4, 0.45, 0.39, 0.45, 0.45], 1),
        ([0.5, 0.4, 0.41, 0.42, 0.3], 1),  # a later best does not undo a drop
        ([0.5, 0.4, 0.41, 0.42, 0.405, 0.404], 2),  # the best counts for good
        ([0.5, 0.4, 0.41, 0.42, 0.405], 1),  # patience starts anew after a drop
        ([0.5] * 5, 2),
        ([0.5] * 7, 3),
        ([0.5] * 50, 3),  # at most three
        ([0.5, float("nan"), float("nan")], 1),
    ],
)
def test_plateau_by_hand(errors, drops):
    eps = Plateau(rate=0.01, patience=2)
    assert eps.base_rate(0, errors) == pytest.approx(0.01 / 10**drops)


def test_plateau_improvement_factor_and_drops():
    errors = [0.5, 0.495, 0.492]
    assert Plateau(rate=1, patience=2).base_rate(0, errors) == 1
    strict = Plateau(rate=1, patience=2, improvement=0.01, factor=4, drops=1)
    assert strict.base_rate(0, errors) == 1 / 4
    assert strict.base_rate(0, [*errors, 0.5, 0.5, 0.5]) == 1 / 4
    # many small steps together are an improvement over the best
    assert strict.base_rate(0, [0.5, 0.495, 0.489, 0.485]) == 1


@given(st.lists(st.floats(0, 1), max_size=60), st.integers(1, 6))
@settings(derandomize=True, max_examples=50)
def test_plateau_only_falls_and_at_most_three_times(errors, patience):
    eps = Plateau(rate=1.0, patience=patience)
    rates = [eps.base_rate(0, errors[:n]) for n in range(len(errors) + 1)]
    assert rates == sorted(rates, reverse=True)
    assert set(rates) <= {1, 0.1, 0.01, 0.001}


def test_events_hold_on_a_plateau_schedule_too():
    eps = Plateau(rate=0.01, patience=1, events=((2, "conv1", 0.0),))
    hyperparameters = eps(2, [0.5, 0.5], LAYERS)
    assert (rate(hyperparameters), rate(hyperparameters, "conv1")) == (pytest.approx(0.001), 0)


def test_a_schedule_is_a_pure_function_of_its_arguments():
    eps, errors = Plateau(rate=0.01, patience=2), [0.5, 0.5, 0.5, 0.4]
    first = [eps(3.5, errors[:n], LAYERS) for n in range(5)]
    again = [eps(3.5, errors[:n], LAYERS) for n in reversed(range(5))]
    assert first == again[::-1]
    assert errors == [0.5, 0.5, 0.5, 0.4]


@pytest.mark.parametrize("value", [-0.0007, float("nan"), float("inf"), 1e30])
def test_a_schedule_of_ones_own_is_checked_at_each_step(value):
    class Mine(Schedule):
        def base_rate(self, epoch, errors):
            return value if epoch > 0.5 else self.rate

    eps = Mine(rate=0.01)
    assert rate(eps(0.5, [], LAYERS)) == pytest.approx(0.01)
    with pytest.raises(UserError, match=r"rate at epoch 0.53=.*: must be from 0 to"):
        eps(0.53, [], LAYERS)


# --- Stepwise -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epoch", "weights", "biases"),
    [
        # .01, divided by 250^(1/3) = 6.2996 after each quarter of 90 epochs; biases .02, then .002.
        # A step includes the moment that it ends at.
        (0, 0.01, 0.02),
        (22.5, 0.01, 0.02),
        (22.501, 0.0015874, 0.02),
        (45, 0.0015874, 0.02),
        (45.001, 0.00025198, 0.002),
        (67.5, 0.00025198, 0.002),
        (67.501, 0.00004, 0.002),
        (90, 0.00004, 0.002),
        (95, 0.00004, 0.002),
    ],
)
def test_cuda_convnet2s_dexp_by_hand(epoch, weights, biases):
    hyperparameters = schedule.build("stepwise", epochs=90.0, rate=0.01)(epoch, [], LAYERS)
    assert rate(hyperparameters) == pytest.approx(weights, rel=1e-4)
    assert rate(hyperparameters, "conv1", "bias") == pytest.approx(biases, rel=1e-4)


def test_steps_stretch_with_the_run_and_biases_may_stay():
    eps = schedule.build("stepwise", epochs=3.0, rate=1.0, divisor=100.0, steps=3, bias_drops=False)
    found = [eps.base_rate(epoch, []) for epoch in (1, 1.5, 2, 2.5)]
    assert found == pytest.approx([1, 0.1, 0.1, 0.01])
    assert rate(eps(2.5, [], LAYERS), "fc8", "bias") == 2


def test_biases_have_steps_of_their_own():
    eps = schedule.build(
        "stepwise", epochs=3.0, rate=1.0, bias_factor=3.0, bias_divisor=100.0, bias_steps=3
    )
    found = [eps.bias_rate(epoch, []) for epoch in (1, 2, 3)]
    assert found == pytest.approx([3, 0.3, 0.03])


# --- What cannot be -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"kind": "cosine"},
            "^kind='cosine': choose one of miles",
        ),
        ({"kind": "plateau", "patient": 3}, "^patient: .* did you mean 'patience'"),
        ({"kind": "milestones", "drops": 3}, "^drops: 'milestones' has no such"),
        ({"kind": "milestones", "rate": -0.1}, "^rate=-0.1: must be 0 or more"),
        ({"kind": "milestones", "rate": float("nan")}, "^rate=nan"),
        ({"kind": "milestones", "bias_factor": -2}, "^bias_factor=-2"),
        ({"kind": "milestones", "milestones": ((3, -1),)}, r"milestones: \(3, -1\) is not"),
        ({"kind": "milestones", "milestones": ((3, 1e31),)}, r"rate from 0 to 1e\+30"),
        ({"kind": "milestones", "milestones": ((-1, 0.1),)}, "epoch of 0 or more"),
        ({"kind": "milestones", "milestones": (3, 0.1)}, "milestones: 3 is not"),
        ({"kind": "milestones", "milestones": ((3, "x"),)}, r"milestones: \(3, 'x'\) is not"),
        ({"kind": "milestones", "milestones": ((3, 0.1), (2, 0.01))}, "in the order"),
        ({"kind": "milestones", "events": ((3, "conv1"),)}, r"events: \(3, 'conv1'\) is not"),
        ({"kind": "milestones", "events": (("conv1", 3, 0),)}, "events: .* is not"),
        ({"kind": "milestones", "events": ((3, "conv1", -1),)}, "events: .* is not"),
        ({"kind": "milestones", "events": ((3, "conv1", 1e31),)}, r"value from 0 to 1e\+30"),
        ({"kind": "milestones", "events": ((3, "colour_noise", 0.5),)}, "colour_noise is 1, on"),
        ({"kind": "plateau", "factor": 0.5}, "^factor=0.5: must be at least 1"),
        ({"kind": "plateau", "drops": -1}, "^drops=-1: must be at least 0"),
        ({"kind": "plateau", "patience": 0}, "^patience=0: must be at least 1"),
        ({"kind": "plateau", "improvement": -1}, "improvement=-1: must be at least 0"),
        ({"kind": "stepwise", "steps": 1}, "^steps=1: must be at least 2"),
        ({"kind": "stepwise", "bias_steps": 0}, "^bias_steps=0: must be at"),
        ({"kind": "stepwise", "divisor": 0.5}, "^divisor=0.5: must be at least 1"),
        ({"kind": "plateau", "events": ((3, "conv1", -1),)}, "events: .* is not"),
    ],
)
def test_impossible_values_are_clear_errors(options, message):
    with pytest.raises(UserError, match=message):
        schedule.build(**({"rate": 0.01, "epochs": 90.0} | options))


def test_an_event_for_an_unknown_layer_is_an_error_from_the_start():
    eps = schedule.build("milestones", epochs=90.0, rate=0.01, events=((50, "conv9", 0),))
    with pytest.raises(UserError, match="the net has no 'conv9'; did you mean 'conv"):
        eps(0, [], LAYERS)


def test_layers_may_come_from_an_iterator():
    assert list(Milestones(rate=0.01)(0, [], iter(LAYERS)).rates) == LAYERS


def test_build_makes_the_schedule_of_each_kind():
    built = {kind: schedule.build(kind, epochs=9.0, rate=0.1) for kind in schedule.SCHEDULES}
    assert built == {
        "milestones": Milestones(rate=0.1),
        "plateau": Plateau(rate=0.1),
        "stepwise": Stepwise(rate=0.1, epochs=9.0),
    }
