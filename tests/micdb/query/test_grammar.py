"""The text of a query and the Python expression are one language."""

from __future__ import annotations

from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micdb.errors import ExpressionError, QuerySyntaxError, UnitError, UnknownColumnError, UsageError
from micdb.query import tree
from micdb.query.children import aggregate
from micdb.query.columns import SOURCES
from micdb.query.expr import Expr
from micdb.query.grammar import parse
from micdb.query.schema import Field, Schema

ODD = Field("phase label", "text", None, "images")
IMAGES = Schema("images", {field.name: field for field in (*SOURCES["images"].fields, ODD)})


def child(table: str) -> Schema:
    return Schema(table, {field.name: field for field in SOURCES[table].fields})


def read(text: str) -> Expr:
    return parse(text, IMAGES, child)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ('material == "UHCS" and pixel_size < 0.5 um', 'material == "UHCS" and pixel_size < 500.0 nm'),
        ("0.1 um <= pixel_size < 0.5um", "pixel_size >= 100.0 nm and pixel_size < 500.0 nm"),
        ('pixel_size < "0.5 µm"', "pixel_size < 500.0 nm"),
        ("reciprocal_pixel_size_x > 1/nm", "reciprocal_pixel_size_x > 1.0 1/nm"),
        ("reciprocal_pixel_size_x > 0.02 1/angstrom", "reciprocal_pixel_size_x > 0.2 1/nm"),
        ("1/area > 2 1/um**2", "1 / area > 2e-06 1/nm**2"),
        ("accelerating_voltage >= 200 kV", "accelerating_voltage >= 200000.0 V"),
        ("width*2 > height", "width * 2 > height"),
        ("bias < -0.5 V", "bias < -0.5 V"),
        ("lab in ['Lab A', \"B\"] or lab not in [\"C\"]", 'lab in ["Lab A", "B"] or not lab in ["C"]'),
        ("lab is null and detector is not null", "lab is null and not detector is null"),
        ("not (colour or width > 3) and true == colour", "not (colour or width > 3) and colour == true"),
        ('startswith(name, \'it"s\')', 'startswith(name, "it\\"s")'),
        ("sqrt(area) < 1 um", "sqrt(area) < 1000.0 nm"),
        ("log(width / height) > 0", "log(width / height) > 0"),
        ('fillna(magnification, 0) > 3', "fillna(magnification, 0) > 3"),
        ('`phase label` == "2H"', '`phase label` == "2H"'),
        ('count(defects, kind == "vacancy") >= 3', 'count(defects, kind == "vacancy") >= 3'),
        ("mean(defects, score, x_nm < 1 um) > 0.5", "mean(defects, score, x_nm < 1000.0 nm) > 0.5"),
        ("count(atoms) / area > 10 1/nm**2", "count(atoms) / area > 10.0 1/nm**2"),
        ('acquired >= "2024-05-01"', 'acquired >= "2024-05-01"'),
    ],
)  # fmt: skip
def test_text_is_read_and_written_in_one_form(text, canonical):
    assert read(text).text() == canonical
    assert read(canonical).text() == canonical


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", QuerySyntaxError, "position 1: found the end, expected a column, a number or a text"),
        ("material = 'a'", QuerySyntaxError, "position 10: '=' means nothing here; write =="),
        ("width > 1 & height > 2", QuerySyntaxError, "position 11: '&' means nothing here; write and"),
        ("width > 1 height", UnitError, "unknown unit 'height'"),
        ('material == "a" width', QuerySyntaxError, "position 17: found 'width', expected and, or"),
        ("material == 'a", QuerySyntaxError, "position 13: the ' has no partner"),
        ("(width > 1", QuerySyntaxError, r"found the end, expected '\)'"),
        ("lab in 'a'", QuerySyntaxError, r"expected '\['"),
        ("lab is 3", QuerySyntaxError, "expected is null, is not null"),
        ("pixel_siz < 1 nm", UnknownColumnError, "no column 'pixel_siz' in images; did you mean pixel_size"),
        ("material == UHCS", UnknownColumnError, r'text needs quotes: "UHCS"'),
        ("pixel_size < 0.5", UnitError, 'pixel_size is in nm: write "0.5 nm"'),
        ("pixel_size < 3 kg", UnitError, r"\[mass\]"),
        ("pixel_size < 0.5 umm", UnitError, "unknown unit 'umm'"),
        ("width", ExpressionError, "is no condition"),
        ("cos(width) > 1", QuerySyntaxError, "no function cos"),
        ("mean(defects) > 1", UsageError, "needs a column"),
        ("count(defects, material == 'a') > 1", UnknownColumnError, "no column 'material' in defects"),
    ],
)
def test_bad_text_says_where_and_what_instead(text, error, message, context):
    from micdb.query.frame import Frame

    with pytest.raises(error, match=message) as caught:
        Frame(context, "images").query(text)
    assert "\n" not in str(caught.value)


numbers = st.integers(0, 1000) | st.floats(0, 1e9, allow_nan=False).map(float)
words = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=8
)


def quantity(name: str, unit: str, value: float) -> Expr:
    return IMAGES[name].expr() < f"{value!r} {unit}"


plain = st.sampled_from(("width", "height", "magnification")).map(lambda name: IMAGES[name].expr())
arithmetic = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.builds(lambda a, b: a + b, inner, inner),
        st.builds(lambda a, b: a - b, inner, numbers),
        st.builds(lambda a, b: a * b, inner, inner),
        st.builds(lambda a, b: b / a, inner, numbers),
        st.builds(lambda a: -a, inner),
        st.builds(lambda a: a.sqrt(), inner),
        st.builds(lambda a: a.log(), inner),
        st.builds(abs, inner),
        st.builds(lambda a, b: a.fillna(b), inner, numbers),
    ),
    max_leaves=5,
)
texts = st.sampled_from(("name", "lab", "phase label")).map(lambda name: IMAGES[name].expr())
size = IMAGES["pixel_size"].expr()
pairs = st.tuples(numbers, numbers)
sides = st.sampled_from(("both", "left", "right", "neither"))
moments = st.dates() | st.datetimes() | st.datetimes(timezones=st.just(UTC))
defects = child("defects")
kinds = st.sampled_from(("kind", "state")).map(lambda name: defects[name].expr())
positive = ~(defects["score"].expr() < 0) & defects["x_nm"].expr().notna()
vacancies = defects["kind"].expr() == "vacancy"
leaves = st.one_of(
    st.builds(lambda a, b: a < b, arithmetic, arithmetic),
    st.builds(lambda a, b: a != b, arithmetic, numbers),
    st.builds(quantity, st.just("pixel_size"), st.sampled_from(("nm", "um", "angstrom")), numbers),
    st.builds(lambda a, b: a == b, texts, words),
    st.builds(lambda a, b: a.isin(b), texts, st.lists(words, max_size=3)),
    st.builds(lambda a, b: a.str.contains(b, regex=False), texts, words),
    st.builds(lambda a, b: a.str.startswith(b) | a.str.endswith(b), texts, words),
    st.builds(lambda a, b, c: a.fillna(b) == c, texts, words, words),
    st.builds(lambda a, b: a < b, texts, texts),
    st.builds(lambda a: a.isna(), texts),
    st.builds(lambda a, b, way: a.between(*sorted(b), inclusive=way), plain, pairs, sides),
    st.builds(lambda values: size.isin([f"{value!r} um" for value in values]), st.lists(numbers, max_size=3)),
    st.builds(lambda values: IMAGES["width"].expr().isin(values), st.lists(numbers, max_size=3)),
    st.builds(lambda value: size.to("um") >= f"{value!r} angstrom", numbers),
    st.builds(lambda value: (size * size).sqrt() + f"{value!r} pm" < "1 um", numbers),
    st.builds(lambda value: 1 / IMAGES["area"].expr() > f"{value!r} 1/um**2", numbers),
    st.builds(lambda value: IMAGES["acquired"].expr() >= value, moments),
    st.builds(lambda a, b: aggregate(defects, "var", "x_nm", (a == b) & positive) >= "1 nm**2", kinds, words),
    st.builds(lambda n: aggregate(defects, "count", None, vacancies) >= n, numbers),
    st.builds(lambda n: aggregate(defects, "max", "score", None) >= n, numbers),
    st.just(IMAGES["colour"].expr()),
)
expressions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda a, b: a & b, inner, inner),
        st.builds(lambda a, b: a | b, inner, inner),
        st.builds(lambda a: ~a, inner),
    ),
    max_leaves=6,
)


@given(expressions)
def test_text_and_tree_give_the_expression_back(expr):
    as_json = tree.expr_json(expr)
    assert tree.expr_json(read(expr.text())) == as_json
    assert tree.expr_json(tree.expr_from(as_json, IMAGES, child)) == as_json
