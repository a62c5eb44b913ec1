"""A sweep as a user runs it: planned, checked, killed, resumed, and its failures."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from support.runs import leave
from support.tiny import ROOT

from alexnet import sweep
from alexnet.errors import Interrupted, UserError
from alexnet.logs import metrics
from alexnet.sweeps import plan, runner, slurm, worker, workers
from alexnet.training.programs import Programs
from alexnet.training.settings import load_config

TINY = {
    "data.image_size": 20,
    "net.image_size": 18,
    "net.remove": "conv3,conv4,conv5,fc7",
    "epochs": 3,
    "batch_size": 256,
    "log_every": 2,
    "checkpoint_every": 4,
}


def write(folder, arms: str, seeds: int = 2, **overrides) -> str:
    settings = {"config": f"{ROOT}/configs/digits.py", "seeds": seeds}
    settings["overrides"] = TINY | overrides
    file = folder / "mine.py"
    file.write_text(f'"""Mine."""\nARMS = {arms}\nSCALES = {{"small": {settings!r}}}\n')
    return str(file)


@pytest.fixture
def file(tmp_path, data_dir) -> str:
    arms = '{"baseline": {}, "no_lrn": {"net.norm": False}}'
    return write(tmp_path, arms, **{"data.data_dir": data_dir})


# --- Mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], r"which runs\?"),
        (["FILE", "--config=configs/digits.py"], "or --config, not both"),
        (["--config="], r"which runs\?"),
        (["--config=CONFIG", "--config=CONFIG"], r"digits.py: a value is given twice"),
        (["FILE:big"], "no scale 'big'"),
        (["FILEs"], "no such file"),
        (["FILE", "--config.net.nrom=false"], "config.net.nrom: .* did you mean 'net.norm'"),
        (["FILE", "--config.net.norm=no"], "expected true or false"),
        (["FILE", "--config.epochs=1", "--config.epochs=2"], "config.epochs: given twice"),
        (["FILE", "--config.seed=3"], "config.seed: .* write --seeds=N"),
        (["FILE", "--seeds=0"], "--seeds=0: expected a whole number of at least 1"),
        (["FILE", "--seeds=3..2"], "--seeds=3..2: expected the first and the last"),
        (["FILE", "--seeds=..2"], "--seeds=..2: expected the first and the last"),
        (["FILE", "--jobs=two"], "--jobs=two: expected"),
        (["FILE", "--retry=perhaps"], "--retry=perhaps: expected true or false"),
        (["FILE", "--slurm="], "--slurm= is empty: write --slurm=PARTITION, or just --slurm"),
        (["FILE", "--slurm", "gpu"], "stray argument 'gpu': write --name=value, without a space"),
        (["--jobs", "2", "FILE"], "--jobs: write --jobs=value, without a space"),
        (["FILE", "--config.epochs", "3"], "--config.epochs: write --config.epochs=value, without"),
        (["FILE", "--job=2"], "--job: no such option; did you mean 'jobs'"),
        (["--config=CONFIG", "--config.epochs=1", "--config.epochs=1"], "a value is given twice"),
        (["--config=CONFIG", "--config.seed=0", "--seeds=2"], "config.seed"),
        (["--config=none.py"], "no such file"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_starts(file, tmp_path, argv, message, monkeypatch):
    monkeypatch.setattr(runner.Runner, "check", pytest.fail)
    words = {"FILE": file, "CONFIG": f"{ROOT}/configs/digits.py"}
    for word, real in words.items():
        argv = [argument.replace(word, real) for argument in argv]
    with pytest.raises(UserError, match=message) as error:
        sweep.main([*argv, f"--workdir={tmp_path}/out"])
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out/sweeps").exists()


def test_help_beside_a_config_lists_the_options(capsys):
    sweep.main(["--config=configs/digits.py", "--help"])
    assert capsys.readouterr().out.startswith(f"{sweep.__doc__.strip()}\n\nOptions")


def test_a_folder_that_holds_other_things_is_left_alone(file, tmp_path):
    with pytest.raises(UserError, match=r"holds other things .'mine.py'., not a sweep"):
        sweep.main([file, f"--workdir={tmp_path}"])


@pytest.mark.parametrize(
    "argv",
    [
        ["--workdir=x", "a.py", "b.py"],
        ["a.py", "--dry_run", "b.py", "--workdir=x"],
        ["--retry", "a.py", "--config.epochs=1", "b.py", "--workdir=x"],
    ],
)
def test_experiments_stand_before_or_after_options(argv):
    files, options, _ = sweep.read(argv)
    assert (files, options["workdir"]) == (["a.py", "b.py"], "x")


# --- What it would do, and what it hands to SLURM -------------------------------------------------


@pytest.mark.parametrize(
    ("options", "seeds"),
    [
        (["--config.net.norm=true", "--config.net.norm=false"], [0]),  # the config's
        (["--config.seed=3", "--config.seed=5"], [3, 5]),
        (["--seeds=3"], [0, 1, 2]),
        (["--seeds=2..4"], [2, 3, 4]),
        (["--seeds=0..0"], [0]),
    ],
)
def test_combinations_have_the_seeds_that_are_asked_for(options, seeds):
    argv = [f"--config={ROOT}/configs/digits.py", "--workdir=out", *options]
    [(_, found)] = sweep.experiments(*sweep.read(argv))
    assert found == seeds


def test_jobs_share_the_cores_and_each_has_one_at_least(tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "cpu_count", lambda: 6)
    assert [sweep.agreed_cores("", tmp_path, jobs) for jobs in (1, 2, 4, 6, 7)] == [6, 3, 1, 1, 1]


def test_slurm_gets_the_runs_that_are_not_done(tmp_path, monkeypatch, capsys):
    config = load_config(f"{ROOT}/configs/digits.py")
    states = ("new", "begun", "failed", "done", "new")
    jobs = []
    for seed, state in enumerate(states):
        needs = ("a-0",) if seed == 4 else ()
        jobs.append(runner.Job(plan.Item(f"a-{seed}", "a", config, needs=needs), state))
    asked, queued = [], set()

    monkeypatch.setattr(slurm, "queued", lambda _: queued)
    monkeypatch.setattr(slurm, "submit", lambda *given: asked.append(given))
    for written, partition in (("true", ""), ("gpu", "gpu")):
        slurm.hand_over(jobs, tmp_path, 3, written)
        assert asked.pop() == ([jobs[n].item for n in (0, 1)], tmp_path, 3, partition, 0)
    jobs[0].state = "done"
    slurm.hand_over(jobs, tmp_path, 3, "true", 4)
    assert asked.pop() == ([jobs[n].item for n in (1, 4)], tmp_path, 3, "", 4)  # a-4 needs a-0
    first, then = capsys.readouterr().out.splitlines()[:2]
    assert first.startswith("2 runs submitted; see squeue")
    assert then.startswith("once they are done, the same command submits runs that start from them")
    queued |= {"a-1", "a-4", "b-0"}  # b-0 is another experiment's
    slurm.hand_over(jobs, tmp_path, 3, "true")
    assert asked == []  # submitit warns of an array without jobs
    first, then = capsys.readouterr().out.splitlines()[:2]
    assert first.startswith("0 runs submitted")
    assert then.startswith("2 runs submitted earlier: as far as is known, SLURM still has them; if")


def test_a_plan_that_slurm_refuses_can_be_changed(file, tmp_path, monkeypatch):
    def refuse(*_):
        (tmp_path / "out/slurm").mkdir()  # as the real one does
        raise UserError("too many CPUs")

    checked = []
    monkeypatch.setattr(
        runner.Runner, "check", lambda _, elsewhere, dry: checked.append(elsewhere) or []
    )
    monkeypatch.setattr(slurm, "check", lambda: None)
    monkeypatch.setattr(slurm, "queued", lambda _: set())
    monkeypatch.setattr(slurm, "submit", refuse)
    argv = [file, f"--workdir={tmp_path}/out", "--slurm=gpu"]
    with pytest.raises(UserError, match="too many CPUs"):
        sweep.main([*argv, "--cores=128"])
    asked = []
    monkeypatch.setattr(slurm, "submit", lambda *given: asked.append(given))
    sweep.main([*argv, "--cores=8", "--jobs=3"])
    assert [given[2:] for given in asked] == [(8, "gpu", 3)]
    assert checked == [True, True]  # this machine may have less memory than those that train
    with pytest.raises(UserError, match=f"the runs in {tmp_path}/out use 8"):
        sweep.main([*argv, "--cores=128"])


def test_with_slurm_the_cores_are_not_divided_among_jobs(file, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sweep, "cpu_count", lambda: 12)
    monkeypatch.setattr(runner.Runner, "check", lambda *_, **__: ["digits"])
    for option, cores in (("--slurm", 12), ("", 3)):
        argv = [file, f"--workdir={tmp_path}/out", "--jobs=4", "--dry_run", option]
        sweep.main([one for one in argv if one])
        said = capsys.readouterr().out
        assert f"\ncores of a run: {cores}\n(digits is not prepared, or has changed: the" in said


def test_slurm_is_looked_for_before_anything_is_checked(file, tmp_path, monkeypatch):
    monkeypatch.setattr(runner.Runner, "check", pytest.fail)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match="--slurm needs submitit"):
        sweep.main([file, f"--workdir={tmp_path}/out", "--slurm"])


def test_without_slurm_what_was_submitted_is_left_out(tmp_path, monkeypatch):
    config = load_config(f"{ROOT}/configs/digits.py")
    states = {"a-0": "new", "a-1": "begun", "a-2": "done", "a-3": "new"}
    jobs = [runner.Job(plan.Item(name, "a", config), state) for name, state in states.items()]
    monkeypatch.setattr(slurm, "submitted", lambda _: {"a-0": "1", "a-1": "2", "a-2": "3"})
    slurm.leave_submitted(jobs, tmp_path)
    assert [job.state for job in jobs] == ["left out", "left out", "done", "new"]
    assert jobs[0].note.endswith(f"to train it here, delete {tmp_path}/slurm/jobs.json")


def test_without_slurm_what_starts_from_a_submitted_run_is_left_out(tmp_path, monkeypatch):
    config = load_config(f"{ROOT}/configs/digits.py")
    items = [
        plan.Item("a-0", "a", config),
        plan.Item("tuned-0", "tuned", config, needs=("a-0",)),
        plan.Item("mean-0", "mean", config, views="centre", needs=("a-0",)),
    ]
    jobs = [runner.Job(item, "done" if item.name == "a-0" else "new") for item in items]
    monkeypatch.setattr(slurm, "submitted", lambda _: {"a-0": "1"})
    slurm.leave_submitted(jobs, tmp_path)
    assert [job.state for job in jobs] == ["done", "left out", "new"]
    assert jobs[1].note.startswith("starts from a-0, which was submitted to SLURM: --slurm submits")


def test_a_run_that_diverged_gets_advice_of_its_own(tmp_path, capsys):
    config = load_config(f"{ROOT}/configs/digits.py")
    notes = {"wild-0": "the loss is inf at step 3: training diverged", "dead-0": "no memory"}
    jobs = [
        runner.Job(plan.Item(name, "a", config), "failed", note=note)
        for name, note in notes.items()
    ]
    sweep.list_failed(jobs[:1], tmp_path)
    said = capsys.readouterr().out
    assert "would diverge again: change its arm's settings" in said
    assert "--retry" not in said
    sweep.list_failed(jobs, tmp_path)
    assert "--retry runs the failed ones again" in capsys.readouterr().out


# --- Runners of workers that do not train ---------------------------------------------------------

FAKE = """
import json, os, sys, time
from pathlib import Path
for line in sys.stdin:
    request = json.loads(line)
    if "check" in request:
        print(json.dumps({"steps": 10}), flush=True)
        continue
    folder = Path(request["folder"])
    folder.mkdir(exist_ok=True)
    with (folder.parent / "order").open("a") as order:
        about = os.environ["PJRT_NPROC"], os.environ.get("CUDA_VISIBLE_DEVICES"), *sys.argv[1:]
        order.write(f"{folder.name} {' '.join(map(str, about))}\\n")
    if "stuck" in folder.name:
        time.sleep(120)
    if "slow" in folder.name:
        sys.stdin.read()  # until it is asked to stop
        sys.exit()
    if "dead" in folder.name:
        os.kill(os.getpid(), 9)
    if "bad" in folder.name and not (folder.parent / "mended").exists():
        (folder / "failure.txt").write_text("the loss is no number\\n")
        (folder / "output.txt").touch()
        print(json.dumps({"error": "the loss is no number"}), flush=True)
        continue
    if "of" in request:
        found = {"views": request["views"], "of": request["of"], "top1_error": 0.1}
        (folder / "evaluation.json").write_text(json.dumps(found))
    else:
        (folder / "config.json").write_text(json.dumps(request["config"] | {"version": 4}))
        row = {"step": 1, "epoch": 9.0, "validation/top1_error": 0.2}
        (folder / "metrics.jsonl").write_text(json.dumps(row) + "\\n")
        (folder / "provenance.json").write_text('[{"outcome": "done"}]')
    print(json.dumps({"seconds": 1.0}), flush=True)
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    script = tmp_path / "fake.py"
    script.write_text(FAKE)
    monkeypatch.setattr(workers, "COMMAND", [sys.executable, str(script)])


def order(workdir) -> list[str]:
    return [line.split()[0] for line in (workdir / "order").read_text().splitlines()]


@pytest.mark.usefixtures("fake")
def test_each_run_once_and_evaluations_after_what_they_are_of(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sweep, "cpu_count", lambda: 5)
    arms = '{"a": {}, "b": {"net.norm": False}, "both": {"evaluate": {"of": {"a": 1, "b": 1}}}}'
    argv = [write(tmp_path, arms), f"--workdir={tmp_path}/out", "--cores=3", "--jobs=2"]
    sweep.main(argv)
    assert sorted(order(tmp_path / "out")) == ["a-0", "a-1", "b-0", "b-1", "both-0", "both-1"]
    assert order(tmp_path / "out").index("both-0") > order(tmp_path / "out").index("a-0")
    assert {line.split()[1] for line in (tmp_path / "out/order").open()} == {"3"}
    said = capsys.readouterr().out
    assert f"4 runs and 2 evaluations in {tmp_path}/out: 6 new" in said
    assert "\ncores of a run: 3\n(runs at a time share 5 cores, so they take longer)\n" in said
    monkeypatch.setattr(sweep, "cpu_count", lambda: 6)
    sweep.main(argv)
    assert len(order(tmp_path / "out")) == 6
    said = capsys.readouterr().out
    assert "6 done already" in said
    assert "share" not in said


@pytest.mark.usefixtures("fake")
def test_each_worker_has_its_share_of_the_cores_and_gpus(tmp_path, monkeypatch):
    cpus, gpus = [[2, 3], [4, 5]], [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in "67"]
    monkeypatch.setattr(runner, "shares", lambda places, cores: cpus[:places])
    monkeypatch.setattr(runner, "gpu_shares", lambda places: gpus[:places])
    sweep.main(
        [
            write(tmp_path, '{"a": {}}', seeds=8),
            f"--workdir={tmp_path}/out",
            "--cores=2",
            "--jobs=2",
        ]
    )
    used = {line.partition(" ")[2].strip() for line in (tmp_path / "out/order").open()}
    assert used == {"2 6 2 3", "2 7 4 5"}


@pytest.mark.usefixtures("fake")
def test_what_was_submitted_to_slurm_is_trained_under_no_name_without_it(tmp_path, capsys):
    files = []
    for name, arms in (("x", '{"c": {}, "d": {"net.norm": False}}'), ("y", '{"b": {}}')):
        (tmp_path / name).mkdir()
        files.append(write(tmp_path / name, arms, seeds=1))
    (tmp_path / "out/slurm").mkdir(parents=True)
    (tmp_path / "out/slurm/jobs.json").write_text('{"b-0": "17"}')
    with pytest.raises(SystemExit):
        sweep.main([*files, f"--workdir={tmp_path}/out"])
    assert order(tmp_path / "out") == ["d-0"]  # c-0 would be b-0 again
    said = capsys.readouterr().out
    assert "2 runs in" in said
    assert "1 new, 1 left to SLURM\n" in said
    assert f"to train it here, delete {tmp_path}/out/slurm/jobs.json" in said


@pytest.mark.usefixtures("fake")
def test_a_config_is_trained_once_whatever_its_arm_is_called(tmp_path, capsys):
    def run(arms: str, *argv: str) -> list[str]:
        file = write(tmp_path, arms, seeds=1)
        before = order(tmp_path / "out") if (tmp_path / "out/order").exists() else []
        sweep.main([file, f"--workdir={tmp_path}/out", *argv])
        return order(tmp_path / "out")[len(before) :]

    assert run('{"a": {}, "b": {"net.norm": False}}') == ["a-0", "b-0"]
    renamed = '{"base": {}, "c": {"net.norm": False}, "d": {"net.dropout": 0.1}}'
    assert run(renamed) == ["d-0"]
    assert "3 runs in" in capsys.readouterr().out
    assert run(renamed, "--config.log_every=3") == []  # no result depends on it
    mean = '{"base": {}, "e": {"net.norm": False}, "m": {"evaluate": {"of": {"e": 1}}}}'
    assert run(mean) == ["e-0", "m-0"]  # an average knows its runs by their names
    assert run('{"base": {}}', "--config.epochs=2") == ["base-0"]  # no other has 2 epochs


def test_what_shares_a_run_and_what_does_not(tmp_path):
    config, other = (load_config(f"{ROOT}/configs/digits.py", {"epochs": x}) for x in (3.0, 4.0))

    def run(name: str, config=config, needs: tuple[str, ...] = ()) -> plan.Item:
        return plan.Item(name, name, config, needs=needs)

    def names(*items: plan.Item, queued: tuple[str, ...] = ()) -> list[str]:
        return [item.name for item in plan.shared(items, tmp_path, queued)]

    average = plan.Item("mean", "mean", other, views="centre", needs=("a",))
    assert names(run("a"), average, run("b", other)) == ["a", "mean", "b"]  # no run is an average
    assert names(run("a"), run("b"), run("c", other)) == ["a", "c"]
    assert names(run("b"), run("a"), queued=("a",)) == ["a"]  # SLURM will train it
    assert names(run("a"), run("b"), run("c", other, ("b",))) == ["b", "c"]  # c looks for b
    leave(tmp_path / "old", [0.5] * 3, overrides={"log_every": config.log_every})
    assert names(run("a")) == ["old"]
    (tmp_path / "old/provenance.json").unlink()  # as of imported weights
    assert names(run("a")) == ["a"]


@pytest.mark.usefixtures("fake")
def test_experiments_share_runs_of_the_same_config(tmp_path, capsys):
    files = []
    for name, arms in (("x", '{"a": {}, "b": {"net.norm": False}}'), ("y", '{"c": {}}')):
        (tmp_path / name).mkdir()
        files.append(write(tmp_path / name, arms))
    mean = '{"d": {}, "mean": {"evaluate": {"of": {"d": 2}}}}'
    (tmp_path / "z").mkdir()
    files.append(write(tmp_path / "z", mean))
    sweep.main([*files, f"--workdir={tmp_path}/out"])
    assert sorted(order(tmp_path / "out")) == ["b-0", "b-1", "d-0", "d-1", "mean-0"]
    said = capsys.readouterr().out
    assert "\n(arms with the same settings share 4 runs)\n" in said
    assert "\n4 runs and 1 evaluation in" in said


@pytest.mark.usefixtures("fake")
def test_a_failure_stops_nothing_else_and_is_tried_again_when_asked(tmp_path, capsys):
    arms = (
        '{"a": {}, "bad": {"net.norm": False}, "dead": {"net.dropout": 0.1},'
        ' "ten": {"evaluate": {"of": {"bad": 1}, "views": "ten_crop"}}}'
    )
    argv = [write(tmp_path, arms, seeds=1), f"--workdir={tmp_path}/out"]
    with pytest.raises(SystemExit) as end:
        sweep.main(argv)
    assert end.value.code == 1
    said = capsys.readouterr().out
    assert "\n3 runs and 1 evaluation in " in said
    assert f"bad-0 failed: the loss is no number; see {tmp_path}/out/bad-0/output.txt\n" in said
    assert "dead-0 failed: its process ended by SIGKILL\n" in said  # it left no output
    assert "ten-0 left out: needs bad-0\n" in said
    assert "a-0: error 20.00%" in said

    with pytest.raises(SystemExit):
        sweep.main(argv)
    assert order(tmp_path / "out") == ["a-0", "bad-0", "dead-0"]
    said = capsys.readouterr().out
    assert "2 failed (--retry tries again)" in said
    assert said.count("bad-0 failed: the loss is no number") == 1
    sweep.main([*argv, "--dry_run"])
    assert "\nbad-0 failed: the loss is no number; see " in capsys.readouterr().out

    (tmp_path / "out/mended").touch()
    with pytest.raises(SystemExit):
        sweep.main([*argv, "--retry"])
    assert order(tmp_path / "out")[3:] == ["bad-0", "dead-0", "ten-0"]
    failed = [path.parent.name for path in (tmp_path / "out").glob(f"*/{plan.FAILURE}")]
    assert failed == ["dead-0"]


@pytest.mark.usefixtures("fake")
def test_ctrl_c_lets_the_current_run_save_and_starts_no_other(tmp_path, capsys):
    def press() -> None:
        wait_for(tmp_path / "out/order", "slow-0", 60)
        os.kill(os.getpid(), signal.SIGINT)

    argv = [write(tmp_path, '{"slow": {}, "b": {"net.norm": False}}'), f"--workdir={tmp_path}/out"]
    threading.Thread(target=press).start()
    with pytest.raises(Interrupted) as stopped:
        sweep.main(argv)
    assert stopped.value.number == signal.SIGINT
    assert order(tmp_path / "out") == ["slow-0"]
    said = capsys.readouterr().out
    assert "slow-0: stopped; 0 of 4 done" in said
    assert "the same command goes on from the last checkpoint of each run" in said
    assert not (tmp_path / "out/slow-0" / plan.FAILURE).exists()


@pytest.mark.usefixtures("fake")
def test_a_second_ctrl_c_waits_for_no_checkpoint(tmp_path):
    def press() -> None:
        wait_for(tmp_path / "out/order", "stuck-0", 60)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)  # signals of one moment count once

    argv = [write(tmp_path, '{"stuck": {}}', seeds=1), f"--workdir={tmp_path}/out"]
    threading.Thread(target=press).start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        sweep.main(argv)
    assert time.monotonic() - began < 90  # a stuck run ends after two minutes


@pytest.mark.usefixtures("fake")
def test_a_dry_run_does_nothing(tmp_path, capsys):
    sweep.main([write(tmp_path, '{"a": {}}'), f"--workdir={tmp_path}/out", "--dry_run"])
    assert "2 new" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("fake")
def test_an_average_that_needs_more_seeds_says_so(tmp_path, capsys):
    arms = '{"a": {}, "b": {"net.norm": False}, "mean": {"evaluate": {"of": {"a": 2, "b": 3}}}}'
    argv = [write(tmp_path, arms), f"--workdir={tmp_path}/out", "--dry_run"]
    sweep.main(argv)
    assert "\n  mean: needs 3 seeds, has 2\n4 runs in" in capsys.readouterr().out
    sweep.main([*argv, "--seeds=3"])
    said = capsys.readouterr().out
    assert "mean: needs" not in said
    assert "\n6 runs and 1 evaluation in" in said


@pytest.mark.usefixtures("fake")
def test_one_sweep_at_a_time(tmp_path):
    argv = [write(tmp_path, '{"a": {}}'), f"--workdir={tmp_path}/out"]
    (tmp_path / "out/sweeps").mkdir(parents=True)
    with (
        runner.alone(tmp_path / "out"),
        pytest.raises(UserError, match="another sweep is running in"),
    ):
        sweep.main(argv)


# --- A worker -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("no such layer", "remove"), "remove: no such layer"),
        (KeyError("x"), "KeyError: 'x'"),
    ],
)
def test_what_goes_wrong_in_a_run_is_kept(tmp_path, monkeypatch, error, line):
    def fail(*_):
        raise error

    monkeypatch.setattr(worker, "train_and_evaluate", fail)
    monkeypatch.setattr(worker, "_print_to", lambda _: None)
    monkeypatch.setattr(worker, "label", lambda _: None)  # it would change the environment
    request = {"folder": str(tmp_path / "a-0"), "config": {"seed": 1}}
    assert worker.answer(request, Programs())["error"] == line
    assert (tmp_path / "a-0" / plan.FAILURE).read_text() == line + "\n"


# --- Whole sweeps, slowly -------------------------------------------------------------------------


def start(*argv: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "alexnet.sweep", *argv]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(path, row: str, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not (path.is_file() and row in path.read_text()):
        assert time.monotonic() < end, path
        time.sleep(0.05)


def numbers(workdir) -> dict[str, list]:
    """Every run's rows without its clock, and its last weights."""
    found = {}
    for path in sorted(workdir.glob("*/metrics.jsonl")):
        clocks = ("seconds", "train/images_per_second")
        rows = [
            {key: value for key, value in row.items() if key not in clocks}
            for row in metrics.read_log(path.parent)
        ]
        last = max(path.parent.glob("checkpoints/*"), key=lambda step: int(step.name))
        leaves = json.loads((last / "_CHECKPOINT_METADATA").read_text())["custom_metadata"][
            "leaves"
        ]
        found[path.parent.name] = [rows, {name: leaf["crc32"] for name, leaf in leaves.items()}]
    return found


@pytest.mark.slow
def test_a_sweep_killed_twice_gives_the_numbers_of_an_undisturbed_one(
    file, tmp_path, compile_quickly
):
    quiet, killed = tmp_path / "quiet", tmp_path / "killed"
    assert start(file, f"--workdir={quiet}", "--cores=1").wait() == 0
    argv = [file, f"--workdir={killed}", "--cores=1"]

    first = start(*argv)
    wait_for(killed / "baseline-0/metrics.jsonl", '"step": 8')
    first.kill()  # its worker saves a checkpoint and ends
    first.wait()

    second = start(*argv)
    wait_for(killed / "no_lrn-0/metrics.jsonl", '"step": 4')
    second.send_signal(signal.SIGTERM)
    assert second.wait() == 128 + signal.SIGTERM
    assert "stopped; the same command goes on" in second.stdout.read()

    last = start(*argv, "--jobs=2")
    assert last.wait() == 0
    assert "1 done already, 1 to resume, 2 new" in last.stdout.read()
    assert numbers(killed) == numbers(quiet)
    assert len(numbers(quiet)) == 4


@pytest.mark.slow
def test_a_run_that_its_machine_kills_resumes_exactly(file, tmp_path, compile_quickly):
    quiet, killed = tmp_path / "quiet", tmp_path / "killed"
    argv = [file, "--seeds=1", "--cores=1"]
    assert start(*argv, f"--workdir={quiet}").wait() == 0
    first = start(*argv, f"--workdir={killed}")
    wait_for(killed / "baseline-0/metrics.jsonl", '"step": 8')
    pid = int(
        subprocess.run(
            ["pgrep", "-P", str(first.pid), "-f", "alexnet.sweeps.worker"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()[0]
    )
    os.kill(pid, signal.SIGKILL)
    assert first.wait() == 1
    assert "baseline-0 failed: its process ended by SIGKILL" in first.stdout.read()
    assert start(*argv, f"--workdir={killed}", "--retry").wait() == 0
    assert numbers(killed) == numbers(quiet)


@pytest.mark.slow
def test_views_and_averages_have_the_errors_that_evaluate_says(tmp_path, data_dir, compile_quickly):
    arms = (
        '{"a": {}, "ten": {"evaluate": {"of": {"a": 1}, "views": "ten_crop"}},'
        ' "two": {"evaluate": {"of": {"a": 2}}}}'
    )
    file, out = (
        write(tmp_path, arms, **{"data.data_dir": data_dir, "augment.flip": True}),
        tmp_path / "out",
    )
    assert start(file, f"--workdir={out}").wait() == 0
    for name, argv in (
        ("ten-1", [f"--workdir={out}/a-1", "--ten_crop"]),
        ("two-0", [f"--workdir={out}/a-0,{out}/a-1"]),
    ):
        found = json.loads((out / name / plan.EVALUATION).read_text())
        command = [sys.executable, "-m", "alexnet.evaluate", *argv, "--checkpoint=last"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert f"top-1 error {found['top1_error']:.2%}" in said.splitlines()[-1]


@pytest.mark.slow
def test_an_impossible_net_is_refused_before_the_first_run(tmp_path, data_dir):
    arms = '{"baseline": {}, "deep": {"net.remove": "conv9"}}'
    file = write(tmp_path, arms, **{"data.data_dir": data_dir})
    refused = start(file, f"--workdir={tmp_path}/out")
    assert refused.wait() == 2
    assert (
        refused.stdout.read()
        .splitlines()[-1]
        .startswith("error: arm 'deep': config.net.remove: net pocket alexnet has no layer 'conv9'")
    )
    assert not list((tmp_path / "out").glob("[!.]*"))
