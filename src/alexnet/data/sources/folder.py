"""A folder of images: a sub-folder for each class, in splits or all together.

    pets/cats/...  pets/dogs/...                  a tenth is held out for validation
    pets/train/cats/...  pets/val/cats/...        and pets/test/cats/..., where there is one
    pets/train/cats/...  pets/test/cats/...       a tenth of train/ is held out; test/ is kept as is

A class's images may be in sub-folders of its folder. Every file is an example, or is left out for
a stated reason.
"""

import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from alexnet.data import images
from alexnet.data.progress import shown
from alexnet.data.recipe import folder_path
from alexnet.data.sources.held_out import held_out
from alexnet.data.sources.raw import TOO_LARGE, UNREADABLE, LeftOut, RawData
from alexnet.data.sources.tree import (
    File,
    digests_of,
    folders_in,
    is_hidden,
    kinds,
    read,
    stamp_of,
    walk,
)
from alexnet.errors import UserError
from alexnet.text import printable, some

SPLITS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}

SHOWN = 5  # names in a message
# With a smaller share of the images directly in class folders, it may be unclear which folders are
# the classes: see `_check_level`.
OWN = 0.1

HIDDEN = "hidden"
NO_FILE = "not a regular file"
OUTSIDE = "outside the class folders"
NO_IMAGE = "not an image by its name"


Examples = dict[str, dict[str, list[str]]]  # split -> class -> paths of images
Layout = dict[str, str]  # split -> its folder below the root; "" is the root itself


class Files:
    """One split of an image folder: (encoded image, label) by index."""

    def __init__(self, root: Path, examples: Sequence[tuple[str, int]]):
        self._root, self._examples = root, examples

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: int) -> tuple[bytes, int]:
        path, label = self._examples[index]
        return read(self._root / path), label

    def where(self, index: int) -> str:
        return str(self._root / self._examples[index][0])

    def path(self, index: int) -> bytes:
        return self._examples[index][0].encode("utf-8", "surrogateescape")


def _place(file: File, layout: Layout) -> tuple[str, list[str]]:
    """("train", the path below the split's folder), or ("", ...) outside all splits."""
    for split, folder in layout.items():
        if not folder:
            return split, file.parts
        if file.parts[0] == folder:
            return split, file.parts[1:]
    return "", file.parts


def stamp(path: str) -> str:
    """A digest of every file's name, size and times: it changes if one is added, deleted or edited.

    The times include ctime, which no program sets back, so a file replaced by one of the same size
    and mtime is noticed too. Raises UserError.
    """
    return stamp_of(walk(root_of(path)))


def list_images(path: str, max_pixels: int = images.MAX_PIXELS) -> RawData:
    """Lists folder `path`; reads whole images only if some must be held out.

    Raises:
        UserError: if there is no such folder, no image, a folder beside train/ that is not a split,
            an empty class, fewer than two classes, a validation or test class that training lacks,
            or if it is unclear which folders are the classes.
    """
    root = root_of(path)
    files = walk(root)
    layout = _layout(root, files)
    examples, left_out = _sorted_out(root, files, layout, max_pixels)
    classes = _classes(root, files, layout, examples)
    notes: tuple[str, ...] = ()
    if "validation" not in layout:
        examples, unreadable = _hold_out(root, examples)
        left_out += unreadable
        source = f"images in {layout['train']}/" if layout["train"] else "images"
        held = sum(map(len, examples["validation"].values()))
        whole = held + sum(map(len, examples["train"].values()))
        notes = (f"{held:,} of {whole:,} {source} are held out, by a hash of each one's bytes",)
    if "test" in layout and not any(examples["test"].values()):
        del examples["test"]
        notes += (f"{layout['test']}/ has no class folders with images: it is not used",)
    labels = {name: label for label, name in enumerate(classes)}
    splits = {
        split: Files(
            root, [(path, labels[name]) for name in sorted(by_class) for path in by_class[name]]
        )
        for split, by_class in examples.items()
    }
    return RawData(tuple(classes), splits, tuple(left_out), notes, stamp_of(files), upright=True)


def root_of(path: str) -> Path:
    """The folder, resolved. Raises UserError if there is none."""
    root = folder_path(path)
    if not root.exists():
        raise UserError(
            f"folder {root} does not exist: write the path of the photos, folder:/path/to/photos",
            "name",
        )
    if not root.is_dir():
        raise UserError(f"{root} is a file, not a folder", "name")
    return root


# --- Which folders are splits, which are classes --------------------------------------------------


def _layout(root: Path, files: Sequence[File]) -> Layout:
    tops = sorted({file.parts[0] for file in files if len(file.parts) > 1} | folders_in(root))
    tops = [top for top in tops if not is_hidden([top, ""])]
    known = {name: split for split, names in SPLITS.items() for name in names}
    found: dict[str, list[str]] = {}
    for top in tops:
        if split := known.get(top.lower()):
            found.setdefault(split, []).append(top)
    if not found:
        return {"train": ""}
    for split, folders in found.items():
        if len(folders) > 1:
            raise UserError(f"{root} has {_list(folders)}, which all mean {split}: keep one")
    allowed = ", ".join(f"{name}/" for names in SPLITS.values() for name in names)
    if "train" not in found:
        there = _list([name for names in found.values() for name in names])
        raise UserError(
            f"{root} has {there} but no train/: the folders of splits are {allowed}; a class must "
            "have another name"
        )
    if strangers := [top for top in tops if top.lower() not in known]:
        raise UserError(
            f"{root} has {_list(strangers)} beside {found['train'][0]}/, where only these folders "
            f"may be: {allowed}; move the others away, or rename {found['train'][0]}/ if it is a "
            "class"
        )
    return {split: found[split][0] for split in SPLITS if split in found}


def _classes(
    root: Path, files: Sequence[File], layout: Layout, examples: Mapping[str, dict]
) -> list[str]:
    """The classes sorted by name, once all checks have passed."""
    train = root / layout["train"]
    needs = "it needs one sub-folder per class, with images that Pillow reads"
    if not examples["train"]:
        raise UserError(f"no images in the sub-folders of {train}: {needs}; {kinds(files)}")
    for folder in layout.values():
        _check_names(root / folder)
    inner = [name for name in folders_in(train) if not is_hidden([name, ""])]
    real = {class_name(name): train / name for name in inner}
    if empty := sorted(set(real) - set(examples["train"])):
        hollow = real[empty[0]]
        inside = [file for file in files if (root / file.path).is_relative_to(hollow)]
        raise UserError(
            f"class folder {hollow} holds no images ({kinds(inside)}): remove it or fill it"
        )
    classes = sorted(examples["train"])
    if len(classes) < 2:
        only, advice = classes[0], ""
        if len(folders_in(real[only])) > 1:
            advice = f"; if the folders in {only!r} are the classes, write folder:{real[only]}"
        elif train == root:
            advice = f"; if {root.name!r} itself is a class, write folder:{root.parent}"
        raise UserError(f"{train} holds a single class, {only!r}, and needs two{advice}")
    _check_level(train, layout, examples["train"])
    for split in set(layout) - {"train"}:
        where = root / layout[split]
        if strangers := sorted(set(examples[split]) - set(classes)):
            raise UserError(f"{where} has classes that {train} lacks: {_list(strangers)}")
        if split == "validation" and not examples[split]:
            raise UserError(f"no images in the sub-folders of {where}: {needs}; else remove it")
    return classes


def class_name(folder: str) -> str:
    """A folder's class name, the same however the system encodes accents."""
    return unicodedata.normalize("NFC", printable(folder))


def _check_names(folder: Path) -> None:
    by_name: dict[str, str] = {}
    for name in sorted(folders_in(folder)):
        other = by_name.setdefault(class_name(name), name)
        if other != name:
            raise UserError(
                f"{folder} has two folders with the name {class_name(name)!r}, spelled with "
                "different bytes: make them one"
            )


def _check_level(train: Path, layout: Layout, classes: Mapping[str, Sequence[str]]) -> None:
    """Raises UserError if the folders one level down could be the classes just as well."""
    depth = 1 if layout["train"] else 0
    below = {
        name: Counter(os.sep.join(path.split(os.sep)[depth + 1 : -1]) for path in paths)
        for name, paths in classes.items()
    }
    own = sum(folders[""] for folders in below.values())
    name, folders = max(below.items(), key=lambda item: len(item[1]))
    if len(folders) > 1 and own < OWN * sum(map(len, classes.values())):
        inside = _list([f"{name}/{each}" for each in sorted(folders) if each])
        raise UserError(
            f"it is unclear which folders in {train} are the classes: {_list(sorted(classes))} "
            f"directly hold {own or 'no'} images; the others are in {inside}, ...; move the "
            "images of each class into its folder, or name the folder whose sub-folders are the "
            "classes"
        )


# --- Which files are examples ---------------------------------------------------------------------


def _sorted_out(
    root: Path, files: Iterable[File], layout: Layout, max_pixels: int
) -> tuple[Examples, list[LeftOut]]:
    """(the images, the other files)."""
    examples: Examples = {split: {} for split in layout}
    left_out = []
    for file in files:
        split, parts = _place(file, layout)
        reason = _no_example(file, inside=bool(split) and len(parts) > 1)
        if reason:
            left_out.append(LeftOut(file.path, reason))
        elif file.size > images.BIG and (bad := _too_large(root, file, max_pixels)):
            left_out.append(bad)
        else:
            examples[split].setdefault(class_name(parts[0]), []).append(file.path)
    return examples, left_out


def _no_example(file: File, inside: bool) -> str:
    """Why a file is not an example; "" if it is one."""
    if is_hidden(file.parts):
        return HIDDEN
    if file.status is None or not stat.S_ISREG(file.status.mode):
        return NO_FILE
    if not inside:
        return OUTSIDE
    known = os.path.splitext(file.path)[1].lower() in images.suffixes()
    return "" if known else NO_IMAGE


def _too_large(root: Path, file: File, max_pixels: int) -> LeftOut | None:
    """Why a big file is left out, without reading it; None if it is not."""
    most = 8 * max_pixels + images.BIG  # bytes: no encoding takes more per pixel
    if file.size > most:
        why = f"{file.size:,} bytes, more than max_pixels={max_pixels} can take"
        return LeftOut(file.path, TOO_LARGE, why)
    try:
        images.check_size(root / file.path, max_pixels)
    except images.TooLargeError as error:
        return LeftOut(file.path, TOO_LARGE, str(error))
    except Exception:  # Pillow raises nearly anything
        return LeftOut(file.path, UNREADABLE, "not a known image format")
    return None


def _hold_out(root: Path, examples: Examples) -> tuple[Examples, list[LeftOut]]:
    """(the examples, some of train's moved to validation; files that could not be read)."""
    unreadable = []
    digests: dict[str, dict[str, bytes]] = {name: {} for name in examples["train"]}
    every = [(name, path) for name, paths in examples["train"].items() for path in paths]
    found = digests_of([os.path.join(root, path) for _, path in every])
    found = shown(found, "reading the images", len(every))
    for (name, path), digest in zip(every, found, strict=True):
        if isinstance(digest, bytes):
            digests[name][path] = digest
        else:
            unreadable.append(LeftOut(path, UNREADABLE, digest))
    held = held_out({name: by_path.values() for name, by_path in digests.items()})
    if not held:
        raise UserError(
            f"no image of {root} can be held out for validation: every class has only one, or "
            "shares all its images with others"
        )
    parts: Examples = {"train": {}, "validation": {}}
    for name, by_path in digests.items():
        for path, digest in by_path.items():
            part = parts["validation" if digest in held else "train"]
            part.setdefault(name, []).append(path)
    return parts | {split: examples[split] for split in examples if split == "test"}, unreadable


def _list(names: Sequence[str]) -> str:
    return some([printable(name) for name in names], SHOWN)
