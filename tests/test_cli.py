"""The command line: options, overrides and how a command ends."""

import re
import shlex

import pytest
from ml_collections import ConfigDict
from support.tiny import ROOT

from alexnet import cli, nets
from alexnet.errors import UserError
from alexnet.training.setup import KINDS


@pytest.fixture
def config() -> ConfigDict:
    return ConfigDict(
        {"n": 1, "f": 0.5, "b": True, "s": "x", "t": ((1, 2.0),), "net": {"towers": 2}}
    ).lock()


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("n", "2", 2),
        ("f", "2", 2.0),
        ("f", "1e-3", 0.001),
        ("b", "false", False),
        ("b", "1", True),
        ("s", "3", "3"),
        ("s", "", ""),
        ("t", "((3,.1),)", ((3, 0.1),)),
        ("t", "()", ()),
        ("net.towers", "1", 1),
    ],
)
def test_an_override_keeps_the_type(config, key, text, value):
    cli.override(config, {key: text}, KINDS)
    found = config
    for part in key.split("."):
        found = found[part]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("m", "2", "the config has no 'm'"),
        ("net.tower", "2", "did you mean 'net.towers'?"),
        ("nett.towers", "2", "the config has no 'nett'; did you mean 'net.towers'?"),
        ("n.x", "2", "the config has no 'n'"),
        ("n", "2.5", "expected a whole number"),
        ("n", "two", "expected a whole number"),
        ("f", "nan", "expected a number"),
        ("b", "maybe", "expected true or false"),
        ("t", "3", "expected a tuple such as"),
        ("t", "((1,2)", "expected a tuple such as"),
        ("net", "3", "a section; set what is in it: config.net.towers"),
    ],
)
def test_a_wrong_override_is_one_clear_line(config, key, text, message, capsys):
    with pytest.raises(SystemExit):
        cli.run(lambda: cli.override(config, {key: text}, KINDS))
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith(f"error: --config.{key}")


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize(
    ("options", "section", "key", "value"),
    [
        (["schedule.kind=plateau", "schedule.patience=3"], "schedule", "patience", 3),
        (["schedule.kind=stepwise", "schedule.divisor=9"], "schedule", "divisor", 9.0),
        (["net.name=alexnet", "net.kernels=(8,8,8,8,8)"], "net", "kernels", (8,) * 5),
        (["net.name=cifar_80sec", "net.activation=tanh"], "net", "activation", "tanh"),
    ],
)
def test_a_kind_and_its_own_settings_come_in_either_order(options, section, key, value, turn):
    argv = [f"--config={ROOT}/configs/digits.py", *(f"--config.{option}" for option in options)]
    config, _ = cli.parse(argv[::turn], {}, KINDS)
    assert config[section][key] == value
    assert type(config[section][key]) is type(value)


def test_a_setting_of_the_kind_before_is_a_mistake():
    argv = [f"--config={ROOT}/configs/digits.py", "--config.schedule.kind=plateau"]
    with pytest.raises(UserError, match=r"config.schedule.milestones: the config has no"):
        cli.parse([*argv, "--config.schedule.milestones=()"], {}, KINDS)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["stray"], "stray argument 'stray'"),
        (["--config.b", "false"], "--config.b: write --config.b=value"),
        (["--a=1", "--a=2"], "--a is given twice"),
        (["config.epochs=3"], "stray argument 'config.epochs=3'"),
    ],
)
def test_silent_mistakes_of_other_parsers_are_loud(argv, message):
    with pytest.raises(UserError, match=message):
        cli.arguments(argv)


@pytest.mark.parametrize("text", ["", "two", "2.5", "-2", "3", "1e3"])
def test_a_count_is_a_whole_number_and_large_enough(text):
    with pytest.raises(UserError) as error:
        cli.count("steps", text, least=4)
    assert str(error.value) == f"--steps={text}: expected a whole number of at least 4"
    assert cli.count("steps", "4", least=4) == 4


def test_every_command_of_the_paper_page_is_a_config():
    page = (ROOT / "docs/paper.md").read_text()
    commands = [cell for cell in re.findall(r"`([^`]*)`", page) if cell.startswith("--config=")]
    assert len(commands) >= 20
    for command in commands:
        argv = shlex.split(command.replace("--config=", f"--config={ROOT}/"))
        config, _ = cli.parse(argv, {}, KINDS)
        nets.build(**config.net, classes=1000)


def test_a_mistake_ends_a_command_with_one_line_and_a_bug_with_its_traceback(capsys):
    def mistaken():
        raise UserError("which run? add --workdir=DIR")

    with pytest.raises(SystemExit) as end:
        cli.run(mistaken)
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: which run? add --workdir=DIR\n"
    with pytest.raises(ZeroDivisionError):
        cli.run(lambda: 1 / 0)
