"""The files that a run writes besides its checkpoints: alexnet.workdir.record."""

import json

import pytest

from alexnet import files
from alexnet.errors import UserError
from alexnet.workdir import record
from alexnet.workdir.record import Validation

ROW = {"split": "validation", "views": "centre", "checkpoint": 9, "dataset": "photos"}
ROW |= {"images": "a1"}


def test_an_evaluation_takes_the_place_of_the_one_of_its_kind(tmp_path):
    assert record.evaluations(tmp_path) == []
    changes = (("views", "ten_crop"), ("checkpoint", 8), ("images", "b2"))
    others = [ROW | {key: value} for key, value in changes]
    for row in (ROW | {"loss": 1.0}, *others, ROW | {"loss": 2.0, "notes": ["a note"]}):
        record.save_evaluation(row, tmp_path)
    assert record.evaluations(tmp_path) == [*others, ROW | {"loss": 2.0}]


def test_an_evaluation_of_an_earlier_version_is_taken_for_one_of_the_same_images(tmp_path):
    old = files.sealed({key: value for key, value in ROW.items() if key != "images"})
    (tmp_path / "evaluation.json").write_text(json.dumps([old]))
    record.save_evaluation(ROW, tmp_path)
    assert record.evaluations(tmp_path) == [ROW]


def test_an_evaluation_that_was_changed_is_damaged(tmp_path):
    record.save_evaluation(ROW | {"loss": 1.0}, tmp_path)
    path = tmp_path / "evaluation.json"
    path.write_text(path.read_text().replace("1.0", "0.5"))
    with pytest.raises(UserError, match=r"evaluation.json, row 1, is damaged"):
        record.evaluations(tmp_path)
    path.write_text(json.dumps([files.sealed({"views": "centre", "loss": 0.5})]))
    with pytest.raises(UserError, match=r"row 1, is damaged .it has no split.: delete it, and"):
        record.evaluations(tmp_path)


def test_a_file_is_no_workdir(tmp_path):
    file = tmp_path / "net.safetensors"
    file.touch()
    with pytest.raises(UserError, match=r"net.safetensors is a file, not the folder of a run"):
        record.saved_config(file)


def test_the_run_in_a_workdir_keeps_its_id(tmp_path, tiny):
    assert record.run_of(tmp_path) == ""
    record.save_config(tiny, tmp_path)
    run = record.run_of(tmp_path)
    assert len(run) == 16
    tiny.seed = 5
    record.save_config(tiny, tmp_path)
    assert record.run_of(tmp_path) == run
    assert record.saved_config(tmp_path).seed == 5
    (tmp_path / "config.json").write_text("[]")
    assert record.run_of(tmp_path) == ""


def test_a_config_that_was_changed_on_purpose_needs_no_digest(tmp_path, tiny):
    record.save_config(tiny, tmp_path)
    path = tmp_path / "config.json"
    found = json.loads(path.read_text())
    found["seed"] += 1
    path.write_text(json.dumps(found))
    with pytest.raises(UserError, match=r"config.json is damaged .its digest differs.*'sha256'"):
        record.saved_config(tmp_path)
    del found["sha256"]
    path.write_text(json.dumps(found))
    assert record.saved_config(tmp_path).seed == found["seed"]


def test_a_version_that_is_no_number_is_damage(tiny):
    found = record.versioned(tiny) | {"version": "7"}
    with pytest.raises(UserError, match=r"^config.json is damaged .version is '7', not a whole"):
        record.current(found, "config.json")


@pytest.mark.parametrize(
    ("validations", "expected"),
    [
        ({}, None),
        ({3: Validation(None)}, None),
        ({3: Validation(None, 0.1), 6: Validation(0.5)}, 6),
        ({3: Validation(0.4), 6: Validation(0.2), 9: Validation(0.3)}, 6),
        ({9: Validation(0.2, 2.0), 3: Validation(0.2, 1.5), 6: Validation(0.2, 1.5)}, 3),
        ({3: Validation(0.2, 2.0), 6: Validation(0.2, 1.5), 9: Validation(0.3, 1.0)}, 6),
        ({3: Validation(0.2, 2.0), 6: Validation(0.2, 1.5), 9: Validation(0.2)}, 3),
    ],
)
def test_the_best_step_has_the_lowest_error_and_then_the_lowest_loss(validations, expected):
    assert record.best(validations) == expected


def test_weights_that_were_imported_have_seen_no_epoch():
    assert record.Progress(class_count=7).epoch == 0
