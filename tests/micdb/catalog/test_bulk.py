"""Rows written in bulk are the rows that SQLAlchemy would have written, on both kinds of catalog."""

from __future__ import annotations

import math

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from micdb.catalog import bulk
from micdb.catalog.columns import Json, Key
from micdb.catalog.engine import reading, writing
from micdb.catalog.json_text import dump_json
from micdb.catalog.results import run_item
from micdb.catalog.tables import event, instrument, lab
from micdb.errors import UsageError
from micdb.provenance import uuid7

table = sa.Table(
    "bulk Test", sa.MetaData(),
    sa.Column("pk", Key, primary_key=True),
    sa.Column("text", sa.String),
    sa.Column("number", sa.Float(53)),
    sa.Column("whole", sa.BigInteger),
    sa.Column("flag", sa.Boolean),
    sa.Column("json value", Json),
)  # fmt: skip
NAMES = ("text", "number", "whole", "flag", "json value")

# No catalog holds NUL on a server, nor lone surrogates anywhere.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
numbers = st.floats(allow_nan=False).map(lambda x: x + 0.0)  # SQLite keeps -0.0 as 0
finite = st.floats(allow_nan=False, allow_infinity=False).map(lambda x: x + 0.0)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
rows = st.lists(
    st.tuples(
        st.none() | texts,
        st.none() | numbers,
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.booleans(),
        # SQLite keeps a bare number in a JSON column as a number: 0.0 comes back as 0
        st.none() | texts | st.lists(plain, max_size=3) | st.dictionaries(texts, plain, max_size=3),
    ),
    max_size=6,
)


@pytest.fixture
def engine(tmp_path, new_catalog):
    engine = new_catalog(tmp_path)
    table.create(engine)
    return engine


def strict(value):
    """Return a value such that 1, 1.0 and True differ, within JSON too."""
    if isinstance(value, dict):
        return {key: strict(item) for key, item in value.items()}
    return [strict(item) for item in value] if isinstance(value, list) else (type(value).__name__, value)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_rows=rows)
@example([("\t\n\r\\.\\N\\t'\"", 1e300, 0, True, {"a\\b\t\n": [1e16, 1e-7, 10**30, "\\u0000", "é😀"]})])
@example(
    [
        ("", math.inf, 2**63 - 1, False, []),
        ("\\N", -math.inf, -(2**63), None, {}),
        ("\\.", 5e-324, 1, True, ""),
    ]
)
@example([(None,) * 5, ("x", 0.1, None, None, 0)])
def test_every_value_comes_back_exactly(engine, given_rows):
    with writing(engine) as connection:
        connection.execute(table.delete())
        assert bulk.insert(connection, table, NAMES, iter(given_rows)) == len(given_rows)
        found = connection.execute(sa.select(*(table.c[name] for name in NAMES)).order_by(table.c.pk)).all()
    assert [strict(list(row)) for row in found] == [strict(list(row)) for row in given_rows]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given_rows=rows)
def test_one_by_one_it_is_the_same(engine, given_rows):
    with writing(engine) as connection:
        connection.execute(table.delete())
        for row in given_rows:
            connection.execute(table.insert(), dict(zip(NAMES, row, strict=True)))
        found = connection.execute(sa.select(*(table.c[name] for name in NAMES)).order_by(table.c.pk)).all()
    assert [strict(list(row)) for row in found] == [strict(list(row)) for row in given_rows]


def test_what_a_row_does_not_give_is_the_default(engine):
    with writing(engine) as connection:
        bulk.insert(connection, instrument, ("uid", "name"), [("u1", "Titan"), ("u2", "Themis")])
        found = connection.execute(sa.select(instrument).order_by(instrument.c.name)).all()
    assert [(row.name, row.vendor, row.lab_pk) for row in found] == [
        ("Themis", "", None),
        ("Titan", "", None),
    ]
    assert len({row.pk for row in found}) == 2


def test_nan_is_null(engine):
    with writing(engine) as connection:
        bulk.insert(connection, table, ("number",), [(math.nan,), (1.0,)])
        assert connection.scalar(sa.select(sa.func.count()).where(table.c.number.is_(None))) == 1


def test_no_rows_are_no_rows(engine):
    with writing(engine) as connection:
        assert bulk.insert(connection, table, NAMES, []) == 0
        assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == 0


@pytest.mark.parametrize(
    ("names", "given_rows", "error", "message"),
    [
        (("text", "whole"), [("a", 1), ("b",)], ValueError, r"a row of 1 values for 2 columns: \('b',\)"),
        (("text", "colour"), [], KeyError, "colour"),
        (("json value",), [({"a": math.nan},)], ValueError, "JSON compliant"),
    ],
)
def test_a_wrong_row_leaves_nothing(engine, names, given_rows, error, message):
    with pytest.raises(error, match=message), writing(engine) as connection:
        bulk.insert(connection, table, names, given_rows)
    with reading(engine) as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == 0


def test_a_broken_constraint_is_the_error_it_always_is(engine):
    with pytest.raises(sa.exc.IntegrityError), writing(engine) as connection:
        bulk.insert(connection, lab, ("uid", "name"), [(uuid7(), "A"), (uuid7(), "A")])
    with pytest.raises(sa.exc.IntegrityError), writing(engine) as connection:
        bulk.insert(connection, run_item, ("run_pk", "micrograph_pk", "status"), [(1, 1, "pending")])
    with pytest.raises(UsageError, match="surrogate"), writing(engine) as connection:
        bulk.insert(connection, lab, ("uid", "name"), [(uuid7(), "\ud800")])


def test_json_survives_with_its_kind_of_numbers(engine):
    value = {
        "floats": [1e16, 1e22, -1.5e300, 1.0, 1e-300],
        "whole": [10**16, 10**30],
        "1e+5": "1e+5",
        "n": None,
    }
    with writing(engine) as connection:
        row = {"at": "t", "actor": "a", "verb": "v", "entity": "e", "detail": value}
        connection.execute(event.insert(), row)
        found = connection.scalar(sa.select(event.c.detail))
    assert strict(found) == strict(value)


@given(plain)
@example({1e20: 1e20, True: None, 'a"b:c': 1e17})
def test_json_for_a_server_is_json(value):
    import json

    assert strict(json.loads(dump_json(value))) == strict(json.loads(json.dumps(value)))
