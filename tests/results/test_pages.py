"""Pages and figures are what the scripts make of the committed results."""

import math
import re
import runpy

import numpy as np
import pytest
from support.runs import leave
from support.tiny import ROOT

from alexnet.sweeps import definition

HERE = ROOT / "experiments"
SCRIPT = runpy.run_path(str(HERE / "results/pages.py"))
CLAIMED = [row for row in SCRIPT["ROWS"] if len(row) == 2]


@pytest.mark.parametrize("page", SCRIPT["pages"](), ids=lambda path: path.name)
def test_the_page_is_what_the_results_say(page):
    """Else: python experiments/results/pages.py"""
    assert page.read_text() == SCRIPT["pages"]()[page]


@pytest.mark.parametrize("name", ["claims", "figure1", "figure3"])
def test_the_figures_are_what_the_results_say(name, monkeypatch):
    """Else: python experiments/results/claims.py, figure1.py, or figure3.py"""
    monkeypatch.syspath_prepend(HERE / "results")
    figure = runpy.run_path(str(HERE / f"results/{name}.py"))
    figure["main"](["--check"])  # exits with status 1 if not
    drawing = figure["drawing"]
    assert all(drawing.drawn_from(path) for path in drawing.paths(name))


def test_a_figure_of_other_numbers_is_out_of_date(monkeypatch):
    monkeypatch.syspath_prepend(HERE / "results")
    drawing = runpy.run_path(str(HERE / "results/figure3.py"))["drawing"]
    with pytest.raises(SystemExit, match=r"run python experiments/results/figure3\.py"):
        drawing.write(["--check"], "figure3", b"other numbers", lambda _: None, 1)


def test_the_towers_colour_selectivity_is_that_of_the_kept_filters():
    [row] = [line for line in (HERE / "README.md").read_text().splitlines() if "Figure 3, " in line]
    kernels = np.load(HERE / "results/h100_2/filters.npz")
    for arm, kernel in kernels.items():
        share = []
        for tower in np.float64(kernel):  # [H, W, C, O]
            grey = tower.mean(2, keepdims=True)
            rest = ((tower - grey) ** 2).sum((0, 1, 2)) / (tower**2).sum((0, 1, 2))
            share.append(f"{rest.mean():.2f}")
        assert f"{arm} {' / '.join(share)}" in row


def test_every_claim_of_every_experiment_has_a_row():
    claims = {
        (path.stem, arm)
        for path in HERE.glob("*.py")
        for scale in definition.scales(path)
        if scale != "digits"
        for arm in definition.load(f"{path}:{scale}").claims
    }
    assert claims == set(CLAIMED)
    assert len(CLAIMED) == len(set(CLAIMED))


def test_every_experiment_is_behind_a_row_of_the_page_on_the_paper():
    page = (ROOT / "docs/paper.md").read_text()
    names = {name for name, _ in CLAIMED} - {"dropout_iterations"}
    assert not [name for name in names if f"(../experiments/{name}.py)" not in page]


@pytest.mark.parametrize(
    ("row", "numbers"),
    # top-1 / top-5 errors in the comments of the source's layer-params-*.cfg
    [
        ("Table 1, ILSVRC-2010 test, ten-crop", ["145-2010: 37.4727 / 16.9987"]),
        ("the same, centre", ["145-2010: 39.0247 / 18.2953"]),
        ("Table 2, 2012 validation, one CNN", ["145: 40.6640 / 18.2100"]),
        ("(ten_crop.py)", ["145-2010: 37.4727 / 16.9987", "centre 39.0247 / 18.2953"]),
        ("(pretraining.py)", ["146-2012-2011: 38.9900 / 16.6220", "145: 40.6640 / 18.2100"]),
        ("(two_gpus.py)", ["145-half (2010 test): 39.1680 / 18.2287"]),
        ("(lrn.py)", ["148: 42.0340 / 19.3620", "145: 40.6640 / 18.2100"]),
        ("(overlapping_pooling.py)", ["147: 41.0580 / 18.5100", "145: 40.6640 / 18.2100"]),
        ("(communication.py)", ["150: 41.8280 / 19.3300", "145: 40.6640 / 18.2100"]),
    ],
)
def test_the_logs_numbers_are_in_their_row(row, numbers):
    lines = [line for line in (HERE / "README.md").read_text().splitlines() if row in line]
    log = lines[0].split(" | ")[2]
    assert [number for number in numbers if number not in log] == []


def test_results_get_into_their_row(tmp_path, monkeypatch):
    for seed in range(8):
        for name, norm, error in (("base", True, 0.30), ("none", False, 0.315)):
            leave(
                tmp_path / f"{name}-{seed}",
                [0.5] * 7 + [error + 0.001 * (seed * (3 if norm else 2) % 5)],
                file=f"{ROOT}/configs/cifar10.py:pocket",
                overrides={"seed": seed, "net.norm": norm},
                commit=("d" if seed < 3 else "c") * 40,
            )
    alone = {"file": f"{ROOT}/configs/cifar10.py:pocket", "overrides": {"seed": 8}}
    leave(tmp_path / "base-8", [0.9] * 8, **alone)  # its arm has no such seed
    monkeypatch.setitem(SCRIPT["pages"].__globals__, "RESULTS", tmp_path)
    pages = SCRIPT["pages"]()
    [row] = [line for line in pages[HERE / "README.md"].splitlines() if "(lrn.py)" in line]
    assert "| worse by 1.4 / 1.2 | 148: 42.0340 / 19.3620" in row
    assert "cifar10, `small`, n = 8: 31.70 ± 0.16, baseline 30.17 ± 0.15; difference +1.5" in row
    assert ": *supported* |" in row
    below = "\n- lrn.py:small: runs of different commits: ddddddd (6), ccccccc (10)\n"
    assert below in pages[HERE / "README.md"]
    cells = []
    for front in ("README.md", "README.ko.md"):
        lines = pages[ROOT / front].splitlines()
        [same] = [line for line in lines if "(experiments/lrn.py) |" in line]
        cells.append(same.split("|")[-2])
    assert cells[0] == row.split("|")[-2]
    numbers, in_korean = (re.findall(r"[-+\d.]+", cell) for cell in cells)
    assert numbers == in_korean
    assert "*뒷받침됨*" in cells[1]


def test_the_baseline_is_over_the_pairs_that_reached_the_goal(tmp_path, monkeypatch):
    steps = {"optimizer.weight_decay": 0.0, "optimizer.layer_decay": (), "schedule.milestones": ()}
    arms = definition.load(f"{ROOT}/experiments/relu_tanh.py:small").arms
    for name, seed, when in (("relu", 0, 2), ("tanh", 0, 8), ("relu", 1, 9), ("tanh", 1, 99)):
        epochs, rate = int(arms[name].config.epochs), arms[name].config.schedule.rate
        overrides = {"seed": seed, "net.activation": name, "schedule.rate": rate, **steps}
        leave(
            tmp_path / f"{name}-{seed}",
            [0.5] * epochs,
            train=[0.9 if epoch < when else 0.2 for epoch in range(1, epochs + 1)],
            file=f"{ROOT}/configs/cifar10.py:19pct",
            overrides=overrides,
        )
    monkeypatch.setitem(SCRIPT["pages"].__globals__, "RESULTS", tmp_path)
    text = SCRIPT["pages"]()[HERE / "README.md"]
    [row] = [line for line in text.splitlines() if "(relu_tanh.py) |" in line]
    assert "n = 1 of 2: 8.00 epochs, relu 2.00 epochs; factor 4.00" in row


def test_a_row_has_the_notes_on_its_arm_and_the_baseline_but_on_no_other(tmp_path, monkeypatch):
    flat = 1 - math.exp(-1)  # these runs' losses are 1: a net that guesses
    for name, net in (("base", {}), ("no_conv2", {"remove": "conv2"}), ("six", {"sixth_conv": 64})):
        overrides = {"seed": 0} | {f"net.{key}": value for key, value in net.items()}
        pocket = f"{ROOT}/configs/cifar10.py:pocket"
        leave(tmp_path / f"{name}-0", [flat] * 8, file=pocket, overrides=overrides)
    monkeypatch.setitem(SCRIPT["pages"].__globals__, "RESULTS", tmp_path)
    lines = SCRIPT["pages"]()[HERE / "README.md"].splitlines()
    for arm, claim in (("no_conv2", "without conv2"), ("sixth_conv", "a sixth convolution")):
        [row] = [line for line in lines if claim in line]
        found = re.findall(r"(\w+) with seed 0 never got beyond guessing", row)
        assert found == ["baseline", arm]


def test_a_row_about_a_published_error_has_no_notes_on_the_first_arm(tmp_path, monkeypatch):
    for name, epochs, seeds in (("80sec", 10, 2), ("19pct", 140, 1)):
        file = f"{ROOT}/configs/cifar10.py:{name}"
        for seed in range(seeds):
            leave(tmp_path / f"{name}-{seed}", [0.2] * epochs, file=file, overrides={"seed": seed})
    monkeypatch.setitem(SCRIPT["pages"].__globals__, "RESULTS", tmp_path)
    lines = SCRIPT["pages"]()[HERE / "README.md"].splitlines()
    [row] = [line for line in lines if "cuda-convnet's 19pct," in line]
    assert "(19pct has 1 of the 3 planned runs)" in row
    assert "80sec" not in row


def test_a_search_for_a_rate_is_named_but_is_no_result(tmp_path, monkeypatch):
    leave(
        tmp_path / "slow",
        [0.5] * 15,
        train=[0.5] * 15,
        file=f"{ROOT}/configs/cifar10.py:19pct",
        overrides={
            "schedule.rate": 0.0005,
            "schedule.milestones": (),
            "optimizer.weight_decay": 0.0,
            "optimizer.layer_decay": (),
        },
    )
    monkeypatch.setitem(SCRIPT["pages"].__globals__, "RESULTS", tmp_path)
    pages = SCRIPT["pages"]()
    for page, cell in (
        ("experiments/README.md", "only `search` has run"),
        ("README.md", "only `search` has run"),
        ("README.ko.md", "`search`만 실행"),
    ):
        text = pages[ROOT / page]
        [row] = [line for line in text.splitlines() if "relu_tanh.py) |" in line]
        assert row.endswith(f" | {cell} |")
    note = "Note: relu_0.0005 with seed 0 diverged or never reached a training error of 0.25.\n"
    assert note in pages[HERE / "README.md"]
