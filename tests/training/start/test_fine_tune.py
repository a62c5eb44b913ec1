"""Fine-tuning: what is taken from another run, bit for bit, and what is not."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image
from support.processes import free_port, start
from support.tiny import ROOT, drawn, plant, tiny_config

import alexnet
from alexnet.errors import UserError
from alexnet.models import network
from alexnet.training import setup
from alexnet.training.loop import train_and_evaluate
from alexnet.training.start import changes, fine_tune
from alexnet.workdir import checkpoint, provenance, record
from alexnet.workdir.checkpoint import Checkpoints
from alexnet.workdir.record import Progress

pytestmark = pytest.mark.usefixtures("compile_quickly")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Folders of tiny images, each with other classes."""
    root, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name, classes in {"three": "abc", "others": "abx", "five": "abcde"}.items():
        for label in classes:
            folder = root / name / label
            folder.mkdir(parents=True)
            for number in range(12):
                pixels = random.integers(0, 256, (20, 20, 3)) // 2 + 20 * (ord(label) % 7)
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def make(photos, data_dir):
    """make(folder, **settings) -> a config for a run of three or so steps an epoch."""

    def make(folder: str, **settings) -> ConfigDict:
        config = tiny_config(data_dir)
        config.data.name = f"folder:{photos / folder}"
        config.batch_size, config.epochs = 16, 1.0
        for key, value in settings.items():
            section, _, name = key.rpartition("__")
            (config[section] if section else config)[name] = value
        return config

    return make


@pytest.fixture(scope="module")
def source(make, tmp_path_factory) -> Path:
    """The workdir of a run on three classes."""
    workdir = tmp_path_factory.mktemp("source")
    train_and_evaluate(make("three"), workdir)
    return workdir


def test_the_last_checkpoint_is_read_not_the_best(make, tmp_path):
    config = make("three")
    plant(tmp_path, config, drawn(config))  # step 1, with error .5
    last = jax.tree.map(lambda leaf: leaf + 1, drawn(config))
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(2, {"params": last}, Progress(epoch=2.0), 0.9)
    given, story = fine_tune.read_layers(setup.setup(make("three", init_from=str(tmp_path))))
    assert_same(given["conv1"], last["conv1"])
    assert "after 2.00 epochs" in story


@pytest.mark.usefixtures("compile_quickly")
def test_a_loop_of_ones_own_starts_from_that_run_too(make, source):
    run = setup.setup(make("three", init_from=str(source)))
    there, _ = checkpoint.load_params(source, "last")
    assert_same(run.fresh().params, there)
    assert_same(run.fresh({}).params, drawn(make("three")))
    with pytest.raises(UserError, match=r"config.init_from: .*typo holds no run"):
        setup.setup(make("three", init_from=str(source / "typo"))).fresh()


def test_two_towers_tell_five_classes_from_six_by_their_number(make, tmp_path):
    """fc8 has the same shape in both nets; imported weights name no classes."""
    config = make("five")
    plant(tmp_path, config, drawn(config))
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(2, {"params": drawn(config)}, Progress(class_count=6), 0.9)
    given, story = fine_tune.read_layers(setup.setup(make("five", init_from=str(tmp_path))))
    assert "fc8" not in given
    assert "fresh: 5 classes here, 6 there" in story


def test_imported_weights_for_five_classes_are_neither_trained_nor_evaluated_on_six(
    make, photos, tmp_path
):
    config, six = make("five"), tmp_path / "six"
    shutil.copytree(photos / "five", six)
    shutil.copytree(photos / "five/a", six / "f")
    config.data.name = f"folder:{six}"
    (tmp_path / "run").mkdir()
    plant(tmp_path / "run", config, drawn(make("five")))
    with Checkpoints(tmp_path / "run/checkpoints") as checkpoints:
        checkpoints.save(2, setup.setup(make("five")).fresh(), Progress(class_count=5), 0.9)
    with pytest.raises(UserError, match=r"run has 5 classes, its dataset 6"):
        train_and_evaluate(config, tmp_path / "run")
    with pytest.raises(UserError, match=r"run has 5 classes, its dataset 6"):
        alexnet.load(tmp_path / "run", "last").evaluate("validation")


def test_nets_of_one_shape_that_compute_other_things_are_told_apart(make, source):
    config = make("three", init_from=str(source), net__activation="tanh")
    given, story = fine_tune.read_layers(setup.setup(config))
    assert set(given) == {"conv1", "conv2", "conv3", "fc6", "fc8"}
    assert story.splitlines()[-1] == "config.net.activation='tanh' here, 'relu' there"


def params(workdir) -> dict:
    return checkpoint.load_params(workdir, "last")[0]


def assert_same(layer, other) -> None:
    jax.tree.map(np.testing.assert_array_equal, layer, other)


def assert_moved(layer, other) -> None:
    assert not np.array_equal(layer["kernel"], other["kernel"])


def test_all_layers_but_the_last_for_other_classes(make, source, tmp_path, capsys):
    config = make("five", init_from=str(source), schedule__rate=0.0)
    train_and_evaluate(config, tmp_path)  # at a rate of 0: the end is the beginning
    [command] = provenance.commands(tmp_path)
    assert command["began_with"][0].startswith(f"from {source}, after 1.07 epochs of folder:")
    assert any("fc8" in line and "fresh" in line for line in command["began_with"])
    before, found, fresh = params(source), params(tmp_path), drawn(config)
    for name in ("conv1", "conv2", "conv3", "fc6"):
        assert_same(found[name], before[name])
        assert_moved(found[name], fresh[name])
    assert_same(found["fc8"], fresh["fc8"])
    lines = capsys.readouterr().out.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("from "))
    data = config.data.name.replace("five", "three")
    assert re.fullmatch(rf"from {source}, after 1.\d\d epochs of {data}:", lines[first])
    assert lines[first + 1 : first + 6] == [
        "  conv1  restored  2 x 5x5x3x16",
        "  conv2  restored  2 x 5x5x16x32",
        "  conv3  restored  2 x 3x3x64x48",
        "  fc6    restored  2 x 384x128",
        "  fc8    fresh: 2 x 256x3 here, 2 x 256x2 there",
    ]


@pytest.mark.parametrize(
    ("choice", "taken"),
    [("conv", ["conv1", "conv2", "conv3"]), ("fc6, conv1", ["conv1", "fc6"])],
)
def test_chosen_layers_alone(make, source, choice, taken):
    run = setup.setup(make("five", init_from=str(source), init_layers=choice))
    given, story = fine_tune.read_layers(run)
    before = params(source)
    assert list(given) == taken
    for name in taken:
        assert_same(given[name], before[name])
    restored = [line.split()[0] for line in story.splitlines() if "restored" in line]
    assert restored == taken
    assert [line for line in story.splitlines() if line.endswith("fresh")]


def test_as_many_classes_of_other_names_are_other_classes(make, source):
    run = setup.setup(make("others", init_from=str(source)))
    given, story = fine_tune.read_layers(run)
    assert "fc8" not in given
    assert re.search(r"fc8    fresh: other classes there: \w+, \w+, \w+$", story, re.MULTILINE)
    given, story = fine_tune.read_layers(setup.setup(make("three", init_from=str(source))))
    assert list(given) == ["conv1", "conv2", "conv3", "fc6", "fc8"]
    assert "fresh" not in story
    # asked for by name, it is taken all the same
    config = make("others", init_from=str(source), init_layers="fc8")
    assert list(fine_tune.read_layers(setup.setup(config))[0]) == ["fc8"]


def test_a_last_layer_of_other_classes_is_not_among_those_that_fit(make, source):
    config = make("others", init_from=str(source), net__remove="conv3,conv4,conv5,fc7")
    with pytest.raises(UserError, match=r"these layers fit: config.init_layers=conv1,conv2$"):
        fine_tune.read_layers(setup.setup(config))


def test_chosen_layers_are_compared_with_the_other_nets_settings(make, source):
    config = make("five", init_from=str(source), init_layers="conv", net__activation="tanh")
    _, story = fine_tune.read_layers(setup.setup(config))
    assert story.splitlines()[-1] == "config.net.activation='tanh' here, 'relu' there"


def test_imported_weights_are_not_said_to_be_of_an_untrained_net(make, tmp_path):
    config = make("three")
    record.save_config(config, tmp_path)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(0, {"params": drawn(config)}, Progress(), None)  # as an import does
    _, story = fine_tune.read_layers(setup.setup(make("three", init_from=str(tmp_path))))
    assert story.startswith(f"\nfrom {tmp_path}, imported:\n")


@pytest.mark.slow
def test_everything_else_is_as_from_scratch(make, source, tmp_path):
    """From the weights that `source` drew, a run ends as `source` did, which ran from scratch."""
    config = make("three")
    plant(tmp_path, config, drawn(config))
    train_and_evaluate(make("three", init_from=str(tmp_path)), tmp_path / "run")
    assert_same(params(tmp_path / "run"), params(source))
    assert_moved(params(tmp_path / "run")["conv1"], params(tmp_path)["conv1"])


@pytest.mark.slow
def test_a_resumed_run_needs_its_source_no_more_and_frozen_layers_stand_still(
    make, source, tmp_path, monkeypatch, capsys
):
    before = params(source)
    moved = shutil.copytree(source, tmp_path / "moved")
    events = ((0, "conv1", 0.0), (0, "conv2.kernel", 1e-3), (1, "conv2", 0.0))
    monkeypatch.chdir(tmp_path)

    def tune(workdir: str, epochs: float, init_from: str = "moved") -> dict:
        config = make("five", init_from=init_from, epochs=epochs, schedule__events=events)
        train_and_evaluate(config, tmp_path / workdir)
        return params(tmp_path / workdir)

    whole = tune("whole", 2.0)
    half = tune("parts", 1.0)
    shutil.rmtree(moved)
    monkeypatch.chdir("/")
    capsys.readouterr()
    resumed = tune("parts", 2.0, init_from=str(moved))
    said = capsys.readouterr().out
    assert "resuming at step" in said
    assert "restored" not in said
    assert_same(resumed, whole)
    assert_same(resumed["conv1"], before["conv1"])
    assert_moved(half["conv2"], before["conv2"])
    assert_moved(resumed["conv3"], half["conv3"])
    tune("parts", 2.0, init_from="")  # which does not matter now, and stays on record
    assert record.saved_config(tmp_path / "parts").init_from == str(moved)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"init_from": "nowhere"}, "config.init_from: .*/nowhere holds no run"),
        ({"init_from": "begun"}, "config.init_from: there is no checkpoint in .*/begun"),
        ({"init_from": "damaged"}, "config.init_from: checkpoint .* is damaged"),
        ({"init_from": "", "init_layers": "conv"}, "from which run.* set config.init_from"),
        ({"init_layers": "conv1,conv9"}, "has no layer 'conv9'; did you mean 'conv"),
        ({"init_layers": " ,"}, "names no layer; choose all, conv, or names such as conv1,conv2"),
        (
            {"net__remove": "conv5,fc7"},
            r"conv4 is missing in .* and 2 x 3x3x48x48 in net .* fit: .*=conv1,conv2,conv3,fc6$",
        ),
        (
            {"net__remove": "conv3,conv4,conv5,fc7"},
            r"fc6 is 2 x 384x128 in .* and 2 x 256x128 in net .* fit: .*=conv1,conv2$",
        ),
        (
            {"net__remove": "conv3,conv4,conv5,fc7", "init_layers": "conv3"},
            "has no layer 'conv3'; did you mean",
        ),
        ({"net__towers": 1}, r"conv1 is 2 x 5x5x3x16 in .* and 1 x 5x5x3x32 in .*; no layer fits"),
        ({"init_layers": "fc8"}, "fc8 is 2 x 256x2 in .* and 2 x 256x3 in net pocket"),
    ],
)
def test_mistakes_get_one_line_and_leave_nothing(
    make, source, tmp_path, monkeypatch, settings, message
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(source, "begun", ignore=shutil.ignore_patterns("checkpoints"))
    shutil.copytree(source, "damaged")
    for path in Path("damaged/checkpoints").rglob("_CHECKPOINT_METADATA"):
        path.unlink()
    config = make("five", **({"init_from": str(source)} | settings))
    with pytest.raises(UserError, match=message) as error:
        train_and_evaluate(config, tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_layer_only_the_source_has(make, source, tmp_path):
    """Without conv4, shapes alone would not tell: they fit all the same."""
    larger = make("three", net__remove="conv5,fc7")
    plant(tmp_path, larger, drawn(larger))
    config = make("five", init_from=str(tmp_path))
    with pytest.raises(UserError, match=r"conv4 is 2 x 3x3x48x48 in .* and missing in net pocket"):
        fine_tune.read_layers(setup.setup(config))


def test_a_last_layer_is_fresh_for_other_classes_alone(make, tmp_path):
    """Not where it reads more than here, nor where the source has none."""
    config = make("three")
    net = setup.setup(config).net
    shapes = jax.eval_shape(lambda: network.init(net, jax.random.key(0)))
    there = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    wider = there.pop("fc8") | {"kernel": np.zeros((2, 300, 2), np.float32)}
    for found, last in (("2 x 300x2", {"fc8": wider}), ("missing", {})):
        workdir = tmp_path / found
        workdir.mkdir()
        plant(workdir, config, there | last)
        config.init_from = str(workdir)
        with pytest.raises(UserError, match=rf"fc8 is {found} in .* and 2 x 256x2 in net pocket"):
            fine_tune.read_layers(setup.setup(config))


@pytest.mark.slow
def test_any_mesh_and_two_processes_start_from_the_same(make, source, photos, data_dir, tmp_path):
    def command(workdir: str, *more: str) -> list[str]:
        return [
            *(sys.executable, "-m", "alexnet.train", f"--config={ROOT}/configs/digits.py"),
            *(f"--workdir={tmp_path / workdir}", f"--config.data.data_dir={data_dir}"),
            *(f"--config.data.name=folder:{photos}/five", f"--config.init_from={source}"),
            *("--config.data.image_size=20", "--config.net.image_size=18"),
            *("--config.net.remove=conv4,conv5,fc7", "--config.schedule.rate=0"),
            *("--config.batch_size=16", "--config.epochs=1", *more),
        ]

    for tower, data in ((1, 1), (2, 1), (1, 2)):
        flags = (f"--config.mesh.tower={tower}", f"--config.mesh.data={data}", "--cpu_devices=2")
        subprocess.run(command(f"{tower}x{data}", *flags), check=True, capture_output=True)
        assert_same(params(tmp_path / f"{tower}x{data}"), params(tmp_path / "1x1"))
    where = (f"--coordinator=127.0.0.1:{free_port()}", "--processes=2")
    both = [start(command("two", *where, f"--process={n}")) for n in (0, 1)]
    ends = [one.communicate(timeout=300) for one in both]
    assert [one.returncode for one in both] == [0, 0], ends
    assert_same(params(tmp_path / "two"), params(tmp_path / "1x1"))
    assert_same(params(tmp_path / "two")["fc6"], params(source)["fc6"])
    assert "restored" in ends[0][0]
    assert "restored" not in ends[1][0]


def test_a_run_that_has_begun_keeps_its_source_and_the_layers_that_it_took(make, source, tmp_path):
    record.save_config(make("five", init_from=str(source), init_layers="conv"), tmp_path)
    again = make("five")
    said = changes.keep_origin(again, tmp_path)
    assert "config.init_layers='all' is not used: the run has begun" in said
    assert (again.init_from, again.init_layers) == (str(source), "conv")
