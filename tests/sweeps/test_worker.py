"""One request at a time: what a worker answers, with a training that is made up."""

import errno
import io
import itertools
import json
import math
import os
import signal
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from support.runs import DIGITS, leave

from alexnet.errors import Interrupted, UserError
from alexnet.sweeps import plan, worker
from alexnet.training.programs import Programs
from alexnet.training.settings import load_config
from alexnet.training.watch import memory
from alexnet.training.watch.divergence import DivergedRun
from alexnet.workdir import record
from alexnet.workdir.claim import claim


@pytest.fixture
def trained(monkeypatch):
    """What was trained; and the output of this process stays where it is."""
    found = []
    monkeypatch.setattr(worker, "_print_to", lambda file: found.append(file))
    monkeypatch.setattr(worker, "label", lambda folder: None)
    monkeypatch.setattr(worker, "train_and_evaluate", lambda *how: found.append(how))
    return found


def request(folder) -> dict:
    config = json.loads(json.dumps(load_config(DIGITS).to_dict()))
    return {"folder": str(folder), "config": config}


def test_a_run_is_trained_in_its_folder_with_tuples_for_lists(tmp_path, trained):
    folder, programs = tmp_path / "sweep/a-0", Programs()
    for _ in range(2):
        assert set(worker.answer(request(folder), programs)) == {"seconds"}
    assert folder.is_dir()
    output, (config, where, shared) = trained[:2]
    assert (output, where) == (folder / plan.OUTPUT, folder)
    assert shared is programs
    assert config.to_dict() == load_config(DIGITS).to_dict()
    assert isinstance(config.schedule.milestones, tuple)


@pytest.mark.parametrize(
    ("error", "line", "said", "spent"),
    [
        (
            UserError("no such file", "data"),
            "data: no such file",
            "error: data: no such file\n",
            False,
        ),
        (
            DivergedRun("the loss is inf at step 3: training diverged", "lower the rate"),
            "the loss is inf at step 3: training diverged",
            "error: the loss is inf at step 3: training diverged\n",
            False,
        ),
        (ValueError("a\nbug"), "ValueError: a bug", "Traceback", True),
        (
            RuntimeError("RESOURCE_EXHAUSTED: 9 GB"),
            (
                "out of memory (RESOURCE_EXHAUSTED: 9 GB): when training, choose a smaller "
                "config.batch_size or raise config.accumulate; on a GPU, another process may hold "
                "the memory"
            ),
            "error: out of memory (RESOURCE_EXHAUSTED: 9 GB)",
            True,
        ),
    ],
)
def test_a_run_that_fails_leaves_its_reason(
    tmp_path, trained, monkeypatch, capsys, error, line, said, spent
):
    def fail(*_):
        raise error

    monkeypatch.setattr(worker, "train_and_evaluate", fail)
    found = worker.answer(request(tmp_path), Programs())
    assert found == {"error": line, "spent": spent}
    assert (tmp_path / plan.FAILURE).read_text() == f"{line}\n"
    assert capsys.readouterr().err.startswith(said)


def test_a_run_that_another_process_trains_has_not_failed(tmp_path, trained, monkeypatch):
    def busy(config, folder, programs):
        with claim(folder, config), claim(folder, config):
            pass

    monkeypatch.setattr(worker, "train_and_evaluate", busy)
    assert "another run is using" in worker.answer(request(tmp_path), Programs())["error"]
    assert not (tmp_path / plan.FAILURE).exists()


def test_a_full_disk_is_the_reason_where_no_folder_can_be_made(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "a-0"))

    monkeypatch.setattr(worker, "_print_to", full)
    error = worker.answer(request(tmp_path), Programs())["error"]
    assert error.endswith("No space left on device")
    assert (tmp_path / plan.FAILURE).read_text() == error + "\n"


def test_an_average_is_over_the_nets_probabilities(tmp_path, trained, monkeypatch):
    """One net is sure of class 0, two lean to class 1: together they take class 0."""
    labels_N, p_KN = np.array([0]), {"a-0": (0.9, 0.1), "a-1": (0.4, 0.6), "a-2": (0.4, 0.6)}
    seen, mean = [], (0.9 + 0.4 + 0.4) / 3  # of class 0
    contents, how = {}, {"views": "centre", "name": "folder:/new/photos", "data_dir": "/here"}
    for name in p_KN:
        leave(tmp_path / name, [0.5])

    class Net:
        def __init__(self, folder, which):
            seen.append((folder, which))
            self.p_NK = np.array([p_KN[folder.name]])
            self.about = SimpleNamespace(step=10 * len(seen))
            self.config = load_config(DIGITS, {"data.name": "folder:/old/photos"})

        def splits(self, overrides, programs):
            assert overrides == {"data.data_dir": "/here", "data.name": "folder:/new/photos"}
            self.run = SimpleNamespace(store=SimpleNamespace(contents=contents))
            return self

        def changed(self, split):
            return []

        def evaluate(self, split, views, keep):
            keep.append((np.log(self.p_NK), labels_N))
            return {"top1_error": float(self.p_NK.argmax() != 0), "split": split, "views": views}

    monkeypatch.setattr(worker, "load", Net)
    asked = {"folder": str(tmp_path / "mean-0"), "of": list(p_KN), **how}
    assert "seconds" in worker.answer(asked, Programs())
    found = json.loads((tmp_path / "mean-0" / plan.EVALUATION).read_text())
    assert seen == [(tmp_path / name, "last") for name in p_KN]
    assert (found["top1_error"], found["of"], found["views"]) == (0.0, list(p_KN), "centre")
    assert found["loss"] == pytest.approx(-math.log(mean))
    assert found["runs"] == [record.run_of(tmp_path / name) for name in p_KN]
    assert len({*found["runs"]}) == 3
    assert found["steps"] == [10, 20, 30]

    class Digests(dict):
        def get(self, split, default):
            return str(len(seen))  # each net sees other images

    contents = Digests()
    asked = {"folder": str(tmp_path / "other-0"), "of": list(p_KN), **how}
    assert "images" in worker.answer(asked, Programs())["error"]

    monkeypatch.setattr(Net, "changed", lambda self, split: [split])
    asked = {"folder": str(tmp_path / "changed-0"), "of": ["a-0"], **how}
    line = "a-0 was trained with other images: validation: bring them back, or train it anew"
    assert worker.answer(asked, Programs())["error"] == line


def test_a_check_is_of_this_machines_memory_unless_another_will_train(tiny, monkeypatch):
    monkeypatch.setattr(memory, "memory_of", lambda device: 1 << 10)
    asked = {"check": tiny.to_dict()}
    assert "a step needs at least" in worker.answer(asked, Programs())["error"]
    assert "steps" in worker.answer(asked | {"elsewhere": True}, Programs())


def test_the_run_that_a_run_begins_with_is_checked_before_it(tiny, tmp_path):
    asked = {"check": tiny.to_dict() | {"init_from": str(tmp_path / "typo")}, "origin": True}
    assert "config.init_from: " in worker.answer(asked, Programs())["error"]
    assert "steps" in worker.answer(asked | {"origin": False}, Programs())
    asked["check"]["init_from"], asked["check"]["wandb_project"] = "", "a/b"
    assert "cannot contain '/'" in worker.answer(asked, Programs())["error"]


def test_a_dry_check_prepares_nothing(tiny, tmp_path):
    asked = {"check": tiny.to_dict(), "dry": True}
    assert worker.answer(asked, Programs()) == {"steps": 17}  # prepared: it is opened
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (20, 20)).save(tmp_path / "photos" / name / "0.png")
    data = asked["check"]["data"]
    data |= {"name": f"folder:{tmp_path}/photos", "data_dir": str(tmp_path / "data")}
    found = worker.answer(asked, Programs())
    assert found == {"steps": 0, "prepares": f"folder:{tmp_path}/photos"}
    asked["check"]["net"]["remove"] = "conv9"
    assert "has no layer 'conv9'" in worker.answer(asked, Programs())["error"]
    asked["check"]["net"]["remove"], data["name"] = "", f"folder:{tmp_path}/fotos"
    assert "fotos" in worker.answer(asked, Programs())["error"]
    assert not (tmp_path / "data").exists()


def test_a_config_can_be_checked_without_a_run(tmp_path):
    config = load_config(DIGITS).to_dict()
    assert "error" in worker.answer({"check": config | {"batch_size": -1}}, Programs())


def test_output_goes_to_a_file_and_nothing_else_stays_open(tmp_path, monkeypatch):
    copied = []
    monkeypatch.setattr(os, "dup2", lambda source, target: copied.append((source, target)))
    worker._print_to(tmp_path / "output.txt")
    [(descriptor, _), _] = copied
    assert copied == [(descriptor, 1), (descriptor, 2)]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


class Input:
    """Standard input that says two runs, and ends before or after the second is done."""

    def __init__(self, answered: threading.Event | None):
        self._answered = answered

    def __iter__(self):
        yield '{"folder": "a-0"}\n'
        yield '{"folder": "a-1"}\n'
        if self._answered:
            assert self._answered.wait(20)


@pytest.fixture
def in_this_process(monkeypatch):
    """`worker.main` leaves this process as it is."""
    monkeypatch.setattr(worker.runtime, "cache_compilations", lambda: None)
    monkeypatch.setattr(worker.provenance, "commit", lambda: None)
    monkeypatch.setattr(worker.signal, "signal", lambda *_: None)
    monkeypatch.setattr(os, "kill", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["worker"])


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux")
@pytest.mark.parametrize(("cpus", "pinned"), [([], []), (["2", "5"], [(0, [2, 5])])])
def test_a_worker_runs_on_the_cpus_that_it_is_given(monkeypatch, in_this_process, cpus, pinned):
    asked = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cpus: asked.append((pid, [*cpus])))
    monkeypatch.setattr(sys, "argv", ["worker", *cpus])
    monkeypatch.setattr(sys, "stdin", [])
    worker.main()
    assert asked == pinned


def test_a_run_that_was_stopped_leaves_no_traceback(monkeypatch, in_this_process):
    def stop(*_):
        raise Interrupted(signal.SIGTERM)

    monkeypatch.setattr(worker, "answer", stop)
    monkeypatch.setattr(sys, "stdin", ["{}\n"])
    with pytest.raises(SystemExit) as end:
        worker.main()
    assert end.value.code == 128 + signal.SIGTERM


@pytest.mark.parametrize(("spent", "done"), [(True, ["a-0"]), (False, ["a-0", "a-1"])])
def test_after_an_error_of_the_machine_the_process_ends(monkeypatch, in_this_process, spent, done):
    asked = []

    def answer(request, programs):
        asked.append(request["folder"])
        return {"error": "cuDNN failed", "spent": spent}

    monkeypatch.setattr(worker, "answer", answer)
    monkeypatch.setattr(sys, "stdin", ['{"folder": "a-0"}\n', '{"folder": "a-1"}\n'])
    worker.main()
    assert asked == done


@pytest.mark.parametrize("patient", [True, False])
def test_input_that_ends_stops_the_run_under_way(monkeypatch, patient):
    done, stopped = threading.Event(), threading.Event()
    killed, handled, answered = [], [], []
    count = itertools.count(1)

    def answer(request, programs):
        if request["folder"] == "a-1" and not patient:
            assert stopped.wait(20)
        return {"seconds": next(count)}

    def kill(pid, number):
        killed.append((pid, number))
        stopped.set()

    class Answers(io.StringIO):
        def write(self, text):
            if '"seconds": 2' in text:
                done.set()
            return super().write(text)

    answers = Answers()

    def fdopen(descriptor, *_, **__):
        answered.append(os.path.sameopenfile(descriptor, 1))
        os.close(descriptor)
        return answers

    monkeypatch.setattr(worker, "answer", answer)
    monkeypatch.setattr(worker.runtime, "cache_compilations", lambda: None)
    monkeypatch.setattr(worker.provenance, "commit", lambda: None)
    monkeypatch.setattr(worker.signal, "signal", lambda *how: handled.append(how))
    monkeypatch.setattr(os, "fdopen", fdopen)
    monkeypatch.setattr(os, "kill", kill)
    monkeypatch.setattr(sys, "argv", ["worker"])
    monkeypatch.setattr(sys, "stdin", Input(done if patient else None))
    main = threading.Thread(target=worker.main, daemon=True)
    main.start()
    main.join(30)
    assert not main.is_alive()
    assert answers.getvalue() == '{"seconds": 1}\n{"seconds": 2}\n'
    assert answered == [True]  # on standard output
    assert handled == [(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGUSR2)]
    assert killed == ([] if patient else [(os.getpid(), signal.SIGTERM)])
