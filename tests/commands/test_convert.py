"""alexnet.convert: weights come in from other frameworks' files and go out, the same to the bit."""

import dataclasses
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors import numpy as safetensors
from safetensors import safe_open
from scipy.special import softmax
from support import reference, thin
from support.tiny import ROOT

import alexnet
from alexnet import cli, convert, evaluate
from alexnet.data import synsets
from alexnet.data.augment import evaluation_inputs
from alexnet.data.prepare import prepare
from alexnet.data.store import save_description
from alexnet.errors import UserError
from alexnet.formats import torchvision, weights
from alexnet.inference.export import export
from alexnet.models.build import NETS
from alexnet.training import forward
from alexnet.training.loop import train_and_evaluate
from alexnet.training.settings import load_config
from alexnet.training.setup import setup
from alexnet.training.start import dataset
from alexnet.workdir import checkpoint, provenance, record

VARIANTS = {"torchvision_alexnet": "torchvision", "caffe_alexnet": "caffe_alexnet"}
VARIANTS |= {"caffenet": "caffenet"}
CLASSES = 3


@pytest.fixture(autouse=True)
def thin_nets(monkeypatch):
    """The frameworks' nets are thin; everything else is as a user has it."""
    for name in VARIANTS:
        monkeypatch.setitem(NETS, name, thin.thin(name))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of three classes, large enough for the nets."""
    random = np.random.default_rng(2)
    path = tmp_path_factory.mktemp("folder")
    for split in ("train", "validation"):
        for name in ("a", "b", "c"):
            (path / split / name).mkdir(parents=True)
            for number in range(2):
                pixels = random.integers(0, 256, (100, 100, 3), np.uint8)
                Image.fromarray(pixels).save(path / split / name / f"{number}.png")
    return path


def flags(name: str, folder, data_dir: str) -> list[str]:
    return [
        f"--config={ROOT}/configs/imagenet.py:{VARIANTS[name]}",
        f"--config.net.image_size={thin.SIDES[name]}",
        f"--config.data.name=folder:{folder}",
        f"--config.data.data_dir={data_dir}",
        "--config.data.image_size=100",
        "--config.data.quality=0",
        "--config.batch_size=2",
    ]


def written(name: str, path, classes: int = CLASSES, old: bool = False):
    """A file of this framework, with the weights of `thin`."""
    arrays = thin.weights(name, classes)
    if name == "torchvision_alexnet":
        file = path / "alexnet.safetensors"
        safetensors.save_file(arrays, file)
    else:
        file = path / f"{name}.caffemodel"
        file.write_bytes(thin.caffemodel(arrays, thin.ORDER[name], old))
    return file


def expected(name: str, images: np.ndarray, classes: int = CLASSES) -> np.ndarray:
    """float64 logits of the framework."""
    arrays = thin.weights(name, classes)
    if name == "torchvision_alexnet":
        return reference.torchvision(arrays, images)
    return reference.caffe(arrays, images, pool_first=name == "caffenet")


def assert_close(found, wanted) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.fixture(scope="module")
def imported(tmp_path_factory, folder, data_dir):
    """Workdirs by net, made by the command."""
    root = tmp_path_factory.mktemp("imported")
    with pytest.MonkeyPatch.context() as patch:
        for name in VARIANTS:
            patch.setitem(NETS, name, thin.thin(name))
            source = written(name, root)
            options = [f"--source={source}", f"--workdir={root / name}"]
            convert.main([*flags(name, folder, data_dir), *options])
    return {name: root / name for name in VARIANTS}


# --- In -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VARIANTS)
def test_evaluation_of_what_came_in_is_the_frameworks(imported, folder, name, capsys):
    evaluate.main([f"--workdir={imported[name]}", "--checkpoint=last"])
    line = capsys.readouterr().out
    side = thin.SIDES[name]
    start = (100 - side) // 2
    paths = sorted((folder / "validation").rglob("*.png"))
    stored = np.stack([np.asarray(Image.open(path)) for path in paths])
    crops = stored[:, start : start + side, start : start + side]
    labels = np.array(["abc".index(path.parent.name) for path in paths])
    logits = expected(name, crops)
    loss = reference.cross_entropy(logits, labels)
    error = (logits.argmax(-1) != labels).mean()
    assert f"top-1 error {error:.2%}" in line
    found = float(line.split("loss ")[1].split(",")[0])
    assert found == pytest.approx(loss, abs=1e-4)


@pytest.mark.parametrize("name", ["torchvision_alexnet", "caffenet"])
def test_a_file_is_loaded_without_a_workdir(folder, data_dir, tmp_path, name):
    config, _ = cli.parse(flags(name, folder, data_dir), {})
    net = alexnet.load(written(name, tmp_path), config=config)
    side = thin.SIDES[name]
    start = (100 - side) // 2
    photo = np.asarray(Image.open(folder / "validation/a/0.png"))
    crop = photo[None, start : start + side, start : start + side]
    np.testing.assert_allclose(
        net.predict(photo), softmax(expected(name, crop), 1), rtol=1e-4, atol=1e-6
    )
    again = tmp_path / "ours.safetensors"
    net.export(again)
    np.testing.assert_array_equal(alexnet.load(again).predict(photo), net.predict(photo))
    other = config.copy_and_resolve_references()
    other.net.activation = "tanh"
    with pytest.raises(UserError, match=r"exported with config.net.activation='relu', not 'tanh'"):
        alexnet.load(again, config=other)


@pytest.mark.slow
def test_training_goes_on_from_what_came_in(imported, tmp_path):
    """At rate 0 the weights stay the file's."""
    workdir = tmp_path / "run"
    shutil.copytree(imported["caffenet"], workdir)
    config = record.saved_config(workdir)
    config.epochs, config.schedule.rate, config.schedule.milestones = 1.0, 0.0, ()
    jax.config.update("jax_disable_most_optimizations", True)  # it compiles for long
    try:
        train_and_evaluate(config, workdir)
    finally:
        jax.config.update("jax_disable_most_optimizations", False)
    before, _ = checkpoint.load_params(imported["caffenet"], "last")
    after, progress = checkpoint.load_params(workdir, "last")
    assert progress.epoch == 1
    jax.tree.map(np.testing.assert_array_equal, before, after)


@pytest.mark.parametrize("name", ["caffe_alexnet", "caffenet"])
def test_old_and_new_caffemodels_are_alike(imported, folder, data_dir, tmp_path, name):
    source = written(name, tmp_path, old=True)
    options = [f"--source={source}", f"--workdir={tmp_path / 'run'}"]
    convert.main([*flags(name, folder, data_dir), *options])
    paths = (tmp_path / "run", imported[name])
    old, new = (checkpoint.load_params(path, "last")[0] for path in paths)
    jax.tree.map(np.testing.assert_array_equal, old, new)


def test_without_a_dataset_the_file_gives_the_number_of_classes(tmp_path, data_dir, monkeypatch):
    source = written("caffenet", tmp_path, classes=5)  # odd: two towers share six
    workdir = tmp_path / "new/run"
    options = [f"--source={source}", f"--workdir={workdir}"]
    line = flags("caffenet", Path("nowhere"), os.path.relpath(data_dir, tmp_path))
    monkeypatch.chdir(tmp_path)  # from another folder, these paths must lead to the same places
    with pytest.raises(UserError, match=r"config.init_from: the weights are those of --source"):
        convert.main([*line, *options, "--config.init_from=runs/a"])
    convert.main([*line, *options])
    params, progress = checkpoint.load_params(workdir, "last")
    assert progress.epoch == checkpoint.find(workdir, "last") == 0  # of training here
    assert params["fc8"]["bias"].shape == (2, 3)
    assert params["fc8"]["bias"][1, 2] == 0
    there = record.saved_config(workdir).data
    assert (there.name, there.data_dir) == (f"folder:{tmp_path / 'nowhere'}", data_dir)
    assert alexnet.load(workdir, "last").net.classes == 5
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["run"]


def test_of_a_tfds_dataset_the_classes_are_known_unprepared(tmp_path):
    source = written("caffenet", tmp_path, classes=5)
    line = flags("caffenet", tmp_path, str(tmp_path))
    line[2] = "--config.data.name=digits"
    with pytest.raises(UserError, match=r"fc8.weight is \(5, 10\) in .* and \(10, 10\) in net caf"):
        convert.main([*line, f"--source={source}", f"--workdir={tmp_path / 'run'}"])
    assert not (tmp_path / "run").exists()


def changed(arrays: thin.Arrays, name: str, array: np.ndarray | None) -> thin.Arrays:
    """`arrays` with another array; None removes all whose names start with `name`."""
    if array is None:
        return {n: a for n, a in arrays.items() if not n.startswith(name)}
    return arrays | {name: array}


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("conv2", None, r"conv2.weight is missing in .* and \(12, 4, 5, 5\) in net"),
        ("conv2.bias", None, r"conv2.bias is missing in .* and \(12,\) in net caffenet"),
        ("conv6.weight", np.zeros((2, 3)), r"conv6.weight is \(2, 3\) in .* and missing in net"),
        (
            "conv4.weight",
            np.zeros((12, 16, 3, 3)),
            r"conv4.weight is \(12, 16, 3, 3\) in .* and \(12, 8, 3, 3\) in net caffenet",
        ),
        ("fc8.weight", np.zeros((4, 10)), r"fc8.weight is \(4, 10\) in .* and \(3, 10\) in net"),
    ],
)
def test_weights_that_do_not_fit_are_one_line(folder, data_dir, tmp_path, name, array, message):
    arrays = changed(thin.weights("caffenet", CLASSES), name, array)
    order = (*thin.ORDER["caffenet"], "conv6")
    (tmp_path / "net.caffemodel").write_bytes(thin.caffemodel(arrays, order))
    options = [f"--source={tmp_path}/net.caffemodel", f"--workdir={tmp_path / 'run'}"]
    with pytest.raises(UserError, match=message):
        convert.main([*flags("caffenet", folder, data_dir), *options])
    assert [path.name for path in tmp_path.iterdir()] == ["net.caffemodel"]


def test_an_error_in_a_torchvision_file_uses_torchvisions_names(folder, data_dir, tmp_path):
    arrays = changed(thin.weights("torchvision_alexnet", CLASSES), "features.3.weight", None)
    safetensors.save_file(arrays, tmp_path / "net.safetensors")
    options = [f"--source={tmp_path}/net.safetensors", f"--workdir={tmp_path / 'run'}"]
    with pytest.raises(UserError, match=r"features.3.weight is missing in .*net.safetensors and"):
        convert.main([*flags("torchvision_alexnet", folder, data_dir), *options])


@pytest.mark.parametrize("name", ["torchvision_alexnet", "caffenet"])
def test_weights_for_other_classes_than_the_datasets_are_told_a_config(
    name, folder, data_dir, tmp_path
):
    prepare(f"folder:{folder}", data_dir, 100, quality=0)
    source = written(name, tmp_path, classes=7)  # the folder has three
    options = [f"--source={source}", f"--workdir={tmp_path / 'run'}"]
    with pytest.raises(UserError, match=r"; for its 7 classes, take a config whose dataset has as"):
        convert.main([*flags(name, folder, data_dir), *options])


def test_the_workdir_may_be_a_link_to_an_empty_folder(folder, data_dir, tmp_path):
    source = written("torchvision_alexnet", tmp_path)
    (tmp_path / "large disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "large disk")
    options = [f"--source={source}", f"--workdir={tmp_path / 'run'}"]
    convert.main([*flags("torchvision_alexnet", folder, data_dir), *options])
    assert (tmp_path / "run").is_symlink()
    assert (tmp_path / "large disk/config.json").is_file()


def test_our_own_file_of_other_classes_is_told_a_config(imported, folder, data_dir, tmp_path):
    file = exported(imported["torchvision_alexnet"], tmp_path / "net.safetensors")
    here, there = f"--config.data.name=folder:{folder}", "--config.data.name=digits"
    line = [there if one == here else one for one in flags("torchvision_alexnet", folder, data_dir)]
    with pytest.raises(
        UserError, match=r"has 3 classes, the config's dataset 10; for its 3 .* as configs/folder"
    ):
        convert.main([*line, f"--source={file}", f"--workdir={tmp_path / 'run'}"])


def test_caffes_two_nets_are_told_apart(folder, data_dir, tmp_path):
    source = written("caffenet", tmp_path)
    options = [f"--source={source}", f"--workdir={tmp_path / 'run'}"]
    with pytest.raises(UserError, match="has pool1 before norm1, but net caffe "):
        convert.main([*flags("caffe_alexnet", folder, data_dir), *options])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give either --source=FILE"),
        (["--source=a.pth", "--target=b.stablehlo"], "give either --source=FILE"),
        (["--source={there}"], "--workdir is missing"),
        (["--source={there}", "--workdir={full}"], "--workdir=.* already exists"),
        (["--source=no.caffemodel", "--workdir={new}"], "--source=no.caffemodel: no such file"),
        (["--source={full}", "--workdir={new}"], "full: no such file, or it cannot be read"),
        (["--source={text}", "--workdir={new}"], "its suffix must be .caffemodel, .safetensors"),
        (["--source={there}", "--workdir={new}/a*b"], "cannot be saved below a folder with \\*"),
        (["--source={there}", "--workdir={new}", "--config.dtype=int8"], "config.dtype='int8': "),
        (
            ["--source={there}", "--workdir={new}", "--config.augment.mean=crop"],
            r"config.augment.mean_pixel=.*three numbers with mean=pixel, \(\) without",
        ),
        (["--source={there}", "--workdir={new}", "--config.schedule.rate=-1"], "config.schedule"),
        (
            ["--source={there}", "--workdir={new}", "--config.net.remove=conv4"],
            r"conv5.weight is \(8, 6, 3, 3\) in .* and \(8, 8, 3, 3\) in net|conv4.weight is",
        ),
    ],
)
def test_mistakes_on_the_way_in(folder, data_dir, tmp_path, options, message):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/config.json").write_text("{}")
    (tmp_path / "text.txt").write_text("")
    there = written("caffenet", tmp_path)
    places = {"there": there, "full": tmp_path / "full", "new": tmp_path / "new"}
    places |= {"text": tmp_path / "text.txt"}
    line = [option.format(**places) for option in options]
    with pytest.raises(UserError, match=message):
        convert.main([*flags("caffenet", folder, data_dir), *line])
    assert not (tmp_path / "new").exists()


def test_a_file_of_another_framework_names_its_nets(folder, data_dir, tmp_path):
    source = written("caffenet", tmp_path)
    options = [f"--source={source}", f"--workdir={tmp_path / 'run'}"]
    with pytest.raises(UserError, match="is for net caffe_alexnet or caffenet, not 'torch"):
        convert.main([*flags("torchvision_alexnet", folder, data_dir), *options])


def test_the_command_ends_with_one_line(tmp_path):
    line = [sys.executable, "-m", "alexnet.convert", "--source=a.caffemodel"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --source=a.caffemodel: no such file")
    assert done.stderr.count("\n") == 1


# --- Out ------------------------------------------------------------------------------------------


def exported(workdir, target, *options: str):
    convert.main([f"--workdir={workdir}", "--checkpoint=last", f"--target={target}", *options])
    return target


@pytest.mark.parametrize("name", VARIANTS)
def test_out_and_in_again_is_the_same_to_the_bit(imported, folder, data_dir, tmp_path, name):
    file = exported(imported[name], tmp_path / "net.safetensors")
    before, _ = checkpoint.load_params(imported[name], "last")
    arrays = safetensors.load_file(file)
    assert set(arrays) == {f"{layer}.{part}" for layer in before for part in ("kernel", "bias")}
    np.testing.assert_array_equal(arrays["conv1.kernel"], before["conv1"]["kernel"])
    options = [f"--source={file}", f"--workdir={tmp_path / 'again'}"]
    convert.main([*flags(name, folder, data_dir), *options])
    after, _ = checkpoint.load_params(tmp_path / "again", "last")
    jax.tree.map(np.testing.assert_array_equal, before, after)


def test_under_torchvisions_names_it_is_torchvisions_file_to_the_bit(
    imported, folder, data_dir, tmp_path, capsys
):
    prepare(f"folder:{folder}", data_dir, 100, 0)  # names the classes
    workdir = imported["torchvision_alexnet"]
    file = exported(workdir, tmp_path / "net.safetensors", "--names=torchvision")
    assert "mean image" not in capsys.readouterr().err  # it subtracts a pixel, as torchvision does
    original = thin.weights("torchvision_alexnet", CLASSES)
    found = safetensors.load_file(file)
    assert list(found) == sorted(original)
    jax.tree.map(np.testing.assert_array_equal, found, original)
    with safe_open(file, framework="numpy") as opened:
        assert opened.metadata() == {"format": "pt", "classes": json.dumps(["a", "b", "c"])}
    # Its classes come back where no dataset says them.
    config, _ = cli.parse(flags("torchvision_alexnet", folder, str(tmp_path / "empty")), {})
    assert alexnet.load(file, config=config).classes == ("a", "b", "c")
    options = [f"--source={file}", f"--workdir={tmp_path / 'again'}"]
    elsewhere = flags("torchvision_alexnet", tmp_path / "gone", str(tmp_path / "empty"))
    convert.main([*elsewhere, *options])
    assert alexnet.load(tmp_path / "again").classes == ("a", "b", "c")


@pytest.mark.parametrize("text", ["{", '"abc"', "[1, 2, 3]", '["a", "b"]'])
def test_classes_that_are_no_names_are_left_out(folder, tmp_path, text):
    file = tmp_path / "net.safetensors"
    arrays = thin.weights("torchvision_alexnet", CLASSES)
    safetensors.save_file(arrays, file, {"format": "pt", "classes": text})
    config, _ = cli.parse(flags("torchvision_alexnet", folder, str(tmp_path / "empty")), {})
    assert alexnet.load(file, config=config).classes == ("0", "1", "2")


def test_an_import_keeps_the_names_of_its_dataset_and_the_files_digest(
    folder, data_dir, tmp_path, capsys
):
    photos = tmp_path / "photos"
    shutil.copytree(folder, photos)
    prepare(f"folder:{photos}", data_dir, 100, 0)
    source, workdir = written("torchvision_alexnet", tmp_path), tmp_path / "run"
    options = [f"--source={source}", f"--workdir={workdir}"]
    convert.main([*flags("torchvision_alexnet", photos, data_dir), *options])
    assert f"its classes are taken to be those of folder:{photos}: a, b, c" in (
        capsys.readouterr().out
    )
    for split in ("train", "validation"):
        (photos / split / "a").rename(photos / split / "z")
    prepare(f"folder:{photos}", data_dir, 100, 0)
    assert alexnet.load(workdir).classes == ("a", "b", "c")
    [command] = provenance.commands(workdir)
    assert command["source"] == str(source)
    assert command["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (command["trains"], command["outcome"]) == (False, "done")


@pytest.mark.parametrize("pixel", [(0.0, 0.0, 0.0), torchvision.MEAN_PIXEL])
def test_another_mean_than_torchvisions_is_said(imported, tmp_path, monkeypatch, capsys, pixel):
    net = alexnet.load(imported["torchvision_alexnet"], "last")
    net.config.augment.mean_pixel = pixel
    net.export(tmp_path / "net.safetensors", "torchvision")
    said = "this run subtracts (0.0, 0.0, 0.0), torchvision (123.675, 116.28, 103.53)"
    assert (said in capsys.readouterr().err) is (pixel[0] == 0)


def test_another_net_among_the_overrides_resets_its_section(folder, data_dir, tmp_path):
    """As on a command line; `original` has settings that torchvision's net lacks."""
    source = written("torchvision_alexnet", tmp_path)
    config, _ = cli.parse(flags("torchvision_alexnet", folder, data_dir), {})
    other = {"data.name": config.data.name, "data.data_dir": data_dir, "data.image_size": 100}
    other |= {"net.name": "torchvision_alexnet", "augment.mean": "pixel"}
    other |= {"augment.mean_pixel": config.augment.mean_pixel}
    photo = np.asarray(Image.open(folder / "validation/a/0.png"))
    found = alexnet.load(source, config=f"{ROOT}/configs/imagenet.py", overrides=other)
    expected = alexnet.load(source, config=config)
    np.testing.assert_array_equal(found.predict(photo), expected.predict(photo))


@pytest.mark.parametrize(("names", "known"), [("torchvision", True), ("own", False)])
def test_a_net_of_imagenet_takes_its_classes_along(tmp_path, monkeypatch, names, known):
    """Also if it was imported without them; our own files get them when they are read."""
    seen = []
    monkeypatch.setattr(weights, "content", lambda *how: seen.append(how) or b"")
    net = SimpleNamespace(
        config=load_config(f"{ROOT}/configs/imagenet.py:torchvision"),
        net=SimpleNamespace(classes=1000),
        about=SimpleNamespace(classes=(), named=synsets.IDS, statistics=None),
        params={},
    )
    export(net, tmp_path / "net.safetensors", names)
    [(_, _, _, described, _)] = seen
    assert described["class_names"] == (list(synsets.IDS) if known else [])


def test_torchvisions_names_are_for_nets_of_its_size(imported, folder, data_dir, tmp_path, capsys):
    workdir = tmp_path / "run"
    shutil.copytree(imported["torchvision_alexnet"], workdir)
    config = record.saved_config(workdir).unlock()
    net = alexnet.load(workdir, "last")
    net.config.augment.mean = "centre"
    net.export(tmp_path / "mean.safetensors", "torchvision")
    assert "does not keep the mean image that this run subtracts" in capsys.readouterr().err
    config.net.image_size = 96  # fc6 would read as many numbers
    record.save_config(config, workdir)
    with pytest.raises(UserError, match="reads 95 pixels, this net has image_size=96"):
        exported(workdir, tmp_path / "net.safetensors", "--names=torchvision")


def test_a_net_that_sees_more_than_is_stored_is_not_imported(folder, data_dir, tmp_path):
    name = "torchvision_alexnet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETS, name, thin.thin(name))
        options = [f"--source={written(name, tmp_path)}", f"--workdir={tmp_path / 'new'}"]
        given = [one for one in flags(name, folder, data_dir) if "data.image_size" not in one]
        with pytest.raises(UserError, match="sees 95 pixels, more than the stored 94"):
            convert.main([*given, "--config.data.image_size=94", *options])
    assert not (tmp_path / "new").exists()


def test_our_file_says_what_net_it_holds(imported, folder, data_dir, tmp_path, capsys):
    prepare(f"folder:{folder}", data_dir, 100, 0)
    capsys.readouterr()
    file = exported(imported["caffenet"], tmp_path / "net.safetensors")
    size = f"{file.stat().st_size:,} bytes"
    assert capsys.readouterr().out == f"{file}: net caffenet, 3 classes, {size}\n"
    with safe_open(file, framework="numpy") as opened:
        about = json.loads(opened.metadata()["alexnet"])
    assert about["classes"] == CLASSES
    assert about["config"]["net"]["name"] == "caffenet"
    for change, message in (
        ("--config.net.activation=tanh", "config.net.activation='relu', not 'tanh'"),
        ("--config.net.name=caffe_alexnet", "config.net.name='caffenet', not 'caffe_alexnet'"),
    ):
        options = [f"--source={file}", f"--workdir={tmp_path / 'new'}", change]
        with pytest.raises(UserError, match=message):
            convert.main([*flags("caffenet", folder, data_dir), *options])
    options = [f"--source={file}", f"--workdir={tmp_path / 'elsewhere'}"]
    convert.main([*flags("caffenet", tmp_path / "no_images_here", data_dir), *options])
    assert alexnet.load(tmp_path / "elsewhere", "last").classes == ("a", "b", "c")
    other = prepare(f"folder:{folder}", str(tmp_path / "data"), 100, 0)
    save_description(dataclasses.replace(other, classes=("a", "b", "d")))
    options = [f"--source={file}", f"--workdir={tmp_path / 'new'}"]
    with pytest.raises(UserError, match=r"safetensors was trained on .* 'c' removed and 'd' added"):
        convert.main([*flags("caffenet", folder, str(tmp_path / "data")), *options])


@pytest.mark.usefixtures("compile_quickly")
def test_our_own_file_makes_a_run_by_itself(tiny, tmp_path):
    """With its mean image, also where the dataset's is another, and if training goes on."""
    tiny.augment.mean, tiny.epochs = "crop", 0.1
    tiny.init_from, tiny.init_layers = str(tmp_path / "source"), "conv"  # it was fine-tuned
    run = setup(tiny)
    run = dataclasses.replace(run, statistics=jax.tree.map(lambda x: x + 1, run.statistics))
    net = alexnet.classifier(run, run.fresh({}).params)
    file, workdir = tmp_path / "net.safetensors", tmp_path / "run"
    net.export(file)
    given = [f"--source={file}", f"--workdir={workdir}"]
    with pytest.raises(UserError, match=r"image_size=24: the mean image in .* is 20 pixels wide"):
        convert.main([*given, "--config.data.image_size=24"])
    with pytest.raises(UserError, match="no such option"):
        convert.main([*given, "--sauce=b"])
    convert.main([*given, "--config.seed=3"])
    made = alexnet.load(workdir, "last")
    assert (made.config.seed, made.classes) == (3, net.classes)
    assert (made.config.init_from, made.config.init_layers) == ("", "all")
    np.testing.assert_array_equal(made.about.statistics.mean_HWC, run.statistics.mean_HWC)
    ours, theirs = made.evaluate(), net.evaluate()
    assert ours["loss"] == theirs["loss"]
    assert ours["notes"] == [
        f"{workdir} does not say which images it was trained on: only the classes are compared"
    ]
    train_and_evaluate(made.config, workdir)
    known = dataset.remembered(workdir)
    assert known.contents == run.store.contents != {}
    np.testing.assert_array_equal(known.statistics.mean_HWC, run.statistics.mean_HWC)


CALL = """
import sys, jax, numpy, pathlib
net = jax.export.deserialize(bytearray(pathlib.Path(sys.argv[1]).read_bytes()))
images = numpy.load(sys.argv[2])
numpy.save(sys.argv[3], numpy.concatenate([net.call(images[:1]), net.call(images)]))
assert "alexnet" not in sys.modules
print(*net.platforms)
"""


@pytest.mark.slow
def test_stablehlo_gives_the_logits_in_another_process(imported, tmp_path):
    name = "caffe_alexnet"
    file = exported(imported[name], tmp_path / "net.stablehlo")
    np.save(tmp_path / "images.npy", thin.images(name))
    line = [sys.executable, "-c", CALL, file, tmp_path / "images.npy", tmp_path / "logits.npy"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["cpu", "cuda"]
    found = np.load(tmp_path / "logits.npy")
    wanted = expected(name, thin.images(name))
    assert found.dtype == np.float32
    assert_close(found, np.concatenate([wanted[:1], wanted]))


@pytest.mark.slow
def test_stablehlo_subtracts_a_mean_image_as_evaluation_does(imported, tmp_path, folder):
    """With a mean image, the logits are those of the run for the same crops."""
    workdir = tmp_path / "run"
    shutil.copytree(imported["caffenet"], workdir)
    config = record.saved_config(workdir)
    config.augment.mean, config.augment.mean_pixel = "centre", ()
    record.save_config(config, workdir)
    file = exported(workdir, tmp_path / "net.stablehlo")
    run = setup(config)
    stored, _ = run.store.read("validation", range(4))
    net = jax.export.deserialize(bytearray(file.read_bytes()))
    start = (100 - 99) // 2
    found = net.call(stored[:, start : start + 99, start : start + 99])
    params, _ = checkpoint.load_params(workdir, "last")
    inputs = evaluation_inputs(stored, run.augmentation, run.statistics)
    assert np.abs(run.store.statistics.mean_HWC - 127).max() > 20
    assert_close(
        found, np.array(jax.jit(forward.on_mesh(run.net, run.mesh))(run.put(params), inputs))
    )


def test_what_to_do_next_works_in_a_workdir_of_any_name(folder, data_dir, tmp_path, capsys):
    source = written("caffenet", tmp_path)
    workdir = tmp_path / "a b,c"
    (tmp_path / "a b,c.partial/checkpoints").mkdir(parents=True)  # as a killed command leaves it
    convert.main(
        [*flags("caffenet", folder, data_dir), f"--source={source}", f"--workdir={workdir}"]
    )
    first, second, third = capsys.readouterr().out.splitlines()[-3:]
    assert shlex.split(third)[:4] == [*("python", "-m", "alexnet.train"), f"--workdir={workdir}"]
    assert first.startswith("next: python -m alexnet.predict --workdir=")
    *python, option, last = shlex.split(second.partition("    (needs ")[0])
    assert python == ["python", "-m", "alexnet.evaluate"]
    evaluate.main([option, last])
    assert f"{workdir} as imported" in capsys.readouterr().out
    assert not (tmp_path / "a b,c.partial").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--target=net.stablehlo"], "--workdir is missing"),
        (["--workdir={nothing}", "--target=net.stablehlo"], "holds no run"),
        (["--workdir={nothing}", "--target=net.onnx"], "end it in"),  # before the run is read
        (["--workdir={run}", "--target=net.onnx"], "end it in .safetensors or .stablehlo"),
        (["--workdir={run}", "--target={there}"], "there.safetensors: already exists"),
        (["--workdir={run}", "--target=no/net.safetensors"], "cannot write there: No such file"),
        (
            ["--workdir={run}", "--target=a.safetensors", "--names=his"],
            "choose one of own, torchvision",
        ),
        (
            ["--workdir={run}", "--target=a.safetensors", "--names=torchvision"],
            "only possible for a .safetensors of net torchvision_alexnet",
        ),
        (["--workdir={run}", "--target=a.safetensors", "--checkpoint=first"], "choose best, last"),
        (["--workdir={run}", "--target=a.safetensors", "--sauce=b"], "--sauce: no such option"),
    ],
)
def test_mistakes_on_the_way_out(imported, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.safetensors").write_text("mine")
    places = {"run": imported["caffenet"], "nothing": tmp_path, "there": "there.safetensors"}
    line = [option.format(**places) for option in options]
    if not any("checkpoint" in option for option in line):
        line.append("--checkpoint=last")
    with pytest.raises(UserError, match=message):
        convert.main(line)
    assert [path.name for path in tmp_path.iterdir()] == ["there.safetensors"]
    assert (tmp_path / "there.safetensors").read_text() == "mine"
