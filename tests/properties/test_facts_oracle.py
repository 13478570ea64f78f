"""A frame of atoms gives what pandas gives for the same verbs on the same rows, out of several Parquet parts.

Rows are planted with NaN and missing values, in several parts and runs, of images whose order is not that of
their keys and one of which is deleted. Two documented differences from pandas: a division by zero is missing,
and so is a sum of nothing known.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from micdb.catalog.engine import writing
from micdb.catalog.results import part, run_item
from micdb.catalog.tables import micrograph, property_def, property_value
from micdb.query.context import Context
from micdb.query.facts import picking
from micdb.query.frame import Frame

make = SimpleNamespace(**run_path(str(Path(__file__).parents[1] / "data" / "planted" / "make.py")))
EXAMPLES = int(os.environ.get("MICDB_ORACLE", "1500")) // 25
PROGRAMS = 3  # asked of each planted table
UIDS = ("u4", "u1", "u6", "u2", "u5", "u3")  # of the images in the order of their keys
DELETED = "u5"
INTEGERS, NUMBERS, TEXT, FLAG = ("idx", "grade"), ("x_nm", "intensity", "score"), "label", "flag"
WORDS = ("vacancy", "Vacancy", "é", "a_b", "")
COLUMNS = ["image", *INTEGERS, *NUMBERS, TEXT, FLAG]


# ---------------------------------------------------------------------- tables


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


halves = st.integers(-8, 8).map(lambda number: number / 2)
number_or_nan = st.none() | st.just(math.nan) | halves
row = st.fixed_dictionaries(
    {
        "image": st.integers(0, 5),
        "x_nm": number_or_nan,
        "intensity": number_or_nan,
        "score": number_or_nan,
        "grade": maybe(st.integers(-3, 3)),
        "label": maybe(st.sampled_from(WORDS)),
        "flag": maybe(st.booleans()),
    }
)
tables = st.tuples(st.lists(row, max_size=18), st.lists(st.integers(0, 5), max_size=2))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Context, list[int]]]:
    first = picking.FIRST
    picking.FIRST = 1  # so that the first rows are looked for in one image, then in eight
    context = make.database(tmp_path_factory.mktemp("facts") / "db")
    images = make.images(context, len(UIDS))
    with writing(context.engine) as connection:
        for key, uid in zip(images, UIDS, strict=True):
            gone = "2024-05-31T12:00:00Z" if uid == DELETED else None
            connection.execute(
                micrograph.update()
                .where(micrograph.c.pk == key)
                .values(uid=uid, deleted_at=gone, height=key * 10, magnification=key / 2)
            )
        connection.execute(property_def.insert().values(pk=1, uid="p", name="strength", kind="number"))
        connection.execute(
            property_value.insert().values(
                uid="v", property_def_pk=1, level="image", micrograph_pk=images[1], value=3.0, origin="user",
                source_name="s", created_at="2024-05-31T12:00:00Z", natural_key="0" * 64,
            )
        )  # fmt: skip
    yield context, images
    context.engine.dispose()
    picking.FIRST = first


def plant(context: Context, images: list[int], rows: list[dict[str, Any]], cuts: list[int]) -> pd.DataFrame:
    """Write rows as a new current run in several parts; return what a frame of them holds, by hand."""
    with writing(context.engine) as connection:
        connection.execute(part.delete())
    old = make.add_run(context, "peaks", current=False)
    run = make.add_run(context, "peaks")
    # An image is in one part, as it is when a run fills it.
    pieces = [
        [one for one in rows if sum(one["image"] >= cut for cut in cuts) == level] for level in range(3)
    ]
    for piece in pieces:
        if piece:
            make.add_part(context, run, "atoms", rows=arrow(piece, images))
            make.add_part(context, old, "atoms", rows=arrow(piece[:1], images))
    with writing(context.engine) as connection:
        connection.execute(run_item.delete())
        for key in images[:5]:
            connection.execute(
                run_item.insert().values(run_pk=run, micrograph_pk=key, status="done", attempt=1)
            )
    kept = [one for one in ordered(pieces) if UIDS[one["image"]] != DELETED]
    return by_hand(kept)


def ordered(pieces: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    numbered = [{**one, "idx": index} for piece in pieces for index, one in enumerate(piece)]
    return sorted(
        numbered, key=lambda one: UIDS[one["image"]]
    )  # stable: rows stay as the extractor gave them


def arrow(piece: list[dict[str, Any]], images: list[int]) -> pa.Table:
    made = make.atoms([(images[one["image"]], one["x_nm"], one["intensity"]) for one in piece])
    added = {"score": pa.float64(), "grade": pa.int8(), "label": pa.string(), "flag": pa.bool_()}
    for name, kind in added.items():
        made = made.append_column(name, pa.array([one[name] for one in piece], kind))
    return made


def by_hand(rows: list[dict[str, Any]]) -> pd.DataFrame:
    made = {
        "image": pd.Series([UIDS[one["image"]] for one in rows], dtype=object),
        "idx": pd.Series([one["idx"] for one in rows], dtype=np.int64),
        "grade": pd.Series([one["grade"] for one in rows], dtype=float),
        **{name: pd.Series([one[name] for one in rows], dtype=float) for name in NUMBERS},
        "label": pd.Series([one["label"] for one in rows], dtype=object),
        "flag": pd.Series([one["flag"] for one in rows], dtype=object),
    }
    return pd.DataFrame(made)[COLUMNS]


# ---------------------------------------------------------------------- programs

Tree = tuple[Any, ...]
column = st.sampled_from((*INTEGERS, "intensity", "score")).map(lambda name: ("column", name)) | st.just(
    ("nm",)
)
number = st.recursive(
    column | halves.map(lambda value: ("constant", value)),
    lambda inner: st.tuples(st.sampled_from("+-*/"), column, inner),
    max_leaves=3,
)
column_number = number.filter(lambda tree: tree[0] != "constant")
comparison = st.sampled_from(("==", "!=", "<", "<=", ">", ">="))
mask_leaf = st.one_of(
    st.tuples(comparison, column_number, number),
    st.tuples(
        st.just("text"), comparison, st.sampled_from(("label", "image")), st.sampled_from((*WORDS, "u3"))
    ),
    st.tuples(st.just("isin"), st.just("label"), st.lists(st.sampled_from(WORDS), max_size=3)),
    st.tuples(st.just("isin"), st.just("grade"), st.lists(halves, max_size=3)),
    st.tuples(st.just("startswith"), st.just("label"), st.sampled_from(("v", "é", "a_"))),
    st.tuples(st.just("contains"), st.just("label"), st.sampled_from(("c", "_", "V"))),
    st.tuples(st.just("isna"), st.sampled_from((*NUMBERS, "grade", "label", "flag"))),
    st.just(("flag",)),
)
mask = st.recursive(
    mask_leaf,
    lambda inner: st.tuples(st.sampled_from("&|"), inner, inner) | st.tuples(st.just("~"), inner),
    max_leaves=3,
)
step = st.one_of(
    st.tuples(st.just("filter"), mask),
    st.tuples(st.just("assign"), st.sampled_from(("intensity", "y")), column_number),
    st.tuples(st.just("mark"), mask),
    st.tuples(st.just("sort"), st.sampled_from(COLUMNS), st.booleans()),
    st.tuples(st.just("slice"), st.integers(0, 3), maybe(st.integers(0, 9))),
    st.tuples(st.just("fillna"), st.sampled_from(("score", "intensity")), halves),
    st.tuples(st.just("distinct"), st.sampled_from(("label", "image", "grade"))),
)
FUNCTIONS = ("count", "size", "mean", "sum", "min", "max", "std", "median", "nunique")
group = st.tuples(
    st.just("group"),
    st.sampled_from((["image"], ["label"], ["image", "flag"], ["grade"])),
    st.booleans(),
    st.lists(
        st.tuples(st.sampled_from((*NUMBERS, "grade", "idx")), st.sampled_from(FUNCTIONS)),
        min_size=1, max_size=3, unique=True,
    ),
)  # fmt: skip
programs = st.lists(
    st.tuples(st.lists(step, max_size=4), maybe(group)).map(lambda pair: [*pair[0], *filter(None, pair[1:])]),
    min_size=PROGRAMS, max_size=PROGRAMS,
)  # fmt: skip


def operate(op: str, left: Any, right: Any) -> Any:
    return {
        "==": lambda: left == right, "!=": lambda: left != right, "<": lambda: left < right,
        "<=": lambda: left <= right, ">": lambda: left > right, ">=": lambda: left >= right,
        "+": lambda: left + right, "-": lambda: left - right, "*": lambda: left * right,
        "&": lambda: left & right, "|": lambda: left | right,
    }[op]()  # fmt: skip


def evaluate(tree: Tree, frame: Any) -> Any:  # noqa: C901, PLR0912 - one case per operation
    """Return a tree's expression (of a Frame) or values (of a DataFrame)."""
    ours = isinstance(frame, Frame)
    match tree:
        case ("column", name):
            return frame[name]
        case ("nm",):
            return frame["x_nm"] / "1 nm" if ours else frame["x_nm"]
        case ("constant", value):
            return value
        case ("/", left, right):
            left, right = evaluate(left, frame), evaluate(right, frame)
            if ours:
                return left / right
            return (
                left / (right or math.nan) if isinstance(right, float) else left / right.replace(0, math.nan)
            )
        case ("text", op, name, word):
            if ours:
                return operate(op, frame[name], word)
            return (
                frame[name]
                .map(lambda one: op == "!=" if one is None else bool(operate(op, one, word)))
                .astype(bool)
            )
        case ("isin", name, values):
            return frame[name].isin(values)
        case ("contains" | "startswith" as how, name, piece):
            if ours:
                return getattr(frame[name].str, how)(piece)
            found = {"contains": lambda one: piece in one, "startswith": lambda one: one.startswith(piece)}[
                how
            ]
            return frame[name].map(lambda one: one is not None and found(one)).astype(bool)
        case ("isna", name):
            return frame[name].isna()
        case ("flag",):
            return frame["flag"] if ours else frame["flag"].map(lambda one: one is True).astype(bool)
        case ("~", inner):
            return ~evaluate(inner, frame)
        case (op, left, right):
            return operate(op, evaluate(left, frame), evaluate(right, frame))
    raise AssertionError(tree)


def run_ours(program: list[Tree], frame: Frame) -> Frame:
    for one in program:
        match one:
            case ("filter", tree):
                frame = frame[evaluate(tree, frame)]
            case ("assign", name, tree):
                frame = frame.assign(**{name: evaluate(tree, frame)})
            case ("mark", tree):
                frame = frame.assign(mark=~~evaluate(tree, frame))
            case ("sort", by, ascending):
                frame = frame.sort_values(by, ascending=ascending)
            case ("slice", start, length):
                frame = frame[start : None if length is None else start + length]
            case ("fillna", name, value):
                frame = frame.assign(**{name: frame[name].fillna(value)})
            case ("distinct", name):
                frame = frame.drop_duplicates(name)
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
            case ("mark", tree):
                frame = frame.assign(mark=evaluate(tree, frame))
            case ("sort", by, ascending):
                values = frame[by].where(frame[by].notna(), None)
                frame = frame.assign(by=values, __i=frame.index).sort_values(
                    ["by", "__i"], ascending=[ascending, True]
                )
                frame = frame.drop(columns=["by", "__i"])
            case ("slice", start, length):
                frame = frame[start : None if length is None else start + length]
            case ("fillna", name, value):
                frame = frame.assign(**{name: frame[name].fillna(value)})
            case ("distinct", name):
                frame = frame[~frame[name].duplicated()]
            case ("group", names, dropna, asked):
                frame = grouped(frame, names, dropna, asked)
    return frame


def grouped(frame: pd.DataFrame, names: list[str], dropna: bool, asked: list[Tree]) -> pd.DataFrame:
    groups = frame.groupby(names, dropna=dropna, sort=True)
    made = {
        f"a{index}": groups[name].sum(min_count=1) if function == "sum" else groups[name].agg(function)
        for index, (name, function) in enumerate(asked)
    }
    return pd.DataFrame(made).reset_index().sort_values(names, kind="stable")  # missing keys last


def plain(frame: pd.DataFrame) -> list[list[Any]]:
    values = frame.astype(object).to_numpy().tolist()
    return [[None if pd.isna(value) else value for value in row] for row in values]


def check(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert list(found.columns) == list(expected.columns)
    got, wanted = plain(found), plain(expected)
    assert len(got) == len(wanted)
    for one, other in zip(got, wanted, strict=True):
        for value, right in zip(one, other, strict=True):
            close = isinstance(value, float) and right is not None
            assert value == (pytest.approx(right, rel=1e-9, abs=1e-9) if close else right), (one, other)


# ---------------------------------------------------------------------- the laws

RELAXED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@RELAXED
@given(table=tables, asked=programs)
def test_a_frame_of_atoms_gives_what_pandas_gives(
    home: tuple[Context, list[int]], table: tuple[list[dict[str, Any]], list[int]], asked: list[list[Tree]]
) -> None:
    context, images = home
    whole = plant(context, images, *table)
    atoms = Frame(context, "atoms")
    if not table[0]:
        assert atoms.count() == 0
        return
    for program in asked:
        query = run_ours(program, atoms[COLUMNS])
        expected = run_pandas(program, whole)
        check(query.to_pandas(), expected)
        assert query.count() == len(expected)


@RELAXED
@given(
    table=tables, condition=mask, asked=st.sampled_from(NUMBERS), bound=st.integers(0, 4), program=programs
)
def test_numbers_per_image_and_exploded_rows_are_those_of_pandas(  # noqa: PLR0917
    home: tuple[Context, list[int]], table: tuple[list[dict[str, Any]], list[int]], condition: Tree,
    asked: str, bound: int, program: list[list[Tree]],
) -> None:  # fmt: skip
    context, images = home
    whole = plant(context, images, *table)
    if not table[0]:
        return
    im = Frame(context, "images")
    some = im.atoms[evaluate(condition, Frame(context, "atoms"))]
    query = im.assign(n=some.count(), mean=some.mean(asked), strength2=im.strength * 2)
    query = query[(im.atoms.count() <= bound) | (im.strength > 1)][
        ["uid", "n", "mean", "height", "strength2"]
    ]

    kept = whole[evaluate(condition, whole)] if len(whole) else whole
    looked = {uid for uid in UIDS[:5] if uid != DELETED}
    alive = pd.DataFrame({"uid": sorted(uid for uid in UIDS if uid != DELETED)})
    counts, sizes = kept.groupby("image").size(), whole.groupby("image").size()
    alive["n"] = [counts.get(uid, 0 if uid in looked or uid in sizes else None) for uid in alive["uid"]]
    alive["mean"] = alive["uid"].map(kept.groupby("image")[asked].mean())
    keys = dict(zip(UIDS, images, strict=True))
    alive["height"] = [keys[uid] * 10 for uid in alive["uid"]]
    alive["strength2"] = [6.0 if uid == UIDS[1] else None for uid in alive["uid"]]
    number = [sizes.get(uid, 0 if uid in looked else None) for uid in alive["uid"]]
    met = [
        (n is not None and n <= bound) or uid == UIDS[1] for n, uid in zip(number, alive["uid"], strict=True)
    ]
    if not any(uid not in looked and uid in counts for uid in alive["uid"]):  # a run looks before it finds
        check(query.to_pandas(), alive[met].reset_index(drop=True))

    exploded = im.assign(image=im.uid)[["image"]].explode("atoms")[COLUMNS]
    check(run_ours(program[0], exploded).to_pandas(), run_pandas(program[0], whole))
