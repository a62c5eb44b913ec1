"""Preparing a dataset: what is stored, what is left out, and when it is done again."""

import errno
import fcntl
import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import sklearn.datasets
from PIL import Image

from alexnet.data import images, intake
from alexnet.data import prepare as preparing
from alexnet.data.inventory import read_left_out
from alexnet.data.prepare import ensure, prepare
from alexnet.data.recipe import Recipe
from alexnet.data.records import Writer
from alexnet.data.sources import folder as folders
from alexnet.data.sources import named, tree
from alexnet.data.sources.raw import RawData
from alexnet.data.store import open_store
from alexnet.data.summary import as_json, summary
from alexnet.errors import UserError

no_macos = pytest.mark.skipif(sys.platform == "darwin", reason="macOS refuses other file names")


def run_prepare(*arguments: str, env: dict | None = None) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "alexnet.prepare", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=env)


def test_digits_hold_every_image_once(digits):
    assert digits.counts == {"train": 1438, "validation": 359}
    assert digits.classes == tuple("0123456789")
    parts = [digits.read(split, range(count)) for split, count in digits.counts.items()]
    source = sklearn.datasets.load_digits()
    pixels = np.rint(source.images * 255 / 16).astype(np.uint8)
    stored = [(image[..., 0].tobytes(), label) for part in parts for image, label in zip(*part)]  # noqa: B905
    expected = [(image.tobytes(), label) for image, label in zip(pixels, source.target)]  # noqa: B905
    assert sorted(stored) == sorted(expected)


def test_images_held_out_of_training_leave_the_test_images_alone(digits_dir, digits):
    held_out = prepare("held_out:digits", digits_dir, image_size=8)
    assert held_out.counts == {"train": 1294, "validation": 144, "test": 359}
    train, validation, test = (held_out.read(one, range(n)) for one, n in held_out.counts.items())
    before = digits.read("train", range(1438))
    for part in (0, 1):  # images and labels
        np.testing.assert_array_equal(np.concatenate([train[part], validation[part]]), before[part])
        np.testing.assert_array_equal(test[part], digits.read("validation", range(359))[part])
    np.testing.assert_allclose(held_out.statistics.mean_HWC, train[0].mean(0), rtol=1e-6)


def test_statistics_are_of_the_training_split_alone(digits):
    train, _ = digits.read("train", range(digits.counts["train"]))
    np.testing.assert_allclose(digits.statistics.mean_HWC, train.mean(0), rtol=1e-6)


def test_small_images_are_stored_at_32_pixels(digits_dir, digits):
    assert prepare("digits", digits_dir).image_size == 32


def test_an_interrupted_preparation_does_not_count(digits_dir, digits, tmp_path):
    whole = tmp_path / "alexnet_store"
    shutil.copytree(digits.path.parent, whole)
    final = Recipe("digits", str(tmp_path), 8, 95).path
    final.rename(final.with_name(final.name + ".partial"))
    with pytest.raises(UserError, match="not prepared"):
        open_store(Recipe("digits", str(tmp_path), 8))
    made = ensure(Recipe("digits", str(tmp_path), 8))
    assert made.counts == digits.counts
    assert not list(whole.glob("*.partial"))


def test_images_that_cannot_be_read_are_left_out(pets, tmp_path):
    for number in range(60):
        Image.new("RGB", (30, 30), (number, 9, 9)).save(pets / "dogs" / f"more{number}.png")
    (pets / "cats" / "0-first.png").touch()
    (pets / "dogs" / "99.png").write_bytes(b"this is no image")
    jpeg = pets / "dogs" / "cut.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (99, 99, 3), np.uint8)).save(jpeg)
    jpeg.write_bytes(jpeg.read_bytes()[:3000])
    made = prepare(f"folder:{pets}", str(tmp_path), 32)
    assert sum(made.counts.values()) == 37 + 60
    assert made.inventory.found == 37 + 60 + 3
    listed = (made.path / "left_out.txt").read_text().splitlines()
    assert sorted(line.split("\t")[:2] for line in listed) == [
        ["cannot be read", "cats/0-first.png"],
        ["cannot be read", "dogs/99.png"],
        ["cannot be read", "dogs/cut.jpg"],
    ]
    assert "cats/0-first.png (empty)" in made.inventory.unreadable
    assert "dogs/99.png (not a known image format)" in made.inventory.unreadable


def test_photos_in_a_folder_are_stored_upright(pets, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    photo = np.zeros((16, 16, 3), np.uint8)
    photo[:8] = 255  # the upper half, which the turn moves to the right
    Image.fromarray(photo).save(pets / "cats" / "photo.png", exif=exif)
    made = prepare(f"folder:{pets}", str(tmp_path), 16)
    stored = np.concatenate([made.read(split, range(n))[0] for split, n in made.counts.items()])
    [image] = stored[stored[..., 2].any((1, 2))]  # the others have no blue
    np.testing.assert_array_equal(image, np.rot90(photo, -1))


def test_too_many_unreadable_images_stop_it(pets, tmp_path):
    for number in range(12):
        (pets / "dogs" / f"bad{number:02}.png").write_bytes(b"this is no image")
    name = f"folder:{pets}"
    with pytest.raises(
        UserError, match=r"at least \d+ of 49 images cannot be read .* than max_bad=0\.05 allows: "
    ) as error:
        prepare(name, str(tmp_path), 32)
    assert str(error.value).count("(not a known image format)") == 10
    *_, command = str(error.value).split("leave them out: ")
    assert command.endswith(" (or more: reading stopped there)")
    python, _, _, *given, accepted = shlex.split(command.partition(" (or more")[0])
    assert (python, given) == (*("python", [name, "--image_size=32", f"--data_dir={tmp_path}"]),)
    assert 12 / 49 < float(accepted.removeprefix("--max_bad=")) <= 1
    assert not list((tmp_path / "alexnet_store").glob("*32px*"))
    with pytest.raises(UserError, match="not prepared"):
        open_store(Recipe(name, str(tmp_path), 32))
    made = prepare(name, str(tmp_path), 32, max_bad=0.5)
    assert made.inventory.left_out == {"cannot be read": {".png": 12}}
    assert len(made.inventory.unreadable) == 10


def test_large_images_are_judged_by_their_headers(pets, tmp_path):
    Image.new("L", (20_000, 20_000)).save(pets / "dogs" / "map.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = prepare(f"folder:{pets}", str(tmp_path), 8)
        assert made.inventory.unreadable == [
            "dogs/map.png (20000x20000 pixels, more than max_pixels=178956970)"
        ]
        assert made.inventory.left_out == {"too large": {".png": 1}}
    assert Image.MAX_IMAGE_PIXELS is not None
    made = prepare(f"folder:{pets}", str(tmp_path), 9, max_pixels=2000)
    assert made.inventory.unreadable == [
        "dogs/map.png (20000x20000 pixels, more than max_pixels=2000)"
    ]


def test_a_class_without_readable_images_stops_it(pets, tmp_path):
    for path in (pets / "cats").iterdir():
        path.write_bytes(path.name.encode())
    with pytest.raises(UserError, match="no training image of class 'cats' can be read: cats/"):
        prepare(f"folder:{pets}", str(tmp_path), 8, max_bad=1)


def test_the_size_is_that_of_most_images(pets, tmp_path):
    Image.new("RGB", (16, 16)).save(pets / "cats" / "!first.png")
    made = prepare(f"folder:{pets}", str(tmp_path))
    assert made.image_size == 32  # photos of 40x30
    assert made.inventory.size.startswith("as at least half of 3")
    for number in range(60):
        Image.new("RGB", (160, 120), (number, 9, 9)).save(pets / "dogs" / f"more{number}.png")
    made = prepare(f"folder:{pets}", str(tmp_path))
    assert made.image_size == 256
    assert "have a shorter side of more than 32" in made.inventory.size


def test_copies_are_counted(pets, tmp_path):
    for part in ("train", "val"):
        shutil.copytree(pets / "cats", pets / part / "cats")
        shutil.copytree(pets / "dogs", pets / part / "dogs")
    shutil.rmtree(pets / "cats")
    shutil.rmtree(pets / "dogs")
    for number in range(5):
        (pets / "val" / "dogs" / f"{number:02}.png").unlink()
    made = prepare(f"folder:{pets}", str(tmp_path), 8)
    # pictures 0 to 11 of both classes are the same
    assert made.counts == {"train": 37, "validation": 32}
    assert made.inventory.copies == 12 + 32
    assert made.inventory.in_train == {"validation": 32}
    assert made.inventory.in_classes == 12 + 7  # the dogs, as each was a cat before


def test_ensure_makes_what_needs_no_download(pets, tmp_path):
    recipe = Recipe(f"folder:{pets}", str(tmp_path), 16)
    assert preparing.class_count(recipe) is None  # not known yet
    store = ensure(recipe)
    assert store.classes == ("cats", "dogs")
    assert preparing.class_count(recipe) == 2
    again = ensure(recipe)
    assert (again.path / "info.json").stat().st_mtime_ns == (
        store.path / "info.json"
    ).stat().st_mtime_ns
    with pytest.raises(UserError, match="dataset 'cifar10' is not prepared at 32 pixels"):
        ensure(Recipe("cifar10", str(tmp_path), 32))


def test_a_changed_folder_is_prepared_again(pets, tmp_path, capsys):
    name = f"folder:{pets}"
    before = ensure(Recipe(name, str(tmp_path), 16))
    assert "37 of 37 files are used" in capsys.readouterr().err
    Image.new("RGB", (30, 30)).save(pets / "cats" / "new.jpg")
    more = ensure(Recipe(name, str(tmp_path), 16))
    assert sum(more.counts.values()) == sum(before.counts.values()) + 1
    assert "38 of 38 files are used" in capsys.readouterr().err
    path, status = pets / "cats" / "new.jpg", (pets / "cats" / "new.jpg").stat()
    path.write_bytes(path.read_bytes()[:-1] + b"\0")  # the end of a JPEG, which Pillow can miss
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    assert ensure(Recipe(name, str(tmp_path), 16)).contents != more.contents


def test_new_files_that_are_left_out_are_told_before_training(pets, tmp_path, capsys):
    name = f"folder:{pets}"
    ensure(Recipe(name, str(tmp_path), 16))
    capsys.readouterr()
    (pets / "cats" / "IMG_1.HEIC").write_bytes(b"of a phone")
    ensure(Recipe(name, str(tmp_path), 16))
    assert "export them as JPEG" in capsys.readouterr().err
    ensure(Recipe(name, str(tmp_path), 16))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("change", ["photo", "no photo", "class"])
def test_another_number_of_images_is_seen_without_reading_them_all_again(
    pets, tmp_path, monkeypatch, change
):
    (pets / "dogs" / "bad.png").write_bytes(b"this is no image")
    name = f"folder:{pets}"
    made = ensure(Recipe(name, str(tmp_path), 16))
    if change == "class":
        (pets / "cats").rename(pets / "more cats")
    elif change == "photo":
        Image.new("RGB", (30, 30)).save(pets / "cats" / "new.jpg")
    else:
        (pets / "cats" / "00.png").unlink()

    def contents(*_):
        raise AssertionError("reads every image")

    monkeypatch.setattr(preparing, "contents", contents)
    again = ensure(Recipe(name, str(tmp_path), 16))
    more = {"photo": 1, "no photo": -1, "class": 0}[change]
    assert sum(again.counts.values()) == sum(made.counts.values()) + more


def test_a_second_process_says_that_it_waits(pets, tmp_path, monkeypatch):
    name, found = f"folder:{pets}", []
    made = ensure(Recipe(name, str(tmp_path), 16))
    # capsys loses what another thread writes while it is being read.
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    os.utime(pets / "cats" / "00.png", (1, 1))
    [path] = (tmp_path / "alexnet_store").glob("*.lock")
    other = threading.Thread(target=lambda: found.append(prepare(name, str(tmp_path), 16)))
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        other.start()
        end = time.monotonic() + 60
        while "waiting" not in said.getvalue():
            assert time.monotonic() < end
            time.sleep(0.01)
        assert not found
    other.join()
    assert said.getvalue() == f"waiting for another process, which prepares {name}\n"
    assert found[0].contents == made.contents


def test_other_times_do_not_prepare_again(pets, tmp_path):
    (pets / "dogs" / "bad.png").write_bytes(b"this is no image")
    name = f"folder:{pets}"
    made = ensure(Recipe(name, str(tmp_path), 16))
    shards = {path: path.stat().st_ino for path in made.path.glob("*.array_record")}
    for path in pets.glob("*/*.png"):
        os.utime(path, (1, 1))
    (pets / "notes.txt").touch()
    again = ensure(Recipe(name, str(tmp_path), 16))
    assert again.stamp != made.stamp
    assert again.contents == made.contents
    assert {path: path.stat().st_ino for path in again.path.glob("*.array_record")} == shards
    assert again.inventory.found == 39
    assert "notes.txt" in (again.path / "left_out.txt").read_text()
    (pets / "dogs" / "bad.png").write_bytes(b"this is none either")
    ensure(Recipe(name, str(tmp_path), 16))
    assert {path: path.stat().st_ino for path in again.path.glob("*.array_record")} != shards


def test_limits_stay_when_a_folder_changes(pets, tmp_path):
    for number in range(6):
        (pets / "dogs" / f"bad{number}.png").write_bytes(b"no image")
    prepare(f"folder:{pets}", str(tmp_path), 16, max_bad=0.2, max_pixels=10**6)
    Image.new("RGB", (30, 30)).save(pets / "cats" / "new.jpg")
    made = ensure(Recipe(f"folder:{pets}", str(tmp_path), 16))
    assert made.inventory.found == 37 + 6 + 1
    assert made.inventory.limits == {"max_bad": 0.2, "max_pixels": 10**6}


def test_limits_stay_when_a_folder_of_the_default_size_changes(pets, tmp_path):
    name = f"folder:{pets}"
    first = prepare(name, str(tmp_path), max_bad=0.2, max_pixels=10**6)
    Image.new("RGB", (30, 30)).save(pets / "cats" / "new.jpg")
    made = prepare(name, str(tmp_path))
    assert made.inventory.found == first.inventory.found + 1
    assert made.inventory.limits == {"max_bad": 0.2, "max_pixels": 10**6}


def test_a_folder_that_is_gone_is_used_as_prepared(pets, tmp_path, capsys):
    name = f"folder:{pets}"
    made = ensure(Recipe(name, str(tmp_path), 16))
    pets.rename(tmp_path / "elsewhere")
    capsys.readouterr()
    again = ensure(Recipe(name, str(tmp_path), 16))
    assert again.read("train", range(3))[0].shape == (3, 16, 16, 3)
    assert capsys.readouterr().err == (
        f"warning: {name} is not there: its store {made.path} is used\n"
    )
    with pytest.raises(UserError, match="pets does not exist: write the path of the photos"):
        ensure(Recipe(name, str(tmp_path), 17))


def test_a_store_of_an_earlier_version_is_used_until_prepared_again(pets, tmp_path, capsys):
    name = f"folder:{pets}"
    golden = Path(__file__).parents[1] / "golden" / "data" / "alexnet_store" / "golden-20px"
    path = Recipe(name, str(tmp_path), 20, 95).path
    shutil.copytree(golden, path)
    info = json.loads((path / "info.json").read_text()) | {"name": name, "digest": "old"}
    (path / "info.json").write_text(json.dumps(info))
    made = ensure(Recipe(name, str(tmp_path), 20))
    assert (made.format, made.counts) == (1, info["counts"])
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "was prepared by an earlier version" in line
    assert f"runs: python -m alexnet.prepare {name} --image_size=20 --data_dir={tmp_path}" in line
    prepare(name, str(tmp_path), 20)
    anew = ensure(Recipe(name, str(tmp_path), 20))
    assert (anew.format, sum(anew.counts.values())) == (2, 37)


def test_a_dry_run_says_the_same_and_writes_nothing(pets, tmp_path):
    (pets / "dogs" / "bad.png").write_bytes(b"this is no image")
    name = f"folder:{pets}"
    dry = prepare(name, str(tmp_path / "data"), 16, dry_run=True)
    assert not (tmp_path / "data").exists()
    assert as_json(dry) == as_json(prepare(name, str(tmp_path / "data"), 16))
    with pytest.raises(
        UserError, match="has not prepared 'digits' yet, and a dry run writes nothing"
    ):
        prepare("digits", str(tmp_path / "data"), dry_run=True)


def test_small_images_as_jpeg(digits_dir, digits):
    jpeg = prepare("digits", digits_dir, 8, encoding="jpeg")
    assert (jpeg.quality, jpeg.pixels) == (95, {})
    assert jpeg.contents == digits.contents
    close, exact = (store.read("train", range(50))[0].astype(int) for store in (jpeg, digits))
    assert 0 < np.abs(close - exact).mean() < 6


def test_a_folder_needs_no_images_held_out_by_its_name(tmp_path):
    with pytest.raises(UserError, match="holds out a tenth by itself: leave out held_out:"):
        prepare("held_out:folder:photos", str(tmp_path))


def test_impossible_sizes_and_qualities(tmp_path):
    with pytest.raises(UserError, match="image_size=0: must be at least 1"):
        prepare("digits", str(tmp_path), 0)
    with pytest.raises(UserError, match=r"quality=101: from 1 to 100, or 0"):
        prepare("digits", str(tmp_path), 32, quality=101)


def test_limits_beyond_their_range_are_errors():
    for limits in ((1, 0), (1, 1), (None, None)):
        found = preparing._limits(*limits)
        assert (found.get("max_pixels"), found.get("max_bad")) == limits
    with pytest.raises(UserError, match="max_pixels=0: must be at least 1"):
        preparing._limits(0, None)
    for share in (-0.1, 1.1):
        with pytest.raises(UserError, match=rf"max_bad={share}: a share, from 0 to 1"):
            preparing._limits(None, share)


def test_unknown_names_get_the_nearest_known(tmp_path):
    with pytest.raises(UserError, match="name='cifar1': unknown dataset; did you mean 'cifar10'"):
        prepare("cifar1", str(tmp_path))
    with pytest.raises(UserError, match="did you mean 'imagenette/160px-v2'"):
        prepare("imagenette/160px-v3", str(tmp_path))


def test_imagenet_names_the_archive_that_it_lacks(tmp_path):
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
        (ModuleNotFoundError(name="tensorflow"), "needs TensorFlow.*pip install tensorflow "),
    ],
)
def test_failures_of_tfds_become_one_line(tmp_path, monkeypatch, raised, message):
    import tensorflow_datasets as tfds

    def fail(*_, download_config, **__):
        assert not download_config.try_download_gcs  # Google's copies need other libraries
        raise raised

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(UserError, match=message) as error:
        prepare("cifar10", str(tmp_path))
    assert "\n" not in str(error.value)


def test_a_dataset_without_a_validation_split_uses_its_test_split(tmp_path, digits_dir, digits):
    assert named.is_prepared("digits", digits_dir)
    raw = named.open_raw("digits", digits_dir)
    assert {split: len(part) for split, part in raw.splits.items()} == digits.counts
    assert raw.splits["train"][0][0].startswith(b"\x89PNG")
    assert "digits/1.0.0/test, example" in raw.splits["validation"].where(7)


def test_an_earlier_name_of_the_command_still_works(tmp_path):
    command = [sys.executable, "-m", "alexnet.data.prepare", f"folder:{tmp_path / 'none'}"]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"error: --name: folder {tmp_path / 'none'} does not exist")


@no_macos
def test_command_says_what_it_found(pets, tmp_path):
    for path in (pets / "dogs").iterdir():
        path.rename(path.with_suffix(".PNG"))
    os.rename(pets / "cats", os.fsencode(pets) + b"/cat\xe9gorie")
    (pets / "notes.txt").touch()
    options = f"folder:{pets}", "--image_size=80", "--quality=90", f"--data_dir={tmp_path}"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = run_prepare(*options, env=environment)
    assert done.returncode == 0, done.stderr
    store = open_store(Recipe(f"folder:{pets}", str(tmp_path), 80, 90))
    train, held_out = store.counts["train"], store.counts["validation"]
    assert done.stdout.splitlines() == [
        f"folder:{pets}: 37 of 38 files are used",
        f"  train       {train} images",
        f"  validation  {held_out} images",
        "  classes     2: cat\\xe9gorie 12, dogs 25",
        "  left out    1, by name in left_out.txt of the store",
        "              outside the class folders: 1 .txt",
        "  copies      12 images equal another one, byte for byte",
        f"  splits      {store.inventory.notes[0]}",
        "  size        80 x 80 pixels; JPEG of quality 90",
        f"  store       {store.path}",
    ]
    assert "warning: 12 images are also in another class, byte for byte: dogs/00.PNG" in done.stderr
    assert store.path.name.endswith("-80px-q90")
    done = run_prepare(*options, "--json", env=environment)
    found = json.loads(done.stdout)
    assert found["splits"] == store.counts
    assert found["classes"] == {"cat\\xe9gorie": 12, "dogs": 25}
    assert (found["found"], found["used"], found["duplicates"]) == (38, 37, 12)
    assert found["left_out"] == {"outside the class folders": 1}
    assert (found["image_size"], found["store"]) == (80, str(store.path))


@pytest.mark.parametrize("data_dir", ["file", "file/below"])
def test_command_reports_mistakes_in_one_line(pets, tmp_path, data_dir):
    (tmp_path / "file").touch()
    done = run_prepare(f"folder:{pets}", f"--data_dir={tmp_path / data_dir}")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: cannot prepare 'folder:{pets}' in {tmp_path / data_dir}")
    assert done.stderr.count("\n") == 1


def test_a_damaged_png_is_not_used(pets, tmp_path):
    """Pillow hides the damage once it has looked for EXIF."""
    path = pets / "dogs" / "damaged.png"
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    Image.fromarray(noise).save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    made = prepare(f"folder:{pets}", str(tmp_path), 16)
    assert [line.split(" (")[0] for line in made.inventory.unreadable] == ["dogs/damaged.png"]


def test_another_share_decodes_nothing_again(pets, digits_dir, tmp_path, monkeypatch, capsys):
    (pets / "dogs" / "empty.png").touch()
    names = {f"folder:{pets}": str(tmp_path), "digits": digits_dir}
    made = {name: prepare(name, folder, 16) for name, folder in names.items()}
    monkeypatch.setattr(preparing, "take_in", None)
    for name, before in made.items():
        again = prepare(name, names[name], 16, max_bad=0.04)
        assert again.inventory.limits == before.inventory.limits | {"max_bad": 0.04}
        assert (again.contents, again.counts) == (before.contents, before.counts)
    assert "prepared again" not in capsys.readouterr().err


def test_a_changed_folder_is_walked_three_times_at_most(pets, tmp_path, monkeypatch):
    """On a network disk, a walk over a million files takes minutes."""
    walked, walk = [], tree.walk
    monkeypatch.setattr(folders, "walk", lambda root: walked.append(root) or walk(root))
    for touched, most in ((None, 1), (None, 1), (pets / "cats" / "00.png", 3)):
        if touched:
            os.utime(touched, (1, 1))
        ensure(Recipe(f"folder:{pets}", str(tmp_path), 16))
        assert 1 <= len(walked) <= most
        walked.clear()


def test_other_limits_prepare_again(pets, tmp_path):
    (pets / "dogs" / "empty.png").touch()
    name = f"folder:{pets}"
    made = prepare(name, str(tmp_path), 16)
    with pytest.raises(UserError, match=r"than max_bad=0 allows: dogs/empty.png"):
        prepare(name, str(tmp_path), 16, max_bad=0)
    assert prepare(name, str(tmp_path), 16).path == made.path
    with pytest.raises(UserError, match=r"than max_bad=0.05 allows: "):
        prepare(name, str(tmp_path), 16, max_pixels=1000)


def test_a_relative_name_is_the_absolute_one(pets, tmp_path, monkeypatch):
    monkeypatch.chdir(pets.parent)
    made = ensure(Recipe("folder:pets", str(tmp_path), 16))
    assert made.name == f"folder:{pets}"
    shutil.copy(pets / "cats" / "00.png", pets / "cats" / "more.png")
    monkeypatch.chdir("/")
    assert sum(ensure(Recipe(f"folder:{pets}/", str(tmp_path), 16)).counts.values()) == 38


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="mounts a small disk")
@pytest.mark.parametrize("changed", ["nothing", "times", "images"])
def test_a_store_on_a_read_only_disk_is_used_unless_images_changed(pets, tmp_path, changed):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=9m", "tmpfs", disk]).returncode:
        pytest.skip("may not mount")
    try:
        made = prepare(f"folder:{pets}", str(disk), 20)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        first = next(path for path in sorted(pets.rglob("*")) if path.suffix in (".png", ".jpg"))
        if changed == "times":
            os.utime(first)
        if changed == "images":
            shutil.copy(first, first.with_name(f"more{first.suffix}"))
            with pytest.raises(UserError, match=r"cannot prepare .* Read-only file system"):
                ensure(Recipe(f"folder:{pets}", str(disk), 20))
        else:
            assert ensure(Recipe(f"folder:{pets}", str(disk), 20)).contents == made.contents
    finally:
        subprocess.run(["umount", "-l", disk], check=False)


def test_a_read_only_store_can_be_used(pets, tmp_path, monkeypatch):
    name = f"folder:{pets}"
    made = ensure(Recipe(name, str(tmp_path), 32))

    def refuse(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert ensure(Recipe(name, str(tmp_path), 32)).contents == made.contents
    assert prepare(name, str(tmp_path)).path == made.path  # 32 pixels are enough


def test_a_damaged_list_of_left_out_files_is_made_again(pets, tmp_path):
    name = f"folder:{pets}"
    made = ensure(Recipe(name, str(tmp_path), 16))
    for damage in (b"rubbish\n", b"\xff\n", None):
        list_file = made.path / "left_out.txt"
        list_file.write_bytes(damage) if damage else list_file.unlink()
        with pytest.raises(UserError, match=r"left_out\.txt cannot be read \(.*\): prepare"):
            read_left_out(made.path)
        os.utime(pets / "cats" / "00.png", (1, 1))
        (pets / "notes.txt").write_bytes(damage or b"")
        assert ensure(Recipe(name, str(tmp_path), 16)).contents == made.contents
        assert "notes.txt" in list_file.read_text()


def test_an_unreadable_file_that_goes_is_not_counted(pets, tmp_path, monkeypatch):
    name, gone = f"folder:{pets}", pets / "cats" / "00.png"
    read = Path.read_bytes

    def refuse(path):
        if path == gone:
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    made = ensure(Recipe(name, str(tmp_path), 16))
    assert made.inventory.unreadable == ["cats/00.png (Permission denied)"]
    gone.unlink()
    assert ensure(Recipe(name, str(tmp_path), 16)).inventory.found == 36


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (OSError(errno.ESTALE, "Stale file handle"), "Stale file handle"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (MemoryError(), "out of memory"),
    ],
)
def test_an_error_of_the_machine_leaves_no_photo_out(pets, tmp_path, monkeypatch, error, why):
    name, photo = f"folder:{pets}", pets / "cats" / "00.png"
    read, square = Path.read_bytes, images.square_pixels

    def fail(path):
        if path == photo and not isinstance(error, MemoryError):
            raise error
        return read(path)

    def decode(encoded, *arguments):
        if encoded == read(photo) and isinstance(error, MemoryError):
            raise error
        return square(encoded, *arguments)

    with monkeypatch.context() as failing:
        failing.setattr(Path, "read_bytes", fail)
        failing.setattr(images, "square_pixels", decode)
        failing.setattr(tree, "PAUSES", ())
        with pytest.raises(UserError, match=rf"cats/00.png cannot be read now \({why}\)"):
            ensure(Recipe(name, str(tmp_path), 16))
    assert ensure(Recipe(name, str(tmp_path), 16)).inventory.left_out == {}


class Failing(list):
    """A split of TFDS, one of whose examples cannot be read."""

    def __init__(self, examples, error):
        super().__init__(examples)
        self._error = error

    def __getitem__(self, index):
        if index == 1:
            raise self._error
        return super().__getitem__(index)

    def where(self, index):
        return f"some/1.0.0/train, example {index}"

    def path(self, index):
        return b""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("read() failed: Stale file handle; shard 3", r"^some/1.0.0/train, example 1 cannot be re"),
        ("open() failed: Too many open files", "Too many open files.*mend the cause and try again"),
        ("DATA_LOSS: bad block", ""),
    ],
)
def test_an_error_of_the_machine_leaves_no_example_of_tfds_out(tmp_path, text, message, capsys):
    image = np.full((8, 8, 3), 9, np.uint8)
    encoded = simplejpeg.encode_jpeg(image)
    train = Failing([(encoded, 0)] * 30, RuntimeError(text))
    raw = RawData(("a",), {"train": train, "validation": Failing([(encoded, 0)], None)})
    plan = intake.Plan("some", 8, 95, 10**6, 0.05)
    if message:
        with pytest.raises(UserError, match=message):
            intake.take_in(raw, tmp_path, plan)
        return
    made = intake.take_in(raw, tmp_path, plan)
    assert made.counts["train"] == 29
    assert made.inventory.left_out == {"cannot be read": {"no suffix": 1}}


def test_a_store_is_found_without_the_raw_data_whoever_chose_its_size(tmp_path, monkeypatch):
    made = prepare("digits", str(tmp_path), 32)
    monkeypatch.setattr(named, "is_local", lambda *_: False)
    monkeypatch.setattr(named, "open_raw", lambda *_: pytest.fail("a download"))
    assert prepare("digits", str(tmp_path)).path == made.path
    monkeypatch.setattr(named, "is_local", lambda *_: pytest.fail("TFDS takes seconds to load"))
    assert prepare("digits", str(tmp_path), 32).path == made.path


def test_a_store_of_the_default_size_is_found_without_the_raw_data(tmp_path, monkeypatch, pets):
    names = ("digits", f"folder:{pets}")
    asked = prepare(names[1], str(tmp_path), 256)  # not the default
    made = [prepare(name, str(tmp_path)) for name in names]
    assert [one.image_size for one in made] == [32, 32]
    assert asked.path != made[1].path

    def absent(*_):
        raise UserError("no network")

    monkeypatch.setattr(named, "open_raw", absent)
    for name, one in zip(names, made, strict=True):
        assert prepare(name, str(tmp_path)).path == one.path
    (pets / "cats" / "00.png").unlink()
    with pytest.raises(UserError, match="no network"):
        prepare(names[1], str(tmp_path))


def test_a_mistyped_folder_leaves_nothing(tmp_path):
    with pytest.raises(UserError, match="folder /typo does not exist"):
        prepare("folder:/typo", str(tmp_path), 32)
    assert not list(tmp_path.iterdir())


def test_an_empty_mount_point_counts_as_a_folder_that_is_gone(pets, tmp_path, capsys):
    name = f"folder:{pets}"
    made = ensure(Recipe(name, str(tmp_path), 16))
    shutil.rmtree(pets)
    pets.mkdir()
    assert ensure(Recipe(name, str(tmp_path), 16)).contents == made.contents
    assert "is not there" in capsys.readouterr().err


def test_a_folder_that_cannot_be_listed_is_an_error(pets, tmp_path, monkeypatch):
    """An earlier store must not take its place unnoticed."""
    name = f"folder:{pets}"
    ensure(Recipe(name, str(tmp_path), 8))

    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", refuse)
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=f"cannot list folder {pets}.*: Permission denied"):
        ensure(Recipe(name, str(tmp_path), 8))


def test_a_half_made_store_is_removed(pets, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Writer, "write", full)
    with pytest.raises(UserError, match=r"cannot prepare .* in .*: No space left on device$"):
        prepare(f"folder:{pets}", str(tmp_path), 16)
    assert [path.suffix for path in (tmp_path / "alexnet_store").iterdir()] == [".lock"]


@no_macos
def test_a_folder_whose_name_no_file_can_have_is_prepared(pets, tmp_path):
    long = tmp_path / ("n" * 250)
    shutil.copytree(pets, long)
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n"))
    shutil.copytree(pets, odd)
    korean = tmp_path / ("\uc0ac\uc9c4" * 40)  # 80 letters, and 240 bytes
    shutil.copytree(pets, korean)
    for folder in (long, odd, korean):
        made = ensure(Recipe(f"folder:{folder}", str(tmp_path / "data"), 8))
        assert sum(made.counts.values()) == 37
        json.dumps(as_json(made)).encode("ascii")
        summary(made).encode("utf-8")


@pytest.mark.parametrize(
    ("side", "size", "limit"), [(32, 32, "32 or less"), (33, 256, "more than 32")]
)
def test_why_images_have_the_size_they_have(monkeypatch, side, size, limit):
    png = io.BytesIO()
    Image.new("L", (side, 50)).save(png, "PNG")
    examples = [(png.getvalue(), 0)] * 4 + [(b"no image", 0)]
    found, why = preparing._default_size(examples)
    assert found == size
    assert why == f"as at least half of 4 images have a shorter side of {limit}"
    monkeypatch.setattr(preparing, "SAMPLE", 2)
    assert "of 2 sampled images (one in 2) have" in preparing._default_size(examples)[1]


@pytest.mark.parametrize("name", ["photos", "my photos/cats"])
def test_a_folder_is_recognised_without_its_prefix(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir(parents=True)
    with pytest.raises(UserError, match=f"for a folder of images write folder:{name}$"):
        prepare(name, str(tmp_path / "data"))
