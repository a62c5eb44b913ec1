"""Weights & Biases, offline: what a run sends there, read back from the files that it keeps."""

import importlib.machinery
import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from alexnet.errors import UserError
from alexnet.logs import tracker
from alexnet.logs.log import Log
from alexnet.logs.metrics import read_log
from alexnet.logs.tracker import Tracker
from alexnet.training import loop
from alexnet.training.loop import train_and_evaluate
from alexnet.training.setup import setup


class Recorder:
    """In place of a Tracker."""

    def __init__(self, new: bool):
        self.new, self.where, self.closed = new, "here", None
        self.rows, self.numbers = [], []

    def row(self, number: int, row: dict) -> None:
        self.rows.append(row)
        self.numbers.append(number)

    def close(self, failed: bool = False) -> None:
        self.closed = failed


def log_two(workdir: Path, recorder: Recorder, resume_step: int | None = None) -> None:
    with Log(workdir, 10, 128, resume_step=resume_step, tracker=recorder) as log:
        step = (resume_step or 0) + 1
        log.train(step, 0.1, 2.5, 0.5, 0.25, 1, 0.01)
        log.validation(step, 0.1, 2.0, 0.5, 0.25, 100)


def test_the_tracker_gets_the_rows_of_the_log(tmp_path, capsys):
    recorder = Recorder(new=True)
    log_two(tmp_path, recorder)
    assert recorder.rows == read_log(tmp_path)
    assert recorder.numbers == [0, 1]
    assert recorder.closed is False
    assert "followed on Weights & Biases: here\n" in capsys.readouterr().out


def test_a_run_that_is_followed_from_now_on_sends_its_earlier_rows(tmp_path):
    log_two(tmp_path, Recorder(new=True))
    for new, earlier in ((False, 0), (True, 4)):
        recorder = Recorder(new)
        log_two(tmp_path, recorder, resume_step=1 if not new else 2)
        total = 4 if not new else 6
        assert recorder.numbers == list(range(total - 2 - earlier, total))
    assert recorder.rows == read_log(tmp_path)


def test_the_tracker_hears_of_a_failure(tmp_path):
    recorder = Recorder(new=True)
    with pytest.raises(KeyboardInterrupt), Log(tmp_path, 10, 128, tracker=recorder):
        raise KeyboardInterrupt
    assert recorder.closed is True


def test_a_log_that_cannot_be_opened_ends_the_run_there(tiny, tmp_path, runs):
    """Or the library would give the run to the next one in this process."""
    tiny.wandb_project = "alexnet"
    (tmp_path / "metrics.jsonl").write_text("{}\n{}\n")
    with pytest.raises(UserError, match=r"metrics\.jsonl"):
        loop.open_log(setup(tiny), tmp_path, resume_step=3, due=False)
    [run] = runs
    assert run.code == 1


def test_one_line_says_that_it_is_not_installed(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(tracker.importlib.util, "find_spec", lambda name: None)
    tracker.check("")
    with pytest.raises(UserError, match="Weights & Biases is not installed"):
        Tracker("alexnet", tmp_path, {})
    tiny.wandb_project = "alexnet"
    with pytest.raises(UserError) as raised:
        train_and_evaluate(tiny, tmp_path / "run")
    assert raised.value.line() == (
        "error: --config.wandb_project='alexnet': Weights & Biases is not installed: "
        "pip install wandb"
    )
    assert not (tmp_path / "run").exists()


class Run:
    """What `wandb.init` gives."""

    def __init__(self, number: int, given: dict):
        self.given, self.id = given, given["id"] or f"id{number}"
        self.offline, self.url, self.dir = False, f"https://wandb.ai/{self.id}", "/kept"
        self.axes, self.rows, self.code = {}, [], None

    def define_metric(self, name: str, step_metric: str) -> None:
        self.axes[name] = step_metric

    def log(self, row: dict, step: int) -> None:
        self.rows.append((step, row))

    def finish(self, exit_code: int) -> None:
        self.code = exit_code


@pytest.fixture
def runs(monkeypatch) -> list[Run]:
    """The runs that were begun in a library that stands in for wandb."""
    found: list[Run] = []

    def init(**given) -> Run:
        if given["project"] == "private":
            raise library.errors.UsageError("No API key configured. Log in.")
        if given["project"] == "far away":
            raise library.errors.CommError("Run initialization has timed out")
        if given["project"] == "long":
            raise library.errors.UsageError("Invalid project name: too long")
        found.append(Run(len(found), given))
        found[-1].offline = os.environ.get("WANDB_MODE") == "offline"
        return found[-1]

    library = ModuleType("wandb")
    library.__spec__ = importlib.machinery.ModuleSpec("wandb", None, origin="here")
    library.init, library.Settings = init, dict
    base = type("Error", (Exception,), {})
    kinds = {name: type(name, (base,), {}) for name in ("UsageError", "CommError")}
    library.errors = SimpleNamespace(Error=base, **kinds)
    monkeypatch.setitem(sys.modules, "wandb", library)
    return found


def test_a_workdir_goes_on_under_its_id_in_the_same_project(tmp_path, runs, monkeypatch):
    workdir = tmp_path / "run"
    workdir.mkdir()
    first, again = (Tracker("alexnet", workdir, {"seed": 3}) for _ in range(2))
    monkeypatch.setenv("WANDB_MODE", "offline")
    elsewhere = Tracker("other", workdir, {"seed": 3})
    assert [one.new for one in (first, again, elsewhere)] == [True, False, True]
    assert [run.id for run in runs] == ["id0", "id0", "id2"]
    assert [one.where for one in (first, again, elsewhere)] == [*(2 * [runs[0].url]), "/kept"]
    assert all(run.given["name"] == "run" and run.given["dir"] == workdir for run in runs)
    assert runs[0].given["config"] == {"seed": 3}
    assert runs[0].axes == {"*": "step"}  # charts are drawn over the run's steps


def test_a_training_that_begins_again_is_a_run_of_its_own(tmp_path, runs):
    """The library would drop its rows: it has rows of these numbers already."""
    for anew in (True, False, True):
        Tracker("alexnet", tmp_path, {}, anew=anew)
    assert [run.id for run in runs] == ["id0", "id0", "id2"]
    Tracker("alexnet", tmp_path, {})
    assert runs[-1].id == "id2"


def test_each_run_of_a_process_has_its_own_group_and_tags(tmp_path, runs, monkeypatch):
    """The library reads the environment once, a sweep's worker trains several arms."""
    for arm in ("baseline", "no_lrn"):
        monkeypatch.setenv("WANDB_RUN_GROUP", "ablations")
        monkeypatch.setenv("WANDB_TAGS", f"{arm},mine")
        Tracker("alexnet", tmp_path, {})
    monkeypatch.delenv("WANDB_TAGS")
    Tracker("alexnet", tmp_path, {})
    assert [run.given["group"] for run in runs] == ["ablations"] * 3
    assert [run.given["tags"] for run in runs] == [["baseline", "mine"], ["no_lrn", "mine"], None]


def test_a_team_is_not_part_of_a_projects_name(tmp_path, runs):
    with pytest.raises(UserError, match=r"cannot contain '/'; the team goes into WANDB_ENTITY"):
        Tracker("team/alexnet", tmp_path, {})
    assert not runs


def test_a_folder_of_its_output_is_not_the_library(tmp_path, monkeypatch):
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(UserError, match="Weights & Biases is not installed"):
        Tracker("alexnet", tmp_path, {})


def test_rows_are_sent_with_their_numbers_and_the_end_with_its_code(tmp_path, runs):
    tracker = Tracker("alexnet", tmp_path, {})
    tracker.row(4, {"step": 9, "train/loss": 2.5, "train/images_per_second": None})
    assert runs[0].rows == [(4, {"step": 9, "train/loss": 2.5})]
    tracker.close()
    assert runs[0].code == 0
    tracker.close(failed=True)
    assert runs[0].code == 1


@pytest.mark.parametrize(
    ("project", "line"),
    [
        (
            "private",
            r"No API key configured. Log in: run `wandb login`, or set WANDB_MODE=offline$",
        ),
        ("far away", r"timed out: run `wandb login`, or set WANDB_MODE=offline$"),
        ("long", r"Invalid project name: too long$"),
        ("a:b", r"a project's name cannot contain ':'$"),
    ],
)
def test_one_line_says_what_is_wrong_there(tmp_path, runs, project, line):
    with pytest.raises(UserError, match=line):
        Tracker(project, tmp_path, {})
    assert not list(tmp_path.iterdir())


def records(path: Path) -> Iterator[bytes]:
    """The records of a .wandb file: LevelDB's log format after a header of 7 bytes.

    In blocks of 32 KiB; a part has a crc of 4 bytes, its length, and its kind: 1 is a whole record,
    2, 3 and 4 are the first, middle and last part of one.
    """
    data, place, whole = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        left = 2**15 - place % 2**15
        if left < 7:
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield whole
            whole = b""


def sent(workdir: Path) -> tuple[list[dict], list[dict], set[tuple]]:
    """(rows, configs, runs as (id, group, tags)) in the files of the offline runs, oldest first."""
    from wandb.proto.wandb_internal_pb2 import Record

    rows, configs, runs = [], [], set()
    for path in sorted(workdir.glob("wandb/offline-run-*/*.wandb"), key=os.path.getmtime):
        for data in records(path):
            record = Record.FromString(data)
            if record.HasField("history"):
                items = record.history.item
                row = {item.key or "/".join(item.nested_key): item.value_json for item in items}
                rows.append({key: json.loads(value) for key, value in row.items()})
            if record.HasField("run"):
                runs.add((record.run.run_id, record.run.run_group, tuple(record.run.tags)))
                update = record.run.config.update
                configs.append({item.key: json.loads(item.value_json) for item in update})
    return rows, configs, runs


@pytest.mark.slow
@pytest.mark.usefixtures("compile_quickly")
def test_a_run_and_its_resumption_are_one_run_there(tiny, tmp_path, monkeypatch, capfd):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_RUN_GROUP", "ablations")  # as a sweep sets both
    monkeypatch.setenv("WANDB_TAGS", "no_lrn")
    tiny.wandb_project, tiny.epochs = "alexnet", 1.0
    workdir = tmp_path / "run"
    train_and_evaluate(tiny, workdir)
    tiny.epochs = 3.0
    train_and_evaluate(tiny, workdir)
    assert "wandb:" not in capfd.readouterr().err  # the library is silent
    rows, configs, runs = sent(workdir)
    [(_, group, tags)] = runs
    assert (group, tags) == ("ablations", ("no_lrn",))
    assert configs[0]["batch_size"] == 256
    assert configs[0]["net"]["remove"] == "conv4,conv5,fc7"
    kept = [
        {key: value for key, value in row.items() if value is not None} for row in read_log(workdir)
    ]
    own = [{key: value for key, value in row.items() if key[0] != "_"} for row in rows]
    assert own == kept
    assert [row["_step"] for row in rows] == list(range(len(kept)))
    assert {"train/loss", "validation/top1_error"} <= set().union(*own)
