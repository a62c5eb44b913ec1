import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import sklearn.datasets
from PIL import Image

from alexnet.data.prepare import ensure, prepare
from alexnet.data.sources import named
from alexnet.data.store import open_store, store_path
from alexnet.errors import UserError


def run_prepare(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "alexnet.prepare", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_digits_hold_every_digit_once(digits):
    assert digits.counts == {"train": 1438, "validation": 359}
    assert digits.classes == tuple("0123456789")
    parts = [digits.read(split, range(count)) for split, count in digits.counts.items()]
    source = sklearn.datasets.load_digits()
    pixels = np.rint(source.images * 255 / 16).astype(np.uint8)
    stored = [(image[..., 0].tobytes(), label) for part in parts for image, label in zip(*part)]  # noqa: B905
    expected = [(image.tobytes(), label) for image, label in zip(pixels, source.target)]  # noqa: B905
    assert sorted(stored) == sorted(expected)


def test_statistics_are_of_the_training_split_alone(digits):
    train, _ = digits.read("train", range(digits.counts["train"]))
    np.testing.assert_allclose(digits.statistics.mean_HWC, train.mean(0), rtol=1e-6)


def test_small_images_are_stored_at_32_pixels(digits_dir, digits):
    assert prepare("digits", digits_dir, progress=False).image_size == 32


def test_an_interrupted_preparation_does_not_count(digits_dir, digits, tmp_path):
    whole = tmp_path / "alexnet_store"
    shutil.copytree(digits.path.parent, whole)
    final = store_path("digits", str(tmp_path), 8, 95)
    final.rename(final.with_name(final.name + ".partial"))
    with pytest.raises(UserError, match="not prepared"):
        open_store("digits", str(tmp_path), 8)
    made = ensure("digits", str(tmp_path), 8)
    assert made.counts == digits.counts
    assert not list(whole.glob("*.partial"))


def test_a_failed_preparation_leaves_no_store(pets, tmp_path):
    (pets / "dogs" / "99.png").write_bytes(b"this is no image")
    name = f"folder:{pets}"
    with pytest.raises(UserError, match=r"cannot read the image .*pets/dogs/99\.png"):
        prepare(name, str(tmp_path), 32, progress=False)
    with pytest.raises(UserError, match="not prepared"):
        open_store(name, str(tmp_path), 32)


def test_ensure_makes_what_needs_no_download(pets, tmp_path):
    store = ensure(f"folder:{pets}", str(tmp_path), 16)
    assert store.classes == ("cats", "dogs")
    again = ensure(f"folder:{pets}", str(tmp_path), 16)
    assert (again.path / "info.json").stat().st_mtime_ns == (
        store.path / "info.json"
    ).stat().st_mtime_ns
    with pytest.raises(UserError, match="dataset 'cifar10' is not prepared at 32 pixels"):
        ensure("cifar10", str(tmp_path), 32)


def test_a_changed_folder_is_prepared_again(pets, tmp_path):
    name = f"folder:{pets}"
    before = ensure(name, str(tmp_path), 16)
    Image.new("RGB", (30, 30)).save(pets / "cats" / "new.jpg")
    more = ensure(name, str(tmp_path), 16)
    assert sum(more.counts.values()) == sum(before.counts.values()) + 1
    os.utime(pets / "cats" / "new.jpg", (1, 1))
    assert ensure(name, str(tmp_path), 16).digest != more.digest


def test_sizes_and_qualities_that_cannot_be(tmp_path):
    with pytest.raises(UserError, match="image_size=0: must be at least 1"):
        prepare("digits", str(tmp_path), 0)
    with pytest.raises(UserError, match=r"quality=101: from 1 to 100, or 0"):
        prepare("digits", str(tmp_path), 32, quality=101)


def test_unknown_names_get_the_nearest_known(tmp_path):
    with pytest.raises(UserError, match="name='cifar1': unknown dataset; did you mean 'cifar10'"):
        prepare("cifar1", str(tmp_path))
    with pytest.raises(UserError, match="did you mean 'imagenette/160px-v2'"):
        prepare("imagenette/160px-v3", str(tmp_path))


def test_imagenet_without_an_archive(tmp_path):
    manual = tmp_path / "downloads" / "manual"
    manual.mkdir(parents=True)
    (manual / "ILSVRC2012_img_train.tar").touch()
    with pytest.raises(UserError, match=f"needs ILSVRC2012_img_val.tar in {manual}"):
        prepare("imagenet2012", str(tmp_path))


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (
            ConnectionError("no route\nto host"),
            "TFDS could not prepare .*'cifar10'.*no route to host",
        ),
        (AssertionError("Manual directory is empty"), "'cifar10'.*Manual directory is empty"),
        (ModuleNotFoundError(name="tensorflow"), "needs TensorFlow.*pip install tensorflow-cpu"),
    ],
)
def test_failures_of_tfds_become_one_line(tmp_path, monkeypatch, raised, message):
    import tensorflow_datasets as tfds

    def fail(*_, **__):
        raise raised

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(UserError, match=message) as error:
        prepare("cifar10", str(tmp_path))
    assert "\n" not in str(error.value)


def test_datasets_without_a_validation_split(tmp_path, digits_dir, digits):
    raw = named.open_raw("digits", digits_dir)
    assert {split: len(part) for split, part in raw.splits.items()} == digits.counts
    assert raw.splits["train"][0][0].startswith(b"\x89PNG")
    assert "split 'test' of digits/1.0.0" in raw.splits["validation"].where(7)


def test_command_prints_what_it_made(pets, tmp_path):
    done = run_prepare(
        f"folder:{pets}", "--image_size=80", "--quality=90", f"--data_dir={tmp_path}"
    )
    assert done.returncode == 0, done.stderr
    store = open_store(f"folder:{pets}", str(tmp_path), 80, 90)
    train, held_out = store.counts["train"], store.counts["validation"]
    assert train + held_out == 37
    assert done.stdout == (
        f"{store.path}: {train} train, {held_out} validation images; 2 classes: cats, dogs\n"
    )
    assert store.path.name.endswith("-80px-q90")


@pytest.mark.parametrize("data_dir", ["file", "file/below"])
def test_command_reports_mistakes_in_one_line(pets, tmp_path, data_dir):
    (tmp_path / "file").touch()
    done = run_prepare(f"folder:{pets}", f"--data_dir={tmp_path / data_dir}")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: cannot prepare 'folder:{pets}' in {tmp_path / data_dir}")
    assert done.stderr.count("\n") == 1
