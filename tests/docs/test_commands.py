"""Every command, setting and link in a page exists, and its Python parses."""

import ast
import functools
import importlib
import inspect
import os
import re
import shlex
import shutil
import subprocess
from operator import getitem

import pytest
from support.pages import NOTEBOOKS, PAGES, Line, blocks, command_of, lines, spans
from support.tiny import ROOT

from alexnet import cli, load_config
from alexnet import config as configs
from alexnet.__main__ import commands
from alexnet.data.augment import VIEWS
from alexnet.models.build import build
from alexnet.training.settings import KINDS

TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", [*PAGES, *NOTEBOOKS], ids=lambda path: path.name)
def test_commands_and_their_options_are_there(page):
    for line in [*lines(page), *spans(page)]:
        program, *rest = line.arguments
        if ours := command_of(line):
            check(*ours)
        elif program == "make":
            targets = [word for word in rest if "=" not in word]
            assert set(targets) <= TARGETS, line
        elif program == "python":
            assert rest[0] == "-m" or (ROOT / rest[0]).is_file(), line


def check(name: str, arguments: list[str]) -> None:
    """Fails unless the command has these options, and its config these settings."""
    if not name:
        return
    assert name in commands(), name
    options = importlib.import_module(f"alexnet.{name}").OPTIONS
    flags = [word.removeprefix("--").split("=")[0] for word in arguments if word.startswith("--")]
    if name in cli.OWN_HELP and not any(flag in options for flag in flags):
        importlib.import_module(f"alexnet.{name}").main(arguments)
        return
    own = [flag for flag in flags if not flag.startswith("config.")]
    assert set(own) <= {*options, "help", *VIEWS}, (name, own)
    config = [word for word in arguments if word.startswith("--config=")]
    overrides = [word for word in arguments if word.startswith("--config.")]
    for override in overrides if config and "=N" not in "".join(overrides) else ():
        cli.parse([*config, override], {"config": ("", "")})


@functools.cache
def settings() -> set[str]:
    """The dotted names of every setting that some choice has, and of the sections."""
    base = load_config(f"{ROOT}/configs/base.py").to_dict()
    known = {*configs.flat(base), *base}
    for key, kind in KINDS.items():
        section = key.partition(".")[0]
        for choice in kind.choices.values():
            known |= {f"{section}.{name}" for name in inspect.signature(choice).parameters}
    return known


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_settings_in_sentences_are_there(page):
    for span in re.findall(r"`([^`\n]+)`", page.read_text()):
        for key in re.findall(r"(?<![\w./-])(?:--)?config\.([a-z_]+(?:\.[a-z_0-9]+)?)", span):
            assert key in settings() | {"json", "call", "x"}, span


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
        if target.startswith("http"):
            continue
        there = page.parent / target if target else page
        assert there.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE)
            assert anchor in {
                re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in titles
            }


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_commands_have_no_comments(page):
    """In zsh, the shell of macOS, a comment after a command becomes its arguments."""
    for block in re.findall(r"^```bash\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        if not block.startswith("#!"):  # else it is a file
            assert not re.search(r"(^|\s)#", block), block


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_python_can_be_parsed(page):
    for block in blocks(page, "python"):
        ast.parse(block)


def test_the_readings_differ_as_the_page_on_fidelity_says():
    page = (ROOT / "docs/fidelity.md").read_text()
    rows = re.findall(r"^\| `([a-z_.]+)` \| `([^`]+)` \| `([^`]+)` \|", page, re.MULTILINE)
    assert len(rows) > 5
    for column, reading in ((1, "paper"), (2, "original")):
        config = load_config(f"{ROOT}/configs/imagenet.py:{reading}")
        for row in rows:
            value = functools.reduce(getitem, row[0].split("."), config)
            assert value == ast.literal_eval(row[column]), (row[0], reading)


def test_numbers_in_the_korean_page_are_the_tables():
    page = (ROOT / "README.ko.md").read_text()
    net = build("alexnet", classes=1000).layers
    parameters = sum(layer.parameters for layer in net)
    [conv4] = [layer.parameters for layer in net if layer.row.name == "conv4"]
    products = sum(layer.multiply_adds for layer in net)
    small = sum(layer.multiply_adds for layer in build("cifar_80sec", classes=10).layers)
    for said in (
        f"매개변수 {parameters:,}개",
        f"매개변수의 {conv4 / parameters:.1%}",
        f"{small // 10**4:,}만",
        f"{products // 10**8}억 {round(products / 10**4) % 10**4:,}만",
    ):
        assert said in " ".join(page.split()), said


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize("target", ["train", "train CONFIG=configs/cifar10.py:80sec"])
def test_make_writes_commands_that_are_there(target):
    told = subprocess.run(
        ["make", "--dry-run", "--always-make", "--no-print-directory", *target.split()],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},  # without the variables of the `make test` that runs this
        capture_output=True,
        text=True,
        check=True,
    )
    arguments = shlex.split(told.stdout.splitlines()[-1])
    name, rest = command_of(Line(tuple(arguments), ""))
    assert name == "train"
    check(name, rest)
    values = dict(word.removeprefix("--").split("=") for word in rest)
    assert set(values) == {"config", "workdir"}
    assert load_config(str(ROOT / values["config"])).epochs > 0
    assert re.fullmatch(r"runs/[\w-]+", values["workdir"])  # such as runs/cifar10-80sec
