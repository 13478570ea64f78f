"""A query gives what pandas gives for the same verbs on the whole table, missing values included.

Two documented differences: a division by zero is missing (pandas: infinity), and a sum of nothing known
is missing (pandas: 0), because neither is a measurement. Ties keep the order of uid.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from micdb.catalog import tables as t
from micdb.catalog.columns import metadata
from micdb.catalog.engine import sqlite_engine, writing
from micdb.query.context import Context
from micdb.query.frame import Frame

EXAMPLES = int(os.environ.get("MICDB_ORACLE", "1500"))
MOMENT = "2024-05-31T12:00:00.000000Z"
INTEGERS, NUMBERS = ("height", "width"), ("magnification", "intensity_min")
TEXTS = ("channel", "detector")
WORDS = ("HAADF", "haadf", "BF", "Z", "été", "a_b", "100%", 'x"y', "")
COLUMNS = ["uid", *TEXTS, *INTEGERS, *NUMBERS, "pixel_size", "colour"]


# ---------------------------------------------------------------------- catalogs


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


quarters = st.integers(-20, 20).map(lambda number: number / 4)
row = st.fixed_dictionaries(
    {
        "channel": maybe(st.sampled_from(WORDS)),
        "detector": maybe(st.sampled_from(WORDS[:4])),
        "height": st.integers(1, 9),
        "width": st.integers(0, 3),
        "magnification": maybe(quarters),
        "intensity_min": maybe(quarters),
        "pixel_size": maybe(st.integers(1, 12).map(lambda number: number / 4)),
        "colour": st.booleans(),
    }
)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    root = tmp_path_factory.mktemp("oracle")
    engine = sqlite_engine(root / "catalog.sqlite")
    metadata.create_all(engine)
    with writing(engine) as connection:
        connection.execute(t.acquisition.insert().values(pk=1, uid="a", source_sha256="0" * 64))
        connection.execute(
            t.object_.insert().values(
                pk=1, sha256="0" * 64, path="o", size=1, media_type="m", state="live", created_at=MOMENT
            )
        )
    yield Context(engine, root, lambda path: pytest.fail(f"read {path}"), lambda *_: None)
    engine.dispose()


def plant(context: Context, rows: list[dict[str, Any]]) -> Frame:
    plain = {
        "acquisition_pk": 1, "object_pk": 1, "pixel_hash": "0" * 64, "dtype": "uint8", "n_frames": 1,
        "axes": [], "settings": {}, "problems": [], "created_at": MOMENT, "name": "n",
    }  # fmt: skip
    # Stored order is not the order of uid.
    planted = [{**plain, **one, "uid": f"u{(7 * index) % 23:02d}"} for index, one in enumerate(rows)]
    with writing(context.engine) as connection:
        connection.execute(t.micrograph.delete())
        if planted:
            connection.execute(sa.insert(t.micrograph), planted)
    return Frame(context, "images")[COLUMNS]


# ---------------------------------------------------------------------- programs

Tree = tuple[Any, ...]
signs = st.sampled_from("+-*/")
column = st.one_of(
    st.sampled_from(INTEGERS + NUMBERS).map(lambda name: ("column", name)), st.just(("ratio",))
)
number = st.recursive(
    column | quarters.map(lambda value: ("constant", value)),
    lambda inner: st.tuples(signs, column, inner) | st.tuples(signs, inner, column),
    max_leaves=4,
)
column_number = number.filter(lambda tree: tree[0] != "constant")
comparison = st.sampled_from(("==", "!=", "<", "<=", ">", ">="))
mask_leaf = st.one_of(
    st.tuples(comparison, column_number, number),
    st.tuples(st.just("text"), comparison, st.sampled_from(TEXTS), st.sampled_from(WORDS)),
    st.tuples(st.just("texts"), comparison, st.sampled_from(TEXTS), st.sampled_from(TEXTS)),
    st.tuples(st.just("isin"), st.sampled_from(TEXTS), st.lists(st.sampled_from(WORDS), max_size=3)),
    st.tuples(st.just("isin"), st.sampled_from(NUMBERS + INTEGERS), st.lists(quarters, max_size=3)),
    st.tuples(st.just("between"), st.sampled_from(NUMBERS), quarters, quarters),
    st.tuples(st.just("size"), comparison, st.integers(1, 12)),
    st.tuples(
        st.sampled_from(("contains", "startswith", "endswith")),
        st.sampled_from(TEXTS),
        st.sampled_from(("HA", "a", "_", "%", 'x"', "é", "F")),
    ),
    st.tuples(st.just("isna"), st.sampled_from(TEXTS + NUMBERS + ("pixel_size",))),
    st.just(("colour",)),
)
mask = st.recursive(
    mask_leaf,
    lambda inner: st.one_of(st.tuples(st.sampled_from("&|"), inner, inner), st.tuples(st.just("~"), inner)),
    max_leaves=4,
)
keys = st.lists(st.sampled_from((*TEXTS, "width", "colour")), min_size=1, max_size=2, unique=True)
step = st.one_of(
    st.tuples(st.just("filter"), mask),
    st.tuples(st.just("assign"), st.sampled_from(("height", "magnification", "x")), column_number),
    st.tuples(st.just("flag"), mask),
    st.tuples(
        st.just("sort"),
        st.lists(st.sampled_from(COLUMNS[1:]), min_size=1, max_size=2, unique=True),
        st.tuples(st.booleans(), st.booleans()),
    ),
    st.tuples(st.just("head"), st.integers(0, 6)),
    st.tuples(st.just("slice"), st.integers(0, 3), maybe(st.integers(0, 6))),
    st.tuples(st.just("fillna"), st.sampled_from(NUMBERS), quarters),
)
FUNCTIONS = ("count", "size", "mean", "sum", "min", "max", "std", "median", "nunique")
group = st.tuples(
    st.just("group"),
    keys,
    st.booleans(),
    st.lists(
        st.tuples(st.sampled_from((*NUMBERS, "pixel_size", "height")), st.sampled_from(FUNCTIONS)),
        min_size=1,
        max_size=3,
        unique=True,
    ),
)
program = st.tuples(st.lists(step, max_size=4), maybe(group)).map(
    lambda pair: [*pair[0], *([pair[1]] if pair[1] else [])]
)


# ---------------------------------------------------------------------- the two interpreters


def operate(op: str, left: Any, right: Any) -> Any:
    return {
        "==": lambda: left == right, "!=": lambda: left != right, "<": lambda: left < right,
        "<=": lambda: left <= right, ">": lambda: left > right, ">=": lambda: left >= right,
        "+": lambda: left + right, "-": lambda: left - right, "*": lambda: left * right,
        "&": lambda: left & right, "|": lambda: left | right,
    }[op]()  # fmt: skip


def evaluate(tree: Tree, frame: Any) -> Any:  # noqa: C901, PLR0912 - one case per operation
    """Return a tree's expression (of a Frame) or values (of a DataFrame): the same spelling for both."""
    ours = isinstance(frame, Frame)
    match tree:
        case ("column", name):
            return frame[name]
        case ("ratio",):
            return frame["pixel_size"] / "1 nm" if ours else frame["pixel_size"]
        case ("constant", value):
            return value
        case ("/", left, right):
            return divide(evaluate(left, frame), evaluate(right, frame), ours)
        case ("text", op, name, word):
            return operate(op, frame[name], word)
        case ("texts", op, name, other):
            return operate(op, frame[name], frame[other])
        case ("isin", name, values):
            return frame[name].isin(values)
        case ("between", name, low, high):
            return frame[name].between(low, high)
        case ("size", op, quarter):
            return operate(op, frame["pixel_size"], f"{quarter / 4000} um" if ours else quarter / 4)
        case ("contains", name, part):
            return frame[name].str.contains(part, regex=False, **({} if ours else {"na": False}))
        case ("startswith" | "endswith" as how, name, part):
            return getattr(frame[name].str, how)(part, **({} if ours else {"na": False}))
        case ("isna", name):
            return frame[name].isna()
        case ("colour",):
            return frame["colour"]
        case ("~", inner):
            return ~evaluate(inner, frame)
        case (op, left, right):
            return operate(op, evaluate(left, frame), evaluate(right, frame))
    raise AssertionError(tree)


def divide(left: Any, right: Any, ours: bool) -> Any:
    if ours:
        return left / right
    if isinstance(right, float):
        return left / (right or math.nan)
    return left / right.astype(float).replace(0.0, math.nan)


def run_ours(program: list[Tree], frame: Frame) -> Frame:
    for one in program:
        match one:
            case ("filter", tree):
                frame = frame[evaluate(tree, frame)]
            case ("assign", name, tree):
                frame = frame.assign(**{name: evaluate(tree, frame)})
            case ("flag", tree):
                frame = frame.assign(flag=evaluate(tree, frame))
            case ("sort", by, ascending):
                frame = frame.sort_values(by, ascending=list(ascending[: len(by)]))
            case ("head", n):
                frame = frame.head(n)
            case ("slice", start, length):
                frame = frame[start : None if length is None else start + length]
            case ("fillna", name, value):
                frame = frame.assign(**{name: frame[name].fillna(value)})
            case ("group", names, dropna, asked):
                named = {f"a{index}": pair for index, pair in enumerate(asked)}
                frame = frame.groupby(names, dropna=dropna).agg(**named)
    return frame


def run_pandas(program: list[Tree], frame: pd.DataFrame) -> pd.DataFrame:
    for one in program:
        match one:
            case ("filter", tree):
                frame = frame[evaluate(tree, frame)]
            case ("assign", name, tree):
                frame = frame.assign(**{name: evaluate(tree, frame)})
            case ("flag", tree):
                frame = frame.assign(flag=evaluate(tree, frame))
            case ("sort", by, ascending):
                ways = [*ascending[: len(by)], True]
                frame = frame.sort_values([*by, "uid"], ascending=ways)
            case ("head", n):
                frame = frame.head(n)
            case ("slice", start, length):
                frame = frame[start : None if length is None else start + length]
            case ("fillna", name, value):
                frame = frame.assign(**{name: frame[name].fillna(value)})
            case ("group", names, dropna, asked):
                frame = grouped(frame, names, dropna, asked)
    return frame


def grouped(frame: pd.DataFrame, names: list[str], dropna: bool, asked: list[Tree]) -> pd.DataFrame:
    groups = frame.groupby(names, dropna=dropna, sort=True)
    made = {
        f"a{index}": groups[name].sum(min_count=1) if function == "sum" else groups[name].agg(function)
        for index, (name, function) in enumerate(asked)
    }
    return pd.DataFrame(made).reset_index()


def classic(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the DataFrame with NaN and None for missing values: pandas' oldest and best-known rules."""
    made = {}
    for name in frame.columns:
        values = frame[name]
        if name in TEXTS or name == "uid":
            made[name] = values.astype(object).where(values.notna(), None)
        elif name in INTEGERS:
            made[name] = values.astype(np.int64)
        else:
            made[name] = values.astype(bool if name == "colour" else float)
    return pd.DataFrame(made, columns=frame.columns)


def plain(frame: pd.DataFrame) -> list[list[Any]]:
    values = frame.astype(object).to_numpy().tolist()
    return [[None if pd.isna(value) else value for value in row] for row in values]


# ---------------------------------------------------------------------- the law


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=st.lists(row, max_size=12), program=program)
def test_a_query_gives_what_pandas_gives(
    context: Context, rows: list[dict[str, Any]], program: list[Tree]
) -> None:
    whole = plant(context, rows)
    query = run_ours(program, whole)
    expected = run_pandas(program, classic(whole.to_pandas()))
    found = query.to_pandas()
    assert list(found.columns) == list(expected.columns)
    got, wanted = plain(found), plain(expected)
    assert len(got) == len(wanted) == query.count()
    for one, other in zip(got, wanted, strict=True):
        for value, right in zip(one, other, strict=True):
            close = isinstance(value, float) and right is not None
            assert value == (pytest.approx(right, rel=1e-12, abs=1e-12) if close else right), (one, other)
