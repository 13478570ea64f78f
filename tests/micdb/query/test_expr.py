"""Expressions: what Python would mis-evaluate raises, and units are part of the type."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from micdb.errors import ExpressionError, UnitError
from micdb.query.expr import column

SIZE = column("pixel_size", "images", "number", unit="nm")
AREA = column("area", "images", "number", unit="nm**2")
HEAT = column("heat", "images", "number", unit="degC")
WIDTH = column("width", "images", "integer")
NAME = column("name", "images", "text")
TAKEN = column("acquired", "images", "time")
COLOUR = column("colour", "images", "bool")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: NAME == "a" and WIDTH < 3,
        lambda: NAME == "a" or WIDTH < 3,
        lambda: not NAME == "a",  # noqa: SIM201
        lambda: 1 < WIDTH < 3,
        lambda: bool(WIDTH),
    ],
)
def test_what_python_would_drop_raises_and_shows_the_spelling(wrong):
    with pytest.raises(ExpressionError, match=r"write \(a\) & \(b\) for and.*x\.between\(low, high\)"):
        wrong()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: "a" in NAME, r"write name\.isin\(\[\.\.\.\]\) or name\.str\.contains"),
        (lambda: list(NAME), r"frame\[\[\.\.\.\]\]\.to_pandas"),
        (lambda: len(NAME), r"write frame\.count\(\)"),
        (lambda: NAME == None, r"write \.isna\(\)"),  # noqa: E711
        (lambda: pd.NaT < TAKEN, r"write \.isna\(\)"),
        (lambda: NAME == "\ud800", "a character that no text here can have"),
        (lambda: NAME.isin(["a\0b"]), "a character that no text here can have"),
        (lambda: NAME == 3, "name is text and 3 is a number"),
        (lambda: WIDTH == "a", "'a' is no quantity"),
        (lambda: WIDTH == "3", "width is a plain number: write 3 without quotes"),
        (lambda: np.inf < WIDTH, "inf is no constant"),
        (lambda: (WIDTH > 1) & 3, "put each comparison in parentheses"),
        (lambda: ~WIDTH, "~ turns a condition round and width is none"),
        (lambda: WIDTH.isin("abc"), r"isin\(\) takes a list"),
        (lambda: NAME.str.contains("a|b"), "'a|b' is a regular expression"),
        (lambda: WIDTH.str, r"\.str needs a text and width is a number"),
        (lambda: NAME + "x", "'x' is no quantity"),
        (lambda: TAKEN > "May", "'May' is no date"),
        (lambda: COLOUR < True, "has no order"),
    ],
)
def test_a_wrong_expression_names_what_mends_it(wrong, message):
    with pytest.raises((ExpressionError, UnitError), match=message):
        wrong()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: SIZE < "1 kg", r"cannot compare kg \(\[mass\]\) with nm \(\[length\]\)"),
        (lambda: SIZE < 0.5, 'pixel_size is in nm: write "0.5 nm"'),
        (lambda: SIZE.isin([0.5]), 'pixel_size is in nm: write "0.5 nm"'),
        (lambda: WIDTH < "3 nm", "width is a plain number and has no unit nm: write 3"),
        (lambda: SIZE + AREA, "cannot compare"),
        (lambda: SIZE + 1, 'pixel_size is in nm: write "1 nm"'),
        (lambda: SIZE.to("s"), "cannot compare"),
        (lambda: SIZE < "1 nmm", "unknown unit 'nmm'"),
        (AREA.log, 'divide first, area / "1 nm'),
        (lambda: HEAT * 2, r'compute with heat\.to\("K"\)'),
        (lambda: HEAT - "20 degC", r'compute with heat\.to\("K"\)'),
    ],
)
def test_a_wrong_unit_raises_while_the_expression_is_built(wrong, message):
    with pytest.raises(UnitError, match=message):
        wrong()


@pytest.mark.parametrize(
    ("expr", "text", "unit"),
    [
        (SIZE < "0.5 um", "pixel_size < 500.0 nm", None),
        ("1 um" >= SIZE, "pixel_size <= 1000.0 nm", None),  # noqa: SIM300
        (SIZE.isin(["1 nm", "0.002 um"]), "pixel_size in [1.0 nm, 2.0 nm]", None),
        (
            SIZE.between("1 nm", "1 um", inclusive="left"),
            "pixel_size >= 1.0 nm and pixel_size < 1000.0 nm",
            None,
        ),
        (SIZE - "1 um", "pixel_size - 1000.0 nm", "nm"),
        ("1 um" - SIZE, "1000.0 nm - pixel_size", "nm"),
        (SIZE / "1 um", "pixel_size / 1000.0 nm", None),
        (WIDTH / AREA, "width / area", "1/nm**2"),
        (WIDTH * SIZE, "width * pixel_size", "nm"),
        (AREA.sqrt(), "sqrt(area)", "nm"),
        (AREA.sqrt() < SIZE.to("um"), 'sqrt(area) < to(to(pixel_size, "um"), "nm")', None),
        (HEAT > "1073.15 K", "heat > 800.0 degC", None),
        (np.int64(3) + WIDTH, "3 + width", None),
        (-(WIDTH + 1) * 2, "-(width + 1) * 2", None),
        (~((WIDTH > 1) | COLOUR), "not (width > 1 or colour)", None),
        (WIDTH - (WIDTH - 1), "width - (width - 1)", None),
        (NAME.str.contains('x"', regex=False), 'contains(name, "x\\"")', None),
        (TAKEN >= "2024-05", 'acquired >= "2024-05"', None),
    ],
)
def test_quantities_are_converted_and_units_tracked(expr, text, unit):
    assert expr.text() == text
    assert expr.unit == unit


def test_integers_stay_integers_until_divided():
    assert [(WIDTH + 1).kind, (WIDTH * WIDTH).kind, (WIDTH / 2).kind, (WIDTH + 0.5).kind] == [
        "integer", "integer", "number", "number",
    ]  # fmt: skip
