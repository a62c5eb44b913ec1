"""The facts about a run, as its files give them."""

from types import SimpleNamespace

import pytest
from support.runs import leave

from alexnet.errors import UserError
from alexnet.figures import style
from alexnet.models.build import build
from alexnet.reports import about
from alexnet.reports.about import config_part, facts, net_part, provenance_part
from alexnet.reports.subject import Subject


def test_facts_are_those_of_the_log_and_of_the_config(tmp_path):
    run = leave(tmp_path / "run", [0.5, 0.25, 0.4], overrides={"seed": 7})
    assert facts(Subject(run)) == [
        ("last top-1 error", "40.00%"),
        ("best top-1 error", "25.00%"),
        ("last top-5 error", "20.00%"),
        ("validated on", "100"),
        ("epochs", "3 of 3"),
        ("time", "0:00:06"),
        ("dataset", "digits"),
        ("seed", "7"),
    ]


def test_a_top5_error_that_is_always_0_is_no_fact(tmp_path):
    run = leave(tmp_path / "run", [0.0, 0.0])
    assert "last top-5 error" not in dict(facts(Subject(run)))


@pytest.mark.parametrize(
    ("epochs", "said"), [(2.0, "2 of 2"), (1.5, "1.5 of 1.5"), (2.5, "2 of 2.5"), (9.0, "2 of 9")]
)
def test_a_run_is_finished_after_a_part_of_an_epoch_too(tmp_path, epochs, said):
    run = leave(tmp_path / "run", [0.5, 0.25], epochs=epochs)  # the last step ends epoch 2
    assert dict(facts(Subject(run)))["epochs"] == said


def test_of_a_run_that_has_just_begun_only_the_config_is_known(tmp_path):
    begun = leave(tmp_path / "run", [], epochs=3.0)
    assert facts(Subject(begun)) == [("dataset", "digits"), ("seed", "0")]
    (begun / "metrics.jsonl").write_text("{}\n{}\n")  # damaged
    assert facts(Subject(begun)) == [("dataset", "digits"), ("seed", "0")]


def test_every_column_of_the_settings_table_is_words(tmp_path):
    [table] = config_part(Subject(leave(tmp_path / "run", [0.5]))).tables
    assert table.words == len(table.header) == 3
    assert {len(row) for row in table.rows} == {3}


def test_without_a_base_every_setting_is_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(about, "BASE", tmp_path / "base.py")
    run = leave(tmp_path / "run", [0.5], overrides={"seed": 7, "schedule.milestones": ((2, 0.1),)})
    [table] = config_part(Subject(run)).tables
    assert table.words == len(table.header) == 2
    rows = dict(table.rows)
    assert (rows["seed"], rows["schedule.milestones"]) == ("7", "((2, 0.1),)")


def test_without_a_dataset_the_class_count_is_that_of_the_weights(tmp_path):
    subject = Subject(leave(tmp_path / "run", [0.5], overrides={"data.name": "folder:/nowhere"}))
    subject.net = SimpleNamespace(net=build("alexnet", classes=1000))
    assert net_part(subject).text == "60,965,224 parameters."


def test_provenance_is_what_is_known_of_each_command(tmp_path):
    run = leave(tmp_path / "run", [0.5])
    [table] = provenance_part(Subject(run)).tables
    assert table.rows == [("commit", "c" * 40), ("device", "1 x cpu"), ("outcome", "done")]
    assert table.words == len(table.header) == 2
    (run / "provenance.json").unlink()
    with pytest.raises(UserError, match="has no provenance"):
        provenance_part(Subject(run))


def test_curves_are_as_tall_with_a_legend_as_without(tmp_path, monkeypatch):
    subject, wanted, figures = Subject(leave(tmp_path / "run", [0.5, 0.4])), [], []
    monkeypatch.setattr(style, "DPI", 30)
    monkeypatch.setattr(about, "drawn", lambda draw, height: wanted.append((draw, height)))
    for names in ("aa", "ab" * 4, "abcdefghi"):
        about.curve_part([(name, subject) for name in names])
        draw, height = wanted[-1]
        style.drawn(lambda figure: figures.append(figure) or draw(figure), height)  # noqa: B023
    tall = [one.axes[0].get_position().height * one.get_figheight() for one in figures[::2]]
    assert tall == pytest.approx([tall[0]] * 3, abs=0.3)
