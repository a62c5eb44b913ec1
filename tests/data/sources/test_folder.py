"""A folder of images: its classes, its splits, and what is left out and why."""

import os
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from alexnet.data.sources import folder
from alexnet.data.sources.raw import TOO_LARGE, UNREADABLE, RawData
from alexnet.errors import UserError


def names(raw: RawData, split: str) -> list[str]:
    return [os.fsdecode(raw.splits[split].path(index)) for index in range(len(raw.splits[split]))]


def used(raw: RawData) -> list[str]:
    return [name for split in raw.splits for name in names(raw, split)]


def add(path: Path, colour: int = 0) -> None:
    """A small image of one colour: the same bytes for the same colour and suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (colour % 256, colour // 256, 7)).save(path)


def into(pets: Path, *splits: str) -> None:
    """Moves cats/ and dogs/ into each of the folders, with images of its own."""
    for number, split in enumerate(splits):
        for name in ("cats", "dogs"):
            shutil.copytree(pets / name, pets / split / name)
            for path in (pets / split / name).iterdir():
                with open(path, "ab") as file:  # what follows a PNG's end is no picture
                    file.write(bytes([number]))
    shutil.rmtree(pets / "cats")
    shutil.rmtree(pets / "dogs")


def test_a_tenth_is_held_out(pets):
    for number in range(300):
        add(pets / "dogs" / f"more{number}.png", number)
    raw = folder.list_images(str(pets))
    train, validation = names(raw, "train"), names(raw, "validation")
    assert len(train) + len(validation) == 12 + 25 + 300
    assert not set(train) & set(validation)
    # binomial, 337 x 0.1: 34 +- 5.5
    assert 17 < len(validation) < 51
    assert any(name.startswith("cats") for name in validation)
    assert raw.classes == ("cats", "dogs")
    assert f"{len(validation)} of 337 images are held out" in raw.notes[0]


def test_copies_are_on_one_side(pets):
    for path in list(pets.glob("*/*.png")):
        shutil.copy(path, path.with_name(f"{path.stem} copy.png"))
    raw = folder.list_images(str(pets))
    for split in raw.splits:
        together = Counter(name.replace(" copy", "") for name in names(raw, split))
        assert set(together.values()) == {2}


def test_examples_are_the_files_and_their_class(pets):
    split = folder.list_images(str(pets)).splits["train"]
    for index in range(len(split)):
        encoded, label = split[index]
        path = pets / os.fsdecode(split.path(index))
        assert encoded == path.read_bytes()
        assert label == ["cats", "dogs"].index(path.parent.name)
        assert split.where(index) == str(path)


@pytest.mark.parametrize("name", ["val", "valid", "validation", "dev", "Val"])
def test_validation_has_several_names(pets, name):
    into(pets, "train", name)
    (pets / name / "dogs" / "00.png").unlink()
    raw = folder.list_images(str(pets))
    assert raw.classes == ("cats", "dogs")
    assert {split: len(files) for split, files in raw.splits.items()} == {
        "train": 37,
        "validation": 36,
    }
    assert all(path.startswith(f"{name}/") for path in names(raw, "validation"))
    assert raw.notes == ()


@pytest.mark.parametrize("ending", ["", "ing"])
def test_three_splits(pets, ending):
    train, test = f"train{ending}", f"test{ending}"
    into(pets, train, "valid", test)
    raw = folder.list_images(str(pets))
    assert {split: {path.split("/")[0] for path in names(raw, split)} for split in raw.splits} == {
        "train": {train},
        "validation": {"valid"},
        "test": {test},
    }


def test_a_test_folder_stays_the_test_split(pets):
    into(pets, "train", "test")
    raw = folder.list_images(str(pets))
    assert list(raw.splits) == ["train", "validation", "test"]
    assert len(raw.splits["train"]) + len(raw.splits["validation"]) == 37
    assert len(raw.splits["test"]) == 37
    assert all(path.startswith("train/") for path in names(raw, "validation"))
    assert " of 37 images in train/ are held out" in raw.notes[0]


def test_a_test_without_labels_is_not_used(pets):
    into(pets, "train", "val")
    for number in range(5):
        add(pets / "test" / f"{number}.jpg")
    raw = folder.list_images(str(pets))
    assert list(raw.splits) == ["train", "validation"]
    assert "test/ has no class folders" in raw.notes[0]
    assert [file.reason for file in raw.left_out] == [folder.OUTSIDE] * 5


def test_images_in_folders_of_a_class_are_used(pets):
    for number in range(20):
        add(pets / "cats" / "kittens" / "grey" / f"{number}.jpg", number)
    raw = folder.list_images(str(pets))
    assert len(used(raw)) == 37 + 20
    assert raw.left_out == ()


def test_a_single_folder_in_each_class_is_no_class(pets):
    for name in ("cats", "dogs"):
        shutil.move(pets / name, pets / "images")
        shutil.move(pets / "images", pets / name / "images")
    assert folder.list_images(str(pets)).classes == ("cats", "dogs")


@pytest.mark.parametrize("suffix", ["tif", "avif", "ppm", "jfif", "webp", "gif", "bmp", "JPG"])
def test_what_pillow_reads_is_an_image(pets, suffix):
    shutil.copy(pets / "cats" / "00.png", pets / "cats" / f"more.{suffix}")
    assert f"cats/more.{suffix}" in used(folder.list_images(str(pets)))


def test_what_is_left_out_and_why(pets):
    reasons = {
        "cats/notes.txt": folder.NO_IMAGE,
        "cats/movie.mpg": folder.NO_IMAGE,
        "cats/data": folder.NO_IMAGE,
        "cats/._00.png": folder.HIDDEN,
        "cats/Thumbs.db": folder.HIDDEN,
        ".cache/a/b.png": folder.HIDDEN,
        "__MACOSX/cats/c.png": folder.HIDDEN,
        "cats/@eaDir/d.png": folder.HIDDEN,
        "loose.png": folder.OUTSIDE,
        "cats/pipe.png": folder.NO_FILE,
        "cats/broken.png": folder.NO_FILE,
    }
    for name in reasons:
        path = pets / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name == "cats/pipe.png":
            os.mkfifo(path)
        elif name == "cats/broken.png":
            path.symlink_to("nowhere.png")
        else:
            path.write_bytes(b"")
    raw = folder.list_images(str(pets))
    assert {file.file: file.reason for file in raw.left_out} == reasons
    assert len(used(raw)) == 37


def test_big_files_are_judged_before_they_are_read(pets):
    Image.new("L", (40, 40)).save(pets / "cats" / "map.png")
    shutil.copy(pets / "cats" / "map.png", pets / "cats" / "vast.png")
    (pets / "cats" / "junk.jpg").touch()
    for name, size in (("map.png", 2**26 + 1), ("vast.png", 2**28), ("junk.jpg", 2**26 + 1)):
        os.truncate(pets / "cats" / name, size)
    raw = folder.list_images(str(pets), max_pixels=1000)
    assert [(file.file, file.reason, file.why) for file in raw.left_out] == [
        ("cats/junk.jpg", UNREADABLE, "not a known image format"),
        ("cats/map.png", TOO_LARGE, "40x40 pixels, more than max_pixels=1000"),
        ("cats/vast.png", TOO_LARGE, "268,435,456 bytes, more than max_pixels=1000 can take"),
    ]
    assert "cats/map.png" in used(folder.list_images(str(pets)))


def test_circles_and_locked_junk_do_not_matter(pets, monkeypatch):
    (pets / "cats" / "self.png").symlink_to("self.png")
    (pets / "cats" / "circle").symlink_to(pets / "cats")
    (pets / "lost+found").mkdir()
    scan = os.scandir

    def locked(path):
        if str(path).endswith("lost+found"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", locked)
    raw = folder.list_images(str(pets))
    assert len(used(raw)) == 37
    assert [(file.file, file.reason) for file in raw.left_out] == [
        ("cats/self.png", folder.NO_FILE)
    ]
    monkeypatch.setattr(
        os, "scandir", lambda path: locked("lost+found") if path == pets / "dogs" else scan(path)
    )
    assert f"cannot list folder {pets / 'dogs'}: Permission denied" in error(pets)


def test_deep_trees(pets):
    deep = pets / "cats"
    for _ in range(300):
        deep = deep / "d"
    add(deep / "1.png")
    assert len(used(folder.list_images(str(pets)))) == 38


def test_links_to_folders_are_followed_but_not_in_circles(pets, tmp_path):
    shutil.move(pets / "cats", tmp_path / "elsewhere")
    (pets / "cats").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "all").symlink_to(pets)
    raw = folder.list_images(str(pets))
    assert len([name for name in used(raw) if name.startswith("cats/")]) == 12


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS refuses such names")
def test_names_that_are_no_utf8(pets):
    for name in (b"caf\xe9.png", b"tab\tline\n.png"):
        shutil.copy(pets / "cats" / "00.png", os.fsencode(pets / "cats") + b"/" + name)
    shutil.move(pets / "dogs", os.fsencode(pets) + b"/\xff")
    raw = folder.list_images(str(pets))
    assert raw.classes == ("\\xff", "cats")
    assert len(used(raw)) == 39
    assert b"cats/caf\xe9.png" in [
        raw.splits[split].path(index)
        for split in raw.splits
        for index in range(len(raw.splits[split]))
    ]


def test_accents_composed_either_way_are_one_class(pets):
    into(pets, "train", "val")
    shutil.move(pets / "train" / "cats", pets / "train" / "caf\u00e9")
    shutil.move(pets / "val" / "cats", pets / "val" / "cafe\u0301")
    assert folder.list_images(str(pets)).classes == ("caf\u00e9", "dogs")
    if sys.platform == "darwin":
        return  # there both are one name
    shutil.copytree(pets / "train" / "dogs", pets / "train" / "cafe\u0301")
    with pytest.raises(UserError, match="two folders with the name 'caf\u00e9'"):
        folder.list_images(str(pets))


def test_a_stamp_tells_of_every_change(pets):
    stamps = {folder.stamp(str(pets))}
    assert folder.stamp(str(pets)) in stamps
    path = pets / "cats" / "00.png"
    for change in (
        lambda: add(pets / "cats" / "new.jpg"),
        lambda: (pets / "notes.txt").write_text("new"),
        lambda: path.rename(pets / "cats" / "other.png"),
        lambda: (pets / "cats" / "01.png").unlink(),
    ):
        change()
        stamps.add(folder.stamp(str(pets)))
    assert len(stamps) == 5


def test_a_stamp_tells_of_other_bytes_of_the_same_size_and_time(pets):
    path = pets / "cats" / "00.png"
    before, status = folder.stamp(str(pets)), path.stat()
    path.write_bytes(b"x" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_mtime_ns == status.st_mtime_ns
    assert folder.stamp(str(pets)) != before


PARTS = st.sampled_from(["a", "b", "c", ".x", "__MACOSX", "Thumbs.db", "e f", "ü"])
SUFFIXES = st.sampled_from(["", ".jpg", ".JPG", ".tif", ".txt", ".xml", ".heic", ".mpg"])
TREES = st.lists(st.tuples(st.lists(PARTS, max_size=4), PARTS, SUFFIXES), max_size=25)


@given(tree=TREES, splits=st.sampled_from([(), ("train",), ("train", "valid", "test")]))
@settings(max_examples=40)
def test_every_file_is_used_or_left_out(tree, splits, tmp_path_factory):
    root = tmp_path_factory.mktemp("tree")
    tops = splits or ("",)
    for top in tops:  # what makes it a dataset
        for number, name in enumerate(["k", "k", "l", "l"]):
            add(root / top / name / f"{number}{top}.png", number)
    for number, (parts, name, suffix) in enumerate(tree):
        where = root / tops[number % len(tops)] / "k" if number % 3 else root / tops[0]
        path = where.joinpath(*parts, name + suffix)
        below = path.relative_to(root / tops[number % len(tops)] if number % 3 else root / tops[0])
        home = root / tops[0] / below.parts[0]
        if home.is_file() or path.exists() or any(parent.is_file() for parent in path.parents):
            continue
        if len(below.parts) > 1 and not below.parts[0].startswith((".", "__")):
            add(home / "image.png", 0)  # else it were an empty class
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]))
    found = sorted(
        os.path.relpath(os.path.join(where, name), root)
        for where, _, files in os.walk(root)
        for name in files
    )
    raw = folder.list_images(str(root))
    assert sorted([*used(raw), *(file.file for file in raw.left_out)]) == found


def error(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        folder.list_images(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_beside_train_that_is_no_split_is_an_error(pets):
    into(pets, "train", "val")
    add(pets / "unlabeled" / "1.png")
    text = error(pets)
    assert "unlabeled beside train/" in text
    assert "train/, training/, val/, valid/, validation/, dev/, test/, testing/" in text


def test_impossible_splits(pets):
    into(pets, "train", "val", "dev")
    assert "has dev, val, which all mean validation: keep one" in error(pets)
    shutil.rmtree(pets / "dev")
    shutil.rmtree(pets / "train")
    assert "has val but no train/" in error(pets)
    shutil.move(pets / "val", pets / "train")
    (pets / "valid").mkdir()
    assert f"no images in the sub-folders of {pets / 'valid'}" in error(pets)


def test_an_unclear_level_of_classes_is_an_error(pets):
    assert error(pets.parent).endswith(f"are the classes, write folder:{pets}")
    (pets / "cats/more").mkdir()
    add(pets / "cats/more/1.png")
    assert error(pets / "cats").endswith(f"; if 'cats' itself is a class, write folder:{pets}")
    shutil.rmtree(pets / "cats/more")
    assert f"write folder:{pets}" in error(pets.parent)
    shutil.copytree(pets, pets.parent / "more" / "2020")
    shutil.copytree(pets, pets.parent / "more" / "2021")
    text = error(pets.parent / "more")
    assert "unclear which folders" in text
    assert "2020, 2021 directly hold no images; the others are in 2020/cats, 2020/dogs" in text
    add(pets.parent / "more" / "2020" / "stray.png")
    assert "directly hold 1 images" in error(pets.parent / "more")
    for number in range(2, 6):  # 5 of the 79, less than a tenth
        add(pets.parent / "more" / "2020" / f"stray{number}.png")
    assert "directly hold 5 images" in error(pets.parent / "more")


def test_folders_are_named_as_they_are_spelled_on_disk(pets):
    """macOS stores an accent as a separate character; class names use the composed form."""
    cafe = pets / "cafe\u0301"
    cafe.mkdir()
    (cafe / "a.heic").touch()
    assert f"class folder {cafe} holds no images (found: 1 .heic; export" in error(pets)
    (cafe / "a.heic").unlink()
    for name in ("cats", "dogs"):
        shutil.move(pets / name, cafe / name)
    said = error(pets)
    assert "holds a single class, 'caf\u00e9'" in said
    assert said.endswith(f"write folder:{cafe}")


def test_a_validation_class_unknown_to_training_is_an_error(pets):
    into(pets, "train", "val")
    add(pets / "val" / "fish" / "1.png")
    assert f"val has classes that {pets / 'train'} lacks: fish" in error(pets)


def test_mistakes(pets, tmp_path):
    assert "nowhere does not exist" in error(tmp_path / "nowhere")
    (pets / "birds").mkdir()
    assert "birds holds no images (found: no files): remove it or fill it" in error(pets)
    (pets / "birds" / "a.heic").touch()
    assert "(found: 1 .heic; export photos of cameras as JPEG)" in error(pets)
    shutil.rmtree(pets / "birds")
    shutil.rmtree(pets / "dogs")
    assert "holds a single class, 'cats'" in error(pets)
    shutil.rmtree(pets / "cats")
    add(pets / "lost.png")
    assert "no images in the sub-folders" in error(pets)
    assert "found: 1 .png" in error(pets)
    for number, name in enumerate(("cats", "dogs")):
        add(pets / name / "only.png", number)
    assert "no image of" in error(pets)
    assert "is a file, not a folder" in error(pets / "cats" / "only.png")
    with pytest.raises(UserError, match="which folder"):
        folder.list_images("")
