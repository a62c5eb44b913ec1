"""Workdirs with odd names: through training, resuming, evaluating and converting."""

import re
import shutil

import pytest

from alexnet import convert, evaluate
from alexnet.errors import UserError
from alexnet.training.loop import train_and_evaluate
from alexnet.workdir import checkpoint, record

NAMES = [
    *("with space", " leading", "trailing ", "two  spaces", "tab\there", "line\nbreak"),
    *("cafés", "cafe\u0301s", "합성곱", "🦜", "ﬀ", "\u202eright to left"),
    *("100%", "%20", "a#b", "a&b", "a=b", "--workdir=x", "a:b", "a;b", "a,b", "a,b,c"),
    *("'quoted'", '"quoted"', "`ls`", "$HOME", "~", "{0..4}", "{a,b}", "(1)", "1]", "!"),
    "합성곱 a,b 100%",
    *(".hidden", "..dots", "a|b", "a<b>c", "@", "^", "1", "checkpoints", "config.json", "x" * 240),
]
PATTERNS = ["int[1]", "[", "a*", "?", "back\\slash", "[a]/b", "a\\/b"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_run_of_this_name_trains_resumes_and_is_read(tiny, tmp_path, capsys, name):
    workdir = tmp_path / name / name
    tiny.epochs = 0.2
    train_and_evaluate(tiny, workdir)
    tiny.epochs = 0.4
    train_and_evaluate(tiny, workdir)
    assert "resuming at step 2" in capsys.readouterr().out
    assert "conv1" in checkpoint.load_params(workdir)[0]
    evaluate.main([f"--workdir={workdir}"])
    assert "359 images" in capsys.readouterr().out
    target = tmp_path / f"{name[:200]}.safetensors"
    convert.main([f"--workdir={workdir}", f"--target={target}"])
    imported = tmp_path / name / f"{name[:200]} imported"
    config = record.saved_config(workdir)
    convert.import_weights(config, target, imported)
    assert "conv1" in checkpoint.load_params(imported, "last")[0]


@pytest.mark.parametrize("name", PATTERNS)
def test_a_path_that_orbax_would_take_for_a_pattern_is_refused_at_once(tiny, tmp_path, name):
    with pytest.raises(UserError, match="checkpoints cannot be saved below a folder with"):
        train_and_evaluate(tiny, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_symbolic_link_is_a_way_round(tiny, tmp_path):
    (tmp_path / "int[1]").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "int[1]")
    tiny.epochs = 0.2
    train_and_evaluate(tiny, tmp_path / "link")
    assert "conv1" in checkpoint.load_params(tmp_path / "link")[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["int[1]", "back\\slash"])
def test_a_run_saved_under_such_a_path_is_rescued_as_the_error_says(
    tiny, tmp_path, monkeypatch, capsys, name
):
    tiny.epochs = 0.2
    workdir = tmp_path / name
    with monkeypatch.context() as earlier:
        earlier.setattr(checkpoint, "check_path", lambda path: None)
        train_and_evaluate(tiny, workdir)
    for part in tmp_path.rglob("state.orbax-checkpoint-tmp"):  # Orbax's newer interface wrote here:
        part.rename(part.with_name("state"))
    with pytest.raises(UserError, match="Orbax did not merge them") as error:
        evaluate.main([f"--workdir={workdir}"])
    part, state = re.search(
        "copy everything in (.*) to (.*), and rename the", str(error.value)
    ).groups()
    shutil.copytree(part, state, dirs_exist_ok=True)
    moved = workdir.rename(tmp_path / "moved")
    capsys.readouterr()
    evaluate.main([f"--workdir={moved}"])
    assert "359 images" in capsys.readouterr().out
    tiny.epochs = 0.4
    train_and_evaluate(tiny, moved)
    assert "resuming at step 2" in capsys.readouterr().out


@pytest.mark.slow
def test_resuming_a_run_saved_under_such_a_path_renames_and_removes_nothing(
    tiny, tmp_path, monkeypatch
):
    tiny.epochs = 0.2
    workdir = tmp_path / "int[1]"
    with monkeypatch.context() as earlier:
        earlier.setattr(checkpoint, "check_path", lambda path: None)
        train_and_evaluate(tiny, workdir)
    moved = workdir.rename(tmp_path / "moved")  # a mended name alone does not mend its checkpoints
    with pytest.raises(UserError, match="Orbax did not merge them"):
        train_and_evaluate(tiny, moved)
    assert sorted(path.name for path in (moved / "checkpoints").iterdir()) == ["2"]
