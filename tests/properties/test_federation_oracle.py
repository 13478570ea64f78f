"""A federation answers as the merged database does, and both as pandas does on all tables together.

One laboratory has the images of some worlds, the other those of others, and some images both have.
``MICDB_FEDERATED`` sets the number of random programs.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings

import micdb
from micdb.catalog import results as r
from micdb.catalog import tables as t
from micdb.catalog.columns import metadata
from micdb.catalog.engine import CATALOG, sqlite_engine, writing
from micdb.database import Database
from micdb.store.folder import make_folders

oracle = SimpleNamespace(**run_path(str(Path(__file__).with_name("test_pandas_oracle.py"))))
PROGRAMS = int(os.environ.get("MICDB_FEDERATED", "30"))
KEPT = {"one": lambda world: world % 3 != 1, "other": lambda world: world % 3 != 2}


def plant(root: Path) -> None:
    """Make a catalog with all worlds."""
    engine = sqlite_engine(root / CATALOG)
    metadata.create_all(engine)
    oracle.sides.world.plant(engine)
    engine.dispose()


def made(root: Path, name: str, keeps: Any) -> Database:
    """Return a database with all worlds that it keeps."""
    folder = root / f"{name}.micdb"
    make_folders(folder)
    shutil.copyfile(root / CATALOG, folder / CATALOG)
    engine = sqlite_engine(folder / CATALOG)
    m = t.micrograph.c
    with writing(engine) as connection:
        worlds = range(oracle.sides.world.WORLDS)
        gone = [f"w{world:02d}" for world in worlds if not keeps(world)]
        mine = sa.select(m.pk).where(m.name.in_(gone))
        for table in (r.defect, r.run_item, t.property_value):
            connection.execute(table.delete().where(table.c.micrograph_pk.in_(mine)))
        connection.execute(t.micrograph.delete().where(m.name.in_(gone)))
    return Database(folder, engine)


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    root = tmp_path_factory.mktemp("federation")
    plant(root)
    one, other = (made(root, name, keeps) for name, keeps in KEPT.items())
    merged = made(root, "merged", KEPT["one"])
    other.export(other.images, root / "bundle", as_="bundle", level="derived")
    merged.import_bundle(root / "bundle")
    assert one.images.count() < merged.images.count() > other.images.count()
    with micdb.federate([one, other]) as federation:
        yield [federation.context, merged.context]
    for db in (one, other, merged):
        db.close()


@settings(max_examples=PROGRAMS, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(program=oracle.sides.programs.programs())
def test_a_federation_answers_as_the_merged_database(contexts, program):
    oracle.check(contexts, program, "arrow")
