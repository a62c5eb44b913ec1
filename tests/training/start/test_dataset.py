"""A run is of the images it was trained on: what happens when they change, move or go."""

import dataclasses
import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.tiny import tiny_config

import alexnet
from alexnet import evaluate
from alexnet.config import apply_overrides
from alexnet.data.statistics import Statistics
from alexnet.data.store import Store
from alexnet.errors import UserError
from alexnet.logs import metrics
from alexnet.training.loop import train_and_evaluate
from alexnet.training.settings import KINDS
from alexnet.training.start import dataset
from alexnet.workdir import record

pytestmark = pytest.mark.usefixtures("compile_quickly")


def make_photos(folder: Path, classes: str, count: int = 6, seed: int = 0) -> Path:
    random = np.random.default_rng(seed)
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = random.integers(0, 80, (20, 20, 3)) + 60 * (label % 3)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


def config_of(folder: Path | str, data_dir: str, epochs: float = 2.0):
    config = tiny_config(data_dir)
    config.data.name = f"folder:{folder}"
    config.net.remove = "conv3,conv4,conv5,fc7"
    config.batch_size, config.epochs = 8, epochs
    return config


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with photos/, data/ and run/, trained for two epochs."""
    here = tmp_path_factory.mktemp("trained")
    photos = make_photos(here / "photos", "abc")
    train_and_evaluate(config_of(photos, str(here / "data")), here / "run")
    return here


@pytest.fixture
def copy(trained, tmp_path) -> Path:
    """The same, to be changed; the run's config still names the first folder."""
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def evaluated(here: Path, folder: Path) -> dict:
    overrides = {"data.name": f"folder:{folder}", "data.data_dir": str(here / "data")}
    return alexnet.load(here / "run", "last").evaluate(overrides=overrides)


def test_a_workdir_holds_what_prediction_needs(trained):
    about = json.loads((trained / "run/dataset/info.json").read_text())
    assert about["classes"] == ["a", "b", "c"]
    assert sum(about["counts"].values()) == 18
    assert set(about["contents"]) == {"train", "validation"}
    assert alexnet.load(trained / "run").classes == ("a", "b", "c")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"net.remove": "conv9"}, "has no layer 'conv9'"),
        ({"net.image_size": 99}, "sees 99 pixels, more than the stored 20"),
        ({"schedule.events": ((0.0, "conv9.kernel", 0.5),)}, "the net has no"),
        ({"init_from": "nowhere"}, "config.init_from: .*nowhere holds no run"),
        ({"init_layers": "conv"}, "from which run"),
        ({"wandb_project": "a/b"}, "cannot contain '/'"),
        ({"seed": 9}, "holds a run with config.seed=0, not 9"),  # in a workdir that is taken
    ],
)
def test_mistakes_show_before_a_folder_is_prepared(trained, tmp_path, change, message):
    config = config_of(trained / "photos", str(tmp_path / "data"))
    apply_overrides(config, change, KINDS)
    with pytest.raises(UserError, match=message):
        train_and_evaluate(config, trained / "run" if "seed" in change else tmp_path / "run")
    assert not (tmp_path / "data").exists()
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_same_images_elsewhere_are_the_same_run(copy):
    moved = copy / "photos"  # with the very files, and another path
    before = metrics.read_history(copy / "run")
    found = evaluated(copy, moved)
    assert found["notes"] == []
    assert found["loss"] == before[-1]["loss"]
    rows = train_and_evaluate(config_of(moved, str(copy / "data"), epochs=3.0), copy / "run")
    assert rows[:2] == before
    assert len(rows) == 3
    assert json.loads((copy / "run/config.json").read_text())["data"]["name"] == f"folder:{moved}"


def test_a_renamed_class_is_refused(copy):
    (copy / "photos/b").rename(copy / "photos/sky")
    with pytest.raises(UserError, match=r"other classes .*: 'b' removed and 'sky' added"):
        evaluated(copy, copy / "photos")
    for use in (
        lambda: evaluated(copy, copy / "photos"),
        lambda: train_and_evaluate(config_of(copy / "photos", str(copy / "data"), 3), copy / "run"),
    ):
        with pytest.raises(UserError, match=r"other classes .*: 'b' removed and 'sky' added"):
            use()


def test_an_added_class_is_refused_also_where_the_last_layer_has_room(copy):
    """Three classes over two towers leave an output idle."""
    make_photos(copy / "photos", "abcd")
    with pytest.raises(UserError, match=r"other classes .*: 'd' added"):
        evaluated(copy, copy / "photos")
    with pytest.raises(UserError, match=r"other classes .*: 'd' added"):
        train_and_evaluate(config_of(copy / "photos", str(copy / "data"), 3), copy / "run")


def test_a_test_split_that_came_later_is_no_change(copy):
    """Training never saw one."""
    photos = copy / "photos"
    for name in "abc":
        shutil.move(photos / name, copy / "train" / name)
    shutil.move(copy / "train", photos / "train")
    train_and_evaluate(config_of(photos, str(copy / "data"), epochs=1.0), copy / "again")
    make_photos(photos / "test", "abc", seed=1)
    overrides = {"data.name": f"folder:{photos}", "data.data_dir": str(copy / "data")}
    found = alexnet.load(copy / "again", "last").evaluate("test", overrides=overrides)
    assert (found["count"], found["notes"]) == (18, [])


def test_changed_images_are_evaluated_with_a_warning_and_not_resumed(copy, capsys):
    for path in (copy / "photos").glob("*/*.png"):
        Image.open(path).rotate(90).save(path)
    [note] = evaluated(copy, copy / "photos")["notes"]
    assert "not the images" in note
    assert re.search(r"validation \(then \d+ images, now \d+\)", note)
    workdir = copy / "run"
    with pytest.raises(UserError, match=rf"other images .* --config.init_from={workdir}"):
        train_and_evaluate(config_of(copy / "photos", str(copy / "data"), 3), workdir)
    config = config_of(copy / "photos", str(copy / "data"), 1.0)
    config.init_from = str(workdir)  # as the error says
    train_and_evaluate(config, copy / "new")
    assert "conv1  restored" in capsys.readouterr().out


def test_a_run_goes_on_with_its_stored_images_if_the_folder_has_changed(copy, capsys):
    """An interrupted run must not be lost because somebody added a photo."""
    photos, data = copy / "photos", str(copy / "data")
    train_and_evaluate(config_of(photos, data, 1.0), copy / "run1")
    whole = train_and_evaluate(
        config_of(photos, data, 2.0), shutil.copytree(copy / "run1", copy / "whole")
    )
    shutil.copytree(photos, copy / "first")
    make_photos(photos, "abcd", count=7, seed=1)
    shutil.copytree(photos, copy / "second")
    capsys.readouterr()
    rows = train_and_evaluate(config_of(photos, data, 2.0), copy / "run1")
    said = capsys.readouterr().err
    assert f"warning: files of folder:{photos} have been added, removed or touched: this" in said
    assert [(row["step"], row["loss"]) for row in rows] == [(r["step"], r["loss"]) for r in whole]
    # A new run sees the folder as it is, and the old one still goes on.
    config = config_of(photos, data, 1.0)
    whole = train_and_evaluate(config_of(photos, data, 3.0), copy / "whole")
    capsys.readouterr()
    assert alexnet.setup(config).store.classes == ("a", "b", "c", "d")
    said = capsys.readouterr().err
    assert "is prepared again; its earlier images stay in " in said
    rows = train_and_evaluate(config_of(photos, data, 3.0), copy / "run1")
    assert [(row["step"], row["loss"]) for row in rows] == [(r["step"], r["loss"]) for r in whole]
    [place] = re.findall("stay in (.*), for", said)
    assert f"that it was trained on, in {place}\n" in capsys.readouterr().err
    # The folder changes back, and again: each content is kept once.
    for content, classes in (("first", 3), ("second", 4)):
        shutil.rmtree(photos)
        shutil.copytree(copy / content, photos)
        assert len(alexnet.setup(config).store.classes) == classes
    assert len(list((copy / "data/alexnet_store").glob("*px-*"))) == 2
    shutil.rmtree(photos)  # or it is not mounted
    assert train_and_evaluate(config_of(photos, data, 3.0), copy / "run1") == rows
    shutil.rmtree(place)
    with pytest.raises(UserError, match="was trained on other classes"):
        train_and_evaluate(config_of(photos, data, 4.0), copy / "run1")


def test_the_mean_image_is_the_runs_whatever_images_it_sees(copy):
    before = alexnet.load(copy / "run").about.statistics.mean_HWC
    make_photos(copy / "photos", "abc", seed=1)
    evaluated(copy, copy / "photos")
    np.testing.assert_array_equal(alexnet.load(copy / "run").about.statistics.mean_HWC, before)


def test_a_relative_folder_is_the_same_one_from_everywhere(copy, monkeypatch, capsys):
    monkeypatch.chdir(copy)
    train_and_evaluate(config_of("photos", "data", 1.0), "relative")
    make_photos(copy / "elsewhere/photos", "xyz")
    monkeypatch.chdir(copy / "elsewhere")
    capsys.readouterr()
    evaluate.main([f"--workdir={copy / 'relative'}"])
    assert f"folder:{copy / 'photos'}" in capsys.readouterr().out


def test_a_run_of_an_earlier_version_compares_its_classes_and_says_so(copy, capsys):
    shutil.rmtree(copy / "run/dataset")
    (copy / "photos/a/5.png").unlink()
    net = alexnet.load(copy / "run")
    assert net.classes == ("a", "b", "c")
    overrides = {"data.name": f"folder:{copy / 'photos'}", "data.data_dir": str(copy / "data")}
    [note] = net.evaluate(overrides=overrides)["notes"]
    where = f"{copy}/run"
    assert note == (
        f"{where} does not say which images it was trained on: only the classes are compared"
    )
    (copy / "photos/b").rename(copy / "photos/sky")
    with pytest.raises(UserError, match="'b' removed and 'sky' added"):
        net.evaluate(overrides=overrides)


def test_a_class_renamed_since_an_earlier_version_keeps_its_name_in_predictions(copy):
    shutil.rmtree(copy / "run/dataset")
    config = json.loads((copy / "run/config.json").read_text())
    del config["sha256"]  # else the change below would be damage
    config["data"] |= {"name": f"folder:{copy / 'photos'}", "data_dir": str(copy / "data")}
    (copy / "run/config.json").write_text(json.dumps(config))
    (copy / "photos/b").rename(copy / "photos/sky")
    alexnet.open_dataset(f"folder:{copy / 'photos'}", str(copy / "data"), 20)
    assert alexnet.load(copy / "run").classes == ("a", "b", "c")
    again = config_of(copy / "photos", str(copy / "data"), 3.0)
    with pytest.raises(UserError, match=r"on other classes .*: 'b' removed and 'sky' added"):
        train_and_evaluate(again, copy / "run")


def test_a_run_goes_on_with_the_images_that_it_opened(copy):
    config = config_of(copy / "photos", str(copy / "data"))
    run = alexnet.setup(config)
    (copy / "photos/a").rename(copy / "photos/z")  # first in order, then last
    assert alexnet.setup(config).store.classes == ("b", "c", "z")
    count = run.store.counts["validation"]
    images, labels = run.store.read("validation", range(count))
    first = alexnet.setup(config_of(copy / "photos", str(copy / "data"))).store
    again, _ = first.read("validation", range(count))
    assert sorted(set(labels)) == [0, 1, 2]
    np.testing.assert_array_equal(labels, sorted(labels))
    last = list(labels).count(0)  # of class a
    np.testing.assert_array_equal(images[last:], again[: count - last])  # b and c moved up
    np.testing.assert_array_equal(images[:last], again[count - last :])


def test_a_run_killed_before_its_first_checkpoint_begins_anew_with_other_images(copy):
    workdir = copy / "new"
    shutil.copytree(copy / "run/dataset", workdir / "dataset")
    make_photos(copy / "photos", "abc", count=9)
    rows = train_and_evaluate(config_of(copy / "photos", str(copy / "data"), 1.0), workdir)
    assert json.loads((workdir / "dataset/info.json").read_text())["counts"]["train"] > 18
    assert len(rows) == 1


def test_where_the_first_weights_came_from_stays_on_record_whatever_its_form(
    copy, capsys, monkeypatch
):
    monkeypatch.chdir(copy)
    config = config_of(copy / "photos", str(copy / "data"), 1.0)
    config.init_from = "run"
    train_and_evaluate(config, copy / "tuned")
    saved = json.loads((copy / "tuned/config.json").read_text())
    del saved["sha256"]  # else the change below would be damage
    assert saved["init_from"] == str(copy / "run")
    saved["init_from"] = "run"  # as earlier versions wrote it
    (copy / "tuned/config.json").write_text(json.dumps(saved))
    config.epochs, config.init_from = 2.0, "/nonexistent"
    capsys.readouterr()
    train_and_evaluate(config, copy / "tuned")
    assert (
        "config.init_from='/nonexistent' is not used: the run has begun" in capsys.readouterr().out
    )
    assert json.loads((copy / "tuned/config.json").read_text())["init_from"] == str(copy / "run")


def test_evaluations_at_once_are_all_on_record(tmp_path):
    rows = [
        {"split": "test", "views": "centre", "checkpoint": step, "dataset": "x"}
        for step in range(20)
    ]
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda row: record.save_evaluation(row, tmp_path), rows))
    found = json.loads((tmp_path / "evaluation.json").read_text())
    assert sorted(row["checkpoint"] for row in found) == list(range(20))


def test_without_its_images_it_still_predicts_and_is_started_from(copy, capsys):
    workdir = copy / "run"
    config = json.loads((workdir / "config.json").read_text())
    del config["sha256"]  # else the change below would be damage
    config["data"] |= {"name": "folder:/gone", "data_dir": "/gone"}
    (workdir / "config.json").write_text(json.dumps(config))
    assert alexnet.load(workdir).predict(copy / "photos/a/0.png").shape == (1, 3)
    new = config_of(make_photos(copy / "others", "xyz"), str(copy / "data"), 1.0)
    new.init_from = str(workdir)
    train_and_evaluate(new, copy / "tuned")
    assert "fc8    fresh: other classes there: a, b, c\n" in capsys.readouterr().out


@pytest.mark.parametrize("inside", ["run", "data"])
def test_nothing_is_written_among_the_images(copy, inside):
    photos = copy / "photos"
    data, workdir = copy / "data", copy / "new"
    if inside == "run":
        workdir = photos / "run"
    else:
        data = photos / "data"
    before = sorted(photos.rglob("*"))
    with pytest.raises(UserError, match=r"lies in the folder of images .*, where nothing is writt"):
        train_and_evaluate(config_of(photos, str(data)), workdir)
    assert sorted(photos.rglob("*")) == before


def test_how_a_run_was_made_is_on_record(trained):
    [entry] = json.loads((trained / "run/provenance.json").read_text())
    assert entry["outcome"] == "done"
    assert entry["began"] <= entry["ended"]
    assert entry["device"] == "1 x cpu"
    assert set(entry["versions"]) > {"python", "jax", "flax"}
    assert entry["command"]


def test_evaluations_are_on_record(copy, capsys):
    argv = [f"--workdir={copy / 'run'}", f"--data_dir={copy / 'data'}"]
    evaluate.main(argv)
    evaluate.main([*argv, "--ten_crop"])
    evaluate.main(argv)  # again: in place of the first
    rows = json.loads((copy / "run/evaluation.json").read_text())
    assert [row["views"] for row in rows] == ["ten_crop", "centre"]
    assert {"split", "checkpoint", "top1_error", "top5_error", "loss", "count"} < set(rows[0])
    printed = capsys.readouterr().out.splitlines()
    assert f"top-1 error {rows[1]['top1_error']:.2%}" in printed[-1]


# --- Stores made up -------------------------------------------------------------------------------


def made_up(**fields) -> Store:
    """Of two classes, with no images."""
    statistics = Statistics(np.zeros((2, 2, 3)), np.ones(3), np.eye(3))
    contents = {"train": "t", "validation": "v"}
    some = {"name": "photos", "image_size": 2, "quality": 0, "classes": ("a", "b")}
    some |= {"counts": {"train": 4, "validation": 1}, "contents": contents, "path": Path()}
    return Store(**(some | {"statistics": statistics} | fields))


def test_what_a_killed_process_left_is_written_anew_and_what_a_run_began_with_stays(tmp_path):
    (tmp_path / "dataset.partial").mkdir()
    (tmp_path / "dataset.partial/info.json").write_text("half")
    dataset.remember(made_up(), tmp_path, begun=False)
    assert dataset.remembered(tmp_path).contents == {"train": "t", "validation": "v"}
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]
    dataset.remember(made_up(contents={"train": "other"}), tmp_path, begun=True)
    assert dataset.remembered(tmp_path).contents == {"train": "t", "validation": "v"}
    dataset.remember(made_up(contents={"train": "other"}), tmp_path, begun=False)
    assert dataset.remembered(tmp_path).contents == {"train": "other"}
    (tmp_path / "earlier").mkdir()
    dataset.remember(made_up(pixels={"train": "p"}), tmp_path / "earlier", begun=True)
    assert dataset.remembered(tmp_path / "earlier").contents == {}
    assert dataset.remembered(tmp_path / "earlier").pixels == {}


@pytest.mark.parametrize(
    ("then", "now", "expected"),
    [
        ({}, {}, []),
        (
            {},
            {"contents": {"train": "x", "validation": "v"}},
            ["train (4 as before, but others, renamed or in other classes)"],
        ),
        (  # the same pixels from other files
            {"pixels": {"train": "p"}},
            {"contents": {"train": "x", "validation": "v"}, "pixels": {"train": "p"}},
            [],
        ),
        ({"contents": {}}, {}, []),  # nothing but counts is known
        (
            {"contents": {}},
            {"counts": {"train": 4000, "validation": 1}},
            ["train (then 4 images, now 4,000)"],
        ),
        ({}, {"counts": {"train": 4}, "contents": {}}, ["validation (then 1 images, now 0)"]),
    ],
)
def test_changed_images_are_told_by_their_digests_or_else_by_their_number(then, now, expected):
    then, now = made_up(**then), made_up(**now)
    assert dataset.changed(then, now, ["train", "validation"]) == expected
    assert dataset.same_images(then, now) == (bool(then.contents) and not expected)
    assert not dataset.same_images(None, now)


def test_with_one_more_split_it_is_another_dataset():
    more = {"train": 4, "validation": 1, "test": 2}
    assert not dataset.same_images(made_up(), made_up(counts=more))
    assert not dataset.same_images(made_up(counts=more), made_up())


def test_other_classes_are_told_by_what_came_and_went(tmp_path):
    dataset.check_classes(tmp_path, (), ("a",))  # those of an imported net are not known
    dataset.check_classes(tmp_path, (), ("a",), count=1)
    with pytest.raises(UserError, match=r"has 5 classes, its dataset 6; .* --config.init_from="):
        dataset.check_classes(tmp_path, (), tuple("abcdef"), count=5)
    dataset.check_classes(tmp_path, ["a", "b"], ("a", "b"))
    for now, line in (("ba", "they are in another order"), ("ac", "'b' removed and 'c' added")):
        with pytest.raises(UserError, match=f"than those of its dataset now: {line}; bring "):
            dataset.check_classes(tmp_path, ("a", "b"), tuple(now))
    with pytest.raises(UserError, match=r"'b' removed$"):
        dataset.check_classes(tmp_path / "net.safetensors", ("a", "b"), ("a",))


def test_digests_describe_each_split_and_the_classes():
    store = made_up(contents={"train": "0123456789abcdef"}, counts={"train": 4000, "test": 1})
    assert dataset.digests(store) == {
        "photos's train images": "4,000 (0123456789ab)",
        "photos's test images": "1 (unknown)",
        "photos's classes": "a, b",
    }
    many = made_up(classes=tuple("abcdefghijkl"), counts={})
    assert dataset.digests(many) == {"photos's classes": "a, b, c, d, e, f, g, h, i, j and 2 more"}
    assert dataset.is_known(store)
    assert not dataset.is_known(dataclasses.replace(store, contents={}))
    assert not dataset.is_known(None)
