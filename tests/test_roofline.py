"""alexnet.roofline against arithmetic by hand, the paper, and what compiled HLO held."""

import re
import subprocess
import sys

import pytest
from tiny import ROOT

from alexnet import cost, nets, roofline
from alexnet.cost import Collective, Machine
from alexnet.errors import UserError
from alexnet.roofline import MIB
from alexnet.table import Dense, layers

FULLY_CONNECTED = ["fc6", "fc7", "fc8"]


def alexnet(**options):
    return nets.build("alexnet", classes=1000, **options)


def cost_of(name: str, batch: int = 128, **options) -> cost.Cost:
    return next(row for row in cost.costs(alexnet(**options), batch) if row.name == name)


def sent(exchange) -> float:
    return sum(collective.sent for collective in exchange)


def results(exchange) -> float:
    return sum(collective.result for collective in exchange)


def gtx_580(**changes) -> Machine:
    return Machine("test", **{"tflops": 1.58, "memory_gbs": 192, "link_gbs": 8} | changes)


# --- Arithmetic and memory ------------------------------------------------------------------------


def test_conv3_by_hand():
    conv3 = cost_of("conv3")
    assert conv3.forward == 2 * 128 * 13 * 13 * 192 * 3 * 3 * 256
    assert conv3.training == 3 * conv3.forward
    assert conv3.weights == (3 * 3 * 256 * 192 + 192) * 4
    assert conv3.kept == 128 * 13 * 13 * 192 * 4
    assert conv3.received == 128 * 13 * 13 * 128 * 4
    numbers = 3 * 128 * 13 * 13 * (256 + 192) + 8 * (3 * 3 * 256 * 192 + 192)
    assert conv3.traffic == numbers * 4


def test_conv1_needs_no_input_gradient():
    conv1 = cost_of("conv1")
    assert conv1.forward == 2 * 128 * 55 * 55 * 48 * 11 * 11 * 3
    assert conv1.training == 2 * conv1.forward
    weights = 11 * 11 * 3 * 48 + 48
    assert conv1.traffic == (2 * 128 * (224 * 224 * 3 + 55 * 55 * 48) + 7 * weights) * 4


def test_unweighted_rows_by_hand():
    assert cost_of("norm1").traffic == 5 * 128 * 55 * 55 * 48 * 4
    assert cost_of("pool1").traffic == 128 * (3 * 55 * 55 + 2 * 27 * 27) * 48 * 4
    assert cost_of("pool2").kept == 128 * 13 * 13 * 128 * 4
    for name in ("relu1", "relu3", "drop6"):
        row = cost_of(name)
        assert (row.forward, row.weights, row.kept, row.traffic) == (0, 0, 0, 0)


@pytest.mark.parametrize("towers", [1, 2, 4])
def test_totals_are_the_tables(towers):
    net = alexnet(towers=towers)
    rows, traced = cost.costs(net, 128), layers(net)
    multiply_adds = sum(layer.multiply_adds for layer in traced)
    conv1 = traced[0].multiply_adds
    assert towers * sum(row.forward for row in rows) == 2 * 128 * multiply_adds
    assert towers * sum(row.training for row in rows) == 2 * 128 * (3 * multiply_adds - conv1)
    assert towers * sum(row.weights for row in rows) == 4 * sum(x.parameters for x in traced)


def test_a_single_tower_receives_nothing():
    assert sum(row.received for row in cost.costs(alexnet(towers=1), 128)) == 0
    no_talk = cost.costs(alexnet(communicate=False), 128)
    assert [row.name for row in no_talk if row.received] == ["fc8"]


# --- Exchange -------------------------------------------------------------------------------------


def test_collectives():
    gathered = Collective("all-gather", 120, 4)
    scattered = Collective("reduce-scatter", 120, 4)
    reduced = Collective("all-reduce", 120, 4)
    assert (gathered.sent, scattered.sent, reduced.sent) == (90, 90, 180)
    assert (gathered.result, scattered.result, reduced.result) == (120, 30, 120)


def test_towers_meet_where_the_paper_says():
    exchange = cost.tower_exchange(alexnet(), 128, 2)
    inputs = [13 * 13 * 256, 6 * 6 * 256, 4096, 4096]  # of conv3, fc6, fc7, fc8
    sizes = [128 * numbers * 4 for numbers in inputs]
    assert [c.size for c in exchange if c.kind == "all-gather"] == sizes
    assert [c.size for c in exchange if c.kind == "reduce-scatter"] == sizes[::-1]
    received = sum(row.received for row in cost.costs(alexnet(), 128))
    assert sent(c for c in exchange if c.kind == "all-gather") == received


def test_towers_explain_the_compiled_step():
    """Compiled HLO: 29.6 MiB of results forward, 44.4 with backward, on each of two devices."""
    exchange = cost.tower_exchange(alexnet(), 128, 2)
    forward = [c for c in exchange if c.kind == "all-gather"]
    assert round(results(forward) / MIB, 1) == 29.6
    assert round(results(exchange) / MIB, 1) == 44.4
    assert sent(exchange) == results(forward)  # half of it each way


def test_data_parallelism_explains_the_compiled_step():
    """Compiled HLO, 4 workers: 238 MiB of results."""
    assert round(results(cost.gradient_exchange(alexnet(towers=1), 4)) / MIB) == 238


def test_data_parallel_is_all_gradients_and_knows_no_batch():
    for devices, factor in ((2, 1), (4, 1.5), (8, 1.75)):
        exchange = cost.gradient_exchange(alexnet(), devices)
        assert sent(exchange) == factor * 60_965_224 * 4
    assert cost.gradient_exchange(alexnet(), 1) == ()


def test_towers_grow_with_the_batch():
    net = alexnet()
    small, large = (cost.tower_exchange(net, batch, 2) for batch in (128, 256))
    assert sent(large) == 2 * sent(small)


def test_two_devices_break_even_at_1005_images():
    net = alexnet()
    data_parallel = sent(cost.gradient_exchange(net, 2))
    assert sent(cost.tower_exchange(net, 1004, 2)) < data_parallel
    assert sent(cost.tower_exchange(net, 1005, 2)) > data_parallel


def test_fully_connected_layers_hold_96_percent_of_the_weights():
    traced = layers(alexnet())
    dense = sum(layer.parameters for layer in traced if isinstance(layer.row, Dense))
    assert round(dense / sum(layer.parameters for layer in traced), 2) == 0.96


# --- Time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batch", "devices", "towers", "expected"),
    [
        (128, 1, 2, (1, 1)),
        (128, 2, 2, (1, 2)),
        (128, 8, 2, (4, 2)),
        (128, 3, 2, (2, 1)),
        (128, 8, 1, (8, 1)),
        (100, 32, 2, (10, 2)),
    ],
)
def test_mesh(batch, devices, towers, expected):
    assert cost.mesh(alexnet(towers=towers), batch, devices) == expected


def test_an_arithmetic_limit_and_a_memory_limit():
    net = alexnet()
    rows = cost.costs(net, 128)
    slow = cost.step(net, 128, gtx_580(memory_gbs=1e9))
    assert slow.device == pytest.approx(2 * sum(row.training for row in rows) / 1.58e12)
    starved = cost.step(net, 128, gtx_580(tflops=1e9))
    assert starved.device == pytest.approx(2 * sum(row.traffic for row in rows) / 192e9)
    half = cost.step(net, 128, gtx_580(memory_gbs=1e9, utilisation=0.5))
    assert half.device == pytest.approx(2 * slow.device)


def test_the_papers_machine():
    found = cost.step(alexnet(), 128, gtx_580(devices=2))
    assert found.link == pytest.approx(2 * 128 * 30_336 * 4 / 8e9)  # 30,336 numbers an image
    assert found.apart == found.device + found.link
    assert found.overlapped == found.device


def test_implied_utilisation_inverts_the_time():
    """At the utilisation that 5.5 days imply, 90 epochs of arithmetic take 5.5 days."""
    net, pair = alexnet(), gtx_580(devices=2, memory_gbs=1e9)
    share = cost.implied_utilisation(net, pair, 5.5)
    assert 0.29 < share < 0.35
    found = cost.step(net, 128, gtx_580(devices=2, memory_gbs=1e9, utilisation=share))
    assert cost.training_seconds(found.device, 128) == pytest.approx(5.5 * 86_400)


def test_several_hosts_by_hand():
    """4 hosts x 8 devices: 2 towers x 16 replicas, 4 replicas in each host."""
    machine = gtx_580(devices=32, hosts=4, link_gbs=450, host_gbs=50)
    towers = 2 * 8 * 30_336 * 4 / 450e9  # 8 images on each replica
    gradients = 60_965_224 * 4
    inside = 2 * 3 / 4 * gradients / 2 / 450e9
    between = 2 * 3 / 4 * gradients / 50e9  # what leaves a host: both towers, once
    found = cost.step(alexnet(), 128, machine)
    assert found.link == pytest.approx(towers + inside + between)


def test_one_host_of_eight_has_no_other_to_wait_for():
    slow, fast = (gtx_580(devices=8, host_gbs=rate) for rate in (1, 1e9))
    assert cost.step(alexnet(), 128, slow) == cost.step(alexnet(), 128, fast)


# --- The command ----------------------------------------------------------------------------------


def printed(capsys, *arguments: str) -> str:
    roofline.main(arguments)
    return capsys.readouterr().out


@pytest.mark.parametrize("name", list(nets.NETS))
def test_every_net_has_a_report(name, capsys):
    found = printed(capsys, name)
    assert "computed, not measured" in found.splitlines()[0]
    assert [f"\n{n}. " in found for n in (1, 2, 3, 4)] == [True] * 4


def test_the_default_is_alexnet_at_128(capsys):
    assert printed(capsys) == printed(capsys, "alexnet", "--batch=128", "--towers=2")


def test_a_machine_of_ones_own(capsys):
    flags = ("--tflops=1.58", "--memory_gbs=192", "--link_gbs=8", "--devices=2")
    own = printed(capsys, "--section=time", *flags).splitlines()[-1]
    assert own.startswith("2 x 1.58 TFLOP/s at 100%")
    listed = printed(capsys, "--section=time").splitlines()[5]
    assert own.split()[-11:] == listed.split()[-11:]
    half = printed(capsys, "--section=time", *flags, "--utilisation=0.5")
    assert "at 50%" in half


def test_cores_and_disk(capsys):
    line = printed(capsys, "--section=input").splitlines()[4].split()
    assert line[:4] == ["2", "GTX", "580", "float32"]
    rate, cores, _, disk = (float(cell) for cell in line[4:])
    assert cores == round(rate / 2_000, 1)
    assert disk == round(rate * 42_000 / 1e6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["alexnett"], "net.name='alexnett': choose one of .*; did you mean 'alexnet'"),
        (["--tower=1"], "--tower: no such option; did you mean 'towers'"),
        (["--batch=many"], "--batch=many: expected a whole number"),
        (["--batch=0"], "--batch=0: must be at least 1"),
        (["--section=speed"], "--section=speed: choose one of layers, exchange, time, input"),
        (["--tflops=1"], "--memory_gbs is missing"),
        (["--tflops=1", "--memory_gbs=1", "--devices=2"], "--link_gbs is missing"),
        (["--tflops=nan", "--memory_gbs=1"], "--tflops=nan: expected a number"),
        (["--tflops=0", "--memory_gbs=1"], "--tflops=0: must be more than 0"),
        (["--tflops=1", "--memory_gbs=1", "--utilisation=40"], "--utilisation=40: a share"),
        (["--towers=16"], "16 towers do not fit on the 8 devices of a host"),
        (["--remove=conv9"], "no layer 'conv9'"),
        (["alexnet", "pocket"], "stray argument 'pocket'"),
    ],
)
def test_a_mistake_is_a_clear_error(arguments, message):
    with pytest.raises(UserError, match=message):
        roofline.main(arguments)


def test_it_needs_no_jax_and_a_mistake_is_one_line():
    code = (
        "import sys; from alexnet import roofline, errors; assert 'jax' not in sys.modules; "
        "errors.run(lambda: roofline.main(['--batch=0']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --batch=0: must be at least 1\n"


def test_the_page_shows_what_the_command_prints(capsys):
    page = (ROOT / "docs/scaling.md").read_text()
    blocks = re.findall(
        r"^```\n\$ python -m alexnet\.roofline ?(.*?)\n(.*?)^```$", page, re.M | re.S
    )
    assert len(blocks) == page.count("$ python -m alexnet.roofline") == 6
    for arguments, text in blocks:
        assert printed(capsys, *arguments.split()) == text, arguments
