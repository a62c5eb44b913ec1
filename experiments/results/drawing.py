"""Writes a figure for light and for dark pages, unless it already shows the same numbers."""

import hashlib
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from alexnet.errors import UserError
from alexnet.figures import style

RESULTS = Path(__file__).parent


def paths(name: str) -> tuple[Path, Path]:
    """The two files of a figure."""
    return RESULTS / f"{name}.png", RESULTS / f"{name}-dark.png"


def write(
    argv: Sequence[str], name: str, numbers: bytes, draw: Callable[[Figure], None], height: float
) -> None:
    """Writes the figure if its numbers have changed; with --check, exits with status 1 then.

    Args:
        numbers: what the figure shows; it keeps their digest, as pixels depend on fonts.
        height: in inches.
    """
    if list(argv) not in ([], ["--check"]):
        raise UserError(f"stray argument {argv[0]!r}: only --check")
    shown = hashlib.sha256(numbers).hexdigest()
    if all(drawn_from(path) == shown for path in paths(name)):
        return
    if argv:
        sys.exit(f"experiments/results/{name}.png: run python experiments/results/{name}.py")
    note = PngInfo()
    note.add_text("results", shown)
    drawing = style.drawn(draw, height=height)
    for path, png in zip(paths(name), (drawing.light, drawing.dark), strict=True):
        picture = Image.open(io.BytesIO(png)).convert("P", palette=Image.Palette.ADAPTIVE)
        picture.save(path, pnginfo=note, optimize=True)


def drawn_from(path: Path) -> str:
    """The digest stored in a figure; "" if it has none."""
    return Image.open(path).info.get("results", "") if path.exists() else ""
