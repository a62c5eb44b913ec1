"""The page: parts of runs as one HTML file that needs nothing else, and its figures as PNGs."""

import base64
import dataclasses
import re
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path

import jinja2

from alexnet import files
from alexnet.errors import UserError
from alexnet.reports.part import Part

FIGURES = re.compile(  # the names that `pngs` gives
    r"(\d+-.+-)?(curve_\w+|(errors|differences)(_\d+)?|filters|predictions|neighbours|confusion"
    r"|class_errors|surest)\.png"
)


@dataclasses.dataclass
class Run:
    """The content of a page about one run.

    Attributes:
        facts: the main facts about the run, as (name, value).
        note: what to say beside its name, in place of the first fact.
    """

    name: str
    facts: Sequence[tuple[str, str]]
    parts: Sequence[Part]
    note: str = ""


def html(
    title: str,
    subtitle: str,
    together: Sequence[Part],
    runs: Sequence[Run],
    command: str,
    single: bool,
) -> str:
    """The page's HTML; all names, of files and classes too, are escaped.

    Args:
        together: the parts on all runs.
        runs: those that have parts of their own.
        single: whether the page is on one run, whose name is the title.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["data_url"] = data_url
    template = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        title=title,
        subtitle=subtitle,
        together=together,
        runs=runs,
        command=command,
        single=single,
    )


def data_url(png: bytes) -> str:
    """A data URL, which puts an image inside the page."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def pngs(together: Iterable[Part], runs: Sequence[Run]) -> dict[str, bytes]:
    """The light figures by file name.

    With several runs, the names of their figures begin with the run's number and name.
    """
    found: dict[str, bytes] = {}
    for part in together:
        found |= {f"{shown.name}.png": shown.drawing.light for shown in part.figures}
    for number, run in enumerate(runs, 1):
        own = re.sub(r"[^\w.-]+", "-", Path(run.name).name).strip(".-") or "run"
        prefix = f"{number}-{own}-" if len(runs) > 1 else ""
        for part in run.parts:
            found |= {f"{prefix}{shown.name}.png": shown.drawing.light for shown in part.figures}
    return found


def write(output: Path, text: str, figures: dict[str, bytes]) -> Path:
    """Writes the page and, in a folder beside it, the figures; returns that folder.

    Raises:
        UserError: if they cannot be written.
    """
    folder = output.with_name(f"{output.stem}_figures")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("*.png"):  # of an earlier page, which had other parts
            if old.name not in figures and FIGURES.fullmatch(old.name):
                old.unlink()
        for name, png in figures.items():
            (folder / name).write_bytes(png)
        with files.whole(output) as partial:
            partial.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"cannot write there: {error.strerror}", f"output={output}") from None
    return folder
