"""A part of a page: figures, tables, or the reason why there are none."""

import dataclasses
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from alexnet.errors import UserError, one_line
from alexnet.figures.style import Drawing


class Shown(NamedTuple):
    """A figure on a page.

    Attributes:
        name: of its file, without .png.
        title: what is in it, for those who cannot see it and below it.
    """

    name: str
    title: str
    drawing: Drawing


class Table(NamedTuple):
    """Cells of text; the first `words` columns are words, the others figures."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1
    title: str = ""


@dataclasses.dataclass
class Part:
    """What a page says under one heading.

    Attributes:
        text: under the heading, a line for each paragraph.
        html: what is HTML already.
        missing: why there is nothing; "" if there is.
        wide: whether it takes the whole width of a screen.
    """

    title: str
    text: str = ""
    figures: Sequence[Shown] = ()
    tables: Sequence[Table] = ()
    html: Markup | None = None
    missing: str = ""
    wide: bool = True


def made(title: str, make: Callable[[], Part]) -> Part:
    """What `make` returns, or a part that says why it could not be made.

    Whatever goes wrong with one part, the others are still worth a page; a bug shows its traceback.
    """
    try:
        return make()
    except UserError as error:
        return Part(title, missing=str(error))
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        return Part(title, missing=f"{type(error).__name__}: {one_line(error)}")
