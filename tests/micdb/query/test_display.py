"""How frames look: bounded, escaped, self-contained, and never stuck."""

from __future__ import annotations

import re
from base64 import b64decode
from html.parser import HTMLParser
from pathlib import Path
from runpy import run_path
from threading import Event
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from micdb.errors import StoreError
from micdb.query import display
from micdb.query.display import Preview
from micdb.query.schema import Field, Schema

make = SimpleNamespace(**run_path(str(Path(__file__).parents[2] / "data" / "planted" / "make.py")))
FIELDS = [
    Field("name", "text", None, "images"),
    Field("pixel_size", "number", "nm", "images"),
    Field("width", "integer", None, "images"),
]


class Frame:
    """What display needs of a frame."""

    noun = "images"
    among = ""

    def __init__(self, table, *, count=None, fields=FIELDS, uids=None, context=None):
        self.table, self.context = table, context
        self.count = len(table) if count is None else count
        self.uids = uids or [None] * len(table)
        self.schema = Schema("images", {field.name: field for field in fields})

    def preview(self, rows, *, counted):
        return Preview(self.table.head(rows), self.uids[:rows], min(self.count, counted + 1))


def table(names, sizes=None):
    sizes = sizes or [0.5] * len(names)
    made = pd.DataFrame({"name": names, "pixel_size": sizes, "width": [1024] * len(names)})
    return made.convert_dtypes(dtype_backend="pyarrow")


def test_text_has_units_aligned_numbers_and_a_count():
    shown = display.text(Frame(table(["a", "longer name"], [0.123456789, None]), count=1656))
    assert shown.splitlines() == [
        "name         pixel_size [nm]  width",
        "a                   0.123457   1024",
        "longer name             <NA>   1024",
        "1,656 images",
    ]


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 images"),
        (1, "1 image"),
        (10_000, "10,000 images"),
        (10_001, "10,000+ images"),
        (9**9, "10,000+ images"),
    ],
)
def test_rows_are_counted_to_ten_thousand(count, said):
    names = ["a"] * min(count, 20)
    lines = display.text(Frame(table(names), count=count)).splitlines()
    assert lines[-1] == said
    assert len(lines) == 2 + min(count, 8)


def test_wide_frames_name_the_columns_left_out():
    fields = [Field(f"column_number_{i}", "number", "nm", "images") for i in range(30)]
    wide = pd.DataFrame({field.name: [1.0] for field in fields})
    shown = display.text(Frame(wide, fields=fields))
    assert max(map(len, shown.splitlines())) <= display.WIDTH
    named = re.findall(r"column_number_\d+", shown)
    assert sorted(named) == sorted(field.name for field in fields)


def test_long_text_and_line_breaks_are_cut():
    shown = display.text(Frame(table(["x" * 100 + "\nsecond"])))
    assert "x" * 35 + "…" in shown
    assert len(shown.splitlines()) == 3


@pytest.mark.parametrize("show", [display.text, display.html])
def test_a_slow_query_is_shown_by_its_columns(show, monkeypatch):
    monkeypatch.setattr(display, "BUDGET", 0.05)
    frame, shown_already, given_up = Frame(table(["a"])), Event(), []
    # a query that takes for ever
    frame.preview = lambda *_, **__: given_up.append(not shown_already.wait(60))
    shown = show(frame)
    shown_already.set()
    assert given_up in ([], [False])
    assert "no preview within 0.05 s; columns: name, pixel_size [nm], width" in shown


def test_an_error_of_the_query_is_not_hidden():
    frame = Frame(table(["a"]))
    frame.preview = lambda _rows, counted: (_ for _ in ()).throw(StoreError("the part x is missing"))
    with pytest.raises(StoreError, match="the part x is missing"):
        display.text(frame)


class Tags(HTMLParser):
    """Collects tags and checks that they nest."""

    def __init__(self, html):
        super().__init__()
        self.seen, self.open, self.attributes = [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += attrs
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_html_is_escaped_and_loads_nothing():
    shown = display.html(Frame(table(['<script>alert("1")</script>', "a & b"])))
    tags = Tags(shown)
    assert "script" not in tags.seen
    assert "&lt;script&gt;" in shown
    assert "a &amp; b" in shown
    assert not re.search(r"https?:|url\(|@import", shown)
    assert '<span class="unit">[nm]</span>' in shown


def test_html_shows_thumbnails_and_a_grey_cell_where_there_is_none(tmp_path):
    context = make.database(tmp_path)
    seen, lost, damaged = make.images(context, 3)
    make.file(context, seen, np.arange(48 * 64, dtype=np.float32).reshape(48, 64))
    make.file(context, damaged, np.ones((4, 4), np.float32)).write_bytes(b"no HDF5")
    uids = [make.uid(context, image) for image in (seen, lost, damaged)]
    shown = display.html(Frame(table(["seen", "lost", "damaged"]), context=context, uids=uids))
    tags = Tags(shown)
    assert tags.seen.count("img") == 1
    assert shown.count('class="blank"') == 2
    (source,) = [value for name, value in tags.attributes if name == "src"]
    kind, _, encoded = source.partition(",")
    assert kind == "data:image/png;base64"
    assert b64decode(encoded).startswith(b"\x89PNG")
    assert "3 images" in shown


def test_rows_without_images_have_no_picture_column():
    assert "<img" not in display.html(Frame(table(["a"])))
    assert 'class="blank"' not in display.html(Frame(table(["a"])))


def test_what_a_search_added_is_shown_and_what_is_missing_comes_last():
    from micdb.query.columns import SOURCES

    given = list(SOURCES["images"].elements)
    fields = [Field(name, "number", None, "images") for name in [*given, "similarity"]]
    values = {name: [None] if name == "lab" else [1.0] for name in [*given, "similarity"]}
    frame = Frame(pd.DataFrame(values).convert_dtypes(dtype_backend="pyarrow"), fields=fields)
    shown = display.text(frame)
    assert shown.split()[:2] == ["name", "similarity"]
    assert shown.rstrip().endswith(", lab")
    headers = re.findall(r"<th[^>]*>([a-z_]+)", display.html(frame))
    assert headers[:3] == ["name", "similarity", given[0]]
    assert "lab" not in headers
