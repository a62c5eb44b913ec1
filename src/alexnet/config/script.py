"""A user's Python file, a config or an experiment: run, with mistakes blamed on its lines."""

from __future__ import annotations

import contextlib
import importlib
import runpy
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alexnet.errors import UserError, one_line


def run_file(path: Path) -> dict[str, Any]:
    """The names that a user's Python file defines. Raises UserError, naming the faulty line."""
    source = path.read_bytes()
    if b"\0" in source:
        line = source[: source.index(b"\0")].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: a null byte: the file is damaged, or not Python")
    with blamed_on(path):
        return runpy.run_path(str(path))


@contextlib.contextmanager
def blamed_on(path: Path, variant: str = "") -> Iterator[None]:
    """Turns an error in a user's file, or in a file beside it, into a UserError that says where."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except SyntaxError as error:
        where = f"{error.filename or path}, line {error.lineno}"
        raise UserError(f"{where}: {error.msg}") from None
    except (Exception, SystemExit) as error:
        if variant and isinstance(error, KeyError) and error.args == (variant,):
            raise UserError(f"{path}: it has no variant {variant!r}") from None
        if variant and isinstance(error, ValueError) and repr(variant) in str(error):
            raise UserError(f"{path}:{variant}: {error}") from None
        raise UserError(_blame(path, error)) from None


def _blame(path: Path, error: BaseException) -> str:
    """The error, with the last line of its traceback that is in the file or in one beside it."""
    where, folder = str(path), path.resolve().parent

    def beside(file: Path) -> bool:
        """Whether a file is beside the user's, or in a package that is."""
        if folder not in file.parents:
            return False
        top = folder / file.relative_to(folder).parts[0]
        return file.parent == folder or (top / "__init__.py").exists()

    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == str(path) or beside(Path(frame.filename)):
            where = f"{frame.filename}, line {frame.lineno}"
    if isinstance(error, ModuleNotFoundError):
        return f"{where}: imports {error.name}, which is neither beside this file nor installed"
    return f"{where}: {type(error).__name__}: {one_line(error)}"


@contextlib.contextmanager
def siblings_importable(folder: Path) -> Iterator[None]:
    """Lets a config import what is beside it, and forgets these modules afterwards.

    Another folder, or the program that loads the config, may have a module of the same name.
    """
    names = {path.stem for path in folder.glob("*.py")}
    names |= {path.parent.name for path in folder.glob("*/__init__.py")}

    def known() -> list[str]:
        return [name for name in list(sys.modules) if name.partition(".")[0] in names]

    before = {name: sys.modules.pop(name) for name in known()}
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in known():
            del sys.modules[name]
        sys.modules.update(before)
