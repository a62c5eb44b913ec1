"""Tables of arms: differences are paired, datasets are not mixed, verdicts are computed."""

import csv
import dataclasses
import io
import json
import math
import shutil

import numpy as np
import pytest
from scipy import stats
from support.runs import DIGITS, leave
from support.tiny import ROOT

import alexnet
from alexnet import compare
from alexnet.comparison import comparison, formats, statistics
from alexnet.comparison.table import Row
from alexnet.comparison.verdicts import reached
from alexnet.errors import UserError
from alexnet.results import folders
from alexnet.sweeps import plan
from alexnet.sweeps.experiment import EPOCHS_TO, Arm, Claim, Experiment
from alexnet.training.settings import load_config
from alexnet.workdir import migrations
from alexnet.workdir.record import DIVERGED

LARGER = "no_lrn: larger than claimed"
BASE = [0.30, 0.32, 0.31, 0.29, 0.33]
WORSE = [0.32, 0.335, 0.33, 0.312, 0.347]


def experiment(scale: str = "small", effect: float | None = 1.4, **more) -> Experiment:
    arms = {
        name: Arm(name, load_config(DIGITS, {"epochs": 2.0} | overrides), overrides)
        for name, overrides in (("baseline", {}), ("no_lrn", {"net.norm": False}))
    }
    claims = {"no_lrn": Claim("LRN", paper="1.4%", log="-", effect=effect)}
    return Experiment("lrn", scale, "LRN.", arms, claims, 5, source=f"lrn.py:{scale}", **more)


def fill(folder, base=BASE, worse=WORSE, scale: str = "small", **how):
    for name, errors, norm in (("baseline", base, True), ("no_lrn", worse, False)):
        for seed, error in enumerate(errors):
            leave(
                folder / f"{name}-{seed}",
                [0.01, error],  # the best is not the last
                overrides={"seed": seed, "net.norm": norm},
                **how,
            )
    plan.save(experiment(scale), 2, folder)
    return folder


def run(capsys, *argv: str) -> str:
    compare.main([str(part) for part in argv])
    return capsys.readouterr().out


def row(folder, *argv: str, capsys) -> dict:
    return json.loads(run(capsys, folder, "--format=json", *argv))[1]


def test_the_difference_is_that_of_scipys_paired_test(tmp_path, capsys):
    found = row(fill(tmp_path / "a"), capsys=capsys)
    base, worse = 100 * np.array(BASE), 100 * np.array(WORSE)
    expected = stats.ttest_rel(worse, base).confidence_interval(0.95)
    assert found["difference"] == pytest.approx(np.mean(worse - base))
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))
    assert (found["n"], found["pairs"]) == (5, 5)
    assert (found["mean"], found["std"]) == pytest.approx((worse.mean(), worse.std(ddof=1)))
    assert found["verdict"] == "supported"


@pytest.mark.parametrize(
    ("scale", "base", "worse", "verdict"),
    [
        ("small", BASE, WORSE, "supported"),
        ("digits", BASE, WORSE, ""),
        ("small", BASE[:4], WORSE[:4], "cannot tell"),
        ("small", BASE, [0.301, 0.319, 0.31, 0.291, 0.328], "contradicted"),
        ("small", BASE, [0.40, 0.25, 0.36, 0.30, 0.33], "cannot tell"),
    ],
)
def test_verdicts(tmp_path, capsys, scale, base, worse, verdict):
    assert row(fill(tmp_path / "a", base, worse, scale), capsys=capsys)["verdict"] == verdict


@pytest.mark.parametrize(
    ("errors", "target", "verdict"),
    [
        ([0.32, 0.325, 0.322, 0.318, 0.321], 31.0, "contradicted"),
        ([0.32, 0.325, 0.322, 0.318, 0.321], 31.5, "cannot tell"),  # 32.0 is in the interval
        ([0.32, 0.325, 0.322, 0.318, 0.321], 32.0, "supported"),
        ([0.32, 0.325, 0.322, 0.318, 0.321], 40.0, "supported"),
        (WORSE, 40.0, "cannot tell"),  # they could not show a point
    ],
)
def test_a_claimed_error_needs_no_pairs_and_is_not_counted_among_claims_with_pairs(
    tmp_path, errors, target, verdict
):
    found = folders.read([fill(tmp_path / "a", base=[], worse=errors)]).results
    made = dataclasses.replace(experiment(), claims={"no_lrn": Claim("LRN", target=target)})
    [table] = comparison.tables(found, [made])
    [row] = table.rows
    assert (row.against.n, row.verdict) == (5, verdict)
    assert row.against.mean == pytest.approx(100 * np.mean(errors) - target)
    assert formats.chance([table]) == ""


@pytest.mark.parametrize("how", [{"failure": DIVERGED}, {"last": {"top1_error": None}}])
def test_a_published_error_is_not_judged_by_the_runs_that_went_well(tmp_path, how):
    errors = [0.32, 0.325, 0.322, 0.318, 0.321]
    found = folders.read([fill(tmp_path / "a", base=[], worse=errors)]).results
    bad = dataclasses.replace(found[0], seed=5, **how)
    made = dataclasses.replace(experiment(), claims={"no_lrn": Claim("LRN", target=40.0)})
    [table] = comparison.tables([*found, bad], [made])
    [row] = table.rows
    assert (row.against.n, row.lost, row.verdict) == (5, True, "cannot tell")


def test_an_average_of_nets_is_compared_with_the_mean_of_its_nets(tmp_path):
    found = folders.read([fill(tmp_path / "a")]).results
    runs = {one.name: one for one in found}
    members = [["baseline-0", "baseline-1"], ["baseline-2", "baseline-3", "no_lrn-0"]]
    averages = [
        dataclasses.replace(
            runs[of[0]], name=f"mean-{seed}", of=of, views="centre", last={"top1_error": 0.25}
        )
        for seed, of in zip((0, 2), members, strict=True)
    ]
    made, arms = experiment(), {}
    for number, of in enumerate([{"baseline": 2}, {"baseline": 2, "no_lrn": 1}]):
        arms[f"mean{number}"] = Arm(f"mean{number}", made.arms["baseline"].config, {}, "centre", of)
    made = dataclasses.replace(made, arms={**made.arms, **arms})
    [table] = comparison.tables([*found, *averages], [made])
    bases = {row.arm: (row.base, row.against.mean) for row in table.rows if row.arm in arms}
    assert bases["mean0"] == ({0: pytest.approx(31.0)}, pytest.approx(-6.0))
    assert bases["mean1"] == ({2: pytest.approx(30.0)}, pytest.approx(-5.0))  # not of no_lrn-0
    diverged = dataclasses.replace(runs["baseline-4"], seed=9, failure=DIVERGED)
    [table] = comparison.tables([*found, *averages, diverged], [made])
    assert {row.arm: row.lost for row in table.rows if row.arm in arms} == dict.fromkeys(arms, True)
    lacking = [one for one in found if one.name != "baseline-1"]
    [table] = comparison.tables([*lacking, *averages], [made])
    [row] = [row for row in table.rows if row.arm == "mean0"]
    assert (row.against, row.base, row.lost) == (None, {}, False)
    far = [
        dataclasses.replace(one, about={**one.about, "device": "a GPU"})
        if one.name == "baseline-1"
        else one
        for one in found
        if one.name.startswith("baseline")
    ]
    [table] = comparison.tables([*far, averages[0]], [made])
    assert any("a GPU (1)" in note for note in table.run_notes)


@pytest.mark.parametrize("arm", ["baseline", "no_lrn"])
@pytest.mark.parametrize("seeds", [(), (0,), range(6)])
def test_without_the_runs_that_went_badly_there_is_no_verdict(tmp_path, arm, seeds):
    more = {"base": [*BASE, 0.3], "worse": [*WORSE, 0.315]}
    found = folders.read([fill(tmp_path / "a", **more)]).results
    lost = [
        dataclasses.replace(one, last=dict(one.last) | {"top1_error": None})
        if one.name in [f"{arm}-{seed}" for seed in seeds]
        else one
        for one in found
    ]
    [table] = comparison.tables(lost, [experiment()])
    assert table.rows[1].verdict == ("cannot tell" if seeds else "supported")
    assert (table.rows[1].against is None) == (len(seeds) == 6)
    assert [row["known"] for row in formats.rows([table], "last")].count(6 - len(seeds)) >= 1
    chance = formats.chance([table])
    assert chance == "" if seeds else chance.startswith("1 of the 1 claims")


def test_a_run_that_has_finished_elsewhere_is_not_waited_for(tmp_path):
    folder = fill(tmp_path / "a")
    leave(tmp_path / "b/no_lrn-0", [], overrides={"seed": 0, "net.norm": False}, epochs=2.0)
    found = folders.read([folder, tmp_path / "b"])
    [table] = comparison.tables(found.every, [experiment()])
    assert (table.rows[1].verdict, table.notes) == ("supported", [LARGER])


@pytest.mark.parametrize(
    ("seeds", "verdict"),
    [
        ({"baseline": 5}, "supported"),  # no run of the arm has this seed
        ({"no_lrn": 5}, "supported"),
        ({"baseline": 4}, "cannot tell"),
        ({"no_lrn": 4}, "cannot tell"),
        ({"baseline": 5, "no_lrn": 5}, "cannot tell"),
    ],
)
def test_a_run_that_diverged_counts_where_it_would_be_of_a_pair(tmp_path, seeds, verdict):
    found = folders.read([fill(tmp_path / "a")]).results
    runs = {one.name: one for one in found}
    more = [dataclasses.replace(one, seed=one.seed + 10) for one in found]  # five pairs more
    kept = [one for one in found if seeds.get(one.name[:-2]) != one.seed]
    failed = [
        dataclasses.replace(runs[f"{arm}-0"], seed=seed, failure=DIVERGED)
        for arm, seed in seeds.items()
    ]
    [table] = comparison.tables([*kept, *more, *failed], [experiment()])
    assert table.rows[1].verdict == verdict
    assert table.rows[1].lost == (verdict == "cannot tell")


def test_runs_that_were_left_out_as_another_diverged_are_missed(tmp_path):
    """An evaluation of a run that diverged, and a run that would start from it, do not exist."""
    found = folders.read([fill(tmp_path / "a", [*BASE, 0.3], [*WORSE, 0.315])]).results
    tens = [
        dataclasses.replace(one, name=f"ten-{one.seed}", views="ten_crop", of=[one.name])
        for one in found
        if one.name.startswith("no_lrn")
    ]
    lost = [
        dataclasses.replace(one, failure=DIVERGED) if one.name == "no_lrn-5" else one
        for one in found
    ]
    made = experiment()
    ten = Arm("ten", made.arms["no_lrn"].config, {}, "ten_crop", {"no_lrn": 1})
    origin = {"init_from": "arm:no_lrn", "epochs": 2.0}
    tuned = Arm("tuned", load_config(DIGITS, origin), {}, starts_from="no_lrn")
    claims = {name: Claim("it is worse", effect=1.4) for name in ("ten", "tuned")}
    arms = {**made.arms, "ten": ten, "tuned": tuned}
    made = dataclasses.replace(made, arms=arms, claims=claims)
    for number, error in enumerate([*WORSE, 0.315]):
        overrides = {"seed": number, "init_from": f"/runs/no_lrn-{number}"}
        leave(tmp_path / f"b/tuned-{number}", [0.01, error], overrides=overrides)
    tunes = sorted(folders.read([tmp_path / "b"]).results, key=lambda one: one.seed)
    [whole] = comparison.tables([*found, *tens, *tunes], [made])
    [less] = comparison.tables([*lost, *tens[:5], *tunes[:5]], [made])
    for arm in (2, 3):
        verdicts = [table.rows[arm].verdict for table in (whole, less)]
        assert verdicts == ["supported", "cannot tell"], whole.rows[arm].arm


@pytest.mark.parametrize("views", ["ten_crop", "nine_crop"])
def test_views_of_another_arm_are_compared_with_the_same_views_of_the_baseline(tmp_path, views):
    found = folders.read([fill(tmp_path / "a")]).results
    gains = {"baseline": 0.03, "no_lrn": 0.01}  # of ten crops over the centre
    tens = [
        dataclasses.replace(
            one,
            name=f"{arm}_ten-{one.seed}",
            views="ten_crop" if arm == "baseline" else views,
            of=[one.name],
            last={**one.last, "top1_error": one.last["top1_error"] - gains[arm]},
        )
        for one in found
        for arm in gains
        if one.name.startswith(arm)
    ]
    made = experiment()
    arms = {
        f"{arm}_ten": Arm(
            f"{arm}_ten",
            made.arms[arm].config,
            {},
            "ten_crop" if arm == "baseline" else views,
            {arm: 1},
        )
        for arm in gains
    }
    made = dataclasses.replace(made, arms={**made.arms, **arms})
    [table] = comparison.tables([*found, *tens], [made])
    means = {row.arm: row.against and row.against.mean for row in table.rows}
    centre = 100 * np.mean(np.array(WORSE) - BASE)
    assert means["no_lrn"] == pytest.approx(centre)
    assert means["baseline_ten"] == pytest.approx(-3.0)  # against the centre: what they gain
    same = views == "ten_crop"
    assert means["no_lrn_ten"] == pytest.approx(centre + 2.0 if same else centre - 1.0)
    note = "no_lrn_ten is compared with baseline_ten: the same views"
    assert (note in table.notes) == same
    claims = {"no_lrn_ten": Claim("an error", target=26.0)}
    [table] = comparison.tables([*found, *tens], [dataclasses.replace(made, claims=claims)])
    assert note not in table.notes  # it is compared with a number
    [table] = comparison.tables(
        [*found, *(one for one in tens if "no_lrn" not in one.name)], [made]
    )
    assert note not in table.notes  # it has not been evaluated yet


def test_a_scale_that_cannot_test_a_claim_gives_no_verdict_on_it(tmp_path):
    found = folders.read([fill(tmp_path / "a")]).results
    claim = Claim("LRN", effect=1.4, caveat="too short", tests=False)
    [table] = comparison.tables(
        found, [dataclasses.replace(experiment(), claims={"no_lrn": claim})]
    )
    assert table.rows[1].verdict == "cannot tell"
    assert table.notes == ["no_lrn: too short"]
    assert formats.chance([table]) == ""


def test_the_last_checkpoint_counts_unless_the_best_is_asked_for(tmp_path, capsys):
    folder = fill(tmp_path / "a")
    assert row(folder, capsys=capsys)["mean"] == pytest.approx(100 * np.mean(WORSE))
    assert row(folder, "--metric=best", capsys=capsys)["mean"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("effect", "verdict"),
    [(None, ""), (0.7, "supported"), (-0.7, "contradicted"), (0.1, "cannot tell")],
)
def test_top_5_errors_have_claims_of_their_own(tmp_path, capsys, effect, verdict):
    """These runs' top-5 errors are half their top-1 errors."""
    folder = fill(tmp_path / "a")
    claims = {"no_lrn": Claim("LRN", effect=1.4, effect_top5=effect)}
    plan.save(dataclasses.replace(experiment(), claims=claims), 2, folder)
    top1, top5 = (row(folder, f"--error={one}", capsys=capsys) for one in ("top1", "top5"))
    for key in ("mean", "std", "difference", "low", "high", "smallest"):
        assert top5[key] == pytest.approx(top1[key] / 2)
    assert (top1["claimed"], top1["verdict"]) == (1.4, "supported")
    assert (top5["claimed"], top5["verdict"]) == (effect, verdict)
    assert (top1["metric"], top5["metric"]) == ("top1_error", "top5_error")
    printed = run(capsys, folder, "--error=top5")
    assert "arm       n   top-5 error" in printed
    assert "error: top-5 in per cent, of the last" in printed
    assert [top5] == alexnet.compare_results(folder, error="top5")[1:]


def test_a_claim_of_direction_alone_is_one_about_top_5_errors_too(tmp_path):
    found = folders.read([fill(tmp_path / "a")]).results
    made = dataclasses.replace(experiment(), claims={"no_lrn": Claim("LRN", direction=1)})
    [table] = comparison.tables(found, [made], error="top5")
    assert table.rows[1].verdict == "supported"


def test_a_published_error_is_judged_while_the_baseline_trains_on(tmp_path):
    errors = [0.32, 0.325, 0.322, 0.318, 0.321]
    folder = fill(tmp_path / "a", base=BASE[:4], worse=errors)
    leave(folder / "baseline-4", [0.5], overrides={"seed": 4}, epochs=2.0)
    made = dataclasses.replace(experiment(), claims={"no_lrn": Claim("LRN", target=32.0)})
    [table] = comparison.tables(folders.read([folder], begun=True).every, [made])
    assert table.rows[1].verdict == "supported"


def test_a_published_top_1_error_says_nothing_about_the_top_5_error(tmp_path):
    found = folders.read([fill(tmp_path / "a")]).results
    made = dataclasses.replace(experiment(), claims={"no_lrn": Claim("LRN", target=31.0)})
    [table] = comparison.tables(found, [made], error="top5")
    [_, row] = table.rows
    assert (row.verdict, row.has_target) == ("", False)
    assert row.against.mean == pytest.approx(50 * np.mean(np.array(WORSE) - BASE))


@pytest.mark.parametrize("baseline", ["", "ten"])
def test_an_evaluation_of_the_last_checkpoint_is_not_compared_with_the_best(tmp_path, baseline):
    found = folders.read([fill(tmp_path / "a")]).results
    evaluations = [
        dataclasses.replace(
            one,
            name="ten",
            views="ten_crop",
            of=[one.name],
            best=one.last,
            last={**one.last, "top1_error": one.last["top1_error"] - 0.01},
        )
        for one in found
        if one.name.startswith("baseline")
    ]
    made = experiment()
    ten = Arm("ten", made.arms["baseline"].config, {}, "ten_crop", {"baseline": 1})
    claims = made.claims | {"ten": Claim("ten crops", effect=-1.0)}
    made = dataclasses.replace(made, arms={**made.arms, "ten": ten}, claims=claims)

    def shown(metric: str) -> tuple[set[str], list[str]]:
        [table] = comparison.tables([*found, *evaluations], [made], metric, baseline)
        assert len(table.rows) == 3
        equal = [note for note in table.notes if "every run equals its partner" in note]
        assert bool(equal) == (metric == "best" and not baseline)  # all best errors are 50%
        notes = [note for note in table.notes if note not in (LARGER, *equal)]
        return {row.arm for row in table.rows if row.against or row.verdict}, notes

    for metric, own in (("last", "last"), ("best", "best")):
        rows = formats.rows(comparison.tables([*found, *evaluations], [made], metric), metric)
        checkpoints = {row["arm"]: row["checkpoint"] for row in rows}
        assert checkpoints == {"baseline": own, "no_lrn": own, "ten": "last"}

    everything = {"baseline", "no_lrn", "ten"}
    assert shown("last") == (everything - {baseline or "baseline"}, [])
    note = "ten: evaluations are of the last checkpoint: not compared"
    assert shown("best") == (set() if baseline else {"no_lrn"}, [note])
    made = dataclasses.replace(made, claims={"ten": Claim("ten crops", target=30.0)})
    assert "ten" in shown("last")[0]
    assert "ten" not in shown("best")[0]


def test_another_baseline_reverses_the_sign(tmp_path, capsys):
    folder = fill(tmp_path / "a")
    usual = row(folder, capsys=capsys)
    turned = row(folder, "--baseline=no_lrn", capsys=capsys)
    assert turned["arm"] == "baseline"
    assert turned["difference"] == pytest.approx(-usual["difference"])
    with pytest.raises(
        UserError, match=r"baseline=no_lnr: no such arm: .*, no_lrn; did you mean 'no_lrn'"
    ):
        compare.main([str(folder), "--baseline=no_lnr"])


def test_with_another_baseline_only_claimed_errors_are_judged(tmp_path):
    """LRN is said to help by 1.4 points over the baseline, not over any other arm."""
    found = folders.read([fill(tmp_path / "a")]).results
    made = experiment()
    third = [dataclasses.replace(one, config={**one.config, "epochs": 9.0}) for one in found[:5]]
    arms = {**made.arms, "third": Arm("third", load_config(DIGITS, {"epochs": 9.0}), {})}
    claims = {**made.claims, "baseline": Claim("a published error", target=40.0)}
    made = dataclasses.replace(made, arms=arms, claims=claims)
    for baseline, verdicts in (
        ("", {"baseline": "cannot tell", "no_lrn": "supported", "third": ""}),
        ("third", {"baseline": "cannot tell", "no_lrn": "", "third": ""}),
    ):
        [table] = comparison.tables([*found, *third], [made], baseline=baseline)
        assert {row.arm: row.verdict for row in table.rows} == verdicts
    assert {row.arm for row in table.rows if row.claim} == {"baseline"}
    assert formats.chance([table]) == ""


def test_seeds_without_a_partner_are_left_out_of_the_pairs_and_named(tmp_path, capsys):
    folder = fill(tmp_path / "a", base=BASE[:3])
    text = run(capsys, folder)
    assert "no_lrn has seeds 3, 4, baseline does not: left out of the pairs" in text
    assert row(folder, capsys=capsys)["pairs"] == 3


def test_pairs_have_one_seed_also_where_a_seed_is_missing_in_between(tmp_path, capsys):
    folder = fill(tmp_path / "a")
    shutil.rmtree(folder / "baseline-1")
    found, seeds = row(folder, capsys=capsys), (0, 2, 3, 4)
    ours, base = ([100 * errors[seed] for seed in seeds] for errors in (WORSE, BASE))
    expected = stats.ttest_rel(ours, base)
    assert found["difference"] == pytest.approx(np.mean(ours) - np.mean(base))
    interval = expected.confidence_interval(0.95)
    assert (found["low"], found["high"]) == pytest.approx((interval.low, interval.high))


def test_an_arm_that_is_compared_with_a_claimed_error_needs_no_partner(tmp_path):
    found = folders.read([fill(tmp_path / "a", base=BASE[:3])]).results
    made = dataclasses.replace(experiment(), claims={"no_lrn": Claim("LRN", target=32.0)})
    [table] = comparison.tables(found, [made])
    assert table.notes == ["no_lrn: 17 runs with this spread could show a difference of one point"]
    other = load_config(DIGITS, {"epochs": 2.0, "net.norm": False, "data.name": "cifar10"})
    arms = {**made.arms, "no_lrn": Arm("no_lrn", other, {})}
    moved = [
        dataclasses.replace(one, config={**one.config, "data.name": "cifar10"})
        if one.name.startswith("no_lrn")
        else one
        for one in found
    ]
    [table] = comparison.tables(moved, [dataclasses.replace(made, arms=arms)])
    assert table.rows[1].against is not None
    assert table.notes == ["no_lrn: 17 runs with this spread could show a difference of one point"]


def test_a_baseline_that_only_one_of_two_experiments_has(tmp_path, capsys):
    """The other keeps its own; a name that neither has is a mistake."""
    folder = fill(tmp_path / "a")
    [made] = folders.recorded([folder])
    other = dataclasses.replace(made, name="other", arms={**made.arms}, claims={})
    other.arms["deep"] = Arm("deep", load_config(DIGITS, {"epochs": 2.0, "net.dropout": 0.1}), {})
    del other.arms["no_lrn"]
    for seed in range(3):
        how = {"seed": seed, "epochs": 2.0, "net.dropout": 0.1}
        leave(folder / f"deep-{seed}", [0.5, 0.5], overrides=how)
    found = folders.read([folder]).results
    first, second = comparison.tables(found, [made, other], baseline="deep")
    assert next(row.arm for row in first.rows) == made.baseline
    assert next(row.arm for row in second.rows) == "deep"
    with pytest.raises(
        UserError, match=r"baseline=depp: no such arm: .*, deep; did you mean 'deep'"
    ):
        comparison.tables(found, [made, other], baseline="depp")


def test_epochs_are_read_from_the_finer_of_two_equal_logs(tmp_path):
    """Whatever the order in which they are found; different intervals are noted."""
    for place, every, errors in (("a", 10, [0.5, 0.3]), ("b", 5, [0.2, 0.2])):
        how = {"log_every": every, "epochs": 2.0}
        leave(tmp_path / place / "baseline-0", [0.4, 0.4], train=errors, overrides=how)
    how = {"log_every": 10, "epochs": 2.0, "net.norm": False}
    leave(tmp_path / "a/no_lrn-0", [0.4, 0.4], train=[0.5, 0.2], overrides=how)
    arms = {
        name: Arm(name, load_config(DIGITS, {"epochs": 2.0, "net.norm": norm}), {})
        for name, norm in (("baseline", True), ("no_lrn", False))
    }
    made = Experiment("x", "small", "", arms, {}, 1, "epochs to a training error of 0.25")
    for places in ("ab", "ba"):
        found = folders.read([tmp_path / place for place in places]).results
        [table] = comparison.tables(found, [made])
        assert [row.values for row in table.rows] == [{0: 1.0}, {0: 2.0}]
        [note] = [one for one in table.notes if "logged" in one]
        assert note.startswith("runs were logged every 5, 10 steps")


def test_runs_that_failed_are_named_beside_those_that_did_not(tmp_path, capsys):
    """Else the verdict would rest on the survivors, and nothing would say so."""
    folder = fill(tmp_path / "a")
    off = {"net.norm": False, "epochs": 2.0}
    for seed, reason in ((7, "training diverged"), (5, "training diverged"), (6, "no memory")):
        run_ = leave(folder / f"no_lrn-{seed}", [0.5], overrides=off | {"seed": seed})
        (run_ / plan.FAILURE).write_text(f"{reason}\n")
    leave(folder / "again/no_lrn-6", [0.01, 0.3], overrides=off | {"seed": 6})  # and this did not
    kept = tmp_path / "kept"
    shown = run(capsys, folder, f"--collect={kept}")
    note = "  note: no_lrn with seeds 5, 7 failed: training diverged: left out\n"
    assert note in shown
    assert "no memory" not in shown
    assert "no_lrn with seeds 5, 7 failed" in run(capsys, folder, "--format=markdown")
    found = row(folder, capsys=capsys)
    assert (found["n"], found["failed"], found["pairs"]) == (6, 2, 5)
    assert note in run(capsys, kept)


def test_an_arm_of_which_all_runs_failed_has_a_row(tmp_path, capsys):
    folder = fill(tmp_path / "a", worse=[])
    overrides = {"net.norm": False, "epochs": 2.0}
    failed = leave(folder / "no_lrn-0", [0.5], overrides=overrides)
    (failed / plan.FAILURE).write_text("no memory\n")
    found = row(folder, capsys=capsys)
    assert (found["arm"], found["n"], found["failed"], found["mean"]) == ("no_lrn", 0, 1, None)
    assert "note: no_lrn with seed 0 failed: no memory: left out" in run(capsys, folder)


def test_failed_runs_without_an_experiment_are_with_those_of_their_config(tmp_path, capsys):
    leave(tmp_path / "a-0", [0.5, 0.5])
    for seed, dataset in ((1, "digits"), (2, "cifar10")):
        overrides = {"seed": seed, "data.name": dataset, "epochs": 2.0}
        failed = leave(tmp_path / f"a-{seed}", [0.5], overrides=overrides)
        (failed / plan.FAILURE).write_text("no memory\n")
    compare.main([str(tmp_path)])
    said = capsys.readouterr()
    assert "note: a with seed 1 failed: no memory: left out" in said.out
    assert "seed 2" not in said.out
    assert said.err == "left out, as they failed: a-1, a-2\n"


def test_it_says_how_many_runs_could_show_the_claim(tmp_path):
    """Where the verdict is open for want of runs, and for no other reason."""
    [short] = comparison.tables(
        folders.read([fill(tmp_path / "a", BASE[:4], WORSE[:4])]).results, [experiment()]
    )
    assert [note for note in short.notes if "needs" in note] == ["no_lrn: a verdict needs 5 pairs"]
    noisy = folders.read([fill(tmp_path / "b", BASE, [0.40, 0.25, 0.36, 0.30, 0.33])]).results
    [table] = comparison.tables(noisy, [experiment()])
    needed = statistics.needed(table.rows[1].against.std, 1.4)
    assert table.notes == [f"no_lrn: {needed} pairs with this spread could show the claimed effect"]
    assert needed > 100
    for claim, note in (
        (Claim("LRN", target=30.0), "runs with this spread"),
        (Claim("LRN", direction=1), ""),
        (Claim("LRN", effect=1.4, tests=False, caveat="too short"), "no_lrn: too short"),
        (Claim("LRN", effect=100.0), "no_lrn: smaller than claimed"),
    ):
        made = dataclasses.replace(experiment(), claims={"no_lrn": claim})
        [table] = comparison.tables(noisy, [made])
        assert len(table.notes) == bool(note)
        assert note in "".join(table.notes)


def test_a_run_that_was_changed_on_the_way_is_named(tmp_path):
    found = folders.read([fill(tmp_path / "a")]).results
    about = {"changed": ["config.schedule.rate", "config.epochs"]}
    changed = [
        dataclasses.replace(one, about={**one.about, **about}) if one.name == "no_lrn-3" else one
        for one in found
    ]
    [table] = comparison.tables(changed, [experiment()])
    assert table.notes == [
        LARGER,
        "no_lrn with seed 3: config.schedule.rate, config.epochs changed on the way",
    ]


def test_an_arm_that_never_learnt_is_named(tmp_path):
    folder = fill(tmp_path / "a")
    flat = 1 - math.exp(-1)  # these runs' losses are 1
    for seed in (2, 4):
        shutil.rmtree(folder / f"no_lrn-{seed}")
        overrides = {"seed": seed, "net.norm": False}
        leave(folder / f"no_lrn-{seed}", [flat, flat], overrides=overrides)
    [table] = comparison.tables(folders.read([folder]).results, [experiment(effect=None)])
    assert table.notes == ["no_lrn with seeds 2, 4 never got beyond guessing"]
    assert table.rows[1].against.n == 5  # they count


def test_it_is_readable_in_80_columns(tmp_path, capsys):
    text = run(capsys, fill(tmp_path / "a"))
    assert max(map(len, text.splitlines())) <= 80
    assert (
        "1 of the 1 claims that these trainings can test, with 5 pairs or more, look\n"
        "supported (1 of the 1 with a size exclude that size). If no arm differed from\n"
        "its baseline, chance alone would make at most about 0.03 look so." in text
    )
    assert "  no_lrn: net.norm=False; paper: 1.4%\n" in text
    assert text.count("note:") == text.count(f"note: {LARGER}") == 1  # the runs are in order


def test_other_formats(tmp_path, capsys):
    folder = fill(tmp_path / "a")
    found = list(csv.DictReader(io.StringIO(run(capsys, folder, "--format=csv"))))
    assert [line["arm"] for line in found] == ["baseline", "no_lrn"]
    assert [line["pairs"] for line in found] == ["0", "5"]
    assert found[1]["verdict"] == "supported"
    assert "| no_lrn | 5 | 32.88 ± " in run(capsys, folder, "--format=markdown")


def test_rows_name_the_experiment_and_the_claim(tmp_path, capsys):
    folder = fill(tmp_path / "a")
    effect = Claim("words", paper="P", log="L", effect=1.4, caveat="C")
    for claim, about in (
        (effect, {"claim": "words", "caveat": "C", "claimed": 1.4, "target": None}),
        (Claim("reach it", paper="P", log="L", target=31.0), {"claim": "reach it", "target": 31.0}),
    ):
        made = dataclasses.replace(experiment("full"), claims={"no_lrn": claim})
        tables = comparison.tables(folders.read([folder]).results, [made])
        _, found = json.loads(formats.as_json(tables, "last"))
        expected = {"experiment": "lrn", "scale": "full", "metric": "top1_error", "arm": "no_lrn"}
        expected |= {"checkpoint": "last", "paper": "P", "log": "L"}
        assert expected.items() <= found.items()
        assert about.items() <= found.items()


def test_a_notebook_gets_what_the_command_prints(tmp_path, capsys):
    folder = fill(tmp_path / "a")
    for metric, baseline in (("last", ""), ("best", "no_lrn")):
        options = [f"--metric={metric}", f"--baseline={baseline}"]
        printed = json.loads(run(capsys, folder, "--format=json", *options))
        assert alexnet.compare_results(folder, metric=metric, baseline=baseline) == printed
    other = str(ROOT / "experiments/lrn.py:full")  # none of these runs is of it
    assert {row["experiment"] for row in alexnet.compare_results(folder, [other])} == {""}
    with pytest.raises(UserError, match="metric='worst': choose one of last, best"):
        alexnet.compare_results(folder, metric="worst")
    with pytest.raises(UserError, match="error='top2': choose one of top1, top5"):
        alexnet.compare_results(folder, error="top2")
    with pytest.raises(UserError, match="nowhere: no such folder"):
        alexnet.compare_results(tmp_path / "nowhere")


def test_runs_of_one_arm_that_another_table_shows_have_no_table_of_their_own(tmp_path, capsys):
    folder = fill(tmp_path / "a")
    made = experiment()
    norm = {"baseline": made.arms["baseline"], "tanh": Arm("tanh", load_config(DIGITS), {})}
    plan.save(dataclasses.replace(made, name="tanh", arms=norm, claims={}), 2, folder)

    def shown() -> list[tuple[str, str]]:
        found = json.loads(run(capsys, folder, "--format=json"))
        return [(line["experiment"], line["arm"]) for line in found]

    assert shown() == [("lrn", "baseline"), ("lrn", "no_lrn")]
    for path in folder.glob("no_lrn-*"):
        shutil.rmtree(path)
    assert shown() == [("lrn", "baseline"), ("tanh", "baseline")]


def test_commits_and_cores_and_devices_that_differ_are_noted(tmp_path, capsys):
    folder = fill(tmp_path / "a")
    path = folder / "no_lrn-0/provenance.json"
    [made] = json.loads(path.read_text())
    path.write_text(
        json.dumps([made | {"commit": "d" * 40 + "+12ab34cd", "cores": 8, "device": "gpu"}])
    )
    for seed, version in ((1, "0.10.2"), (2, "0.12.0")):
        path = folder / f"no_lrn-{seed}/provenance.json"
        [made] = json.loads(path.read_text())
        path.write_text(json.dumps([made | {"versions": {"jaxlib": version}}]))
    # a run without a partner, which no difference rests on
    leave(folder / "baseline-9", [0.5, 0.5], overrides={"seed": 9}, commit="e" * 40)
    text = " ".join(run(capsys, folder).split())
    assert "runs of different commits: ccccccc (9), ddddddd+12ab34cd (1)" in text
    assert "runs on different numbers of cores: 2, 8" in text
    assert "runs on different devices: 1 x cpu (9), gpu (1)" in text
    assert "runs with different versions of jaxlib: 0.10.2, 0.12.0" in text


def test_a_version_that_changed_on_the_way_is_noted(tmp_path):
    run = leave(tmp_path / "a-0", [0.5, 0.4])
    [first] = json.loads((run / "provenance.json").read_text())
    commands = [
        first | {"start": start, "versions": {"jaxlib": version, "python": "3.11"}}
        for start, version in ((0, "0.10.2"), (10, "0.12.0"))
    ]
    (run / "provenance.json").write_text(json.dumps(commands))
    [result] = folders.read([tmp_path]).results
    assert result.about["versions"] == {"jaxlib": "0.10.2 then 0.12.0", "python": "3.11"}


def test_different_images_under_one_name_are_not_compared(tmp_path):
    folder = fill(tmp_path / "a", contents={"validation": "x"})
    (folder / "no_lrn-0/dataset/info.json").write_text('{"contents": {"validation": "y"}}')
    both = f"{folder}/baseline-0 and {folder}/no_lrn-0 saw different validation"
    with pytest.raises(UserError, match=both):
        compare.main([str(folder)])


def test_different_images_in_folders_of_one_name_are_not_compared(tmp_path):
    for seed, place in enumerate("xy"):
        overrides = {"seed": seed, "data.name": f"folder:/{place}/photos"}
        leave(tmp_path / f"a-{seed}", [0.5], overrides=overrides, contents={"train": place})
    both = f"{tmp_path}/a-0 and {tmp_path}/a-1 saw different train images of folder:photos"
    with pytest.raises(UserError, match=both):
        compare.main([str(tmp_path)])
    for info in tmp_path.glob("a-*/dataset/info.json"):
        info.write_text('{"contents": {"train": "z"}}')
    compare.main([str(tmp_path)])


def test_the_plan_of_an_earlier_version_still_has_its_runs(tmp_path, capsys):
    """Plans once had no version; their settings and those of the runs were fewer."""
    folder = fill(tmp_path / "a")
    before = run(capsys, folder)

    def without(config: dict, **more) -> dict:
        kept = {key: config[key] for key in config if key not in ("fetch", "steps_per_dispatch")}
        return kept | more

    [record] = (folder / "sweeps").glob("*.json")
    planned = json.loads(record.read_text())
    for arm in planned["experiment"]["arms"]:
        assert arm["config"].pop("version") == migrations.VERSION
        arm["config"] = without(arm["config"])
    del planned["crc32"]
    record.write_text(json.dumps(planned))
    for path in folder.glob("*/config.json"):
        config = without(json.loads(path.read_text()), version=6)
        del config["sha256"]
        path.write_text(json.dumps(config))
    assert run(capsys, folder) == before
    later = json.loads(record.read_text())
    later["experiment"]["arms"][0]["config"]["version"] = migrations.VERSION + 1
    record.write_text(json.dumps(later))
    with pytest.raises(UserError, match=r"lrn-small.json was written by a later version"):
        compare.main([str(folder)])


@pytest.mark.parametrize(
    ("low", "smallest", "n", "verdict"),
    [
        (-0.2, 1.0, 5, "supported"),
        (-3.0, 1.0, 5, "supported"),  # better than the target
        (-0.1, 1.0, 5, "supported"),  # all of it rounds to the target
        (-0.05, 1.0, 5, "cannot tell"),  # not all of it
        (0.5, 1.0, 5, "cannot tell"),
        (0.51, 1.0, 5, "contradicted"),
        (0.51, 1.01, 5, "cannot tell"),  # these runs could not show a difference of a point
        (0.51, 1.0, 4, "cannot tell"),
    ],
)
def test_a_nets_error_is_judged_to_a_point(low, smallest, n, verdict):
    found = statistics.Estimate(n, low + 0.3, 0.2, low, low + 0.6, smallest)
    assert reached(found) == verdict


def test_runs_of_different_datasets_are_in_tables_of_their_own(tmp_path, capsys):
    """A folder of images is one dataset wherever it was, and by whatever name, if that is known."""
    for name, data, digest in (
        ("digits-0", "digits", "a"),
        ("cifar-0", "cifar10", "b"),
        ("pets-0", "folder:/x/pets", "c"),
        ("moved-0", "folder:/y/animals", "c"),
        ("old-0", "folder:/z/animals", ""),  # an earlier version's, without digests
    ):
        overrides = {"data.name": data, "seed": len(name), "net.norm": name != "moved-0"}
        contents = {"train": digest} if digest else None
        leave(tmp_path / name, [0.5], overrides=overrides, contents=contents)
    changes = {"data.name": "folder:/pets", "seed": 7}
    failed = leave(tmp_path / "pets-7", [], overrides=changes, epochs=1.0)
    (failed / plan.FAILURE).write_text("a full disk\n")
    found = folders.read([tmp_path])
    made = comparison.tables(found.every, [])
    assert [
        (one.experiment.title, sorted((row.arm, len(row.known), row.failed) for row in one.rows))
        for one in made
    ] == [
        ("1 run on cifar10", [("cifar", 1, 0)]),
        ("1 run on digits", [("digits", 1, 0)]),
        ("3 runs on folder:animals", [("moved", 1, 0), ("old", 2, 1)]),
    ]
    compare.main([str(tmp_path)])
    assert "digits: 1 run on digits" in capsys.readouterr().out


def test_an_experiment_without_runs_says_how_the_nearest_run_differs(tmp_path, capsys):
    leave(tmp_path / "a-0", [0.5, 0.4], overrides={"log_every": 3})
    for options, line in (
        (
            [f"{ROOT}/experiments/lrn.py:digits"],
            "lrn.py:digits: the nearest, a-0, has epochs=2.0, ",
        ),
        ([f"{ROOT}/experiments"], ""),  # of a folder's, most have none
        ([], ""),
    ):
        compare.main([str(tmp_path), *(f"--experiment={one}" for one in options)])
        said = capsys.readouterr().err
        assert said.count("no run belongs to") == bool(line)
        assert line in said


def test_one_seed_with_two_outcomes_is_refused(tmp_path):
    fill(tmp_path / "a")
    fill(tmp_path / "b", base=WORSE)
    both = f"{tmp_path}/a/baseline-0 and {tmp_path}/b/baseline-0 are two runs of one config and"
    with pytest.raises(UserError, match=both):
        compare.main([str(tmp_path / "a"), str(tmp_path / "b")])


def test_runs_without_an_experiment_are_grouped_by_their_settings(tmp_path, capsys):
    for name, overrides in (
        ("middle", {}),
        ("norm", {"net.norm": False}),
        ("depth", {"net.remove": "conv4"}),
    ):
        for seed in (0, 1):
            leave(tmp_path / f"{name}-{seed}", [0.5], overrides=overrides | {"seed": seed})
    found = json.loads(run(capsys, tmp_path, "--format=json"))
    assert [(line["arm"], line["differs"], line["n"]) for line in found] == [
        ("middle", "", 2),
        ("depth", "net.remove='conv4'", 2),
        ("norm", "net.norm=False", 2),
    ]


def test_a_name_without_a_seed_is_shown_whole(tmp_path, capsys):
    leave(tmp_path / "wide-net", [0.5])
    leave(tmp_path / "wide-net-7", [0.5], overrides={"net.norm": False})
    found = json.loads(run(capsys, tmp_path, "--format=json"))
    assert [line["arm"] for line in found] == ["wide-net", "wide-net-7"]


def test_averages_are_told_apart_by_the_runs_that_they_are_of(tmp_path, capsys):
    for name, seed, norm in (("a-0", 0, True), ("a-1", 1, True), ("b-0", 0, False)):
        leave(tmp_path / name, [0.5], overrides={"seed": seed, "net.norm": norm})
    errors = {"loss": 1.0, "top1_error": 0.25, "top5_error": 0.1, "count": 100, "commit": None}
    for name, *of in (("aa-0", "a-0", "a-1"), ("aa-1", "a-1", "a-0"), ("ab-0", "a-0", "b-0")):
        (tmp_path / name).mkdir()
        found = json.dumps({"views": "centre", "of": of} | errors)
        (tmp_path / name / plan.EVALUATION).write_text(found)
    found = json.loads(run(capsys, tmp_path, "--format=json"))
    assert {line["arm"]: line["n"] for line in found} == {"a": 2, "b": 1, "aa": 2, "ab": 1}


def test_averages_that_share_nets_are_named(tmp_path):
    """As two sweeps with the seeds 0 to 2 and 1 to 3 make."""
    leave(tmp_path / "a-0", [0.5])
    [one] = folders.read([tmp_path]).results

    def notes(*groups: tuple[int, ...]) -> list[str]:
        averages = [
            dataclasses.replace(one, seed=group[0], views="centre", of=[f"a-{n}" for n in group])
            for group in groups
        ]
        [table] = comparison.tables(averages, [])
        return table.notes

    assert notes((0, 1, 2), (3, 4, 5)) == []
    [note] = notes((0, 1, 2), (1, 2, 3))
    assert note == "averages of a share a-1, a-2: no verdict"


def test_averages_that_share_nets_have_no_verdict(tmp_path):
    found = folders.read([fill(tmp_path / "a", base=[0.3 + n / 1000 for n in range(12)])]).results
    runs, made = {one.name: one for one in found}, experiment()
    two = Arm("two", made.arms["baseline"].config, {}, "centre", {"baseline": 2})
    made = dataclasses.replace(
        made, arms={**made.arms, "two": two}, claims={"two": Claim("two", direction=-1)}
    )

    def judged(*pairs: tuple[int, int]) -> Row:
        averages = [
            dataclasses.replace(
                runs[f"baseline-{pair[0]}"],
                name=f"two-{pair[0]}",
                of=[f"baseline-{n}" for n in pair],
                views="centre",
                last={"top1_error": 0.25 + pair[0] / 1000},
            )
            for pair in pairs
        ]
        [table] = comparison.tables([*found, *averages], [made])
        return next(row for row in table.rows if row.arm == "two")

    assert judged((0, 1), (2, 3), (4, 5), (6, 7), (8, 9)).verdict == "supported"
    shared = judged((0, 1), (2, 3), (4, 5), (6, 7), (7, 8))
    assert (shared.verdict, shared.lost) == ("cannot tell", True)


def test_more_runs_than_planned_are_named_too(tmp_path):
    """They may have been added because of what the others said."""
    more = {"base": [*BASE, 0.31], "worse": [*WORSE, 0.33]}
    found = folders.read([fill(tmp_path / "a", **more)]).results
    for planned, note in (
        (5, ["no_lrn has 6 runs, more than the 5 planned", LARGER]),
        (6, [LARGER]),
        (8, ["no_lrn has 6 of the 8 planned runs", LARGER]),
    ):
        [table] = comparison.tables(found, [dataclasses.replace(experiment(), seeds=planned)])
        assert table.notes == note


def test_evaluations_are_counted_like_runs(tmp_path):
    found = folders.read([fill(tmp_path / "a", worse=[])]).results
    made = experiment()
    config = made.arms["baseline"].config
    arms = {
        "ten": Arm("ten", config, {}, "ten_crop", {"baseline": 1}),
        "two": Arm("two", config, {}, "centre", {"baseline": 2}),
    }
    claims = {name: Claim(name, direction=-1) for name in arms}
    made = dataclasses.replace(made, arms={**made.arms, **arms}, claims=claims)
    made = dataclasses.replace(made, seeds=5)
    first = found[0]
    several = [
        dataclasses.replace(first, name=f"ten-{n}", seed=n, views="ten_crop", of=[f"baseline-{n}"])
        for n in range(4)
    ] + [dataclasses.replace(first, name="two-0", of=["baseline-0", "baseline-1"], views="centre")]
    [table] = comparison.tables([*found, *several], [made])
    assert [note for note in table.notes if "planned" in note] == [
        "ten has 4 of the 5 planned runs",
        "two has 1 of the 2 planned runs",
    ]


def test_a_run_that_goes_on_has_neither_missed_an_error_nor_guessed(tmp_path):
    metric = "epochs to a training error of 0.25"
    flat = [1 - math.exp(-1)] * 2  # these runs' losses are 1
    for epochs, said in ((2.0, True), (9.0, False)):
        folder = tmp_path / f"{epochs:g}"
        for name, norm in (("baseline", True), ("no_lrn", False)):
            overrides = {"net.norm": norm, "epochs": epochs}
            leave(folder / f"{name}-0", flat, train=[0.9, 0.9], overrides=overrides)
        made = dataclasses.replace(experiment(effect=2.0), metric=metric)
        arms = {
            name: dataclasses.replace(
                arm, config=load_config(DIGITS, {"epochs": epochs} | arm.overrides)
            )
            for name, arm in made.arms.items()
        }
        found = folders.read([folder], begun=True).every
        [table] = comparison.tables(found, [dataclasses.replace(made, arms=arms)])
        assert formats.rows([table], "last")[1]["claimed"] == math.log(2)
        assert any("never reached" in note for note in table.notes) is said
        assert any("guessing" in note for note in table.notes) is said


def test_all_runs_of_a_published_error_are_compared(tmp_path):
    """They decide about it, with a partner or without."""
    found = folders.read([fill(tmp_path / "a", worse=WORSE[:1])]).results
    far = [
        dataclasses.replace(one, about={**one.about, "device": "a GPU"})
        if one.name == "baseline-4"
        else one
        for one in found
    ]
    for claims, noted in (({}, False), ({"baseline": Claim("published", target=31.0)}, True)):
        [table] = comparison.tables(far, [dataclasses.replace(experiment(), claims=claims)])
        assert any("a GPU (1)" in note for note in table.run_notes) is noted


def test_all_claims_with_enough_pairs_count_whatever_their_spread(tmp_path):
    """To count those with a small spread only would be a choice by the results."""
    noisy = folders.read([fill(tmp_path / "a", BASE, [0.40, 0.25, 0.36, 0.30, 0.33])]).results
    tables = comparison.tables(noisy, [experiment()])
    assert tables[0].rows[1].verdict == "cannot tell"
    assert formats.chance(tables).startswith("0 of the 1 claims that these trainings can")


def test_factors_of_epochs(tmp_path, capsys):
    """Figure 1's kind of claim: arms differ by a factor, whose logarithm has the interval."""
    for seed, (fast, slow) in enumerate([(1, 4), (1, 3), (2, 6), (1, 4), (2, 8)]):
        for name, when, norm in (("baseline", fast, True), ("no_lrn", slow, False)):
            train = [0.9] * (when - 1) + [0.2] * (9 - when)
            overrides = {"seed": seed, "net.norm": norm, "epochs": 8.0}
            leave(tmp_path / f"{name}-{seed}", [0.5] * 8, train=train, overrides=overrides)
    metric = f"{EPOCHS_TO}0.25"
    plan.save(experiment(effect=6.0, metric=metric), 2, tmp_path)
    record = tmp_path / "sweeps/lrn-small.json"
    planned = json.loads(record.read_text().replace('"epochs": 2.0', '"epochs": 8.0'))
    del planned["crc32"]
    record.write_text(json.dumps(planned))
    found = row(tmp_path, capsys=capsys)
    logs = np.log([4, 3, 3, 4, 4])
    assert found["difference"] == pytest.approx(logs.mean())
    low, high = stats.t.interval(0.95, 4, logs.mean(), stats.sem(logs))
    assert (found["low"], found["high"]) == pytest.approx((low, high))
    assert found["verdict"] == "supported"
    assert f"{math.exp(logs.mean()):.2f} [{math.exp(low):.2f} {math.exp(high):.2f}]" in run(
        capsys, tmp_path
    )


def test_results_that_are_kept_are_compared_alike(tmp_path, capsys):
    folder, kept = fill(tmp_path / "a"), tmp_path / "kept"
    text = run(capsys, folder, f"--collect={kept}")
    assert run(capsys, kept) == text
    assert len(list(kept.glob("*.json"))) == 10


def test_a_named_experiment_places_runs_by_their_config(tmp_path, capsys):
    for seed in range(2):
        leave(tmp_path / f"x{seed}", [0.5] * 8, overrides={"seed": seed})
        leave(tmp_path / f"y{seed}", [0.5] * 8, overrides={"seed": seed, "net.norm": False})
    file = tmp_path / "mine.py"
    file.write_text(
        '"""Mine."""\nARMS = {"base": {}, "none": {"net.norm": False}}\n'
        f'SCALES = {{"small": {{"config": "{DIGITS}", "seeds": 2, '
        '"overrides": {"epochs": 8}}}\n'
    )
    found = json.loads(run(capsys, tmp_path, f"--experiment={file}", "--format=json"))
    assert [(line["arm"], line["n"]) for line in found] == [("base", 2), ("none", 2)]
    folder = json.loads(run(capsys, tmp_path, f"--experiment={tmp_path}", "--format=json"))
    assert folder == found == alexnet.compare_results(tmp_path, [str(tmp_path)])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "which runs"),
        (["DIR", "--metric=worst"], "^metric='worst': choose one of last, best"),
        (["DIR", "--error=top2"], "^error='top2': choose one of top1, top5"),
        (["DIR", "--format=xml"], "^format='xml': choose one of text"),
        (["DIR", "--colect=x"], "--colect: no such option; did you mean 'collect'"),
        (["DIR/none"], "no such folder"),
        (["s3://bucket/runs"], "^DIR=s3://bucket/runs: only local paths work"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, argv, message):
    fill(tmp_path / "a")
    with pytest.raises(UserError, match=message) as error:
        compare.main([part.replace("DIR", str(tmp_path / "a")) for part in argv])
    assert "\n" not in str(error.value)


def test_arms_on_other_images_get_no_difference(tmp_path, capsys):
    fill(tmp_path / "a")
    made = experiment()
    config = load_config(DIGITS, {"epochs": 2.0, "data.name": "cifar100"})
    arms = {**made.arms, "pre": Arm("pre", config, {"data.name": "cifar100"})}
    other = {"data.name": "cifar100"}
    leave(tmp_path / "a/pre-0", [0.5, 0.5], overrides=other, commit="e" * 40)
    found = folders.read([tmp_path / "a"]).results
    [table] = comparison.tables(found, [Experiment("x", "small", "X.", arms, {}, 5)])
    assert table.rows[-1].against is None
    assert "pre and baseline saw different images: not compared" in table.notes
    assert table.run_notes == []  # nothing is compared with its commit
    datasets = {row["arm"]: row["dataset"] for row in formats.rows([table], "last")}
    assert datasets["pre"] != datasets["baseline"] == table.dataset
