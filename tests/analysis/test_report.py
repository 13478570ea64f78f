"""A report is one valid page that escapes every name and needs nothing else."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from micdb.analysis.blocks import Card, Commands, Facts, Gallery, Plot, Remarks, Table, Verdict
from micdb.analysis.figures import atoms_figure, montage, nice_length, stretch
from micdb.analysis.report import Section, write_report
from micdb.errors import UsageError

EVIL = "<script>alert('x')</script> & \"Ångström\".tif"
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Checks that tags nest and collects what tests look at."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 60000, (90, 120)).astype(np.uint16)


@pytest.fixture
def page(image, tmp_path) -> Page:
    frame = pd.DataFrame({"name": [EVIL] * 25, "pixel_size": [1.5] * 24 + [np.nan], EVIL: [None] * 25})
    frame.attrs["units"] = {"pixel_size": "nm"}
    blocks = [
        Facts({"images": 1234, EVIL: EVIL}),
        Table(frame, caption=EVIL),
        Gallery(
            [
                Card(image, EVIL, note=EVIL, pixel_size_nm=2.0, box=(30, 0, 60, 45), query=True),
                Card(image, "b"),
            ]
        ),
        Plot(montage([image], ["one"], [2.0]), EVIL),
        Verdict(EVIL, good=False),
        Remarks([EVIL]),
        Commands([EVIL]),
    ]
    path = write_report(
        tmp_path / "report.html",
        title=EVIL,
        sections=[Section(EVIL, blocks, text=EVIL)],
        subtitle=EVIL,
        footer=EVIL,
    )
    parsed = Page()
    parsed.feed(path.read_text(encoding="utf-8"))
    parsed.close()
    assert parsed.open == []
    return parsed


def test_names_are_escaped_and_come_back_whole(page):
    assert "script" not in [tag for tag, _ in page.tags]
    assert page.text.count(EVIL) >= 30
    assert EVIL in [attributes.get("alt") for tag, attributes in page.tags if tag == "img"]


def test_nothing_is_loaded_from_elsewhere(page):
    sources = [attributes.get("src") or attributes.get("href") for _, attributes in page.tags]
    assert {re.split("[,#]", source)[0] for source in sources if source} == {"data:image/png;base64", ""}


def test_images_are_pngs_of_the_right_shape(page, image):
    source = next(attributes["src"] for tag, attributes in page.tags if tag == "img")
    shown = Image.open(BytesIO(base64.b64decode(source.partition(",")[2])))
    assert shown.size == image.shape[::-1]


def test_scale_bar_box_and_missing_scale(page):
    styles = {
        attributes.get("class"): attributes.get("style") for tag, attributes in page.tags if tag == "div"
    }
    assert styles["bar"] == "width:20.83%"  # 50 nm of 240 nm
    assert styles["box"] == "left:25.00%;top:0.00%;width:50.00%;height:50.00%"
    assert "50 nm" in page.text
    assert "no scale" in page.text


def test_tables_show_units_count_the_rest_and_mark_the_missing(page):
    assert "nm" in page.text
    assert "and 5 more rows" in page.text
    assert "1.5" in page.text
    assert "1,234" in page.text
    assert "–" in page.text


def test_the_page_stands_on_its_own_in_the_dark_and_on_paper(tmp_path):
    text = write_report(tmp_path / "r.html", title="t", sections=[]).read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


@pytest.mark.parametrize(
    ("width", "text"),
    [(1000.0, "200 nm"), (240.0, "50 nm"), (5000.0, "1 µm"), (8e6, "2 mm"), (5.0, "1 nm"), (1.0, "200 pm")],
)
def test_scale_bars_are_round(width, text):
    length, said = nice_length(width)
    assert said == text
    assert 0.1 * width <= length <= 0.28 * width


def test_a_scale_bar_needs_a_field_of_view():
    with pytest.raises(UsageError, match="has no scale bar"):
        nice_length(0.0)


def test_stretch_survives_constant_and_broken_images():
    assert stretch(np.full((4, 4), 7.0)).max() == 0
    assert stretch(np.array([[0.0, np.nan], [1.0, 2.0]])).dtype == np.uint8


def test_montage_wants_lists_that_match(image):
    with pytest.raises(UsageError, match="a montage of 2 images got 1 titles and 2 pixel sizes"):
        montage([image, image], ["one"], [1.0, None])
    figure = montage([image, image], ["one", "two"], [1.0, None])
    assert figure.axes[1].get_title() == "two (no scale)"
    assert figure.micdb_data["pixel_size_nm"].tolist()[0] == 1.0


def test_atoms_are_drawn_where_they_are(image):
    atoms = pd.DataFrame({"x_nm": [1.0, 2.0, 3.0], "y_nm": [1.0, 1.0, 2.0], "coordination": [1, 2, 1]})
    figure = atoms_figure(image, atoms, np.array([[0, 1], [1, 2]]), pixel_size_nm=0.1)
    bonds, *dots = figure.axes[0].collections
    assert bonds.get_segments()[1].tolist() == [[20.0, 10.0], [30.0, 20.0]]
    assert sorted(map(tuple, np.vstack([dot.get_offsets() for dot in dots]).tolist())) == [
        (10.0, 10.0), (20.0, 10.0), (30.0, 20.0),
    ]  # fmt: skip
    assert atoms_figure(image, atoms[:0], np.empty((0, 2), int), pixel_size_nm=0.1).micdb_data.empty
