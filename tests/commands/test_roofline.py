"""Cost and roofline by hand, and against the table and compiled programs."""

import math
import re
import subprocess
import sys

import pytest
from support.tiny import ROOT

from alexnet import roofline
from alexnet.analysis import cost
from alexnet.analysis.cost import Collective
from alexnet.errors import UserError
from alexnet.models.build import NETS, build
from alexnet.roofline import MIB, Machine


def alexnet(**options):
    return build("alexnet", classes=1000, **options)


def cost_of(name: str) -> cost.Cost:
    return next(row for row in cost.costs(alexnet(), 128) if row.name == name)


def gtx_580(**changes) -> Machine:
    return roofline.MACHINES[0]._replace(**changes)


def test_conv3_by_hand():
    conv3 = cost_of("conv3")
    assert conv3.forward == 2 * 128 * 13 * 13 * 192 * 3 * 3 * 256
    assert conv3.training == 3 * conv3.forward
    assert conv3.weights == (3 * 3 * 256 * 192 + 192) * 4
    assert conv3.kept == 128 * 13 * 13 * 192 * 4
    assert conv3.received == 128 * 13 * 13 * 128 * 4
    numbers = 3 * 128 * 13 * 13 * (256 + 192) + 8 * (3 * 3 * 256 * 192 + 192)
    assert conv3.traffic == numbers * 4


def test_conv1_which_needs_no_input_gradient_and_rows_without_weights_by_hand():
    conv1 = cost_of("conv1")
    assert conv1.forward == 2 * 128 * 55 * 55 * 48 * 11 * 11 * 3
    assert conv1.training == 2 * conv1.forward
    weights = 11 * 11 * 3 * 48 + 48
    assert conv1.traffic == (2 * 128 * (224 * 224 * 3 + 55 * 55 * 48) + 7 * weights) * 4

    for row in map(cost_of, ("relu1", "relu3", "drop6")):
        assert (row.forward, row.weights, row.kept, row.traffic) == (0, 0, 0, 0)
    assert cost_of("norm1").traffic == 5 * 128 * 55 * 55 * 48 * 4
    assert cost_of("pool1").traffic == 128 * (3 * 55 * 55 + 2 * 27 * 27) * 48 * 4
    assert cost_of("pool2").kept == 128 * 13 * 13 * 128 * 4


def test_the_least_that_a_device_takes_by_hand():
    """The time of both towers; each row takes the longer of its FLOP and its bytes."""
    net, rows = alexnet(), cost.costs(alexnet(), 128)
    flop, traffic = (2 * sum(getattr(row, it) for row in rows) for it in ("training", "traffic"))
    assert cost.least_seconds(net, 128, product=1e9) == pytest.approx(flop / 1e9)
    assert cost.least_seconds(net, 128, 1e30, copy=1e6) == pytest.approx(traffic / 1e6)
    forward = 2 * sum(row.forward for row in rows)
    found = cost.least_seconds(net, 128, 1e9, training=False)
    assert found == pytest.approx(forward / 1e9)

    net = build("cifar_80sec", classes=10)
    pairs = [(math.prod(it.input_shape), math.prod(it.output_shape)) for it in net.layers]
    moved = [x + y for (x, y), it in zip(pairs, net.layers, strict=True) if not it.row.in_place]
    weights = sum(layer.parameters for layer in net.layers)
    for number in (2, 4):
        found = cost.least_seconds(net, 8, 1e30, 1e6, training=False, number=number)
        assert found == pytest.approx((number * 8 * sum(moved) + 4 * weights) / 1e6)


@pytest.mark.parametrize("towers", [1, 2, 4])
def test_totals_equal_those_of_the_tables(towers):
    net = alexnet(towers=towers)
    rows, traced = cost.costs(net, 128), net.layers
    multiply_adds = sum(layer.multiply_adds for layer in traced)
    conv1 = traced[0].multiply_adds
    assert towers * sum(row.forward for row in rows) == 2 * 128 * multiply_adds
    assert towers * sum(row.training for row in rows) == 2 * 128 * (3 * multiply_adds - conv1)
    assert towers * sum(row.weights for row in rows) == 4 * sum(x.parameters for x in traced)


def test_a_single_tower_receives_nothing():
    assert sum(row.received for row in cost.costs(alexnet(towers=1), 128)) == 0
    no_talk = cost.costs(alexnet(communicate=False), 128)
    assert [row.name for row in no_talk if row.received] == ["fc8"]


def test_collectives():
    kinds = ("all-gather", "reduce-scatter", "all-reduce")
    found = [Collective(kind, 120, 4) for kind in kinds]
    assert [c.sent for c in found] == [90, 90, 180]
    assert [c.result for c in found] == [120, 30, 120]


def test_towers_meet_where_the_paper_says():
    exchange = cost.tower_exchange(alexnet(), 128, 2)
    inputs = [13 * 13 * 256, 6 * 6 * 256, 4096, 4096]  # of conv3, fc6, fc7, fc8
    sizes = [128 * numbers * 4 for numbers in inputs]
    gathered = [c for c in exchange if c.kind == "all-gather"]
    assert [c.size for c in gathered] == sizes
    assert [c.size for c in exchange if c.kind == "reduce-scatter"] == sizes[::-1]
    assert cost.sent(gathered) == sum(row.received for row in cost.costs(alexnet(), 128))


def test_the_arithmetic_explains_the_compiled_steps():
    """The MiB of results per device are those in HLO from experiments/benchmarks/collectives.py."""
    exchange = cost.tower_exchange(alexnet(), 128, 2)
    gathered = [c for c in exchange if c.kind == "all-gather"]
    assert round(cost.results(gathered) / MIB, 1) == 29.6
    assert round(cost.results(exchange) / MIB, 1) == 44.4
    assert cost.sent(exchange) == cost.results(gathered)  # half of it each way
    assert round(cost.results(roofline.exchange(alexnet(), 128, 2, 2)) / MIB, 1) == 138.5
    assert round(cost.results(cost.gradient_exchange(alexnet(towers=1), 4)) / MIB, 1) == 238.0


def test_data_parallelism_sends_all_gradients_and_less_than_towers_from_1005_images():
    for devices, factor in ((2, 1), (4, 1.5), (8, 1.75)):
        assert cost.sent(cost.gradient_exchange(alexnet(), devices)) == factor * 60_965_224 * 4
    assert cost.gradient_exchange(alexnet(), 1) == ()
    data_parallel = cost.sent(cost.gradient_exchange(alexnet(), 2))
    assert cost.sent(cost.tower_exchange(alexnet(), 1004, 2)) < data_parallel
    assert cost.sent(cost.tower_exchange(alexnet(), 1005, 2)) > data_parallel


def test_layouts():
    layouts, net = roofline.layouts, alexnet()
    firsts = [layouts(net, 128, devices)[0] for devices in (1, 2, 3, 8)]
    assert firsts == [(1, 1), (1, 2), (1, 2), (4, 2)]  # of three devices, one is idle
    assert layouts(net, 100, 32) == [(10, 2), (25, 1)]
    assert layouts(alexnet(towers=1), 128, 8) == [(8, 1)]


def test_an_arithmetic_limit_and_a_memory_limit():
    net, one = alexnet(), gtx_580(devices=1)
    rows = cost.costs(net, 128)
    device, link = roofline.seconds(net, 128, one._replace(memory_gbs=1e9))
    assert device == pytest.approx(2 * sum(row.training for row in rows) / 1.58e12)
    assert link == 0
    device, _ = roofline.seconds(net, 128, one._replace(tflops=1e9))
    assert device == pytest.approx(2 * sum(row.traffic for row in rows) / 192e9)


def test_a_machine_says_how_many_devices_it_has():
    for machine in roofline.MACHINES:
        assert machine.name.startswith(f"{machine.devices} ")


def test_the_papers_machine():
    device, link = roofline.seconds(alexnet(), 128, gtx_580())
    assert link == pytest.approx(2 * 128 * 30_336 * 4 / 8e9)  # 30,336 numbers an image
    alone, _ = roofline.seconds(alexnet(), 128, gtx_580(devices=1))
    assert device == pytest.approx(alone / 2)


def printed(capsys, *arguments: str) -> str:
    roofline.main(arguments)
    return capsys.readouterr().out


@pytest.mark.parametrize("name", list(NETS))
def test_every_net_has_its_tables(name, capsys):
    found = printed(capsys, name)
    assert "computed, not measured" in found.splitlines()[0]
    assert all(f"\n{head} " in found for head in ("one tower", "data x tower", "machine"))
    assert ("ImageNet epochs" in found) is (build(name).image_size > 100)  # not of CIFAR-10's nets


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["alexnett"], "^no net is called 'alexnett': choose one of .*; did you mean 'alexnet'"),
        (["--batch", "64"], "--batch"),
        (["--tower=1"], "--tower: no such option; did you mean 'towers'"),
        (["--batch=many"], "--batch=many: expected a whole number of at least 1"),
        (["alexnet", "pocket"], "stray argument 'pocket'"),
    ],
)
def test_a_mistake_is_a_clear_error(arguments, message):
    with pytest.raises(UserError, match=message):
        roofline.main(arguments)


def test_it_needs_no_jax_and_a_mistake_is_one_line():
    code = (
        "import sys; from alexnet import cli, roofline; assert 'jax' not in sys.modules; "
        "cli.run(lambda: roofline.main(['--batch=0']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --batch=0: expected a whole number of at least 1\n"


def test_the_page_shows_what_the_command_prints(capsys):
    page = (ROOT / "docs/scaling.md").read_text()
    blocks = re.findall(r"^```\n\$ python -m alexnet\.roofline\n(.*?)^```$", page, re.M | re.S)
    assert blocks == [printed(capsys)] == [printed(capsys, "alexnet", "--batch=128", "--towers=2")]


def test_a_mesh_that_several_numbers_of_devices_give_is_shown_once(capsys):
    roofline.main(["alexnet", "--batch=1"])
    shown = [line.split()[:3] for line in capsys.readouterr().out.splitlines()]
    assert shown.count(["1", "x", "2"]) == shown.count(["1", "x", "1"]) == 1
