"""CIFAR-10 from its python archive: six batches of twelve images here, in the official layout."""

import io
import os
import pickle
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from alexnet.data.prepare import prepare
from alexnet.data.sources import cifar10
from alexnet.errors import UserError

NAMES = b"airplane automobile bird cat deer dog frog horse ship truck".split()
BATCH = 12


def pixels(batch: int) -> tuple[np.ndarray, list[int]]:
    rng = np.random.default_rng(batch)
    planes = rng.integers(0, 256, (BATCH, 3072), dtype=np.uint8)
    return planes, [int(label) for label in rng.integers(0, 10, BATCH)]


def write(archive: Path, protocol: int = 2, without: str = "", **first) -> None:
    """`first` takes the place of what the first batch holds."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    files = {"batches.meta": {b"num_cases_per_batch": BATCH, b"label_names": NAMES}}
    for number in range(1, 7):
        planes, labels = pixels(number)
        name = "test_batch" if number == 6 else f"data_batch_{number}"
        files[name] = {b"batch_label": b"some", b"data": planes, b"labels": labels}
    files["data_batch_1"] |= {key.encode(): value for key, value in first.items()}
    with tarfile.open(archive, "w:gz") as tar:
        for name in sorted(files.keys() - {without}):
            content = pickle.dumps(files[name], protocol)
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


@pytest.fixture
def manual(tmp_path) -> Path:
    return tmp_path / "downloads" / "manual" / cifar10.ARCHIVE


def test_it_is_the_dataset_of_tfds(manual, tmp_path, capsys):
    """Features, order and images; TFDS's own reader opens the files."""
    write(manual)
    made = prepare("cifar10", str(tmp_path))
    assert "is not the official archive: its SHA-256 is" in capsys.readouterr().err
    assert made.classes == tuple(name.decode() for name in NAMES)
    assert (made.counts, made.image_size) == ({"train": 60, "validation": 12}, 32)
    theirs = tfds.builder("cifar10", data_dir=tmp_path)
    assert type(theirs) is not cifar10.Cifar10
    hasher = tfds.core.hashing.Hasher  # which orders the examples by their keys
    for split, numbers, stored in (
        ("train", range(1, 6), "train"),
        ("test", [6], "validation"),
    ):
        batches = [pixels(number) for number in numbers]
        planes = np.concatenate([batch[0] for batch in batches]).reshape(-1, 3, 32, 32)
        labels = np.concatenate([batch[1] for batch in batches])
        order = sorted(range(len(labels)), key=hasher(split).hash_key)
        source = theirs.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
        for place, index in enumerate(order):
            example = source[place]
            image = np.asarray(Image.open(io.BytesIO(example["image"])))
            np.testing.assert_array_equal(image, planes[index].transpose(1, 2, 0))
            assert example["label"] == labels[index]
            assert example["id"] in (f"{split}_{index:05}", f"{split}_{index:05}".encode())
        images, read = made.read(stored, range(len(labels)))
        np.testing.assert_array_equal(images, planes[order].transpose(0, 2, 3, 1))
        np.testing.assert_array_equal(read, labels[order])


@pytest.mark.slow
def test_it_needs_no_tensorflow(manual, tmp_path):
    write(manual)
    (tmp_path / "tensorflow.py").write_text(
        "raise ModuleNotFoundError('hidden by a test', name='tensorflow')\n"
    )
    check = (
        "from alexnet.data.prepare import prepare\n"
        f"print(prepare('cifar10', {str(tmp_path)!r}).counts)"
    )
    done = subprocess.run(
        [sys.executable, "-c", check],
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1:] == ["{'train': 60, 'validation': 12}"], done.stderr


def test_what_tfds_prepared_is_used(manual, tmp_path):
    write(manual)
    prepare("cifar10", str(tmp_path), 16)
    manual.unlink()
    assert prepare("cifar10/3.0.2", str(tmp_path), 17).counts["train"] == 60


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_pickles_of_every_protocol(manual, protocol):
    write(manual, protocol)
    batches = cifar10.read(manual)
    np.testing.assert_array_equal(batches["data_batch_3"]["data"], pixels(3)[0])


class Evil:
    def __reduce__(self):
        return print, ("this ran",)


def test_unusable_archives(manual, capsys):
    write(manual, without="data_batch_4")
    with pytest.raises(UserError, match=r"holds no data_batch_4: get it again from https"):
        cifar10.read(manual)
    write(manual)
    whole, rng = manual.read_bytes(), np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 60):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        manual.write_bytes(damaged)
        try:
            read = cifar10.read(manual)  # it can: the bit was of the header, such as its date
        except UserError as error:
            assert str(error).startswith(str(manual))  # noqa: PT017
        else:
            np.testing.assert_array_equal(read["data_batch_1"]["data"], pixels(1)[0])
    manual.write_bytes(whole[:2000])
    with pytest.raises(UserError, match=r"is damaged .*: get it again"):
        cifar10.read(manual)
    with tarfile.open(manual, "w:gz") as tar:
        content = pickle.dumps({b"data": Evil()})
        member = tarfile.TarInfo("data_batch_1")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    with pytest.raises(UserError, match=r"is damaged \(it names builtins.print, which no batch"):
        cifar10.read(manual)
    assert "this ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ({"labels": [0] * 11 + [10]}, "labels other than 0 to 9"),
        ({"labels": [0] * 11 + [-1]}, "labels other than 0 to 9"),
        ({"labels": [0] * 11}, r"images uint8 \(12, 3072\), labels 11"),
        ({"data": np.zeros((12, 3072), np.int16)}, "images int16"),
        ({"data": np.zeros((12, 3071), np.uint8)}, r"\(12, 3071\)"),
    ],
    ids=str,
)
def test_impossible_batches_are_refused(manual, first, message):
    write(manual, **first)
    with pytest.raises(UserError, match=rf"is damaged \(data_batch_1 has .*{message}"):
        cifar10.read(manual)
