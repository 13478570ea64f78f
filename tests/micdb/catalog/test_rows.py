"""Lists of ids and texts reach the catalog whole, however long they are."""

from __future__ import annotations

import numpy as np
import pytest
import sqlalchemy as sa

from micdb.catalog import rows
from micdb.catalog.engine import reading, writing
from micdb.catalog.rows import find_or_add, id_list, text_list
from micdb.catalog.tables import instrument, lab
from micdb.provenance import uuid7


@pytest.fixture
def engine(tmp_path, new_catalog):
    engine = new_catalog(tmp_path)
    with writing(engine) as connection:
        connection.execute(lab.insert(), [{"uid": uuid7(), "name": f"lab {n}"} for n in range(1, 101)])
    return engine


@pytest.fixture(params=[20_000, 3], ids=["few", "many"])
def many(request, monkeypatch):
    monkeypatch.setattr(rows, "MANY_IDS", request.param)


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(
    "ids", [[], [7], [3, 1, 2, 2, 999], range(1, 101), np.arange(5, 50), iter([1, 2, 3, 4, 5])]
)
def test_ids_select_their_rows(engine, ids):
    ids = list(ids)
    with reading(engine) as connection:
        listed = id_list(connection, ids)
        found = connection.scalars(sa.select(lab.c.pk).where(lab.c.pk.in_(sa.select(listed.c.id))))
        assert sorted(found) == sorted(set(ids) & set(range(1, 101)))
        assert sorted(connection.scalars(sa.select(listed.c.id))) == sorted(ids)


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(
    "texts", [[], ["lab 7"], ["lab 1", "lab 2", "lab 2", "", 'a"\\,{}\t\n', "NULL", "é😀"]]
)
def test_texts_select_their_rows(engine, texts):
    with reading(engine) as connection:
        listed = text_list(connection, texts)
        found = connection.scalars(sa.select(lab.c.name).where(lab.c.name.in_(sa.select(listed.c.value))))
        assert sorted(found) == sorted({text for text in texts if text.startswith("lab ")})
        assert sorted(connection.scalars(sa.select(listed.c.value))) == sorted(texts)


@pytest.mark.usefixtures("many")
def test_two_lists_stand_in_one_statement(engine):
    with reading(engine) as connection:
        one, other = id_list(connection, range(1, 51)), id_list(connection, range(41, 91))
        both = lab.c.pk.in_(sa.select(one.c.id)) & lab.c.pk.in_(sa.select(other.c.id))
        assert connection.scalar(sa.select(sa.func.count()).where(both)) == 10
    with reading(engine) as connection:  # nothing of it is left
        assert not list(sa.inspect(connection).get_temp_table_names())


def test_null_is_found_as_itself(engine):
    with writing(engine) as connection:
        keys = {"name": "Titan", "vendor": "FEI", "lab_pk": None}
        first = find_or_add(connection, instrument, keys)
        assert find_or_add(connection, instrument, keys) == first
        assert find_or_add(connection, instrument, {**keys, "lab_pk": 1}) != first
