"""Several processes as one run, on this machine."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import jax
import pytest
from support.faults import until
from support.processes import free_port, start
from support.tiny import ROOT

from alexnet import evaluate, train
from alexnet.devices import processes
from alexnet.errors import UserError
from alexnet.logs import metrics

SECOND = {"processes": "2", "process": "1"}


def arguments(workdir, data_dir, *more: str) -> list[str]:
    """Of a small run that rounding does not lead astray: at a low rate nothing is amplified."""
    return [
        f"--config={ROOT}/configs/digits.py",
        *(f"--workdir={workdir}", f"--config.data.data_dir={data_dir}"),
        *("--config.data.image_size=20", "--config.net.image_size=18"),
        *("--config.net.remove=conv4,conv5,fc7", "--config.schedule.rate=0.0002"),
        *("--config.batch_size=256", "--config.log_every=1", "--config.epochs=4"),
        *more,
    ]


def command(workdir, data_dir, *more: str) -> list[str]:
    return [sys.executable, "-m", "alexnet.train", *arguments(workdir, data_dir, *more)]


def logged(workdir, *names: str) -> dict[tuple[int, str], float]:
    rows = metrics.read_log(workdir)
    return {(row["step"], name): row[name] for row in rows for name in names if name in row}


def check_same_run(workdir, alone) -> None:
    """Fails unless two runs have the same losses, and errors that differ by two images at most."""
    names = ("train/loss", "validation/loss")
    assert logged(workdir, *names) == pytest.approx(logged(alone, *names), rel=1e-3)
    error = "validation/top1_error"
    assert logged(workdir, error) == pytest.approx(logged(alone, error), rel=0, abs=2.01 / 359)
    assert set(logged(workdir, "validation/count").values()) == {359}


@pytest.fixture(scope="module")
def alone(tmp_path_factory, data_dir):
    """The workdir of one process on one device."""
    workdir = tmp_path_factory.mktemp("alone")
    train.main(arguments(workdir, data_dir))
    return workdir


def test_two_processes_are_one_run(alone, data_dir, tmp_path, capsys):
    where = f"--coordinator=127.0.0.1:{free_port()}"
    runs = [
        start(command(tmp_path, data_dir, where, "--processes=2", f"--process={n}")) for n in (0, 1)
    ]
    ends = [run.communicate(timeout=300) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], ends
    assert "data 1 x tower 2" in ends[0][0]
    assert "done: best validation" in ends[0][0]
    assert "done" not in ends[1][0]  # one of them speaks
    check_same_run(tmp_path, alone)
    losses = logged(alone, "train/loss")
    assert len(losses) == 23
    assert losses[23, "train/loss"] < 0.95 * losses[1, "train/loss"]
    assert len(logged(alone, "validation/loss")) == 4
    # what two processes saved, one goes on from, on one device
    more = arguments(tmp_path, data_dir, "--config.mesh.tower=1")
    train.main([argument.replace("epochs=4", "epochs=5") for argument in more])
    assert "resuming at step 23" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("mesh", [(1, 2), (2, 1), (2, 2), (4, 1)])
def test_meshes_follow_the_same_losses(alone, data_dir, tmp_path, mesh):
    data, tower = mesh
    flags = ("--cpu_devices=4", f"--config.mesh.data={data}", f"--config.mesh.tower={tower}")
    subprocess.run(command(tmp_path, data_dir, *flags), check=True, capture_output=True)
    check_same_run(tmp_path, alone)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "devices", "tower"),
    [
        (2, 1, 1),
        (2, 2, 2),  # two machines with two GPUs each
        (4, 1, 2),  # the same under SLURM: two processes read the same part of the batch
        (2, 3, 2),  # a third GPU of each stays idle
    ],
)
def test_processes_split_the_batch_of_training_and_of_evaluation(
    alone, data_dir, tmp_path, capsys, count, devices, tower
):
    def together(*program: str) -> list[str]:
        """What each process has printed."""
        where = (f"--coordinator=127.0.0.1:{free_port()}", f"--processes={count}")
        shape = ("--config.mesh.data=2", f"--config.mesh.tower={tower}", f"--cpu_devices={devices}")
        runs = [start([*program, *where, *shape, f"--process={n}"]) for n in range(count)]
        ends = [run.communicate(timeout=300) for run in runs]
        assert {run.returncode for run in runs} == {0}, ends
        return [said for said, _ in ends]

    assert f"data 2 x tower {tower}" in together(*command(tmp_path, data_dir))[0]
    check_same_run(tmp_path, alone)

    evaluation = [f"--workdir={tmp_path}", "--checkpoint=last", "--ten_crop"]
    evaluate.main(evaluation)
    expected = capsys.readouterr().out
    said, *others = together(sys.executable, "-m", "alexnet.evaluate", *evaluation)
    assert "top-1 error" not in "".join(others)  # one of them speaks
    pattern = r"top-1 error ([\d.]+)%, top-5 error ([\d.]+)%, loss ([\d.]+), (\d+) images"
    here, there = ([*map(float, re.search(pattern, text).groups())] for text in (said, expected))
    assert here[:2] == pytest.approx(there[:2], abs=2.01 / 359 * 100)
    assert here[2] == pytest.approx(there[2], rel=1e-3)
    assert here[3] == there[3] == 359


@pytest.mark.slow
def test_slurm_is_detected(data_dir, tmp_path):
    job = {
        "SLURM_JOB_ID": str(free_port()),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "SLURM_STEP_NUM_TASKS": "2",
    }
    runs = [
        start(
            command(tmp_path, data_dir, "--coordinator=auto"),
            **job,
            SLURM_PROCID=str(n),
            SLURM_LOCALID="0",
        )
        for n in (0, 1)
    ]
    ends = [run.communicate(timeout=300) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], ends
    assert "2 x cpu" in ends[0][0]


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_other_clearly(data_dir, tmp_path, victim):
    def both(epochs: int) -> list[subprocess.Popen]:
        where = f"--coordinator=127.0.0.1:{free_port()}"
        argv = command(tmp_path, data_dir, where, "--processes=2")
        argv = [argument.replace("epochs=4", f"epochs={epochs}") for argument in argv]
        return [start([*argv, f"--process={n}"]) for n in (0, 1)]

    runs = both(epochs=1000)
    while not [path for path in (tmp_path / "checkpoints").glob("*") if path.name.isdigit()]:
        assert all(run.poll() is None for run in runs)
        time.sleep(0.2)
    runs[victim].send_signal(signal.SIGKILL)
    killed = time.monotonic()
    _, said = runs[1 - victim].communicate(timeout=120)
    assert time.monotonic() - killed < 120
    assert runs[1 - victim].returncode != 0
    assert processes.LOST in said
    runs[victim].communicate()

    runs = both(epochs=8)
    ends = [run.communicate(timeout=300) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], ends
    assert "resuming at step" in ends[0][0]


@pytest.mark.slow
def test_the_mistake_of_one_process_ends_both(data_dir, tmp_path):
    where = (f"--coordinator=127.0.0.1:{free_port()}", "--processes=2")
    good = start(command(tmp_path, data_dir, *where, "--process=0"))
    bad = start(command(tmp_path, tmp_path / "nowhere", *where, "--process=1", "--config.seed=-1"))
    began = time.monotonic()
    _, said = bad.communicate(timeout=120)
    assert bad.returncode == 2
    assert "process 0 has config.seed=0, process 1 has config.seed=-1" in said
    _, said = good.communicate(timeout=120)
    assert good.returncode == 2
    assert "process 0 has config.seed=0, process 1 has config.seed=-1" in said
    assert time.monotonic() - began < 120


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cpu_devices": "two"}, "^cpu_devices=two: expected a whole number"),
        ({"cpu_devices": "0"}, "from 1 to 256"),
        ({"processes": "2"}, "need --coordinator=HOST:PORT"),
        (
            {"coordinator": "auto", "processes": "2"},
            "^coordinator=auto: leave out --proc",
        ),
        ({"coordinator": "auto", "process": "0"}, "leave out --processes and"),
        ({"coordinator": "localhost:1"}, "add --processes=N and --process"),
        (
            {"coordinator": "localhost:1", "processes": "2", "process": "2"},
            "^process=2: numbers go from 0 to 1",
        ),
        ({"coordinator": "localhost"} | SECOND, "=localhost: write HOST:PORT, such as"),
        ({"coordinator": ":"} | SECOND, "=:: write HOST:PORT"),
        ({"coordinator": "localhost:"} | SECOND, "write HOST:PORT"),
        ({"coordinator": "localhost:0"} | SECOND, "write HOST:PORT"),
        ({"coordinator": "localhost:70000"} | SECOND, "write HOST:PORT"),
        ({"coordinator": "localhost:²"} | SECOND, "write HOST:PORT"),
        ({"coordinator": "no.such.invalid:80"} | SECOND, "unknown host no.such.invalid"),
        ({"cpu_devices": "²"}, "^cpu_devices=²: expected a whole number"),
    ],
)
def test_impossible_options_are_refused(options, message, monkeypatch):
    def unknown(*_, **__):
        raise OSError("no name server answers")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(UserError, match=message):
        processes.join(**options)


@pytest.mark.parametrize(
    ("coordinator", "expected"),
    [("127.0.0.1:1", ("127.0.0.1", 1)), ("127.0.0.1:65535", ("127.0.0.1", 65535))],
)
def test_every_port_can_be_named(coordinator, expected):
    assert processes.address(coordinator) == expected


def test_virtual_devices_are_cpus_as_many_as_asked_for(monkeypatch):
    asked = {}
    monkeypatch.setattr(jax.config, "update", asked.__setitem__)  # or jax would keep it
    processes.join(cpu_devices="3")
    assert asked == {"jax_platforms": "cpu", "jax_num_cpu_devices": 3}


def test_once_all_have_joined_no_timer_is_left():
    with processes._waiting("auto"):
        timers = [one for one in threading.enumerate() if isinstance(one, threading.Timer)]
        assert len(timers) == 2
    for timer in timers:
        timer.join(5)
        assert not timer.is_alive()  # or it would end the run in the midst of its training


def test_process_0_says_whom_it_waits_for_and_ends():
    where = f"127.0.0.1:{free_port()}"
    code = (
        "from alexnet.devices import processes as p; "
        f"p.NOTICE_SECONDS, p.JOIN_SECONDS = 0.1, 2; p.join('{where}', '2', '0')"
    )
    alone = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert alone.returncode == 2
    waiting, error = alone.stderr.splitlines()
    assert waiting == f"--coordinator={where}: waiting for the other processes, for up to 2 seconds"
    assert error.startswith(f"error: --coordinator={where}: not all processes joined within 2 s")


def test_a_coordinator_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr(processes.await_answer, "__defaults__", (1.0,))
    where = f"127.0.0.1:{free_port()}"
    with pytest.raises(UserError, match=f"coordinator={where}: no process 0 answers there"):
        processes.join(where, "2", "1")
    assert processes.ANSWER_SECONDS < 60


def test_a_coordinator_that_comes_late_is_waited_for():
    port = free_port()
    with socket.socket() as late:
        late.bind(("127.0.0.1", port))
        threading.Timer(0.7, late.listen).start()
        processes.await_answer("127.0.0.1", port, "", seconds=20)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "mine", "other"),
    [
        ("seed", "0", "1"),
        ("net.dropout", "0.5", "0.25"),
        ("net.activation", "'relu'", "'tanh'"),
        ("accumulate", "1", "2"),
    ],
)
def test_other_settings_in_one_process_are_named(data_dir, tmp_path, key, mine, other):
    where = (f"--coordinator=127.0.0.1:{free_port()}", "--processes=2")
    value = other.strip("'")
    runs = [
        start(command(tmp_path / "run", data_dir, *where, f"--process={n}", *more))
        for n, more in enumerate([(), (f"--config.{key}={value}",)])
    ]
    ends = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [2, 2], ends
    for _, said in ends:
        assert (
            f"error: process 0 has config.{key}={mine}, process 1 has config.{key}={other}: start "
            "all with the same"
        ) in said.splitlines()
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_after_a_process_stood_still_a_run_goes_on_or_ends_clearly(data_dir, tmp_path):
    where = (f"--coordinator=127.0.0.1:{free_port()}", "--processes=2")
    arguments = [a.replace("epochs=4", "epochs=8") for a in command(tmp_path, data_dir, *where)]
    runs = [start([*arguments, f"--process={n}"]) for n in (0, 1)]
    until(lambda: len(list(tmp_path.glob("checkpoints/*"))) > 0, runs[0])
    runs[1].send_signal(signal.SIGSTOP)
    time.sleep(60)
    runs[1].send_signal(signal.SIGCONT)
    ends = [run.communicate(timeout=300) for run in runs]
    for run, (_, said) in zip(runs, ends, strict=True):
        assert run.returncode == 0 or processes.LOST in said, ends


def test_auto_without_a_cluster_says_what_to_write_instead():
    clusters = ("SLURM_", "OMPI_", "KUBERNETES_", "JAX_COORDINATOR")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(clusters)}
    code = (
        "from alexnet import cli; from alexnet.devices import processes; "
        "cli.run(lambda: processes.join('auto', '', '', ''))"
    )
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    [said] = done.stderr.splitlines()
    assert said.startswith("error: --coordinator=auto: nothing here says where the other processes")
    assert said.endswith("write --coordinator=HOST:PORT --processes=N --process=0..N-1")
