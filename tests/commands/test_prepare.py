"""`alexnet.prepare`: its options, and names that are no dataset's."""

import json
from pathlib import Path

import pytest

from alexnet import cli, prepare
from alexnet.data.inventory import Inventory
from alexnet.data.store import Store
from alexnet.errors import UserError


@pytest.mark.parametrize("name", ["digits", "--name=digits"])
def test_the_name_comes_first_or_as_an_option(tmp_path, capsys, name):
    prepare.main([name, f"--data_dir={tmp_path}", "--image_size=8"])
    assert "digits: 1,797 of 1,797 images are used\n  train       1,438 images\n" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "--name is missing"),
        (["digits", "--name=digits"], "--name is given twice"),
        (["digits", "cifar10"], "stray argument 'cifar10'"),
        (["digits", "--image_size", "32"], "--image_size: write --image_size=value"),
        (["digits", "--image_size=large"], "--image_size=large: expected a whole number"),
        (["digits", "--quality=-1"], "--quality=-1: expected a whole number of at least 0"),
        (["digits", "--size=32"], "--size: no such option; did you mean 'image_size'"),
        (["digits", "--data_dir=gs://bucket"], "data_dir=gs://bucket: only local paths work"),
    ],
)
def test_a_mistake_is_a_clear_error(argv, message):
    with pytest.raises(UserError, match=message):
        prepare.main(argv)


@pytest.mark.parametrize("written", ["{}", "~/photos", "./photos", "photos"])
def test_for_a_path_in_place_of_a_name_the_error_says_what_to_write(tmp_path, monkeypatch, written):
    (tmp_path / "photos").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    name = written.format(tmp_path / "photos")
    with pytest.raises(UserError, match=f"name='{name}': .*folder of images write folder:{name}"):
        prepare.main([name, f"--data_dir={tmp_path}"])


def test_the_summary_is_json_for_programs_and_warnings_are_apart(monkeypatch, capsys):
    counts = {"train": [5, 50], "validation": [1, 1]}
    totals = {split: sum(each) for split, each in counts.items()}
    about = Inventory(found=60, class_counts=counts)
    made = Store(Path("/data/some"), "some", 32, 0, ("a", "b"), totals, None, inventory=about)
    asked = []

    def fake(*given, **more):
        asked.append((given, more))
        return made

    monkeypatch.setattr(prepare, "prepare", fake)
    options = ["--data_dir=d", "--image_size=32", "--quality=90", "--encoding=jpeg"]
    prepare.main(["some", "--max_pixels=1000", *options])
    capsys.readouterr()
    prepare.main(["some", "--json", "--dry_run", "--max_bad=0.5"])
    assert asked == [
        (("some", "d", 32, 90, "jpeg"), {"max_pixels": 1000, "max_bad": None, "dry_run": False}),
        (("some", "", None, 95, "auto"), {"max_pixels": None, "max_bad": 0.5, "dry_run": True}),
    ]
    out, error = capsys.readouterr()
    found = json.loads(out)
    assert (found["used"], found["found"], found["classes"]) == (57, 60, {"a": 6, "b": 51})
    assert found["dry_run"] is True
    [warning] = found["warnings"]
    assert error == f"warning: {warning}\n"


def test_help_beside_a_name(capsys):
    with pytest.raises(SystemExit):
        cli.help_first("prepare", ["cifar10", "--help"])
    assert "--image_size=" in capsys.readouterr().out
