"""`alexnet.nets`: the table of a net by its name, of a config and of a run."""

import dataclasses

import numpy as np
import pytest
from support.tiny import ROOT

from alexnet import nets, roofline
from alexnet.data.prepare import ensure
from alexnet.data.recipe import Recipe
from alexnet.data.store import save_description
from alexnet.errors import UserError
from alexnet.models import build
from alexnet.workdir import record
from alexnet.workdir.checkpoint import Checkpoints
from alexnet.workdir.record import Progress


def printed(capsys, *argv: str) -> str:
    nets.main(argv)
    return capsys.readouterr().out


def test_a_config_and_a_name_with_its_options_give_one_table(data_dir, capsys):
    ensure(Recipe("digits", data_dir, 20))
    place = [f"--config.data.data_dir={data_dir}", "--config.data.image_size=20"]
    found = printed(
        capsys, f"--config={ROOT}/configs/imagenet.py:one_gpu", "--config.data.name=digits", *place
    )
    options = ["--towers=1", "--kernels=(48,128,192,192,256)", "--classes=10"]
    table = printed(capsys, "alexnet", *options)
    assert found == f"{table}the classes are those of digits\n"


def test_classes_that_are_not_known_are_assumed(tmp_path, capsys):
    found = printed(
        capsys, f"--config={ROOT}/configs/folder.py", f"--config.data.data_dir={tmp_path}"
    )
    table = printed(capsys, "alexnet")
    assert found.startswith(table)
    assert found.removeprefix(table).startswith("1000 classes are assumed: those of folder:images")


def test_a_run_gives_the_table_of_its_net(tiny, tmp_path, capsys):
    ensure(Recipe(**tiny.data.to_dict()))
    record.save_config(tiny, tmp_path)
    found = printed(capsys, f"--workdir={tmp_path}")
    options = ["--image_size=18", "--remove=conv4,conv5,fc7"]
    assert found.startswith(printed(capsys, "pocket", *options))


def test_the_classes_are_those_that_the_run_was_trained_on(tiny, data_dir, tmp_path, capsys):
    """Also where its dataset is not, or has other classes now."""
    made = ensure(Recipe(**tiny.data.to_dict()))
    tiny.data.data_dir = str(tmp_path / "nowhere")
    options = ["--image_size=18", "--remove=conv4,conv5,fc7"]
    for name, classes in (("kept", 7), ("checkpoint", 6), ("counted", 5), ("unknown", 10)):
        workdir = tmp_path / name
        workdir.mkdir()
        record.save_config(tiny, workdir)
        if name == "kept":
            (workdir / "dataset").mkdir()
            store = dataclasses.replace(made, classes=tuple("abcdefg"))
            save_description(dataclasses.replace(store, path=workdir / "dataset"))
        elif name != "unknown":
            about = {"classes": tuple("abcdef")} if name == "checkpoint" else {"class_count": 5}
            with Checkpoints(workdir / "checkpoints") as checkpoints:
                checkpoints.save(1, {"params": {"fc8": np.zeros(3)}}, Progress(**about), None)
        found = printed(capsys, f"--workdir={workdir}")
        table = printed(capsys, "pocket", *options, f"--classes={classes}")
        assert found.startswith(table), name
        assert ("those of the run" in found) == (name != "unknown")


@pytest.mark.parametrize("command", [nets, roofline])
def test_help_on_a_net_lists_its_options(command, capsys):
    command.main(["alexnet", "--help"])
    said = capsys.readouterr().out
    assert said.startswith(command.__doc__.strip())
    assert "  --towers=2\n      2 as in the paper, or 1" in said
    assert "  --preset=original\n" in said
    assert "one of: paper, original\n" in said
    assert "one of: relu, tanh, sigmoid, none\n" in said


def test_with_nothing_it_lists_all_nets(capsys):
    nets.main([])
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said[:-2]] == list(build.NETS)
    assert said[0].split(maxsplit=1)[1].startswith("The paper's network")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--towers=1"], r"which net\? write its name first, or --config=FILE or --workdir=DIR"),
        (["--workdir=/nowhere"], "/nowhere holds no run"),
        (["--workdir="], "--workdir= is empty"),
        (["--workdir=x", "--config=y"], "--config: no such option"),
        (["--config=configs/nothing.py"], "no such file"),
        (["alexnet", "--config=x"], "--config: net alexnet has no such option"),
        (["configs/digits.py"], "is not a net's name: write --config=configs/digits.py"),
        (["/"], "/ is not a net's name: write --workdir=/"),
    ],
)
def test_a_mistake_is_a_clear_error(argv, message):
    with pytest.raises(UserError, match=message):
        nets.main(argv)
