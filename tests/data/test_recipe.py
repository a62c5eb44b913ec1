"""A recipe: what it stores, where, which command prepares it, and what it refuses."""

import os
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet import prepare as command
from alexnet.data.recipe import Recipe
from alexnet.errors import UserError


def test_small_images_are_raw_unless_asked(tmp_path):
    def stored(*settings):
        return Recipe("a", str(tmp_path), *settings).stored_quality

    assert [stored(size, 90) for size in (32, 64, 65)] == [0, 0, 90]
    assert stored(32, 90, "jpeg") == 90
    assert stored(256, 90, "raw") == 0
    names = [Recipe("a", str(tmp_path), 32, 90, how).path.name for how in ("auto", "jpeg", "raw")]
    assert names == ["a-32px", "a-32px-q90", "a-32px"]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ((0,), "image_size=0: must be at least 1"),
        ((4097,), "image_size=4097: at most 4096 pixels"),
        ((32, 101), "quality=101: from 1 to 100, or 0 for raw pixels"),
        ((32, 0, "jpeg"), "quality=0: encoding=jpeg needs 1 to 100"),
        ((32, 90, "png"), "encoding='png': choose one of auto, jpeg, raw; did you mean 'jpeg'?"),
    ],
)
def test_what_cannot_be_stored_is_refused(settings, line):
    with pytest.raises(UserError) as error:
        Recipe("a", "", *settings)
    assert str(error.value) == line


@given(
    name=st.sampled_from(["digits", "imagenette/160px-v2", "folder:/a b/it's"]),
    data_dir=st.sampled_from(["/data", "/my data", "~/$x"]),
    size=st.integers(1, 4096),
    quality=st.integers(1, 100),
    encoding=st.sampled_from(["auto", "jpeg", "raw"]),
)
def test_its_command_prepares_its_store(name, data_dir, size, quality, encoding):
    recipe, made = Recipe(name, data_dir, size, quality, encoding), []
    program, module, of, *argv = shlex.split(recipe.command)
    assert [program, module, of] == ["python", "-m", "alexnet.prepare"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "prepare", lambda *how, **limits: made.append(how))
        patch.setattr(command, "summary", lambda *_: "")
        patch.setattr(command, "warnings", lambda *_: ())
        command.main(argv)
    assert Recipe(*made[0]).path == recipe.path


def test_one_folder_has_one_store_however_it_is_written(tmp_path, monkeypatch):
    photos = tmp_path / "photos"
    photos.mkdir()
    (tmp_path / "link").symlink_to(photos)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    written = [photos, "photos", "./photos/", "link", "~/photos", "other/../photos"]
    assert len({Recipe(f"folder:{one}", "/data", 32).path for one in written}) == 1
    (tmp_path / "more").mkdir()
    same_name = tmp_path / "more" / "photos"
    paths = {Recipe(f"folder:{one}", "/data", 32).path for one in (photos, same_name)}
    assert len(paths) == 2
    assert all(path.name.startswith("folder-photos-") for path in paths)


@pytest.mark.parametrize("name", ["a" * 250, "사진" * 60, "with\nline", "bad\udcff"])
def test_any_folder_gives_a_name_that_a_disk_can_hold(tmp_path, name):
    path = Recipe(f"folder:/{name}", str(tmp_path), 32).path
    assert path.parent == tmp_path / "alexnet_store"
    assert len(os.fsencode(path.name)) <= 255 - len(".partial-00000000")
    assert path.name.isprintable()


@pytest.mark.parametrize("inside", ["", "data", "a/b"])
def test_nothing_is_stored_among_the_images(tmp_path, inside):
    place = tmp_path / inside
    with pytest.raises(UserError, match="lies in the folder of images") as error:
        Recipe(f"folder:{tmp_path}", str(place), 32)
    assert error.value.argument == f"data_dir={place}"
    Recipe(f"folder:{tmp_path}", f"{tmp_path}-data", 32)


def test_a_folder_needs_a_path():
    with pytest.raises(UserError, match="which folder\\? write folder:/path/to/photos"):
        Recipe("folder:", str(Path("/data")), 32)
