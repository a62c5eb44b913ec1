"""The summary of a prepared dataset, and its warnings."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from alexnet.data.inventory import Inventory, by_reason, read_left_out, write_left_out
from alexnet.data.sources.folder import NO_IMAGE
from alexnet.data.sources.raw import LeftOut
from alexnet.data.statistics import Statistics
from alexnet.data.store import Store
from alexnet.data.summary import as_json, summary, totals, warnings


def store(train: dict[str, int], validation: dict[str, int] | None = None, **about) -> Store:
    """A store of so many images of each class, without its files."""
    validation = dict.fromkeys(train, 1) if validation is None else validation
    counts = {"train": list(train.values()), "validation": list(validation.values())}
    found = sum(train.values()) + sum(validation.values())
    about = {"found": found, "class_counts": counts} | about
    totals = {split: sum(numbers) for split, numbers in counts.items()}
    return Store(None, "some", 32, 0, tuple(train), totals, None, inventory=Inventory(**about))


def test_a_class_name_with_a_comma_is_quoted():
    assert "classes     2: 'a, b' 4, c 5\n" in summary(store({"a, b": 3, "c": 4}))


def test_programs_learn_which_images_cannot_be_read():
    assert as_json(store({"a": 1, "b": 1}, unreadable=["a/x.png (empty)"]))["unreadable"] == [
        "a/x.png (empty)"
    ]


def test_nothing_to_warn_of():
    assert warnings(store({"a": 10, "b": 12})) == []
    assert warnings(dataclasses.replace(store({"1": 1, "10": 99}), inventory=None)) == []


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (store({"1": 9, "10": 9, "2": 9}), "numbers, but sorted as text: 1, 10, 2; name them 01"),
        (store({"a": 1, "b": 9}, {"a": 0, "b": 1}), "single training image and none .*: a$"),
        (store({"a": 5, "b": 9}, {"a": 0, "b": 1}), "classes without validation images: a$"),
        (store({"a": 2, "b": 9}, {"a": 0, "b": 1}), "classes without validation images: a$"),
        (store({"a": 5, "b": 50}), "class 'b' has 50 training images, 'a' has 5: a net may"),
        (store({"a": 5, "b": 5}, left_out={NO_IMAGE: {".heic": 12, ".txt": 3}, "x": {".dng": 1}}),
         "^12 .heic are photos that this program does not read: export them as JPEG"),
        (store({"a": 5, "b": 5}, in_train={"validation": 2}), "2 of 2 validation images are also"),
        (store({"a": 5, "b": 5}, in_classes=12, in_classes_first=list("cdefghijkl")),
         "12 images are also in another class, byte for byte: c, d, .* l and 2 more$"),
    ],
)  # fmt: skip
def test_doubtful_datasets_get_warnings(made, line):
    assert len(warnings(made)) == 1
    assert re.search(line, warnings(made)[0])


@pytest.mark.parametrize(("brightest", "dark"), [(15.9, True), (16.1, False)])
def test_images_of_ten_bits_in_sixteen_get_a_warning(brightest, dark):
    mean = np.zeros((2, 2, 3))
    mean[1, 0, 2] = brightest
    made = dataclasses.replace(
        store({"a": 5, "b": 5}), statistics=Statistics(mean, np.zeros(3), np.eye(3))
    )
    assert [line[:28] for line in warnings(made)] == ["the images are nearly black;"] * dark


def test_totals_are_of_all_splits_where_they_are_known():
    made = store({"a": 5, "b": 9}, {"a": 0, "b": 1})
    assert totals(made) == [5, 10]
    assert totals(dataclasses.replace(made, inventory=None)) == [None, None]


def test_numbers_that_sort_in_order_get_no_warning():
    assert warnings(store({"01": 9, "02": 9, "10": 9})) == []
    assert warnings(store({str(digit): 9 for digit in range(10)})) == []


def test_many_classes_are_summed_up():
    made = store({f"c{number:02}": 10 + number for number in range(21)})
    assert "  classes     21: 11 to 31 images each: c00 11, c01 12, " in summary(made)
    assert "c09 20 and 11 more" in summary(made)
    few = store({f"c{number:02}": 10 + number for number in range(20)})
    assert "20: c00 11, c01 12, " in summary(few)
    assert "c19 30" in summary(few)


def test_the_lines_of_a_dataset_and_of_a_dry_run():
    notes, size = ["a tenth is held out"], "as at least half of 18 images are small"
    made = store({"a": 5, "b": 12}, {"a": 1, "b": 0}, found=20, notes=notes, size=size)
    made = dataclasses.replace(made, name="folder:/pets", path=Path("/data/pets"))
    lines = [
        "folder:/pets: 18 of 20 files are used",
        "  train       17 images",
        "  validation  1 image",
        "  classes     2: a 6, b 12",
        "  splits      a tenth is held out",
        "  size        32 x 32 pixels, as at least half of 18 images are small; raw pixels",
        "  store       /data/pets",
    ]
    assert summary(made).splitlines() == lines
    dry = [*lines[:-1], "  store       would be /data/pets; nothing was written"]
    assert summary(made, dry_run=True).splitlines() == dry
    other = summary(dataclasses.replace(made, name="pets"))
    assert other.startswith("pets: 18 of 20 images are used\n")


def test_left_out_files_are_counted_by_reason_and_suffix(tmp_path):
    files = [
        LeftOut("a/x.TXT", "not an image by its name"),
        LeftOut("a/y.txt", "not an image by its name"),
        LeftOut("a/y", "hidden"),
        LeftOut("a/tab\tand\nline.jpg", "cannot be read", "empty"),
    ]
    assert by_reason(files) == {
        "not an image by its name": {".txt": 2},
        "hidden": {"no suffix": 1},
        "cannot be read": {".jpg": 1},
    }
    write_left_out(tmp_path, files)
    assert read_left_out(tmp_path) == [
        *files[:3],
        LeftOut("a/tab\\tand\\nline.jpg", "cannot be read", "empty"),
    ]
    made = store({"a": 5, "b": 5}, left_out=by_reason(files), unreadable=["a/z.jpg (empty)"])
    assert "left out    4, by name in left_out.txt" in summary(made)
    assert "not an image by its name: 2 .txt\n" in summary(made)
    assert as_json(made)["left_out"] == {
        "not an image by its name": 2,
        "hidden": 1,
        "cannot be read": 1,
    }
