"""Configs of earlier versions, read by a later one."""

import json

import pytest
from support.tiny import drawn, plant

from alexnet import evaluate
from alexnet.errors import UserError
from alexnet.models.alexnet import pocket
from alexnet.models.build import build
from alexnet.training.loop import train_and_evaluate
from alexnet.training.settings import KINDS
from alexnet.workdir import migrations
from alexnet.workdir.migrations import Added, Dropped, Retired, migrated

CHANGES = (
    (1, Retired("mesh.hybrid", False)),
    (2, Added("kernels", "auto")),
    (2, Dropped("net.act")),
    (3, Added("optimizer.name", "momentum")),
    (4, Dropped("kernels")),
    (4, Added("net.kernels", 3)),
)


def migrate(found: dict, version: int = 4) -> dict:
    config, lost = migrated(found, "run/config.json", version, CHANGES)
    assert not lost
    return config


def test_every_change_since_the_files_version_is_made_in_order():
    old = {"seed": 1, "mesh": {"data": 0, "hybrid": False}, "net": {"act": "tanh"}}
    assert migrate(old) == {
        "seed": 1,
        "mesh": {"data": 0},
        "net": {"kernels": 3},
        "optimizer": {"name": "momentum"},
    }
    assert old["mesh"] == {"data": 0, "hybrid": False}  # the argument is left alone


def test_changes_that_the_file_has_seen_are_not_made_again():
    new = {"version": 3, "kernels": "plain", "net": {"act": 1}, "mesh": {"hybrid": True}}
    assert migrate(new) == {"net": {"act": 1, "kernels": 3}, "mesh": {"hybrid": True}}
    assert migrate({"version": 4, "seed": 2}) == {"seed": 2}


def test_a_value_that_is_there_is_kept():
    assert migrate({"version": 2, "optimizer": {"name": "adamw"}})["optimizer"] == {"name": "adamw"}


def test_a_retired_setting_with_a_value_is_one_line():
    config, [line] = migrated({"mesh": {"hybrid": True, "data": 2}}, "config.json", 1, CHANGES[:1])
    assert config == {"mesh": {"data": 2}}
    assert line == "config.json has config.mesh.hybrid=True; this version has False only"


def test_a_run_with_a_retired_setting_is_read_but_not_resumed(tiny, tmp_path, capsys):
    plant(tmp_path, tiny, drawn(tiny))
    path = tmp_path / "config.json"
    found = json.loads(path.read_text())
    found["version"], found["mesh"]["hybrid"] = 0, True
    del found["sha256"]  # earlier versions sealed nothing
    path.write_text(json.dumps(found))
    evaluate.main([f"--workdir={tmp_path}"])
    said = capsys.readouterr()
    assert "359 images" in said.out
    assert f"{path} has config.mesh.hybrid=True; this version has False only\n" in said.err
    with pytest.raises(UserError, match=r"hybrid=True; .*: resume with the version that wrote it"):
        train_and_evaluate(tiny, tmp_path)
    assert "hybrid" not in capsys.readouterr().err  # the error says it


def test_a_later_versions_config_is_refused():
    with pytest.raises(UserError, match=r"by a later version of this program .5, this is 4"):
        migrate({"version": 5})


def test_a_tuple_or_a_list_survives():
    assert migrate({"version": 4, "a": [[1, 2.0]], "b": ()}) == {"a": [[1, 2.0]], "b": ()}


@pytest.mark.parametrize(
    ("section", "chooses"), [("net", "name"), ("optimizer", "name"), ("schedule", "kind")]
)
def test_a_setting_of_one_choice_is_added_to_that_choice_only(section, chooses):
    changes = ((1, Added(f"{section}.new", True, choice="this")),)
    for choice, expected in (("this", {"new": True}), ("other", {})):
        config, lost = migrated({section: {chooses: choice}}, "file", 1, changes)
        assert config == {section: {chooses: choice} | expected}
        assert lost == []


def test_every_choice_of_a_section_has_a_place_in_the_migrations():
    assert set(migrations.CHOOSES.values()) == set(KINDS)


def test_every_version_has_its_changes_in_order():
    numbers = [number for number, _ in migrations.CHANGES]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, migrations.VERSION + 1))


@pytest.mark.parametrize("name", ["cifar_80sec", "cifar_conv_local_13pct", "torchvision_alexnet"])
def test_a_net_from_before_every_net_had_dropout_and_norms_is_the_same_net(name):
    (old, lost) = migrated({"version": 1, "net": {"name": name}}, "config.json")
    assert build(**old["net"], classes=10).rows == build(name, classes=10).rows
    assert set(old["net"]) == {"name", "dropout", "norm"}
    assert lost == []


def test_a_pocket_net_from_before_it_had_settings_is_the_same_net():
    (old, lost) = migrated({"version": 5, "net": {"name": "pocket", "towers": 2}}, "config.json")
    settings = old["net"]
    assert build(**settings, classes=10).rows == pocket(classes=10, towers=2).rows
    assert set(settings) > {"init", "preset", "kernels", "communicate", "sixth_conv"}
    assert lost == []
