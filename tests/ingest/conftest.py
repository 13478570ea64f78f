"""A database to ingest into, and the rows that came of it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from micdb import fsck, opening
from micdb.catalog import tables
from micdb.catalog.engine import reading


@pytest.fixture
def lab(tmp_path):
    with opening.init(tmp_path / "lab.micdb") as opened:
        yield opened
        assert fsck.check(opened.engine, opened.root, deep=True).clean, "a test left something behind"


@pytest.fixture
def rows_of(lab):
    """Return a function that gives all rows of a table, in order."""

    def rows(table):
        with reading(lab.engine) as connection:
            return connection.execute(sa.select(table).order_by(*table.primary_key)).all()

    return rows


@pytest.fixture
def ingested(lab, rows_of):
    """Return a function that ingests files and gives the rows of all images."""

    def images(*paths):
        for path in paths:
            lab.ingest(path)
        return rows_of(tables.micrograph)

    return images
