"""Two simulated sheets with known defects, on each engine."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import pytest

from micdb import fsck
from micdb.populate.extractor import extractors

make = SimpleNamespace(**run_path(str(Path(__file__).parents[2] / "data" / "defects" / "make.py")))


@pytest.fixture(scope="session")
def simulated(tmp_path_factory):
    """Two sheets in one file: simulated once, the truth of it stays in the detector."""
    path = tmp_path_factory.mktemp("sheets") / "sheets.emd"
    make.sheets(path, [{"Si1C3": 2, "vacancy": 1}, {"Si1C4": 1}])
    return path


@pytest.fixture
def db(tmp_path, new_database, simulated):
    extractors().register(make.PlantedDetector, name="planted")
    with new_database(tmp_path / "lab.micdb") as opened:
        opened.ingest(simulated)
        opened.populate("planted")
        yield opened
        report = fsck.check(opened.engine, opened.root, deep=True)
        assert report.clean, report.open


@pytest.fixture
def sheets(db, tmp_path):
    """Return what brings in further sheets, on which no detector has run."""

    def bring(planted, *, first):
        make.sheets(tmp_path / f"more{first}.emd", planted, first=first)
        db.ingest(tmp_path / f"more{first}.emd")

    return bring
