"""What happens to a training when its numbers, its disk or its surroundings fail it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from support.faults import SIGNALS, end, until
from support.processes import start
from support.tiny import ROOT

from alexnet.data.pipeline import train_batches
from alexnet.errors import Interrupted, UserError
from alexnet.logs import metrics
from alexnet.training import loop
from alexnet.training.loop import train_and_evaluate
from alexnet.training.setup import setup
from alexnet.training.watch.divergence import DivergedError, check_loss, check_state
from alexnet.workdir import checkpoint

pytestmark = pytest.mark.usefixtures("compile_quickly")


def steps(workdir: Path) -> list[int]:
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


def command(workdir: Path, data_dir: str, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "alexnet.train", f"--config={ROOT}/configs/digits.py"),
        *(f"--workdir={workdir}", f"--config.data.data_dir={data_dir}"),
        *("--config.data.image_size=20", "--config.net.image_size=18", "--config.log_every=1"),
        *("--config.net.remove=conv4,conv5,fc7", "--config.batch_size=256", *more),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("rate", [1e3, 1e30])
def test_a_run_that_diverges_saves_no_poison_and_goes_on_with_a_smaller_rate(tiny, tmp_path, rate):
    tiny.checkpoint_every, tiny.epochs = 1, 0.5  # 3 steps
    train_and_evaluate(tiny, tmp_path)
    good, small = steps(tmp_path)[-1], tiny.schedule.rate
    tiny.epochs, tiny.schedule.rate = 1.0, rate
    with pytest.raises(UserError, match=f"smaller config.schedule.rate .* from step {good},") as e:
        train_and_evaluate(tiny, tmp_path)
    assert steps(tmp_path)[-1] == good == 3
    found = json.loads((tmp_path / "diverged.json").read_text())
    run = setup(tiny)
    settings = {"batch_size": tiny.batch_size, "seed": tiny.seed, "start_step": found["step"] - 1}
    images, labels = run.store.read("train", found["examples"])
    batch = next(train_batches(run.store, **settings))
    np.testing.assert_array_equal(images, batch["image"])
    np.testing.assert_array_equal(labels, batch["label"])
    shown = ", ".join(map(str, found["examples"][:3]))
    assert f"at step {found['step']} (epoch {found['epoch']:.2f}, training images {shown}" in str(
        e.value
    )
    tiny.schedule.rate = small
    train_and_evaluate(tiny, tmp_path)
    assert steps(tmp_path)[-1] == 6


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), 1e6])
def test_a_loss_beyond_all_bounds_is_divergence(loss):
    with pytest.raises(DivergedError):
        check_loss(1, loss)
    check_loss(1, 999_999.0)


@pytest.mark.slow
def test_one_number_that_is_not_finite_is_found(tiny):
    run = setup(tiny)
    check_state(1, run.fresh())
    names = {"params": "parameters", "opt_state": "optimiser's state"}
    for part, poison in (("params", np.nan), ("opt_state", np.inf), ("params", 1e30)):
        state = run.fresh()
        tree = getattr(state, part)
        leaves, structure = jax.tree.flatten(tree)
        place = next(n for n, leaf in enumerate(leaves) if leaf.ndim)
        leaves[place] = leaves[place].at[(0,) * leaves[place].ndim].set(poison)
        with pytest.raises(DivergedError, match=f"the norm of the {names[part]} is"):
            check_state(1, state._replace(**{part: jax.tree.unflatten(structure, leaves)}))


@pytest.mark.slow
def test_a_run_without_its_checkpoints_is_not_erased(tiny, tmp_path, capsys):
    tiny.epochs = 0.5
    train_and_evaluate(tiny, tmp_path)
    rows = (tmp_path / "metrics.jsonl").read_text()
    shutil.rmtree(tmp_path / "checkpoints")
    for _ in range(2):
        with pytest.raises(UserError, match="holds a run whose checkpoints are gone: bring "):
            train_and_evaluate(tiny, tmp_path)
        assert (tmp_path / "metrics.jsonl").read_text() == rows
        (tmp_path / "checkpoints").mkdir(exist_ok=True)  # empty is no better
    tiny.net.activation = "tanh"
    train_and_evaluate(tiny, tmp_path, fresh=True)
    assert f"the earlier run is in {tmp_path}/earlier-1" in capsys.readouterr().out
    assert (tmp_path / "earlier-1/metrics.jsonl").read_text() == rows
    assert len(metrics.read_log(tmp_path)) == len(rows.splitlines())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("data.name", "folder:/typo", "does not exist"),
        ("data.name", "folder:{}", "lies in the folder of images"),
        ("init_from", "/typo", "config.init_from"),
    ],
)
def test_starting_over_moves_nothing_for_a_run_that_cannot_begin(
    tiny, tmp_path, key, value, message
):
    tiny.update_from_flattened_dict({key: value.format(tmp_path)})
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / "config.json").write_text("{}")
    with pytest.raises(UserError, match=message):
        train_and_evaluate(tiny, workdir, fresh=True)
    assert [path.name for path in workdir.iterdir()] == ["config.json"]


@pytest.mark.slow
def test_a_run_killed_before_its_first_checkpoint_just_starts(tiny, tmp_path, monkeypatch):
    tiny.epochs = 0.5

    class Killed(Exception):
        pass

    def die(*_):
        raise Killed

    monkeypatch.setattr(loop, "check_state", die)
    with pytest.raises(Killed):
        train_and_evaluate(tiny, tmp_path)
    assert metrics.read_log(tmp_path)
    monkeypatch.undo()
    train_and_evaluate(tiny, tmp_path)


@pytest.mark.slow
def test_a_validation_that_is_cut_short_is_made_up_for(tiny, tmp_path, monkeypatch):
    tiny.epochs, tiny.batch_size = 2.0, 256
    whole = train_and_evaluate(tiny, tmp_path / "whole")
    asked = []

    def cut(*_, stop, **__):
        asked.append(stop)
        stop.__self__.signal = signal.SIGTERM  # as if it came in the midst
        return None

    monkeypatch.setattr(loop.Run, "evaluate", cut)
    with pytest.raises(Interrupted):
        train_and_evaluate(tiny, tmp_path / "cut")
    assert len(asked) == 1
    with pytest.raises(Interrupted):  # and again, before anything is trained
        train_and_evaluate(tiny, tmp_path / "cut")
    monkeypatch.undo()
    assert train_and_evaluate(tiny, tmp_path / "cut") == whole
    for a, b in zip(*(metrics.read_log(tmp_path / name) for name in ("whole", "cut")), strict=True):
        assert {k: v for k, v in a.items() if "second" not in k} == {
            k: v for k, v in b.items() if "second" not in k
        }
    found = [checkpoint.load_params(tmp_path / name, "best") for name in ("whole", "cut")]
    jax.tree.map(np.testing.assert_array_equal, *(params for params, _ in found))
    assert found[0][1] == found[1][1]


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
def test_signals_save_and_exit_with_their_code(data_dir, tmp_path, number):
    if number == signal.SIGINT:  # which is ignored where the tests run in the background of a shell
        signal.signal(number, signal.default_int_handler)
    process = start(command(tmp_path, data_dir, "--config.epochs=500"))
    metrics = tmp_path / "metrics.jsonl"
    until(lambda: metrics.exists() and metrics.stat().st_size, process)
    assert end(process, number) < 30
    assert process.returncode == 128 + number
    out, _ = process.communicate()
    assert "the same command continues from there" in out
    [*_, last] = steps(tmp_path)
    again = start(command(tmp_path, data_dir, f"--config.epochs={last // 5 + 2}"))
    out, _ = again.communicate()
    assert f"resuming at step {last:,}" in out
    assert "done: best validation" in out


IMPATIENT = """
import sys
from alexnet import cli, train
from alexnet.devices import interruption

interruption.EVENT_SECONDS = 0  # a second signal is no longer of the same event
cli.run(lambda: train.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_second_signal_ends_at_once_and_nohup_is_respected(data_dir, tmp_path):
    arguments = command(tmp_path, data_dir, "--config.epochs=500")[3:]
    process = start(["nohup", sys.executable, "-c", IMPATIENT, *arguments])
    metrics = tmp_path / "metrics.jsonl"
    until(lambda: metrics.exists() and metrics.stat().st_size, process)
    size = metrics.stat().st_size
    process.send_signal(signal.SIGHUP)
    until(lambda: metrics.stat().st_size > size + 500, process)  # it trains on
    process.send_signal(signal.SIGSTOP)  # so that both come in the same step
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGUSR1)
    process.send_signal(signal.SIGCONT)
    process.wait(timeout=30)
    _, err = process.communicate()
    assert process.returncode in (128 + signal.SIGTERM, 128 + signal.SIGUSR1)
    assert "stopped at once" in err


@pytest.mark.slow
@pytest.mark.parametrize("how", ["head -n 1", "closed", "/dev/full"])
def test_where_nobody_reads_what_it_prints_it_trains_on(data_dir, tmp_path, how):
    if how.startswith("/dev") and not Path(how).exists():
        pytest.skip("Linux")
    line = " ".join(command(tmp_path, data_dir, "--config.epochs=1"))
    ends = {"head -n 1": "| head -n 1", "closed": ">&-", "/dev/full": "> /dev/full"}
    shell = ["bash", "-c", f"set -o pipefail; {line} {ends[how]}"]
    done = subprocess.run(shell, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert steps(tmp_path) == [6]


@pytest.mark.slow
def test_a_workdir_that_is_removed_is_one_line(data_dir, tmp_path):
    process = start(command(tmp_path / "run", data_dir, "--config.epochs=500"))
    until(lambda: (tmp_path / "run/metrics.jsonl").exists(), process)
    shutil.rmtree(tmp_path / "run")
    process.wait(timeout=30)
    _, err = process.communicate()
    assert process.returncode == 2
    assert err.splitlines()[-1] == (
        f"error: {tmp_path}/run was removed or replaced while the run was training there"
    )


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="mounts a small disk")
@pytest.mark.parametrize("mended", [False, True])
def test_a_full_disk_ends_a_run_unless_there_is_room_again(data_dir, tmp_path, mended):
    small = tmp_path / "small"
    small.mkdir()
    # Room for five checkpoints: the best, the last two, the one that is written, and one more.
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", small]).returncode:
        pytest.skip("may not mount")
    try:
        more = ("--config.epochs=8", "--config.checkpoint_every=4")
        process = start(command(small / "run", data_dir, *more))
        until(lambda: (small / "run/checkpoints/6").exists(), process)
        with open(small / "fill", "wb", buffering=0) as file:
            while process.poll() is None:
                try:
                    file.write(bytes(4096))
                except OSError:
                    break
        if mended:
            rows = metrics.read_log(small / "run")[-1]["step"]
            until(lambda: "12" not in os.listdir(small / "run/checkpoints"), process)
            (small / "fill").unlink()
            assert rows
        _, err = process.communicate(timeout=300)
        kept = steps(small / "run")
        assert "Traceback" not in err, err
        assert kept
        if mended:
            assert process.returncode == 0, err
            history = [row["step"] for row in metrics.read_log(small / "run")]
            assert history == sorted(history)
            assert set(range(1, 46)) <= set(history)  # every row is there
        else:
            assert process.returncode == 2
            assert err.splitlines()[-1].startswith("error: step 45 could not be saved (No space ")
            assert len([line for line in err.splitlines() if "charts are no longer" in line]) == 1
            assert max(kept) < 45
    finally:
        subprocess.run(["umount", "-l", small], check=False)
