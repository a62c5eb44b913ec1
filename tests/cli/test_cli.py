"""The command line: options, overrides and how a command ends."""

import errno
import importlib
import io
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ml_collections import ConfigDict
from support.tiny import ROOT

from alexnet import __main__ as program
from alexnet import cli, convert, evaluate, nets, prepare, train
from alexnet.data.augment import VIEWS
from alexnet.data.recipe import QUALITY, Recipe
from alexnet.errors import Interrupted, UserError
from alexnet.training.loop import conclusion
from alexnet.training.setup import setup
from alexnet.workdir.record import Validation


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
    cli.override(config, {key: text})
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
        ("n", "two", "expected a whole number\n"),
        ("n", "1" * 20, "expected a whole number of at most 19 digits\n"),
        ("f", "nan", "expected a number"),
        ("b", "maybe", "expected true or false"),
        ("t", "3", "expected a tuple"),
        ("t", "((1,2)", "expected a tuple"),
        ("t", "((1, 1e999),)", "expected a tuple"),  # no finite number
        ("net", "3", "a section; set what is in it: config.net.towers"),
    ],
)
def test_a_wrong_override_is_one_clear_line(config, key, text, message, capsys):
    with pytest.raises(SystemExit):
        cli.run(lambda: cli.override(config, {key: text}))
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
    config, _ = cli.parse(argv[::turn], {})
    assert config[section][key] == value
    assert type(config[section][key]) is type(value)


def test_a_setting_of_the_kind_before_is_a_mistake():
    argv = [f"--config={ROOT}/configs/digits.py", "--config.schedule.kind=plateau"]
    with pytest.raises(UserError, match=r"config.schedule.milestones: the config has no"):
        cli.parse([*argv, "--config.schedule.milestones=()"], {})


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["stray"], "stray argument 'stray'"),
        (["--config.b", "false"], "--config.b: write --config.b=value"),
        (["--a=1", "--a=2"], "--a is given twice"),
        (["config.epochs=3"], "stray argument 'config.epochs=3': write --config.epochs=3$"),
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
    with pytest.raises(UserError, match=r"whole number of at least 1 and fewer than 19 digits$"):
        cli.count("steps", "1" * 19)
    assert cli.count("steps", "1" * 18) == int("1" * 18)


def test_every_command_of_the_paper_page_is_a_config():
    page = (ROOT / "docs/paper.md").read_text()
    commands = [cell for cell in re.findall(r"`([^`]*)`", page) if cell.startswith("--config=")]
    assert len(commands) >= 20
    for command in commands:
        argv = shlex.split(command.replace("--config=", f"--config={ROOT}/"))
        config, _ = cli.parse(argv, {})
        nets.build(**config.net, classes=1000)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Interrupted(signal.SIGTERM), 128 + 15),  # as shells count
        (Interrupted(signal.SIGINT), 128 + 2),
        (KeyboardInterrupt(), 128 + 2),
        (BrokenPipeError(), 128 + 13),
        (UserError("wrong"), 2),
        (OSError(errno.ENOSPC, "No space left"), 2),
        (MemoryError(), 2),
    ],
    ids=repr,
)
def test_how_a_command_ends_is_its_status(error, status, tmp_path, monkeypatch, capsys):
    def command():
        raise error

    with (tmp_path / "out").open("w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        with pytest.raises(SystemExit) as end:
            cli.run(command)
    assert end.value.code == status
    said = capsys.readouterr().err
    assert said.count("\n") == said.startswith("error: ") == (status == 2)


def test_a_mistake_ends_a_command_with_one_line_and_a_bug_with_its_traceback(capsys):
    def mistaken():
        raise UserError("which run? add --workdir=DIR")

    with pytest.raises(SystemExit) as end:
        cli.run(mistaken)
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: which run? add --workdir=DIR\n"
    with pytest.raises(ZeroDivisionError):
        cli.run(lambda: 1 / 0)


def test_a_name_that_the_terminal_cannot_show_is_escaped(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii", write_through=True))
    monkeypatch.setattr(sys, "stderr", io.StringIO())  # a notebook's: its encoding is fixed
    cli.run(lambda: print("é"))
    assert written.getvalue() == b"\\xe9\n"


# --- Help -----------------------------------------------------------------------------------------


def helped(capsys, command: str, *argv: str) -> str:
    with pytest.raises(SystemExit) as end:
        cli.help_first(command, argv)
    assert end.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", program.commands())
def test_the_help_of_every_command_has_its_docstring_and_its_options(command, capsys):
    module = importlib.import_module(f"alexnet.{command}")
    assert "python -m alexnet." in module.__doc__
    for asks in ("-h", "--help"):
        said = helped(capsys, command, asks)
        assert said.startswith(module.__doc__.strip())
        for name, (default, meaning) in module.OPTIONS.items():
            assert f"  --{name}={'...' if default is None else default or repr(default)}" in said
            assert len(meaning.split()) >= 4
            assert all(word in said for word in meaning.split())


@pytest.mark.parametrize("way", [["-m", "alexnet.{}"], ["-m", "alexnet", "{}"]])
@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_help_loads_nothing_large(tmp_path, monkeypatch, way, command):
    (tmp_path / "jax.py").write_text("raise AssertionError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    line = [sys.executable, *(word.format(command) for word in way), "--help"]
    done = subprocess.run(line, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--workdir=..." in done.stdout


def test_help_on_a_config_or_a_net_is_left_to_the_command(capsys):
    cli.help_first("train", ["--config=configs/digits.py", "--help"])
    cli.help_first("nets", ["pocket", "--help"])
    cli.help_first("train", ["--workdir=x"])  # asks for no help
    cli.help_first("nothing", ["--help"])
    assert capsys.readouterr().out == ""
    assert "--workdir=" in helped(capsys, "evaluate", "--workdir=x", "--help")


def test_the_options_views_and_quality_name_the_actual_values():
    assert all(views in evaluate.OPTIONS["views"][1] for views in VIEWS)
    assert prepare.OPTIONS["quality"][0] == str(QUALITY)


def test_the_help_of_a_config_refuses_an_unknown_net():
    with pytest.raises(UserError, match=r"^config.net.name='alexnt': choose .* mean 'alexnet'"):
        cli.config_settings(ConfigDict({"net": {"name": "alexnt"}}))


def test_the_help_of_a_config_lists_its_settings_by_section(capsys):
    argv = [f"--config={ROOT}/configs/cifar10.py:18pct", "--config.net.dropout=0", "--help"]
    with pytest.raises(SystemExit) as end:
        cli.parse(argv, {"workdir": (None, "")})
    assert end.value.code == 0
    said = capsys.readouterr().out
    sections = re.findall(r"^(\w.*):$", said, re.MULTILINE)[1:]
    assert sections[0] == "the whole run"
    assert sections[1:] == ["data", "net", "augment", "optimizer", "schedule", "mesh"]
    assert "  --config.net.dropout=0.0\n      the rate of every dropout layer" in said
    assert "--config.optimizer.layer_decay='((" in said  # a shell takes it as it is
    assert "one of: momentum, nesterov, adamw\n" in said
    assert re.search(r"--config.kernels=auto\n.*\n      one of: auto, plain, cpu, gpu\n", said)


# --- Paths ----------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_a_tilde_is_the_home_folder_in_configs_workdirs_and_folders(home, monkeypatch):
    found = []
    for module, function in ((train, "train_and_evaluate"), (convert, "import_weights")):
        monkeypatch.setattr(module, function, lambda *given, **_: found.append(given))
    shutil.copy(ROOT / "configs/base.py", home / "my.py")
    (home / "a.pth").touch()
    train.main(["--config=~/my.py", "--workdir=~/run"])
    assert found.pop()[1] == home / "run"
    convert.main(["--config=~/my.py", "--source=~/a.pth", "--workdir=~/run"])
    assert found.pop()[1:] == (home / "a.pth", home / "run")
    assert evaluate.folders("~/a,~/b") == [home / "a", home / "b"]
    assert (
        Recipe("folder:~/x", "~/data", 8, 95).path
        == Recipe(f"folder:{home}/x", f"{home}/data", 8, 95).path
    )


@pytest.mark.parametrize(
    "argv",
    [
        "train --config=configs/digits.py --workdir=",
        "evaluate --workdir=",
        "predict photo.png --workdir=",
        "sweep experiments/lrn.py:digits --workdir=",
        "convert --workdir=run --target=",
        "convert --target=a.safetensors --workdir=",
        "convert --config=configs/digits.py --workdir=run --source=",
        "nets --workdir=",
        "profile --config=configs/digits.py --trace=",
        "report run --output=",
        "report ",
        "compare ",
    ],
)
def test_every_command_reads_its_paths_as_paths(monkeypatch, argv):
    """So each expands a tilde, which bash does not do in `--workdir=~/run`."""
    monkeypatch.chdir(ROOT)
    name, *rest = argv.split(" ")
    command = importlib.import_module(f"alexnet.{name}")
    with pytest.raises(UserError, match="only local paths work"):
        command.main([*rest[:-1], f"{rest[-1]}gs://bucket/x"])


def test_a_path_is_not_empty_and_not_a_url():
    with pytest.raises(UserError, match=r"^--workdir= is empty: write --workdir=PATH$"):
        cli.path("workdir", "")
    for url in ("gs://bucket/run", "s3://bucket", "https://a.b/c"):
        with pytest.raises(UserError, match=f"^--workdir={url}: only local paths work"):
            cli.path("workdir", url)
    with pytest.raises(UserError, match=r"there is no home folder ~0: write ./~0 if that is a"):
        cli.path("workdir", "~0/x")
    with pytest.raises(UserError, match=r"^--workdir=.a.x00b.: a path has no null bytes$"):
        cli.path("workdir", "a\0b")


def test_a_data_dir_is_no_url_either():
    config, _ = cli.parse(
        [f"--config={ROOT}/configs/digits.py", "--config.data.data_dir=gs://bucket"], {}
    )
    with pytest.raises(UserError, match=r"^config.data.data_dir=gs://bucket: only local paths"):
        setup(config)


def test_a_comma_is_part_of_a_name_that_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert evaluate.folders("a,b") == [Path("a"), Path("b")]
    (tmp_path / "a,b").mkdir()
    assert evaluate.folders("a,b") == [Path("a,b")]
    with pytest.raises(UserError, match="--workdir= is empty"):
        evaluate.folders("a,")


@pytest.mark.parametrize("name", ["plain", "with space", "a,b", "it's", "$HOME"])
def test_what_training_says_to_do_next_is_a_command(tmp_path, name):
    said = conclusion(tmp_path / name, [0.5], (1, Validation(0.5, 1.0)), True)
    evaluated, tensorboard = (shlex.split(line) for line in said.splitlines()[1:])
    assert evaluated[-2:] == [f"--workdir={tmp_path / name}", "--ten_crop"]
    assert tensorboard[1] == f"--logdir={tmp_path / name}"


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("--epochs=1", "to change the setting, write --config.epochs=..."),
        ("--remove=conv4", "to change the setting, write --config.net.remove=..."),
        ("--net.remove=conv4", "to change the setting, write --config.net.remove=..."),
        ("--data_dir=x", "to change the setting, write --config.data.data_dir=..."),
        ("--workdri=x", "did you mean 'workdir'"),
    ],
)
def test_a_setting_without_its_config_is_recognised(option, meant):
    argv = [f"--config={ROOT}/configs/digits.py", option]
    with pytest.raises(
        UserError, match=re.escape(f"{option.partition('=')[0]}: no such option")
    ) as e:
        cli.parse(argv, {"workdir": (None, "")})
    assert meant in str(e.value)


@pytest.mark.parametrize(
    ("argument", "options", "written"),
    [
        ("configs/digits.py:x", ("config", "workdir"), "--config=configs/digits.py:x"),
        ("configs/digits.py", ("workdir",), "--name=value, without a space"),
        ("RUN", ("config", "workdir"), "--workdir=RUN"),
        ("RUN", ("config",), "--name=value, without a space"),
        ("missing", ("workdir",), "--name=value, without a space"),
    ],
)
def test_a_stray_argument_is_told_its_option(argument, options, written, tmp_path):
    argument, written = (text.replace("RUN", str(tmp_path)) for text in (argument, written))
    for given in ({"known": options}, {"usual": options}):
        with pytest.raises(UserError, match=re.escape(f"'{argument}': write {written}") + "$"):
            cli.arguments([argument], **given)


def test_an_option_that_a_command_has_otherwise_is_told():
    with pytest.raises(UserError, match="--ten_crops: no such option; did you mean 'ten_crop'"):
        cli.arguments(["--ten_crops"], {"views": "", "split": ""})
    with pytest.raises(UserError, match="--workdir: no such option; write the folder alone: a/b"):
        cli.split(["--workdir=a/b"], {"format": ("text", "")})
    assert cli.split(["--workdir=a"], {"workdir": (None, "")}) == ([], {"workdir": "a"})


def test_the_first_argument_may_stand_anywhere():
    assert cli.positional(["--batch=4", "alexnet", "--towers=1"]) == (
        *("alexnet", ["--batch=4", "--towers=1"]),
    )
    with pytest.raises(UserError, match="stray argument '-top=3': write --top=3"):
        cli.arguments(["-top=3"])
