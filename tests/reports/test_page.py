"""The source of the page: nothing from elsewhere, and every name is escaped."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from markupsafe import Markup
from PIL import Image

from alexnet.errors import UserError
from alexnet.figures.style import Drawing
from alexnet.reports import page
from alexnet.reports.part import Part, Shown, Table, made

EVIL = """<script>alert("1")</script> & 'quotes' "more" <img src=x onerror=alert(1)> 日本 é"""


class Reader(HTMLParser):
    """Tags, texts and the addresses of resources."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.texts, self.addresses, self.attributes = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.addresses += [x for name, x in attrs if name in ("src", "srcset", "href", "data")]

    def handle_data(self, data):
        self.texts.append(data)


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((2, 3, 3), shade, np.uint8)).save(file, "png")
    return file.getvalue()


def whole(name: str, runs: int = 1) -> str:
    shown = Shown("figure", name, Drawing(png(0), png(255)))
    part = Part(
        name,
        f"{name}\n{name}",
        [shown],
        [
            Table((name, "n"), [(name, name)], 1, title=name),
            Table((name, "n"), [(name, name)], 1, title=name, folded=True),
        ],
        Markup("<table><tr><td>a</td></tr></table>"),
    )
    parts = [part, Part(name, missing=name)]
    made = [page.Run(name, [(name, name)], parts)] * runs
    return page.html(name, name, [part], made, name, single=runs == 1)


@pytest.mark.parametrize("runs", [1, 2, 4])
def test_names_are_text_wherever_they_stand(runs):
    plain, evil = Reader(whole("x", runs)), Reader(whole(EVIL, runs))
    assert evil.tags == plain.tags
    assert evil.attributes == plain.attributes
    assert [text.replace(EVIL, "x") for text in evil.texts] == plain.texts
    assert sum(EVIL in text for text in evil.texts) > 10


def test_a_folded_table_opens_under_its_title():
    [table] = re.findall(r"<details><summary>(.*?)</summary>(.*?)</details>", whole("x"), re.S)[:1]
    assert table[0] == "x"
    assert table[1].count("<table>") == 1
    assert "<caption>" not in table[1]


def test_parts_are_wide_but_those_that_say_otherwise():
    parts = [Part("a"), Part("b", wide=False), Part("c")]
    text = page.html("", "", [], [page.Run("run", [], parts)], "", single=True)
    assert re.findall('<section class="(.*)">', text) == ["part wide", "part", "part wide"]


@pytest.mark.parametrize("runs", [1, 4])
def test_it_needs_nothing_from_elsewhere(runs):
    text = whole(EVIL, runs)
    reader = Reader(text)
    assert not {"script", "link", "iframe", "object", "base"} & set(reader.tags)
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'; img-src data:" in text
    images = [address for address in reader.addresses if not address.startswith("#run")]
    assert len(images) == 2 * (1 + runs)
    for number, address in enumerate(images):
        kind, _, data = address.partition(",")
        assert kind == "data:image/png;base64"
        shade = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        assert (shade == (255 if number % 2 == 0 else 0)).all()  # the dark one comes first


def test_figures_are_named_after_their_run(tmp_path):
    parts = [Part("a", figures=[Shown("filters", "", Drawing(png(1), png(2)))])]
    runs = [page.Run(name, [], parts) for name in ("runs/a b", "other/a b", "runs/<é>", "..")]
    found = page.pngs([Part("x", figures=[Shown("loss", "", Drawing(png(3), png(2)))])], runs)
    names = ["loss", "1-a-b-filters", "2-a-b-filters", "3-é-filters", "4-run-filters"]
    assert list(found) == [f"{name}.png" for name in names]
    assert list(page.pngs([], runs[:2])) == [f"{name}.png" for name in names[1:3]]
    assert page.pngs([], runs[:1]) == {"filters.png": png(1)}
    folder = page.write(tmp_path / "new" / "page.html", "text", found)
    assert folder == tmp_path / "new" / "page_figures"
    assert (tmp_path / "new/page.html").read_text() == "text"
    assert {path.name for path in folder.iterdir()} == set(found)
    assert (folder / "loss.png").read_bytes() == png(3)


def test_figures_of_an_earlier_page_do_not_stay(tmp_path):
    folder = tmp_path / "report_figures"
    folder.mkdir()
    for name in ("confusion.png", "3-no_lrn-0-filters.png", "errors_2.png", "my own.png"):
        (folder / name).write_bytes(b"")
    page.write(tmp_path / "report.html", "text", {"filters.png": b"new"})
    assert {path.name for path in folder.iterdir()} == {"filters.png", "my own.png"}


@pytest.mark.parametrize(
    "name",
    [
        *("curve_loss", "curve_top1_error", "filters", "predictions", "neighbours", "confusion"),
        *("class_errors", "surest", "errors", "errors_2", "differences", "differences_3"),
    ],
)
def test_every_figure_is_one_that_a_later_page_removes(name):
    assert page.FIGURES.fullmatch(f"{name}.png")
    assert page.FIGURES.fullmatch(f"2-a-{name}.png")
    assert not page.FIGURES.fullmatch(f"my_{name}.png")


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"output=.*page.html: cannot write there: "):
        page.write(tmp_path / "file" / "page.html", "", {})


def test_a_part_that_cannot_be_made_says_why(capsys):
    def mistaken():
        raise UserError("no such layer", "row")

    def broken():
        raise ZeroDivisionError("by\nzero")

    assert made("A", mistaken) == Part("A", missing="row: no such layer")
    assert capsys.readouterr().err == ""
    assert made("B", broken) == Part("B", missing="ZeroDivisionError: by zero")
    assert "in broken" in capsys.readouterr().err
