"""The splits that a dataset of TFDS gives, without the dataset."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from alexnet.data.sources import ilsvrc, tfds
from alexnet.errors import UserError


def dataset(monkeypatch, path: Path, name: str = "some", **labels: list[int]) -> None:
    """Lets a dataset take the place of TFDS's: the labels of its images by split."""
    names = SimpleNamespace(names=["a", "b"])
    splits = {split: SimpleNamespace(num_shards=1) for split in labels}
    info = SimpleNamespace(splits=splits, features={"label": names})
    builder = SimpleNamespace(name=name, data_path=path, info=info)
    monkeypatch.setattr(tfds, "_builder", lambda *_: builder)
    monkeypatch.setattr(
        tfds, "_open_split", lambda _, split: [(b"", label) for label in labels[split]]
    )


@pytest.mark.parametrize("label", [0, 1])
def test_a_test_split_is_used_if_it_has_labels(monkeypatch, tmp_path, label):
    dataset(monkeypatch, tmp_path, train=[0, 1], validation=[1], test=[label])
    assert list(tfds.open_raw("some", "").splits) == ["train", "validation", "test"]
    dataset(monkeypatch, tmp_path, train=[0, 1], validation=[1], test=[-1])
    assert list(tfds.open_raw("some", "").splits) == ["train", "validation"]


def test_without_a_second_split_the_last_tenth_of_the_training_images_validates(
    monkeypatch, tmp_path
):
    dataset(monkeypatch, tmp_path, train=[0, 1])
    asked = []
    monkeypatch.setattr(tfds, "_open_split", lambda _, split: asked.append(split) or [(b"", 0)])
    assert list(tfds.open_raw("some", "").splits) == ["train", "validation"]
    assert asked == ["train[:90%]", "train[90%:]"]


@pytest.mark.parametrize(
    ("own", "third"),
    [
        ({}, None),
        ({"test": [2]}, 2),
        ({"validation": [1]}, 1),
        ({"validation": [1], "test": [2]}, 2),
        ({"validation": [1], "test": [-1]}, 1),  # its labels are secret
    ],
)
def test_images_held_out_leave_a_datasets_own_split_for_testing(monkeypatch, tmp_path, own, third):
    dataset(monkeypatch, tmp_path, train=[0], **own)
    labels = {"train": [0], "train[:90%]": [10], "train[90%:]": [11], **own}
    monkeypatch.setattr(tfds, "_open_split", lambda _, split: [(b"", labels[split][0])])
    found = {split: of[0][1] for split, of in tfds.open_raw("held_out:some", "").splits.items()}
    assert found == {"train": 10, "validation": 11} | ({} if third is None else {"test": third})


def test_what_a_killed_preparation_left_is_removed_before_the_next(monkeypatch, tmp_path, capsys):
    """Each killed preparation leaves many gigabytes in a new folder."""
    dataset(monkeypatch, tmp_path / "some/1.0.0", train=[0], validation=[1])
    builder = tfds._builder("some", "")
    builder.download_and_prepare = lambda **_: builder.data_path.mkdir(parents=True)
    others = [tmp_path / "some" / name for name in ("incomplete.ABC_2.0.0", "0.9.0")]
    left = tmp_path / "some/incomplete.XYZ123_1.0.0"
    for folder in (left, *others):
        (folder / "inside").mkdir(parents=True)
    tfds.open_raw("some", "")
    assert not left.exists()
    assert all(folder.exists() for folder in others)
    assert f"removing {left}, which a preparation left that was killed" in capsys.readouterr().err


def test_large_archives_need_tensorflow_at_once(monkeypatch, tmp_path):
    dataset(monkeypatch, tmp_path / "imagenet2010/1.0.0", train=[0], validation=[1])
    builder = tfds._builder("imagenet2010", "")
    monkeypatch.setattr(ilsvrc, "Imagenet2010", type(builder))
    builder.download_and_prepare = lambda **_: builder.data_path.mkdir(parents=True)
    manual = tmp_path / "downloads/manual"
    manual.mkdir(parents=True)
    for file in ilsvrc.ARCHIVES:
        (manual / file).write_bytes(b"12345")
    monkeypatch.setattr(tfds.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(tfds, "IN_MEMORY", 5 * len(ilsvrc.ARCHIVES) - 1)
    with pytest.raises(UserError, match="preparing 'imagenet2010' needs TensorFlow, training"):
        tfds.open_raw("imagenet2010", "")
    monkeypatch.setattr(tfds, "IN_MEMORY", 5 * len(ilsvrc.ARCHIVES))
    assert len(tfds.open_raw("imagenet2010", "").splits) == 2


def test_imagenet_that_was_prepared_without_an_archive(monkeypatch, tmp_path):
    """TFDS skips the split, and its test split would stand in for validation."""
    dataset(monkeypatch, tmp_path, "imagenet2012", train=[0, 1], test=[-1])
    with pytest.raises(UserError, match=r"was prepared without ILSVRC2012_img_val.tar: del"):
        tfds.open_raw("imagenet2012", "")
    dataset(monkeypatch, tmp_path, "imagenet2012", train=[0, 1], validation=[1], test=[-1])
    assert list(tfds.open_raw("imagenet2012", "").splits) == ["train", "validation"]
