"""A query gives what pandas gives for the same verbs on the whole table, missing values included.

Random programs of every verb run on SQLite and on PostgreSQL; values, order, names and kinds of columns
are compared with what pandas makes of tables that were planted by hand. Documented differences:

- a division by zero and a root of a negative number are missing (pandas: infinity, NaN);
- a sum of nothing known is missing (pandas: 0), because neither is a measurement;
- ties keep the order of uid (pandas: that of the rows);
- missing keys of a merge match nothing (pandas: each other);
- a sample stays in order and is drawn by MD5 of seed and key (pandas: by its generator, shuffled);
- `value_counts` is a frame with the column ``count``, ties sorted by value (pandas: a series).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from micdb.catalog.columns import metadata
from micdb.catalog.engine import postgres_engine, sqlite_engine
from micdb.errors import UsageError
from micdb.query import big_tables
from micdb.query.context import Context
from micdb.query.frame import Frame

sides = SimpleNamespace(**run_path(str(Path(__file__).with_name("oracle_sides.py"))))
CASES = int(os.environ.get("MICDB_ORACLE", "2500"))  # a program on one engine is a case
SHARES = 4  # so that several processes can take part
ARROW = {"integer": "int64", "number": "double", "real": "double", "blurred": "double", "text": "string",
         "bool": "bool", "time": "string"}  # fmt: skip
side = sides.Side()


def no_picture(path: Path) -> Any:
    raise AssertionError(f"read {path}")


def planted(engine: sa.Engine, root: Path) -> Context:
    sides.world.plant(engine)
    return Context(engine, root, no_picture, lambda *_: None)


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    root = tmp_path_factory.mktemp("oracle")
    engine = sqlite_engine(root / "catalog.sqlite")
    metadata.create_all(engine)
    yield planted(engine, root)
    engine.dispose()


@pytest.fixture(scope="module")
def postgres(pg_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    url = pg_server.fresh()
    engine = postgres_engine(url)
    yield planted(engine, tmp_path_factory.mktemp("oracle"))
    engine.dispose()
    pg_server.drop(url)


@pytest.fixture(scope="module")
def contexts(sqlite: Context, request: pytest.FixtureRequest) -> list[Context]:
    """Return both engines, or SQLite alone where no server starts: then the test of PostgreSQL is skipped."""
    try:
        return [sqlite, request.getfixturevalue("postgres")]
    except pytest.skip.Exception:
        return [sqlite]


# ---------------------------------------------------------------------- ways to the rows


def pandas_rows(frame: Frame) -> list[dict[str, Any]]:
    return [
        {name: None if pd.isna(value) else value for name, value in row.items()}
        for row in frame.to_pandas().to_dict("records")
    ]


def counted(frame: Frame) -> pa.Table:
    table = frame.to_arrow()
    assert len(table) == frame.count()
    assert frame.empty == (not len(table))
    return table


def alike(value: Any, right: Any) -> bool:
    missing = right is None or right != right  # noqa: PLR0124
    if value is None or missing:
        return value is None and missing
    if isinstance(value, float):
        return math.isclose(value, right, rel_tol=1e-9, abs_tol=1e-9)
    return bool(value == right)


def shipped(frame: Frame) -> pa.Table:
    """Local tables travel as temporary tables, as large ones do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(big_tables, "FEW", 0)
        return frame.to_arrow()


WAYS = {
    "arrow": lambda frame: frame.to_arrow(),
    "pandas": pandas_rows,
    "rows": lambda frame: list(frame.iter_rows()),
    "pages": lambda frame: [row for page in frame.pages(3) for row in page.to_pylist()],
    "json": lambda frame: Frame.from_json(frame.context, frame.to_json()).to_arrow(),
    "count": counted,
    "shipped": shipped,
}


# ---------------------------------------------------------------------- the law


def check(contexts: list[Context], program: Any, way: str) -> None:
    base, number, steps, columns = program
    try:
        expected = side.run(base, number, steps)
    except sides.RefusedError:
        for context in contexts:
            with pytest.raises(UsageError, match="keys repeat"):
                sides.run_ours(context, base, number, steps).to_arrow()
        return
    assert list(expected.columns) == list(columns)
    wanted = expected.astype(object).to_numpy().tolist()
    for context in contexts:
        frame = sides.run_ours(context, base, number, steps)
        assert frame.columns == list(columns)
        rows = WAYS[way](frame)
        if isinstance(rows, pa.Table):
            assert [str(field.type) for field in rows.schema] == [ARROW[kind] for kind, _ in columns.values()]
            rows = rows.to_pylist()
        assert len(rows) == len(wanted)
        for row, right in zip(rows, wanted, strict=True):
            assert all(map(alike, row.values(), right)), (context.engine.name, list(row.values()), right)


@pytest.mark.parametrize("share", range(SHARES))
@settings(max_examples=CASES // (2 * SHARES), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(program=sides.programs.programs(), way=st.sampled_from(("arrow",) * 5 + tuple(WAYS)))
def test_a_query_gives_what_pandas_gives(contexts: list[Context], share: int, program: Any, way: str) -> None:
    check(contexts, program, way)


def test_postgresql_takes_part(postgres: Context, contexts: list[Context]) -> None:
    assert [context.engine.name for context in contexts] == ["sqlite", "postgresql"]
