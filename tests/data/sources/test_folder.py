import shutil

import pytest
from PIL import Image

from alexnet.data.sources import folder
from alexnet.errors import UserError


def names(split: folder.Files) -> list[str]:
    return [split.where(index).split("pets/")[1] for index in range(len(split))]


def test_a_tenth_is_held_out(pets):
    for number in range(300):
        Image.new("RGB", (8, 8)).save(pets / "dogs" / f"more{number}.png")
    raw = folder.list_images(str(pets))
    train, validation = (names(raw.splits[split]) for split in ("train", "validation"))
    assert len(train) + len(validation) == 12 + 25 + 300
    assert not set(train) & set(validation)
    # binomial, 337 x 0.1: 34 +- 5.5
    assert 17 < len(validation) < 51
    assert any(name.startswith("cats") for name in validation)
    assert raw.classes == ("cats", "dogs")


def test_images_that_come_later_move_none_to_the_other_split(pets):
    before = {
        split: set(names(files)) for split, files in folder.list_images(str(pets)).splits.items()
    }
    for number in range(100):
        Image.new("RGB", (8, 8)).save(pets / "dogs" / f"{number:02}-more.png")
    after = {
        split: set(names(files)) for split, files in folder.list_images(str(pets)).splits.items()
    }
    dogs = {name for name in before["validation"] | before["train"] if name.startswith("dogs")}
    for split in ("train", "validation"):
        assert after[split] & dogs == before[split] & dogs


def test_examples_are_the_files_and_their_class(pets):
    split = folder.list_images(str(pets)).splits["train"]
    for index, name in enumerate(names(split)):
        encoded, label = split[index]
        assert encoded == (pets / name).read_bytes()
        assert label == ["cats", "dogs"].index(name.split("/")[0])


@pytest.mark.parametrize("name", ["val", "validation", "test"])
def test_splits_of_its_own(pets, name):
    for split in ("train", name):
        shutil.copytree(pets / "cats", pets / split / "cats")
        shutil.copytree(pets / "dogs", pets / split / "dogs")
    (pets / name / "dogs" / "00.png").unlink()
    raw = folder.list_images(str(pets))
    assert raw.classes == ("cats", "dogs")
    assert {split: len(files) for split, files in raw.splits.items()} == {
        "train": 37,
        "validation": 36,
    }
    assert all(path.startswith(f"{name}/") for path in names(raw.splits["validation"]))


def test_other_files_do_not_count(pets):
    before = len(folder.list_images(str(pets)).splits["train"])
    (pets / "cats" / "notes.txt").write_text("mew")
    (pets / "cats" / "._00.png").write_bytes(b"")
    (pets / ".hidden").mkdir()
    assert len(folder.list_images(str(pets)).splits["train"]) == before


def test_validation_class_unknown_to_training(pets):
    shutil.copytree(pets / "cats", pets / "train" / "cats")
    shutil.copytree(pets / "dogs", pets / "train" / "dogs")
    shutil.copytree(pets / "dogs", pets / "val" / "dogs")
    shutil.copytree(pets / "dogs", pets / "val" / "fish")
    with pytest.raises(UserError, match=r"val has classes that .*train has not: \['fish'\]"):
        folder.list_images(str(pets))


def test_mistakes(pets, tmp_path):
    with pytest.raises(UserError, match=r"folder .*nowhere does not exist"):
        folder.list_images(str(tmp_path / "nowhere"))
    (pets / "birds").mkdir()
    with pytest.raises(UserError, match=r"class folder .*birds holds no images .*\.jpeg \.jpg"):
        folder.list_images(str(pets))
    (pets / "birds").rmdir()
    shutil.rmtree(pets / "dogs")
    with pytest.raises(UserError, match="holds a single class, 'cats'"):
        folder.list_images(str(pets))
    shutil.rmtree(pets / "cats")
    Image.new("RGB", (8, 8)).save(pets / "lost.png")
    with pytest.raises(UserError, match=r"no images in the sub-folders .*\.bmp \.gif"):
        folder.list_images(str(pets))
    for name in ("cats", "dogs"):
        (pets / name).mkdir()
        Image.new("RGB", (8, 8)).save(pets / name / "only.png")
    with pytest.raises(UserError, match=r"every class in .* has a single image"):
        folder.list_images(str(pets))
