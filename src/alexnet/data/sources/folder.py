"""A folder of images with one sub-folder per class."""

import hashlib
from pathlib import Path

from alexnet.data.sources.raw import RawData
from alexnet.errors import UserError

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
VALIDATION_NAMES = ("val", "validation", "test")
HELD_OUT = 10  # one image in ten, where the folder has no split of its own


class Files:
    """One split of an image folder: (encoded image, label) by index."""

    def __init__(self, root: Path, examples: list[tuple[Path, int]]):
        self._root, self._examples = root, examples

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> tuple[bytes, int]:
        path, label = self._examples[index]
        return path.read_bytes(), label

    def where(self, index: int) -> str:
        return str(self._examples[index][0])

    def path(self, index: int) -> bytes:
        return _relative(self._examples[index][0], self._root)


def list_images(path: str) -> RawData:
    """Reads the listing of folder `path`; the images themselves are read later.

    With train/ and one of val/, validation/, test/ inside, these are the splits and the classes
    are their sub-folders. Otherwise the classes are the sub-folders of `path`, and a
    tenth of the images, chosen by a hash of their names, is held out for validation.

    Raises UserError: no such folder, no images, an empty class, fewer than two classes, a
    validation class that training does not have.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise UserError(
            f"folder {root} does not exist; if it moved, say where it is now: folder:/new/place",
            "name",
        )
    validation = next((root / name for name in VALIDATION_NAMES if (root / name).is_dir()), None)
    if (root / "train").is_dir() and validation:
        files = _files_by_class(root / "train")
        splits = {"train": files, "validation": _files_by_class(validation)}
        if strangers := sorted(set(splits["validation"]) - set(files)):
            raise UserError(f"{validation} has classes that {root / 'train'} has not: {strangers}")
    else:
        files = _files_by_class(root)
        splits = {"train": {}, "validation": {}}
        for name, paths in files.items():
            held_out = _held_out(paths, root)
            splits["train"][name] = [path for path in paths if path not in held_out]
            splits["validation"][name] = [path for path in paths if path in held_out]
        if not any(splits["validation"].values()):
            raise UserError(f"every class in {root} has a single image: none is left to validate")
    labels = {name: label for label, name in enumerate(files)}
    return RawData(
        classes=tuple(files),
        splits={
            split: Files(
                root, [(path, labels[name]) for name in by_class for path in by_class[name]]
            )
            for split, by_class in splits.items()
        },
        digest=_digest(root, splits),
        upright=True,
    )


def _files_by_class(folder: Path) -> dict[str, list[Path]]:
    """Class name -> its image files, both sorted by name."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    files = {
        path.name: sorted(
            file
            for file in path.iterdir()
            if file.suffix.lower() in EXTENSIONS and file.name[0] != "."
        )
        for path in folders
    }
    if not any(files.values()):
        raise UserError(
            f"no images in the sub-folders of {folder}: it needs one sub-folder per class, with "
            f"files that end in {' '.join(EXTENSIONS)}"
        )
    if empty := [name for name in files if not files[name]]:
        raise UserError(
            f"class folder {folder / empty[0]} holds no images (files that end in "
            f"{' '.join(EXTENSIONS)}): remove it or fill it"
        )
    if len(files) < 2:
        raise UserError(f"{folder} holds a single class, {next(iter(files))!r}: it needs two")
    return files


def _held_out(paths: list[Path], root: Path) -> set[Path]:
    """A tenth of a class by a hash of the names, so that images that come later move none."""
    hashes = {
        path: int.from_bytes(hashlib.sha1(_relative(path, root)).digest(), "big") for path in paths
    }
    chosen = {path for path in paths if hashes[path] % HELD_OUT == 0}
    if len(paths) > 1 and len(chosen) in (0, len(paths)):  # a class needs images in both
        chosen = {min(paths, key=hashes.__getitem__)}
    return chosen


def _digest(root: Path, splits: dict[str, dict[str, list[Path]]]) -> str:
    """Changes when a file comes, goes, or is written again."""
    digest = hashlib.sha256()
    for split, by_class in splits.items():
        for path in (path for paths in by_class.values() for path in paths):
            stat = path.stat()
            digest.update(_relative(path, root))
            digest.update(f"\0{split}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _relative(path: Path, root: Path) -> bytes:
    return str(path.relative_to(root)).encode("utf-8", "surrogateescape")
