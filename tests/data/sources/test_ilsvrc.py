"""ILSVRC-2010 from archives in the official layout, with small images of one colour each."""

import gzip
import io
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image
from support.tiny import tiny_config

from alexnet import evaluate
from alexnet.data.prepare import prepare
from alexnet.data.sources import ilsvrc
from alexnet.data.store import Store
from alexnet.errors import UserError
from alexnet.training.loop import train_and_evaluate

WNIDS = ["n03", "n01", "n02"]  # in the order of their class IDs 1, 2, 3; "n00" is an ancestor
TRAIN = {"n03": 4, "n01": 5, "n02": 3}
VALIDATION_IDS = [2, 3, 1, 1]
TEST_IDS = [3, 1, 2, 2, 1, 3]


def jpeg(*colour: int, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (40, 32), colour).save(file, "JPEG", quality=95)
    return file.getvalue()


def tar(files: dict[str, bytes], compression: str = "") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=f"w:{compression}") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def meta() -> bytes:
    rows = [(i, wnid, 0, TRAIN[wnid]) for i, wnid in enumerate(WNIDS, 1)] + [(4, "n00", 3, 0)]
    fields = ["ILSVRC2010_ID", "WNID", "num_children", "num_train_images"]
    synsets = np.array(rows, [(field, object) for field in fields]).reshape(-1, 1)
    file = io.BytesIO()
    scipy.io.savemat(file, {"synsets": synsets})
    return file.getvalue()


def numbered(split: str, count: int) -> dict[str, bytes]:
    """Images 1..count, grey of 20 times their number, not in the order of their numbers."""
    return {
        f"{split}/ILSVRC2010_{split}_{n:08}.JPEG": jpeg(20 * n, 20 * n, 20 * n)
        for n in range(count, 0, -1)
    }


def official(manual: Path) -> None:
    """Writes the archives; training image i of class ID c is (80 c, 10 i, 0)."""
    manual.mkdir(parents=True)
    classes = {
        wnid: {f"{wnid}_{7 * i}.JPEG": jpeg(80 * c, 10 * i, 0) for i in range(TRAIN[wnid])}
        for c, wnid in enumerate(WNIDS, 1)
    }
    classes["n01"]["readme.txt"] = b"no image"
    classes["n01"]["n01_0.JPEG"] = gzip.compress(classes["n01"]["n01_0.JPEG"])
    classes["n02"]["n02_0.JPEG"] = jpeg(0, 255, 255, 15, mode="CMYK")  # (240, 0, 0)
    truth = "\n".join(map(str, VALIDATION_IDS)).encode()
    kit = {
        "devkit-1.0/data/meta.mat": meta(),
        "devkit-1.0/data/ILSVRC2010_validation_ground_truth.txt": truth,
    }
    patch = jpeg(200, 200, 200)
    files = {
        "ILSVRC2010_images_train.tar": tar(
            {f"{wnid}.tar": tar(classes[wnid]) for wnid in sorted(classes)}
        ),
        "ILSVRC2010_images_val.tar": tar(numbered("val", len(VALIDATION_IDS))),
        "ILSVRC2010_images_test.tar": tar(numbered("test", len(TEST_IDS))),
        "ILSVRC2010_devkit-1.0.tar.gz": tar(kit, "gz"),
        "ILSVRC2010_test_ground_truth.txt": "\n".join(map(str, TEST_IDS)).encode() + b"\n",
        "patch_images.tar": tar({"patch_images/test/ILSVRC2010_test_00000006.JPEG": patch}),
    }
    for name, content in files.items():
        (manual / name).write_bytes(content)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("ilsvrc2010")
    official(folder / "downloads" / "manual")
    return str(folder)


@pytest.fixture(scope="module")
def store(data) -> Store:
    return prepare("imagenet2010", data, image_size=256)


def examples(store: Store, split: str) -> list[tuple[int, ...]]:
    """(label, red, green, blue) of each image, sorted; JPEG moves a colour by less than 5."""
    images, labels = store.read(split, range(store.counts[split]))
    colours = 10 * np.rint(images.mean((1, 2)) / 10).astype(int)
    return sorted(map(tuple, np.column_stack([labels, colours]).tolist()))


def test_three_splits_with_the_classes_in_the_order_of_their_ids(store):
    assert store.classes == tuple(WNIDS)
    assert store.counts == {"train": 12, "validation": 4, "test": 6}


def test_training_images_have_the_class_of_their_tar(store):
    assert examples(store, "train") == sorted(
        (c - 1, 80 * c, 10 * i, 0) for c, wnid in enumerate(WNIDS, 1) for i in range(TRAIN[wnid])
    )


def test_validation_and_test_labels_go_by_the_number_in_the_name(store):
    assert examples(store, "validation") == sorted(
        (c - 1, *[20 * n] * 3) for n, c in enumerate(VALIDATION_IDS, 1)
    )
    expected = [(c - 1, *[20 * n] * 3) for n, c in enumerate(TEST_IDS, 1)]
    expected[5] = (2, 200, 200, 200)  # from patch_images.tar
    assert examples(store, "test") == sorted(expected)


def test_the_patches_may_be_absent(tmp_path, capsys):
    assert ilsvrc._patches(tmp_path / "patch_images.tar") == {}
    assert capsys.readouterr().err == (
        f"patch_images.tar is not in {tmp_path}: images that were published blank stay blank; to "
        "have them, stop now, put it there and start again\n"
    )


def test_it_needed_no_tensorflow(store):
    assert "tensorflow" not in sys.modules


@pytest.mark.slow
def test_train_and_evaluate_on_the_test_split(store, data, tmp_path, capsys):
    config = tiny_config(data)
    config.data.name = "imagenet2010"
    config.net.remove = "conv2,norm2,pool2,conv3,conv4,conv5,pool5,fc7"
    config.batch_size = 6
    config.epochs = 1.0
    train_and_evaluate(config, tmp_path)
    capsys.readouterr()
    evaluate.main([f"--workdir={tmp_path}", "--split=test"])
    found = capsys.readouterr().out
    assert "imagenet2010 test, centre" in found
    assert "6 images" in found


def test_missing_archives_are_named_with_their_place_and_source(tmp_path):
    manual = tmp_path / "downloads" / "manual"
    manual.mkdir(parents=True)
    (manual / "ILSVRC2010_images_train.tar").touch()
    with pytest.raises(UserError) as error:
        prepare("imagenet2010", str(tmp_path))
    assert str(error.value) == (
        "imagenet2010 needs ILSVRC2010_images_val.tar and ILSVRC2010_images_test.tar and "
        f"ILSVRC2010_devkit-1.0.tar.gz and ILSVRC2010_test_ground_truth.txt in {manual}; download "
        "them from https://image-net.org/challenges/LSVRC/2010/2010-downloads.php"
    )


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("ILSVRC2010_images_val.tar", tar(numbered("val", 3)), "val.tar holds 3 images, .* 4"),
        ("ILSVRC2010_images_test.tar", tar(numbered("test", 7)), "test.tar holds 7 images, .* 6"),
        ("ILSVRC2010_images_train.tar", tar({"n01.tar": tar({})}), "train.tar holds 0 .* 12"),
        ("ILSVRC2010_devkit-1.0.tar.gz", tar({}, "gz"), "gz holds no meta.mat: download it again"),
        ("ILSVRC2010_images_val.tar", b"not a tar", r"images_val.tar is damaged \(file could not"),
        (
            "ILSVRC2010_devkit-1.0.tar.gz",
            tar({"meta.mat": meta(), "random": np.random.default_rng(0).bytes(9999)}, "gz")[:5000],
            r"devkit-1.0.tar.gz is damaged \(",
        ),
        ("ILSVRC2010_images_train.tar", tar({"n01.tar": b"x" * 600}), "train.tar is damaged"),
        ("ILSVRC2010_test_ground_truth.txt", b"1\ntwo", r"truth.txt is damaged \(invalid literal"),
        ("ILSVRC2010_test_ground_truth.txt", b"1\n4", r"truth.txt is .*class ID 4 is not from 1"),
    ],
    ids=[  # not the bytes: gzip has the time
        *("validation", "test", "train", "devkit", "damaged"),
        *("devkit-cut", "train-damaged", "truth-no-number", "truth-no-class"),
    ],
)
def test_incomplete_archives_are_one_clear_line(tmp_path, file, content, message):
    manual = tmp_path / "downloads" / "manual"
    official(manual)
    (manual / file).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        prepare("imagenet2010", str(tmp_path))
    assert "\n" not in str(error.value)
