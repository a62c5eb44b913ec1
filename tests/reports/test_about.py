"""The facts about a run, as its files give them."""

from support.runs import leave

from alexnet.reports.about import config_part, facts
from alexnet.reports.subject import Subject


def test_facts_are_those_of_the_log_and_of_the_config(tmp_path):
    run = leave(tmp_path / "run", [0.5, 0.25, 0.4], overrides={"seed": 7})
    assert facts(Subject(run)) == [
        ("last top-1 error", "40.00%"),
        ("best top-1 error", "25.00%"),
        ("validated on", "100"),
        ("epochs", "3 of 3"),
        ("time", "0:00:06"),
        ("dataset", "digits"),
        ("seed", "7"),
    ]


def test_of_a_run_that_has_just_begun_only_the_config_is_known(tmp_path):
    begun = leave(tmp_path / "run", [], epochs=3.0)
    assert facts(Subject(begun)) == [("dataset", "digits"), ("seed", "0")]
    (begun / "metrics.jsonl").write_text("{}\n{}\n")  # damaged
    assert facts(Subject(begun)) == [("dataset", "digits"), ("seed", "0")]


def test_settings_are_words_not_numbers(tmp_path):
    [table] = config_part(Subject(leave(tmp_path / "run", [0.5]))).tables
    assert table.words == len(table.header) == 3
    assert {len(row) for row in table.rows} == {3}
