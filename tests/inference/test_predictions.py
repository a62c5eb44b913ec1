"""The CSV file of predictions, and the names of a folder's files that it lists."""

import csv
import os

import numpy as np
import pytest
from PIL import Image

from alexnet.cli import csv_file
from alexnet.data.prepare import prepare
from alexnet.errors import UserError
from alexnet.inference import predictions

CLASSES = ["b", "a,\u00e9", "c"]


@pytest.fixture
def photos(tmp_path):
    """Three classes of 20 images; the tenth file of each is damaged."""
    folder, draw = tmp_path / "photos", np.random.default_rng(0)
    for name in CLASSES:
        for split in ("train", "val"):
            (folder / split / name).mkdir(parents=True)
            for number in range(20):
                path = folder / split / name / f"{number:02}.png"
                if number == 9 and split == "val":
                    path.write_bytes(b"no image")
                else:
                    Image.fromarray(draw.integers(0, 256, (8, 8, 3), np.uint8)).save(path)
    return folder


def stored(folder):
    return prepare(f"folder:{folder}", str(folder.parent / "data"), 8, max_bad=0.5)


def check_files(store, folder) -> None:
    """Each name is that of the very file whose pixels are stored at its place."""
    for split, below in (("train", "train"), ("validation", "val")):
        names = store.files(split)
        images, labels = store.read(split, range(store.counts[split]))
        assert len(names) == len(images) == len({*names})
        for name, image, label in zip(names, images, labels, strict=True):
            assert name.split("/")[:2] == [below, store.classes[label]]
            np.testing.assert_array_equal(np.asarray(Image.open(folder / name)), image)


def test_a_store_names_the_files_of_its_images(photos):
    store = stored(photos)
    assert store.counts == {"train": 60, "validation": 57}
    check_files(store, photos)


def test_it_names_them_also_once_only_times_or_other_files_have_changed(photos):
    before = stored(photos)
    (before.path / "validation_files.txt").unlink()  # as an earlier version left it
    assert before.files("validation") == ()
    os.utime(photos / "val/c/03.png", (1, 1))
    (photos / "val/c/note.txt").write_text("no image")
    after = stored(photos)
    assert after.contents == before.contents
    assert after.inventory.left_out != before.inventory.left_out
    check_files(after, photos)


def test_a_list_of_another_length_names_nothing(photos):
    store = stored(photos)
    with (store.path / "train_files.txt").open("a") as file:
        file.write("train/b/more.png\n")
    assert store.files("train") == ()
    with pytest.raises(UserError, match=r"split='holdout': choose one of train, validation"):
        store.files("holdout")


def test_datasets_that_are_no_folders_have_no_files(data_dir):
    assert prepare("digits", data_dir, 8).files("train") == ()


def test_a_line_for_each_image(photos, tmp_path, capsys):
    store, path = stored(photos), tmp_path / "found.csv"
    count = store.counts["validation"]
    _, labels_N = store.read("validation", range(count))
    logits_NK = np.random.default_rng(1).normal(size=(count, 3)).astype(np.float32)
    logits_NK[5] = 0  # all equal: the lower class counts as the more likely
    p_NK = np.exp(logits_NK) / np.exp(logits_NK).sum(1, keepdims=True)
    predictions.write(path, store, "validation", np.log(p_NK), labels_N)
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    top = [f"top{place}{suffix}" for place in (1, 2, 3) for suffix in ("", "_p")]
    assert header == ["image", "file", "label", "label_p", *top]
    assert len(rows) == count
    for number, row in enumerate(rows):
        image, file, label, label_p, *best = row
        assert (image, file) == (str(number), store.files("validation")[number])
        assert label == file.split("/")[1] == store.classes[labels_N[number]]
        assert float(label_p) == pytest.approx(p_NK[number, labels_N[number]], abs=1e-6)
        expected = sorted(range(3), key=lambda k: (-p_NK[number, k], k))
        assert best[::2] == [store.classes[k] for k in expected]
        assert [float(p) for p in best[1::2]] == pytest.approx(p_NK[number, expected], abs=1e-6)
    assert capsys.readouterr().err == ""


def test_images_without_names_are_numbered_and_a_folders_are_said_to_lack_them(
    photos, tmp_path, capsys
):
    store, path = stored(photos), tmp_path / "found.csv"
    (store.path / "train_files.txt").unlink()
    log_probs_NK, labels_N = np.log(np.full((60, 3), 1 / 3)), np.zeros(60, int)
    predictions.write(path, store, "train", log_probs_NK, labels_N)
    assert path.read_text().splitlines()[60].startswith('59,,"a,\u00e9",0.333333,')
    assert "of an earlier version, names no files: delete it" in capsys.readouterr().err


def test_where_no_file_can_be_written_is_known_before_anything_is_evaluated(tmp_path):
    assert csv_file("predictions", "") is None
    assert csv_file("predictions", str(tmp_path / "x.CSV")) == tmp_path / "x.CSV"
    (tmp_path / "folder.csv").mkdir()
    for path, message in (
        (tmp_path / "x.txt", "write a name that ends in .csv"),
        (tmp_path / "none/x.csv", f"there is no folder {tmp_path}/none"),
        (tmp_path / "folder.csv", "that is a folder"),
    ):
        with pytest.raises(UserError, match=f"--predictions={path}: {message}"):
            csv_file("predictions", str(path))
