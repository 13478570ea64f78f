"""Simulated sheets with known defects, in a database; corrected and collected in tests."""

from __future__ import annotations

import pytest

from micdb import opening

PLANTED = [{"Si1C3": 2, "vacancy": 1}, {"Si1C4": 1, "Si1C3": 1}, {"vacancy": 2, "Si1C3": 1}, {}]


@pytest.fixture(scope="session")
def sheets(tmp_path_factory, defects):
    """Four sheets in one file: the simulation is the slow part, the truth of it stays in the detector."""
    path = tmp_path_factory.mktemp("sheets") / "sheets.emd"
    defects.sheets(path, PLANTED)
    return path


@pytest.fixture
def planted(tmp_path, sheets):
    """A database of the sheets in which the planted detector has looked everywhere."""
    with opening.init(tmp_path / "lab.micdb") as db:
        db.ingest(sheets, lab="Delft")
        db.populate("planted")
        yield db
