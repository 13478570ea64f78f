"""Simulated sheets with known defects, in a database; corrected and collected in tests."""

from __future__ import annotations

import shutil

import pytest

from micdb import opening

PLANTED = [{"Si1C3": 2, "vacancy": 1}, {"Si1C4": 1, "Si1C3": 1}, {"vacancy": 2, "Si1C3": 1}, {}]


@pytest.fixture(scope="session")
def collection(tmp_path_factory, defects):
    """Four sheets in a database in which the planted detector has looked everywhere: made once."""
    folder = tmp_path_factory.mktemp("collection")
    defects.sheets(folder / "sheets.emd", PLANTED)
    with opening.init(folder / "lab.micdb") as db:
        db.ingest(folder / "sheets.emd", lab="Delft")
        db.populate("planted")
    return folder / "lab.micdb"


@pytest.fixture
def planted(tmp_path, collection):
    """A copy of it."""
    shutil.copytree(collection, tmp_path / "lab.micdb")
    with opening.open(tmp_path / "lab.micdb") as db:
        yield db
