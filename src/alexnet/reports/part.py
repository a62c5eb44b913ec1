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
        title: its caption and alternative text.
    """

    name: str
    title: str
    drawing: Drawing


class Table(NamedTuple):
    """Cells of text; the first `words` columns are words, the others numbers.

    Attributes:
        folded: whether only the title shows until it is opened.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int
    title: str = ""
    folded: bool = False


@dataclasses.dataclass
class Part:
    """The content under one heading of a page.

    Attributes:
        text: under the heading, a line for each paragraph.
        html: content that is HTML already.
        missing: why the part could not be made; "" if it was.
        wide: whether it takes the whole width of a screen.
    """

    title: str = ""
    text: str = ""
    figures: Sequence[Shown] = ()
    tables: Sequence[Table] = ()
    html: Markup | None = None
    missing: str = ""
    wide: bool = True


def made(title: str, make: Callable[[], Part]) -> Part:
    """The part that `make` returns, with its title, or one that says why it could not be made.

    A part that fails does not stop the page; for an unexpected exception, a traceback is printed.
    """
    try:
        return dataclasses.replace(make(), title=title)
    except UserError as error:
        return Part(title, missing=str(error))
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        return Part(title, missing=f"{type(error).__name__}: {one_line(error)}")
