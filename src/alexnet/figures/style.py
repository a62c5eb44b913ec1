"""The style of all figures: fonts, and colours for light and for dark pages.

This needs neither a display nor pyplot. A function draws on an empty figure, once for each theme,
and the figure becomes the bytes of a PNG.
"""

import functools
import io
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypedDict

import matplotlib
from cycler import cycler
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from alexnet.text import say


class Theme(TypedDict):
    """The colours of a page."""

    paper: str
    ink: str
    faint: str
    colours: Sequence[str]


WIDTH = 4.8  # inches: two figures side by side on a screen, one on a phone
DPI = 200
# Paul Tol's "bright" colours, which most colour-blind people tell apart, with three of them
# darkened, and lighter ones for dark pages.
LIGHT: Theme = {
    "paper": "#ffffff",
    "ink": "#1f2328",
    "faint": "#d5d9de",
    "colours": ("#4477aa", "#ee6677", "#228833", "#b8a200", "#3399bb", "#aa3377", "#777777"),
}
DARK: Theme = {
    "paper": "#1b1f24",
    "ink": "#d7dce2",
    "faint": "#3b424a",
    "colours": ("#7aaede", "#ff8f9c", "#5fc06f", "#dccb55", "#7fd6ee", "#dd86b8", "#a9b0b8"),
}
FALLBACK = (  # for letters that the first font lacks
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans CJK KR", "Noto Sans KR", "NanumGothic"),
    *("Apple SD Gothic Neo", "Malgun Gothic", "Arial Unicode MS", "Noto Sans"),
)


class Drawing(NamedTuple):
    """A figure as PNGs.

    Attributes:
        light: for paper and light pages.
        dark: the same for dark ones.
    """

    light: bytes
    dark: bytes


def drawn(draw: Callable[[Figure], None], height: float) -> Drawing:
    """Both themes of the figure that `draw` draws, `height` in inches."""
    return Drawing(*(_png(draw, height, theme) for theme in (LIGHT, DARK)))


def _png(draw: Callable[[Figure], None], height: float, theme: Theme) -> bytes:
    with matplotlib.rc_context(_settings(theme)), warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        figure = Figure((WIDTH, height), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        file = io.BytesIO()
        figure.savefig(file, format="png", metadata={"Software": None})
    for one in seen:
        if str(one.message).startswith("Glyph"):
            _say_that_letters_are_missing()
        else:
            warnings.warn(one.message, stacklevel=2)
    return file.getvalue()


@functools.cache
def _say_that_letters_are_missing() -> None:
    """Once: there would be a line for each letter and figure."""
    say("some letters are drawn as boxes, as no font here has them; Noto Sans CJK has many")


def _settings(theme: Theme) -> dict[Any, Any]:
    installed = {font.name for font in font_manager.fontManager.ttflist}
    ink, paper = theme["ink"], theme["paper"]
    return {
        "font.family": ["DejaVu Sans", *(name for name in FALLBACK if name in installed)],
        "font.size": 10,
        "text.parse_math": False,  # a $ in a class's name is just a $
        "text.color": ink,
        "axes.labelcolor": ink,
        "axes.edgecolor": theme["faint"],
        "axes.facecolor": paper,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": cycler(color=theme["colours"]),
        "figure.facecolor": paper,
        "savefig.facecolor": paper,
        "grid.color": theme["faint"],
        "grid.linewidth": 0.6,
        "xtick.color": theme["faint"],
        "ytick.color": theme["faint"],
        "xtick.labelcolor": ink,
        "ytick.labelcolor": ink,
        "legend.frameon": False,
        "legend.fontsize": 8,
        "lines.solid_capstyle": "round",
    }


def shades() -> LinearSegmentedColormap:
    """A colour map from the page's colour to the first line colour."""
    settings = matplotlib.rcParams
    strong = settings["axes.prop_cycle"].by_key()["color"][0]
    return LinearSegmentedColormap.from_list("shades", [settings["axes.facecolor"], strong])


def bare(axes: Axes) -> None:
    """Removes ticks, with their grid, and the frame, for pictures."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def short(text: str, most: int) -> str:
    """A name on one line of at most `most` characters."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
