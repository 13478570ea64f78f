"""Columns are in SQL what they say they are: their type decides how they are ordered and compared."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from micdb.query.columns import SOURCES

TYPES = {
    "text": sa.String, "time": sa.String, "bool": sa.Boolean, "integer": sa.Integer, "number": sa.Float,
}  # fmt: skip
KEPT = [source for source in SOURCES.values() if source.rows is not None]


@pytest.mark.parametrize("source", KEPT, ids=lambda source: source.name)
def test_every_column_has_the_sql_type_of_its_kind(source):
    assert [field.name for field in source.fields] == list(source.elements)
    for field in source.fields:
        assert isinstance(source.elements[field.name].type, TYPES[field.kind]), field.name
