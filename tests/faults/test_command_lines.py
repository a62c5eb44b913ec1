"""What a user gets wrong is one line: what, where, what to do. Each fault is really made.

Every row runs a command's own `main` under the `cli.run` that it runs under, in this process: the
exit status must be 2, and nothing may be printed but that line, by us or by other libraries.
"""

import importlib
import json
import os
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from support import tiny
from support.tiny import ROOT

from alexnet import cli
from alexnet.formats import safetensors
from alexnet.training.setup import setup
from alexnet.workdir import record

DIGITS = ROOT / "configs/digits.py"
NUL = "a\0b"


@pytest.fixture(scope="module")
def world(tmp_path_factory, data_dir) -> Path:
    """A trained run, prepared digits, photos and files that are none."""
    world = tmp_path_factory.mktemp("world")
    shutil.copytree(ROOT / "experiments/trained/digits", world / "run")
    setup(tiny.tiny_config(data_dir))  # prepares them
    (world / "small.py").write_text(
        "import digits\n"
        "def get_config():\n"
        f"    small = {{'data.data_dir': {data_dir!r}, 'data.image_size': 20}}\n"
        "    net = {'net.image_size': 18, 'net.remove': 'conv4,conv5,fc7', 'batch_size': 256}\n"
        "    return [*digits.get_config(), small | net]\n"
    )
    for name in ("base", "digits"):
        shutil.copy(ROOT / f"configs/{name}.py", world)
    (world / "file").write_text("x")
    (world / "text.png").write_text("no image")
    os.mkfifo(world / "fifo.png")
    os.mkfifo(world / "fifo.caffemodel")
    for name in ("cut.safetensors", "cut.caffemodel"):
        (world / name).write_bytes(b"\x00\xffnothing")
    return world


@pytest.fixture
def said(world, tmp_path, capfd, monkeypatch):
    """said("train --config=..."): the line without "error: "; {world} and {new} are folders."""
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> str:
        capfd.readouterr()
        where = {"world": world, "new": tmp_path / "new", "root": ROOT, "digits": DIGITS}
        command, *argv = [part.replace("NUL", NUL) for part in shlex.split(line.format(**where))]
        main = importlib.import_module(f"alexnet.{command}").main
        with pytest.raises(SystemExit) as ended:
            cli.run(lambda: main(argv))
        out, err = capfd.readouterr()
        assert ended.value.code == 2
        assert out == ""
        assert err.startswith("error: "), err
        assert err.count("\n") == 1, err
        return err.removeprefix("error: ").rstrip("\n")

    return run


# --- A config's own code --------------------------------------------------------------------------

TRAIN = "train --config={world}/small.py --workdir={new}"
BROKEN = {  # the file; after the file's name, the line
    "x = 1\ndef get_config(:\n    pass": ", line 2: invalid syntax",
    "def get_config():\n  a = 1\n    b = 2": ", line 3: unexpected indent",
    "\n\nx = 1 / 0": ", line 3: ZeroDivisionError: division by zero",
    "def get_config():\n    return f()\ndef f():\n    raise OSError('no\\nway')": (
        ", line 4: OSError: no way"
    ),
    "def get_config():\n    return {}['epochs']": ", line 2: KeyError: 'epochs'",
    "def get_config():\n    return get_config()": (
        ", line 2: RecursionError: maximum recursion depth exceeded"
    ),
    "import nosuch": ", line 1: imports nosuch, which is neither beside this file nor installed",
    "import sys\nsys.exit(3)": ", line 2: SystemExit: 3",
    "x = 1\n\n\0\0": ", line 3: a null byte: the file is damaged, or not Python",
    "": ": it defines no get_config()",
    "get_config = 3": ": it defines no get_config()",
    "def get_config():\n    return {'net.norm': False, 'epochs': 5}": (
        ": it has no config.data.name: let the list that get_config() returns begin with BASE, "
        "from configs/base.py"
    ),
    "def get_config():\n    return {'data.name': 'digits', 'net.norm': False}": (
        ": it has no config.net.name: let the list that get_config() returns begin with BASE, "
        "from configs/base.py"
    ),
    "\ndef get_config():\n    return None": (
        ", line 2: get_config() returns None; it must return dicts of settings"
    ),
    "def get_config():\n    return 'abc'": (
        ", line 1: get_config() returns 'abc'; it must return dicts of settings"
    ),
    "def get_config():\n    return [{'seed': 1}, 3]": (
        ", line 1: get_config() returns [{'seed': 1}, 3]; it must return dicts of settings"
    ),
    "def get_config():\n    return {3: 4}": (
        ", line 1: get_config() returns {3: 4}; it must return dicts of settings"
    ),
    "def get_config():\n    return {'a.b': 1, 'a.b.c': 2}": (
        ": config.a.b: has a value, and so has a.b.c: keep one"
    ),
    "def get_config():\n    return {'net': 1, 'net.name': 'x'}": (
        ": config.net: has a value, and so has net.name: keep one"
    ),
    "def get_config(a):\n    return {}": ": it needs a variant: write --config={file}:VARIANT",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_config_names_its_line(said, tmp_path, text):
    file = tmp_path / "mine.py"
    file.write_text(text)
    assert said(f"train --config={file} --workdir={{new}}").startswith(
        f"{file}{BROKEN[text].replace('{file}', str(file))}"
    )


def test_an_error_beside_a_config_names_that_file(said, tmp_path):
    (tmp_path / "beside.py").write_text("\nimport math\nmath.sqrt(-1)\n")
    (tmp_path / "mine.py").write_text("import beside\n")
    line = said(f"train --config={tmp_path}/mine.py --workdir={{new}}")
    assert line.startswith(f"{tmp_path}/beside.py, line 3: ValueError: ")


TYPES = {
    "{'epochs': 'many'}": "--config.epochs='many': expected a number",
    "{'batch_size': True}": "--config.batch_size=True: expected a whole number",
    "{'net': 3}": "--config.net=3: expected a section",
    "{'init_from': object}": "--config.init_from=<class 'object'>: expected text",
}


@pytest.mark.parametrize("change", TYPES)
def test_a_value_of_another_type_names_the_setting(said, world, tmp_path, change):
    (tmp_path / "mine.py").write_text(
        "from ml_collections import ConfigDict\n"
        "from alexnet.training.settings import load_config\n"
        "def get_config():\n"
        f"    found = load_config('{world}/small.py').to_dict()\n"
        f"    return ConfigDict({{**found, **{change}}})\n"
    )
    assert said(f"train --config={tmp_path}/mine.py --workdir={{new}}") == TYPES[change]


# --- Command lines --------------------------------------------------------------------------------

LINES = {
    # Settings
    f"{TRAIN} --config.epochs=1e300": "--config.epochs=1e+300: 5.62e+300 steps are too many",
    f"{TRAIN} --config.epochs=nan": "--config.epochs=nan: expected a number",
    f"{TRAIN} --config.batch_size={'9' * 5000}": f"--config.batch_size={'9' * 5000}: expected a",
    f"{TRAIN} --config.schedule.milestones={{{{[]}}}}": (
        "--config.schedule.milestones={[]}: expected a tuple"
    ),
    f"{TRAIN} --config.schedule.milestones={'(' * 5000}": "--config.schedule.milestones=((",
    f"{TRAIN} --config.net.hidden=256": (
        "--config.net.hidden=256: expected a tuple such as '--config.net.hidden=(256, 256)'"
    ),
    f"{TRAIN} --config.schedule.milestones=((1,1e400),)": (
        "--config.schedule.milestones=((1, inf),): expected a tuple"
    ),
    f"{TRAIN} --config.schedule.milestones=((1,.2),(1,.3))": (
        "--config.schedule.milestones: list them in the order of their epochs, each once"
    ),
    f"{TRAIN} --config.schedule.rate=1e39": "--config.schedule.rate=1e+39: must be at most 1e+30",
    f"{TRAIN} \"--config.schedule.events=((1,'colour_noise',7),)\"": (
        "--config.schedule.events: (1, 'colour_noise', 7): colour_noise is 1, on, or 0, off"
    ),
    f"{TRAIN} \"--config.optimizer.layer_decay=(('conv1',.1),('conv1',.2))\"": (
        "--config.optimizer.layer_decay: 'conv1' is listed twice: keep one"
    ),
    f"{TRAIN} --config.augment.mean_pixel=(1e400,0,0)": (
        "--config.augment.mean_pixel=(inf, 0, 0): expected a tuple"
    ),
    # Sizes
    f"{TRAIN} --config.batch_size=100000000": "--config.batch_size=100000000: a step needs ",
    f"{TRAIN} --config.net.kernels=(4000000,4000000,64,96,96)": "--config.net: a step needs ",
    f"{TRAIN} --config.data.image_size=20000": (
        "--config.data.image_size=20000: at most 4096 pixels"
    ),
    f"{TRAIN} --cpu_devices=100000": "--cpu_devices=100000: from 1 to 256",
    "prepare digits --image_size=20000 --data_dir={new}": "--image_size=20000: at most 4096",
    # Numbers that only look like some
    f"{TRAIN} --cpu_devices=²": "--cpu_devices=²: expected a whole number",
    "evaluate --workdir={world}/run --checkpoint=²": "--checkpoint=²: choose best, last or a step",
    "sweep {root}/experiments/lrn.py --workdir={new} --seeds=²": "--seeds=²: expected a whole",
    f"roofline alexnet --batch={'9' * 5000}": (
        f"--batch={'9' * 5000}: expected a whole number of at least 1 and fewer than 19 digits"
    ),
    # Paths
    "train --config={world}/NUL.py --workdir={new}": "--config=",
    "train --config={world}/small.py --workdir=~nobody_here/x": (
        "--workdir=~nobody_here/x: there is no home folder ~nobody_here: write ./~nobody_here"
    ),
    "train --config={world}/small.py --workdir=NUL": "--workdir='a\\x00b': a path has no null",
    f"{TRAIN} --config.init_from=~nobody_here/x": "--config.init_from=~nobody_here/x: there is no",
    "predict --workdir={world}/run ~nobody_here/x.png": "--photo=~nobody_here/x.png: there is no",
    "predict --workdir={world}/run {world}/fifo.png": "{world}/fifo.png is a FIFO, not a file",
    "predict --workdir={world}/run /dev/zero": "/dev/zero is a device, not a file",
    "predict --workdir={world}/run {world}": "{world}/text.png is not an image that can be read",
    "predict --workdir={world}/run {world}/text.png": "{world}/text.png is not an image that can",
    "predict --workdir={world}/run {world}/text.png --json=x": "--json=x: expected true or false",
    "convert --config={digits} --source={world}/cut.safetensors --workdir={new}": (
        "{world}/cut.safetensors is damaged, or not a .safetensors"
    ),
    "convert --config={digits} --source={world}/fifo.caffemodel --workdir={new}": (
        "--source={world}/fifo.caffemodel: no such file"
    ),
    "convert --workdir={world}/run --target={world}/file/x.safetensors": (
        "--target={world}/file/x.safetensors: cannot write there: "
    ),
    "prepare folder:NUL": "--name='a\\x00b': a path has no null bytes",
    "prepare folder:/dev/null": "--name: /dev/null is a file, not a folder",
    "profile --config={world}/small.py --steps=0": "--steps=0: expected a whole number",
}


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[:80])
def test_a_bad_command_line_is_one_line(said, world, line):
    expected = LINES[line].replace("{world}", str(world))
    assert said(line).startswith(expected)


def test_a_workdir_with_too_long_a_name_is_one_line(said, world):
    line = said(f"train --config={world}/small.py --workdir={'a' * 300}")
    assert "a" * 300 in line
    assert "File name too long" in line  # Python 3.13 notices later, when it writes


# --- What a run has left, damaged -----------------------------------------------------------------

MEND = "restore it, or make the run again in a new workdir"
CONFIG_JSON = {
    "": f"it is empty): {MEND}",
    "{": "Expecting property name",
    "[]": f"it does not hold an object): {MEND}",
    "\x00\xff": "",
    "{}": f"it has no seed): {MEND}",
    '{"version": "x"}': "version is 'x', not a whole number)",
    '{"net": 3}': "--config.net: has a value",
    "batch_size": "batch_size is 'x', not a whole number)",
    "epochs": "it has no epochs)",
    "data": "data.name is 3, not text)",
}


@pytest.mark.parametrize("text", CONFIG_JSON)
@pytest.mark.parametrize("command", ["predict --workdir={run} {world}/text.png", "compare {run}"])
def test_a_damaged_config_json_says_how_to_mend_it(said, world, tmp_path, text, command):
    run = shutil.copytree(world / "run", tmp_path / "run")
    file = run / "config.json"
    found = json.loads(file.read_text())
    changes = {"batch_size": {"batch_size": "x"}, "data": {"data": found["data"] | {"name": 3}}}
    if text == "epochs":
        del found["epochs"]
        file.write_text(json.dumps(found))
    elif text in changes:
        file.write_text(json.dumps(found | changes[text]))
    else:
        file.write_bytes(text.encode("latin1"))
    line = said(command.replace("{run}", str(run)))
    assert line.startswith(f"{file} is damaged (")
    assert CONFIG_JSON[text].removeprefix("--") in line


def test_a_digit_that_changed_in_config_json_is_found(said, world, tmp_path):
    run = shutil.copytree(world / "run", tmp_path / "run")
    record.save_config(record.saved_config(run), run)  # as this version writes it
    file = run / "config.json"
    text = file.read_text()
    file.write_text(text.replace('"seed": 0', '"seed": 1'))
    assert said(f"compare {run}").startswith(f"{file} is damaged (its digest differs): {MEND}")
    file.write_text(json.dumps(json.loads(text)))  # the same in other words
    record.saved_config(run)


@pytest.mark.parametrize(
    ("file", "text", "command"),
    [
        ("evaluation.json", "", "evaluate --workdir={run}"),
        ("evaluation.json", "{{}}", "evaluate --workdir={run}"),
        ("evaluation.json", "[1]", "evaluate --workdir={run}"),
        ("metrics.jsonl", "3\n", "compare {run}"),
        ("metrics.jsonl", '{{"step": 1}}\n', "compare {run}"),
        ("metrics.jsonl", '{{"step": "x", "epoch": 2.0}}\n', "compare {run}"),
        ("provenance.json", "{{", "compare {run}"),
        ("provenance.json", "[3]", "compare {run}"),
        ("dataset/info.json", "3", "compare {run}"),
        ("dataset/info.json", "{{", "predict --workdir={run} {world}/text.png"),
    ],
)
def test_what_else_a_run_left_is_checked(said, world, tmp_path, file, text, command):
    run = shutil.copytree(world / "run", tmp_path / "run")
    (run / file).write_text(text.format())
    line = said(command.replace("{run}", str(run)))
    assert f"{run / file}" in line
    assert "delete" in line or "remove" in line


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"config": 3, "seed": 0, "of": []},
        {"config": {}, "seed": [], "of": 3},
    ],
)
def test_a_damaged_result_file_is_named(said, tmp_path, content):
    (tmp_path / "x.json").write_text(json.dumps({"format": "alexnet result"} | content))
    assert said(f"compare {tmp_path}").startswith(f"{tmp_path}/x.json is damaged (")


# --- Exported weights -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(world) -> Path:
    importlib.import_module("alexnet.convert").main(
        [f"--workdir={world}/run", f"--target={world}/net.safetensors"]
    )
    return world / "net.safetensors"


@pytest.mark.parametrize("share", [0.3, 0.6, 0.999])
def test_a_flipped_bit_in_exported_weights_is_found(said, exported, tmp_path, share):
    damaged = bytearray(exported.read_bytes())
    damaged[int(share * len(damaged))] ^= 16
    file = tmp_path / "net.safetensors"
    file.write_bytes(damaged)
    line = said(f"predict --workdir={file} {{world}}/text.png")
    assert line == f"{file} is damaged (its digest differs): export it again"


def test_weights_exported_by_an_earlier_version_are_read(exported, tmp_path):
    from alexnet.inference.loading import load

    arrays, metadata = safetensors.read_safetensors(exported)
    del metadata["sha256"]
    (tmp_path / "old.safetensors").write_bytes(safetensors.content(arrays, metadata))
    new, old = load(exported), load(tmp_path / "old.safetensors")
    np.testing.assert_array_equal(new.params["conv1"]["kernel"], old.params["conv1"]["kernel"])


# --- Experiments ----------------------------------------------------------------------------------

SCALES = f"SCALES = {{'s': {{'config': {str(DIGITS)!r}, 'seeds': 1}}}}\n"
EXPERIMENTS = {
    "ARMS = {": ", line 1: '{' was never closed",
    "\nARMS = 1/0": ", line 2: ZeroDivisionError",
    "ARMS = {'a': {}}\nSCALES = {'s': {'seeds': 1}}": ":s: config is None, not a file such as",
    f"ARMS = {{'a': {{}}}}\nSCALES = {{'s': {{'config': {str(DIGITS)!r}, 'seeds': 'three'}}}}": (
        ":s: seeds is 'three', not a whole number"
    ),
    "ARMS = {'a': {}}\nSCALES = {'s': 3}": ": scale 's' is 3, not a dict",
    f"ARMS = {{'a': 3}}\n{SCALES}": ":s, arm 'a': it is 3, not a dict",
    f"ARMS = {{'a': {{}}}}\nCLAIMS = {{'a': {{'nosuch': 1}}}}\n{SCALES}": ": claim 'a' has nosuch",
    f"ARMS = {{'a': {{}}}}\nMETRIC = 'nosuch'\n{SCALES}": ": METRIC is 'nosuch'",
    f"ARMS = {{'a': {{}}, 'b': {{'evaluate': {{'of': {{'a': 0}}}}}}}}\n{SCALES}": (
        ":s, arm 'b': \"of\": 'a': 0: expected a whole number of at least 1"
    ),
}


@pytest.mark.parametrize("text", EXPERIMENTS)
def test_a_broken_experiment_names_what_is_wrong(said, tmp_path, text):
    file = tmp_path / "mine.py"
    file.write_text(text)
    line = said(f"sweep {file} --workdir={{new}} --dry_run")
    assert line.startswith(f"{file}{EXPERIMENTS[text]}")


# --- Output ---------------------------------------------------------------------------------------


def test_running_out_of_memory_is_one_line(capfd):
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda: np.empty(2**59))
    assert ended.value.code == 2
    assert capfd.readouterr().err.startswith("error: out of memory (Unable to allocate 4.00 EiB")
