"""Two simulated sheets with known defects, on each engine."""

from __future__ import annotations

import pytest

from micdb import fsck


@pytest.fixture(scope="session")
def simulated(tmp_path_factory, defects):
    """Two sheets in one file: simulated once, the truth of it stays in the detector."""
    path = tmp_path_factory.mktemp("sheets") / "sheets.emd"
    defects.sheets(path, [{"Si1C3": 2, "vacancy": 1}, {"Si1C4": 1}])
    return path


@pytest.fixture
def db(tmp_path, new_database, simulated):
    with new_database(tmp_path / "lab.micdb") as opened:
        opened.ingest(simulated)
        opened.populate("planted")
        yield opened
        report = fsck.check(opened.engine, opened.root, deep=True)
        assert report.clean, report.open


@pytest.fixture
def sheets(db, tmp_path, defects):
    """Return what brings in further sheets, on which no detector has run."""

    def bring(planted, *, first):
        defects.sheets(tmp_path / f"more{first}.emd", planted, first=first)
        db.ingest(tmp_path / f"more{first}.emd")

    return bring
