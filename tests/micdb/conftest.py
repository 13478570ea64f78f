"""Fixtures of tests that work on copies of a database."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import micdb
from micdb.database import Database

Seat = Callable[[str, Path], Database]


@pytest.fixture(scope="session")
def seat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seat]:
    """Return what gives a test its own copy of a database, under a name, through an engine that stays.

    An engine compiles each statement once: a new one for each test costs more than most tests.
    """
    folder = tmp_path_factory.mktemp("seats")
    taken: dict[str, Database] = {}

    def take(name: str, template: Path) -> Database:
        root = folder / f"{name}.micdb"
        if name in taken:
            taken[name].close()
            shutil.rmtree(root)
        shutil.copytree(template, root)
        return taken.setdefault(name, taken.get(name) or micdb.open(root))

    yield take
    for db in taken.values():
        db.close()
