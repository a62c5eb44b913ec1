"""Datasets of labelled images with a TFDS builder: TFDS's own and three of ours."""

import contextlib
import importlib.util
import io
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path

from alexnet.data.recipe import HELD_OUT, root_dir, without_held_out
from alexnet.data.sources.raw import RawData
from alexnet.errors import UserError, nearest, one_line
from alexnet.files import allow_open
from alexnet.text import say

# The imagenet2012 builder skips a split whose archive is absent.
IMAGENET = "imagenet2012"
IMAGENET_ARCHIVES = {
    "train": "ILSVRC2012_img_train.tar",
    "validation": "ILSVRC2012_img_val.tar",
}
IMAGENET_PAGE = "https://image-net.org/download-images"
CIFAR10 = ("cifar10", "cifar10/3.0.2", "cifar10:3.0.2")
IN_MEMORY = 1000 * 2**20  # bytes that TFDS sorts in memory; more it writes with TensorFlow
UNSPLIT = {"train": "train[:90%]", "validation": "train[90%:]"}


class TfdsSplit:
    """One TFDS split: (encoded image, label) by index."""

    def __init__(self, source, name: str):
        self._source = source
        self._name = name

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> tuple[bytes, int]:
        example = self._source[index]
        return example["image"], int(example["label"])

    def where(self, index: int) -> str:
        return f"{self._name}, example {index}"

    def path(self, index: int) -> bytes:
        return b""


def is_prepared(name: str, data_dir: str) -> bool:
    """Whether TFDS has the dataset's files. Raises UserError for a name it does not know."""
    return _builder(name, data_dir).data_path.exists()


def class_count(name: str, data_dir: str) -> int | None:
    """How many classes a dataset has; None if only preparing it would tell, as for imagenet2010.

    Raises UserError.
    """
    return _builder(name, data_dir).info.features["label"].num_classes


def open_raw(name: str, data_dir: str) -> RawData:
    """Splits "train" and "validation"; runs TFDS's download_and_prepare if its data is absent.

    TFDS's "test" stands in for a missing "validation"; without either, the last tenth of "train"
    does. Where there are both, "test" is a third split if it has labels.

    For "held_out:NAME", the last tenth of "train" is "validation", and the split of NAME that would
    be it, or its "test" if that has labels, is the third, "test".

    Raises UserError for whatever the user can correct: names, archives, network, TensorFlow.
    """
    builder = _builder(name, data_dir)
    if not builder.data_path.exists():
        _download_and_prepare(builder, name)
    _check_imagenet_splits(builder)
    own, held_out = builder.info.splits, name.startswith(HELD_OUT)
    validates = next((split for split in ("validation", "test") if split in own), None)
    if "train" not in own:
        raise UserError(f"dataset {name!r} has no split 'train': {list(own)}")
    shards = sum(split.num_shards for split in own.values())
    allow_open(shards, f"TFDS's {name}")  # array_record keeps every shard open
    if held_out or validates is None:
        splits = UNSPLIT | ({"test": validates} if validates else {})
    else:
        splits = {"train": "train", "validation": validates}
    opened = {split: _open_split(builder, source) for split, source in splits.items()}
    if {"validation", "test"} <= set(own):
        test = _open_split(builder, "test")
        if test[0][1] >= 0:  # the labels of imagenet2012's test split are secret
            opened["test"] = test
    return RawData(tuple(builder.info.features["label"].names), opened)


def _builder(name: str, data_dir: str):
    """The TFDS builder of a dataset of images with labels."""
    name = without_held_out(name)
    if name.startswith(("/", ".", "~")):
        hint = f"a path is not a dataset's name; for a folder of images write folder:{name}"
        raise UserError(hint, f"name={name!r}")
    # Training reads only stores, and must load neither TFDS nor the builders.
    import tensorflow_datasets as tfds

    # Importing digits and ilsvrc registers their builders.
    from alexnet.data.sources import cifar10, digits, ilsvrc  # noqa: F401

    try:
        if name in CIFAR10:  # TFDS's own would need TensorFlow
            builder = cifar10.Cifar10(data_dir=root_dir(data_dir))
        else:
            builder = tfds.builder(name, data_dir=root_dir(data_dir))
    except tfds.core.DatasetNotFoundError:
        near = nearest(name, tfds.list_builders(with_community_datasets=False))
        raise UserError(f"unknown dataset{_folder(name) or near}", f"name={name!r}") from None
    except (ValueError, AssertionError, ImportError) as error:  # a wrong variant or version
        known = tfds.list_builders(with_community_datasets=False)
        dataset = name.partition("/")[0]
        variants = tfds.builder_cls(dataset).builder_configs if dataset in known else ()
        near = nearest(name, [f"{dataset}/{variant}" for variant in variants])
        near = _folder(name) or near or f": {one_line(error)}"
        raise UserError(f"unknown dataset{near}", f"name={name!r}") from error
    features = builder.info.features
    if not (
        isinstance(features, tfds.features.FeaturesDict)
        and {"image", "label"} <= set(features)
        and isinstance(features["image"], tfds.features.Image)
        and isinstance(features["label"], tfds.features.ClassLabel)
    ):
        raise UserError(f"dataset {name!r} does not consist of images with one class label each")
    return builder


def _folder(name: str) -> str:
    return f"; for a folder of images write folder:{name}" if Path(name).is_dir() else ""


def _download_and_prepare(builder, name: str) -> None:
    import tensorflow_datasets as tfds

    from alexnet.data.sources import ilsvrc

    if builder.name == IMAGENET:
        _check_archives(builder, IMAGENET_ARCHIVES.values(), IMAGENET_PAGE)
    elif isinstance(builder, ilsvrc.Imagenet2010):
        _check_archives(builder, ilsvrc.ARCHIVES, ilsvrc.PAGE)
        size = sum((_manual(builder) / file).stat().st_size for file in ilsvrc.ARCHIVES)
        if size > IN_MEMORY and importlib.util.find_spec("tensorflow") is None:
            raise _needs_tensorflow(name)  # now, rather than after the first gigabyte
    for left in sorted(builder.data_path.parent.glob(f"incomplete.*_{builder.data_path.name}")):
        say(f"removing {left}, which a preparation left that was killed")
        shutil.rmtree(left, ignore_errors=True)
    quickly = builder.name == "digits"  # within a second: bars would only be noise
    if quickly:
        tfds.disable_progress_bar()
    try:
        # TFDS prints banners; its progress bars go to stderr and stay.
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare(
                file_format="array_record",
                download_config=tfds.download.DownloadConfig(try_download_gcs=False),
            )
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "tensorflow":
            raise
        raise _needs_tensorflow(name) from error
    except (
        OSError,  # the network as well: requests' errors are OSErrors
        AssertionError,  # archives that must be downloaded by hand
        tarfile.TarError,
        tfds.download.DownloadError,
    ) as error:
        raise UserError(
            f"TFDS could not prepare dataset {name!r} in {builder.data_path}: {one_line(error)}"
        ) from error
    finally:
        if quickly:
            tfds.enable_progress_bar()


def _needs_tensorflow(name: str) -> UserError:
    return UserError(
        f"preparing {name!r} needs TensorFlow, training does not: pip install tensorflow "
        "(here, or in another environment with the same data_dir)"
    )


def _manual(builder) -> Path:
    """Where TFDS looks for archives."""
    return Path(builder.data_path).parents[1] / "downloads" / "manual"


def _check_archives(builder, archives: Iterable[str], page: str) -> None:
    manual = _manual(builder)
    missing = [file for file in archives if not (manual / file).exists()]
    if missing:
        raise UserError(
            f"{builder.name} needs {' and '.join(missing)} in {manual}; download them from {page}"
        )


def _check_imagenet_splits(builder) -> None:
    if builder.name != IMAGENET:
        return
    for split, file in IMAGENET_ARCHIVES.items():
        if split not in builder.info.splits:
            raise UserError(
                f"{builder.data_path} was prepared without {file}: delete it, put the archive in "
                f"{_manual(builder)} and prepare again"
            )


def _open_split(builder, split: str) -> TfdsSplit:
    import tensorflow_datasets as tfds

    features = builder.info.features
    images = [key for key in features if isinstance(features[key], tfds.features.Image)]
    try:
        source = builder.as_data_source(
            split, decoders={key: tfds.decode.SkipDecoding() for key in images}
        )
    except NotImplementedError as error:
        raise UserError(
            f"{builder.data_path} is not in TFDS's array_record format: delete it, or choose "
            "another data_dir, and prepare again"
        ) from error
    return TfdsSplit(source, f"{builder.info.full_name}/{split}")
