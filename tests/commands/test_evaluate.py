"""alexnet evaluate: what it is asked for, before any net is read."""

import pytest
from support.runs import leave

from alexnet import evaluate
from alexnet.errors import UserError


@pytest.fixture
def asked(monkeypatch) -> list:
    """What was called, in order."""
    calls = []
    monkeypatch.setattr(evaluate.processes, "join", lambda **how: calls.append(how))
    monkeypatch.setattr(evaluate, "evaluate", lambda *how: calls.append(how))
    return calls


def test_processes_join_first(asked, tmp_path):
    run = leave(tmp_path / "run", [0.5])
    where = {"coordinator": "127.0.0.1:9", "processes": "2", "process": "1"}
    options = [f"--{name}={value}" for name, value in where.items()]
    evaluate.main([f"--workdir={run}", "--ten_crop", *options])
    joined, evaluated = asked
    assert where.items() <= joined.items()
    assert evaluated == ([run], [1.0], "best", "validation", "ten_crop", [{}])


def test_several_processes_evaluate_one_run(asked, tmp_path):
    runs = [leave(tmp_path / name, [0.5]) for name in "ab"]
    argv = [f"--workdir={runs[0]},{runs[1]}"]
    evaluate.main(argv)
    assert asked[-1][:2] == (runs, [0.5, 0.5])
    with pytest.raises(UserError, match="several processes cannot average runs"):
        evaluate.main([*argv, "--coordinator=127.0.0.1:9"])


def test_a_mistake_in_the_second_run_is_one_before_the_first_is_evaluated(asked, tmp_path):
    runs = [leave(tmp_path / name, [0.5]) for name in "ab"]
    (runs[1] / "evaluation.json").write_text("{")
    with pytest.raises(UserError, match=r"b/evaluation.json is damaged"):
        evaluate.main([f"--workdir={runs[0]},{runs[1]}"])
    assert not asked
