"""The same files and the same work give the same database, in a folder and on a server."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import pandas as pd
import pytest

from micdb import fsck, opening
from micdb.catalog.engine import postgres_engine
from micdb.database import Database
from micdb.opening import settle
from micdb.populate.extractor import extractors
from micdb.store.folder import make_folders
from micdb.testing.dump import dump
from micdb.testing.fakes import FakeExtractor

DATA = Path(__file__).parents[1] / "data"
make = SimpleNamespace(**run_path(str(DATA / "delivery" / "make.py")))


@pytest.fixture
def both(pg_url, tmp_path):
    """Return a database in a folder and one on a server."""
    root = tmp_path / "lab.files"
    make_folders(root)
    engine = postgres_engine(pg_url)
    settle(engine, root)
    with opening.init(tmp_path / "lab.micdb") as folder, Database(root, engine) as server:
        yield folder, server


def same(folder, server):
    assert dump(folder.root) == dump(server.root, server.engine)
    for db in (folder, server):
        report = fsck.check(db.engine, db.root, deep=True)
        assert report.clean, report.open


def shown(db, name):
    frame = getattr(db, name).to_pandas().drop(columns=["uid", "image", "created_at"], errors="ignore")
    return frame.sort_values(list(frame.columns), ignore_index=True, key=lambda column: column.map(repr))


def test_a_delivery_with_its_sheet(both, tmp_path):
    extractors().register(FakeExtractor, name="fake")
    scans = make.write(tmp_path / "scans", files=4, images=3)
    for db in both:
        first = db.ingest(
            scans, sheet=scans / "samples.csv", map=scans / "map.toml", lab="Lab É\t\\1", workers=2
        )
        again = db.ingest(scans, sheet=scans / "samples.csv", map=scans / "map.toml", lab="Lab É\t\\1")
        assert (first.counts["new_images"], again.counts["new_images"]) == (8, 0)
        db.populate("fake", workers=2)
    same(*both)
    for name in ("images", "samples", "properties"):
        pd.testing.assert_frame_equal(*(shown(db, name) for db in both))


def test_headers_first_and_pixels_later(both, tmp_path):
    scans = make.write(tmp_path / "scans", files=3, images=2)
    for db in both:
        assert db.ingest(scans, defer_pixels=True).counts["new_images"] == 4
    same(*both)
    for db in both:
        assert db.fetch().counts["files"] == 3
    same(*both)


def test_real_files_of_many_vendors(both, shared):
    files = []
    for pattern in (
        "*.dm3",
        "*.dm4",
        "*.sxm",
        "*.mrc",
        "*.ser",
        "*.gwy",
        "*.tif",
        "*.emd",
        "*.sm4",
        "*.mtrx",
    ):
        found = (path for path in sorted((shared / "data").rglob(pattern)) if path.stat().st_size < 3_000_000)
        files += list(found)[:2]
    for db in both:
        db.ingest(files)
    assert both[0].images.count() > 8
    same(*both)


def test_a_defect_library_and_its_corrections(both, tmp_path, defects):
    defects.sheets(tmp_path / "sheets.emd", [{"Si1C3": 2, "vacancy": 1}, {"Si1C4": 1, "Si1C3": 1}])
    for db in both:
        db.ingest(tmp_path / "sheets.emd", lab="Delft")
        db.populate("planted")
        silicon = db.defects[db.defects.formula == "Si1C3"].sort_values(["x_px", "y_px"]).to_pandas()["uid"]
        db.library.add("3-fold silicon", silicon)
        db.library.build(rare=1)
        db.library.merge(["V1", "Si1C4"], into="others")
        db.corrections.move(silicon[0], 30, 40)
        db.corrections.reject(silicon[1])
        db.corrections.undo(db.corrections.relabel(silicon[2], "adatom")[0].uid)
        db.library.retire("others")
        db.library.build(rare=1)
    pd.testing.assert_frame_equal(*(db.library.motifs() for db in both))
    pd.testing.assert_frame_equal(*(db.scorecard().drop(columns="run") for db in both))
    pd.testing.assert_frame_equal(*(shown(db, "defects") for db in both))
    told = [db.corrections.history()[["verb", "undone", "by"]] for db in both]
    pd.testing.assert_frame_equal(*told)
