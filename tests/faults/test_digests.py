"""A digit that changes on disk is noticed: rows, result files and plans carry digests."""

import json

import pytest
from support.runs import DIGITS, leave

from alexnet import files
from alexnet.errors import UserError
from alexnet.logs import metrics
from alexnet.results import folders
from alexnet.results.file import collect
from alexnet.results.run import from_evaluation
from alexnet.sweeps import plan
from alexnet.sweeps.experiment import Arm, Experiment
from alexnet.training.settings import load_config
from alexnet.workdir import provenance, record


def a_log(folder):
    path = leave(folder / "a-0", [0.4375]) / "metrics.jsonl"
    rows = [files.sealed(row) for row in map(json.loads, path.read_text().splitlines())]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path, lambda: metrics.read_log(path.parent)


def a_provenance(folder):
    path = leave(folder / "a-0", [0.4375]) / "provenance.json"
    files.write_json([files.sealed({"outcome": "done", "cores": 4375})], path)
    return path, lambda: provenance.commands(path.parent)


def an_evaluation(folder):
    leave(folder / "a-0", [0.5])
    row = {"views": "ten_crop", "of": ["a-0"], "commit": None, "loss": 1.0, "count": 100}
    path = folder / "ten-0" / plan.EVALUATION
    path.parent.mkdir()
    files.write_json(files.sealed(row | {"top1_error": 0.4375, "top5_error": 0.1}), path)
    return path, lambda: from_evaluation(path.parent)


def a_result(folder):
    leave(folder / "a-0", [0.4375])
    [path] = collect(folders.read([folder]).results, folder / "kept")
    return path, lambda: folders.read([path])


def a_plan(folder):
    arms = {"a": Arm("a", load_config(DIGITS, {"epochs": 4375.0}), {})}
    plan.save(Experiment("mine", "", "", arms, {}, 1, source="mine.py"), 1, folder)
    return folder / record.SWEEP / "mine.json", lambda: plan.saved(folder)


@pytest.mark.parametrize("make", [a_log, a_provenance, an_evaluation, a_result, a_plan])
def test_a_changed_digit_is_noticed(tmp_path, make):
    path, read = make(tmp_path)
    read()
    before, number, after = path.read_text().partition("4375")
    assert number
    path.write_text(f"{before}4376{after}")
    with pytest.raises(UserError, match="its digest differs"):
        read()
