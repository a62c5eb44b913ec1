"""A store gives back its images, and reports damage and a later version in one line."""

import dataclasses
import gc
import json
import shlex
import weakref

import numpy as np
import pytest

from alexnet.data.inventory import Inventory
from alexnet.data.recipe import Recipe
from alexnet.data.records import Writer, pack
from alexnet.data.statistics import Accumulator
from alexnet.data.store import (
    Store,
    load_store,
    open_store,
    save_description,
    save_info,
)
from alexnet.errors import UserError


def make_store(path, images, quality) -> Store:
    """A store of one split, "train", with label i for image i."""
    path.mkdir()
    with Writer(path, "train") as writer:
        for label, image in enumerate(images):
            writer.write(pack(image, label, quality))
    statistics = Accumulator(images.shape[1])
    for image in images:
        statistics.add(image)
    counts = {"train": len(images)}
    save_description(
        Store(path, "some", images.shape[1], quality, ("a", "b"), counts, statistics.result())
    )
    return load_store(path)


@pytest.fixture
def images() -> np.ndarray:
    """Pictures without fine detail: (6, 72, 72, 3) uint8."""
    y, x, image = np.mgrid[:72, :72, :6]
    waves = [np.sin(x / 9 + image), np.cos(y / 11 - image), np.sin((x + y) / 13)]
    return (127.5 + 90 * np.stack(waves, -1)).astype(np.uint8).transpose(2, 0, 1, 3)


def test_raw_pixels_come_back_exactly(images, tmp_path):
    read, labels = make_store(tmp_path / "raw", images, quality=0).read("train", [4, 0, 4])
    np.testing.assert_array_equal(read, images[[4, 0, 4]])
    np.testing.assert_array_equal(labels, [4, 0, 4])
    assert (read.dtype, labels.dtype) == (np.uint8, np.int32)


def test_a_store_that_nobody_uses_is_gone_at_once(images, tmp_path):
    """With all the images that it keeps in memory, and its open files."""
    store = make_store(tmp_path / "raw", images, quality=0)
    store.read("train", [0])
    seen = weakref.ref(store)
    gc.disable()
    del store
    gone = seen() is None
    gc.enable()
    assert gone


def test_jpeg_comes_back_closely(images, tmp_path):
    read, labels = make_store(tmp_path / "jpeg", images, quality=95).read("train", [5, 1])
    error = np.abs(read.astype(int) - images[[5, 1]])
    assert 0 < error.mean() < 3
    np.testing.assert_array_equal(labels, [5, 1])
    assert (read.dtype, labels.dtype) == (np.uint8, np.int32)


@pytest.mark.parametrize("quality", [0, 95])
def test_no_indices_give_no_images(images, tmp_path, quality):
    read, labels = make_store(tmp_path / "store", images, quality).read("train", [])
    assert read.shape == (0, 72, 72, 3)
    assert labels.shape == (0,)


def test_missing_splits_and_indices_are_not_damage(images, tmp_path):
    store = make_store(tmp_path / "raw", images, quality=0)
    for index in (-1, 6):
        with pytest.raises(IndexError, match=f"no example {index} among 6 of 'train'"):
            store.read("train", [0, index])
    with pytest.raises(UserError, match="split='test': choose one of train"):
        store.read("test", [0])
    with pytest.raises(TypeError):
        store.read("train", [1.5])


def test_a_damaged_record_is_named(images, tmp_path):
    store = make_store(tmp_path / "raw", images, quality=0)
    file = store.path / "train-00000.array_record"
    damaged = bytearray(file.read_bytes())
    damaged[damaged.index(images[3].tobytes()[:50]) + 60] ^= 1
    file.write_bytes(damaged)
    fresh = load_store(store.path)
    np.testing.assert_array_equal(fresh.read("train", [2, 4])[0], images[[2, 4]])
    with pytest.raises(UserError, match=r"train-00000\.array_record is damaged at record 3 "):
        fresh.read("train", [2, 3, 4])


def test_a_jpeg_that_was_written_short_is_named(images, tmp_path):
    store = make_store(tmp_path / "jpeg", images, quality=95)
    with Writer(store.path, "train") as writer:
        for number, image in enumerate(images):
            writer.write(pack(image, 0, 95)[: 400 if number == 1 else None])
    with pytest.raises(UserError, match=r"train-00000\.array_record is damaged at record 1 "):
        load_store(store.path).read("train", [0, 1])


def test_not_prepared_says_what_to_run(tmp_path):
    with pytest.raises(UserError) as error:
        open_store(Recipe("cifar10", str(tmp_path), 32))
    assert str(error.value) == (
        f"dataset 'cifar10' is not prepared at 32 pixels, as raw pixels, in {tmp_path}; run: "
        f"python -m alexnet.prepare cifar10 --image_size=32 --data_dir={tmp_path}"
    )
    odd = tmp_path / "my data"
    with pytest.raises(UserError) as error:
        open_store(Recipe("mnist", str(odd), 256, quality=90))
    command = shlex.split(str(error.value).split("run: ")[1])
    with pytest.raises(UserError, match=r"--quality=80 --encoding=jpeg$"):
        open_store(Recipe("cifar10", str(tmp_path), 32, quality=80, encoding="jpeg"))
    assert command[3:] == ["mnist", "--image_size=256", f"--data_dir={odd}", "--quality=90"]
    with pytest.raises(UserError, match=r"--quality=0$"):
        open_store(Recipe("mnist", str(tmp_path), 256, quality=0))
    with pytest.raises(UserError, match=rf"--data_dir={tmp_path}$"):
        open_store(Recipe("mnist", str(tmp_path), 32, quality=0))


def test_data_dir_defaults_to_that_of_tfds(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "here"))
    with pytest.raises(UserError, match=f"in {tmp_path / 'here'};"):
        open_store(Recipe("cifar10", "", 32))
    monkeypatch.delenv("TFDS_DATA_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    stores = tmp_path / "tensorflow_datasets/alexnet_store"
    assert Recipe("cifar10", "", 32).path == stores / "cifar10-32px"


def test_without_info_there_is_no_store(images, tmp_path):
    store = make_store(tmp_path / "raw", images, quality=0)
    assert json.loads((store.path / "info.json").read_text())["counts"] == {"train": 6}
    (store.path / "info.json").unlink()
    assert load_store(store.path) is None


def test_a_store_is_loaded_as_it_was_saved(images, tmp_path):
    store = make_store(tmp_path / "raw", images, quality=0)
    about = Inventory(
        9, {"hidden": {".png": 3}}, ["a (b)"], "ab", {"train": [3, 3]}, 1, {"test": 2}
    )
    more = {"stamp": "s", "contents": {"train": "c"}, "pixels": {"train": "p"}, "inventory": about}
    save_description(dataclasses.replace(store, classes=("\xe9", "\udcff"), **more))
    read = load_store(store.path)
    for field in dataclasses.fields(store):
        if field.name not in ("statistics", *more, "classes"):
            assert getattr(read, field.name) == getattr(store, field.name)
    assert {name: getattr(read, name) for name in more} == more
    assert read.classes == ("\xe9", "\udcff")
    save_info(dataclasses.replace(read, stamp="later"))
    assert load_store(store.path).stamp == "later"
    assert load_store(store.path).inventory == about
    info = store.path / "info.json"
    info.write_text(json.dumps(dict(sorted(json.loads(info.read_text()).items()))))
    assert load_store(store.path).stamp == "later"  # in whatever order the file lists it


@pytest.mark.parametrize("name", ["info.json", "statistics.npz"])
def test_every_flipped_bit_is_noticed(name, tmp_path):
    """Or, in info.json, changes nothing: spaces, for example."""
    store = make_store(tmp_path / "raw", np.arange(48, dtype=np.uint8).reshape(4, 2, 2, 3), 0)
    file = store.path / name
    whole = file.read_bytes()
    noticed, rng = 0, np.random.default_rng(0)
    for place in rng.choice(8 * len(whole), min(8 * len(whole), 2000), replace=False):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        file.write_bytes(damaged)
        try:
            read = load_store(store.path)
        except UserError:
            noticed += 1
        else:
            assert name == "info.json", "every bit of the statistics is sealed"
            for field in dataclasses.fields(store):
                if field.name != "statistics":
                    assert getattr(read, field.name) == getattr(store, field.name)
    assert noticed > 1000


def test_what_is_damaged_is_said_in_one_line(images, tmp_path):
    store = make_store(tmp_path / "raw", images, quality=0)
    file = store.path / "info.json"
    file.write_text(file.read_text().replace('"some"', '"same"'))
    with pytest.raises(
        UserError, match=r"info\.json .* is damaged \(its digest differs\): restore"
    ):
        load_store(store.path)
    file.write_text(file.read_text()[:-20])
    with pytest.raises(UserError, match=r"info\.json .* is damaged .*or delete .* again$"):
        load_store(store.path)


def test_a_store_of_a_later_version(images, tmp_path, monkeypatch):
    store = make_store(tmp_path / "raw", images, quality=0)
    monkeypatch.setattr("alexnet.data.store.FORMAT", 3)
    save_description(store)
    monkeypatch.undo()
    with pytest.raises(UserError, match="format 3, of a later version: update"):
        load_store(store.path)
