import json
import shlex

import numpy as np
import pytest

from alexnet.data.statistics import Accumulator
from alexnet.data.store import Store, load_store, open_store, pack, save_info, write_records
from alexnet.errors import UserError


def make_store(path, images, quality) -> Store:
    """A store of one split, "train", with label i for image i."""
    path.mkdir()
    records = (pack(image, label, quality) for label, image in enumerate(images))
    write_records(path, "train", records)
    statistics = Accumulator(images.shape[1])
    for image in images:
        statistics.add(image)
    counts = {"train": len(images)}
    save_info(
        Store(path, "some", images.shape[1], quality, ("a", "b"), counts, "", statistics.result())
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


def test_a_damaged_record_is_named(images, tmp_path):
    store = make_store(tmp_path / "raw", images, quality=0)
    file = store.path / "train.array_record"
    damaged = bytearray(file.read_bytes())
    damaged[damaged.index(images[3].tobytes()[:50]) + 60] ^= 1
    file.write_bytes(damaged)
    fresh = load_store(store.path)
    np.testing.assert_array_equal(fresh.read("train", [2, 4])[0], images[[2, 4]])
    with pytest.raises(UserError, match=r"train\.array_record is damaged at record 3 "):
        fresh.read("train", [2, 3, 4])


def test_a_truncated_jpeg_is_named(images, tmp_path):
    store = make_store(tmp_path / "jpeg", images, quality=95)
    records = [pack(image, 0, 95) for image in images]
    records[1] = records[1][:400]
    write_records(store.path, "train", records)
    with pytest.raises(UserError, match=r"train\.array_record is damaged at record 1 "):
        load_store(store.path).read("train", [0, 1])


def test_a_truncated_or_missing_file_is_named(images, tmp_path):
    store = make_store(tmp_path / "raw", images, quality=0)
    file = store.path / "train.array_record"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"train\.array_record is damaged at record 0 "):
        load_store(store.path).read("train", [0])
    file.unlink()
    with pytest.raises(UserError, match=r"train\.array_record is damaged at record 0 "):
        load_store(store.path).read("train", [0])


def test_writing_to_nowhere_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        write_records(tmp_path / "nowhere", "train", [b"record"])


def test_not_prepared_says_what_to_run(tmp_path):
    with pytest.raises(UserError) as error:
        open_store("cifar10", str(tmp_path), 32)
    assert str(error.value) == (
        f"dataset 'cifar10' is not prepared at 32 pixels in {tmp_path}; run: python -m "
        f"alexnet.prepare cifar10 --image_size=32 --data_dir={tmp_path}"
    )
    odd = tmp_path / "my data"
    with pytest.raises(UserError) as error:
        open_store("mnist", str(odd), 256, quality=90)
    command = shlex.split(str(error.value).split("run: ")[1])
    assert command[3:] == ["mnist", "--image_size=256", f"--data_dir={odd}", "--quality=90"]


def test_data_dir_defaults_to_that_of_tfds(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "here"))
    with pytest.raises(UserError, match=f"in {tmp_path / 'here'};"):
        open_store("cifar10", "", 32)


def test_without_info_there_is_no_store(images, tmp_path):
    store = make_store(tmp_path / "raw", images, quality=0)
    assert json.loads((store.path / "info.json").read_text())["counts"] == {"train": 6}
    (store.path / "info.json").unlink()
    assert load_store(store.path) is None
