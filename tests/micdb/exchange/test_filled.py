"""An image that came without pixels gets them from its original file, and keeps all that is known of it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

import micdb
from micdb.catalog import tables as t
from micdb.catalog.engine import postgres_engine, reading, writing
from micdb.database import Database
from micdb.errors import ReadError
from micdb.opening import settle
from micdb.query import thumbnails
from micdb.store.folder import make_folders
from micdb.testing.dump import dump
from micdb.testing.fakes import FakeExtractor


def change(db, table, where, **values):
    with writing(db.engine) as connection:
        connection.execute(table.update().where(where).values(**values))


def test_the_original_files_fill_the_rows_and_nothing_is_computed_again(
    home, rows_only, bundle, scans, monkeypatch
):
    before = rows_only.images.to_pandas().drop(columns=["deferred"])
    done = rows_only.ingest(scans)
    told = {name: number for name, number in done.counts.items() if number}
    assert told == {"files": 6, "filled_images": 8, "completed": 4, "skipped": 2}  # the sheet and its map
    after = rows_only.images.to_pandas()
    assert not after["deferred"].any()
    assert before.equals(after.drop(columns=["deferred"]))  # uid, sample, source, ...
    ours, theirs = (db.image(uid).pixels() for db in (rows_only, home) for uid in after["uid"][:1])
    assert (ours == theirs).all()
    monkeypatch.setattr(FakeExtractor, "extract", None)
    assert rows_only.populate("fake").progress.done == 8
    assert rows_only.corrections.history().equals(home.corrections.history())
    assert rows_only.fsck(deep=True).clean
    monkeypatch.setattr("micdb.ingest.arrival._stage", None)  # nothing is read a second time
    assert rows_only.ingest(scans).counts["known"] == 4
    assert not rows_only.import_bundle(bundle).changed  # of level full: all is here


def test_small_pictures_are_shown_until_the_pixels_come(home, rows_only, bundle, scans, tmp_path):
    uids = home.images.to_pandas()["uid"].tolist()
    pictures = thumbnails.load(home.context, uids)
    assert thumbnails.load(rows_only.context, uids) == pictures and len(pictures) == 8
    assert rows_only.images._repr_html_().count("data:image/png;base64,") == 8
    rows_only.export(rows_only.images, tmp_path / "on", as_="bundle", level="thumbnails")  # they travel on
    assert len(list((tmp_path / "on" / "thumbnails").iterdir())) == 8
    with micdb.federate([rows_only]) as both:
        assert thumbnails.load(both.context, uids) == pictures
    rows_only.ingest(scans / "01.tif")
    rows_only.import_bundle(bundle)
    assert thumbnails.load(rows_only.context, uids) == pictures
    with reading(rows_only.engine) as connection:
        assert not connection.execute(sa.select(t.thumbnail)).all()


def test_the_same_on_postgresql(home, derived, scans, pg_server, tmp_path):
    engine = postgres_engine(pg_server.fresh())
    make_folders(tmp_path / "files")
    settle(engine, tmp_path / "files")
    with Database(tmp_path / "files", engine) as server:
        server.import_bundle(derived)
        assert len(thumbnails.load(server.context, server.images.to_pandas()["uid"])) == 8
        assert server.ingest(scans).counts["filled_images"] == 8
        assert not server.images.query("deferred").count()
        for db, form in ((server, "film"), (home, "powder")):  # theirs is the newest
            change(db, t.sample, t.sample.c.name == "s0", form=form)
        home.export(home.images, tmp_path / "b", as_="bundle", level="metadata")
        server.import_bundle(tmp_path / "b", policy="newest")
        assert server.samples.query("name == 's0'").to_pandas()["form"].tolist() == ["powder"]
        assert server.fsck(deep=True).clean


def test_other_images_of_a_file_come_and_those_that_are_here_stay(home, away, scans, tmp_path):
    """A bundle may hold one image of a file that has three."""
    home.export("file == '00.emd' and name == 'image01'", tmp_path / "one", as_="bundle", level="full")
    away.import_bundle(tmp_path / "one")
    uid = away.images.to_pandas()["uid"][0]
    done = away.ingest(scans / "00.emd")
    assert (done.counts["new_images"], done.counts["filled_images"]) == (2, 0)
    assert away.images.count() == 3 and uid in set(away.images.to_pandas()["uid"])
    assert away.ingest(scans / "00.emd").counts["known"] == 1
    assert away.fsck(deep=True).clean


def test_pixels_of_another_file_fill_them_too(home, away, scans, tmp_path):
    home.export(home.images.query("name == '01'"), tmp_path / "b", as_="bundle", level="metadata")
    away.import_bundle(tmp_path / "b")
    longer = tmp_path / "longer.tif"
    longer.write_bytes((scans / "01.tif").read_bytes() + b"\0\0")
    assert away.ingest(longer).counts["completed"] == 1
    assert away.images.to_pandas()["deferred"].tolist() == [False]
    assert away.fsck(deep=True).clean


def test_a_place_holder_of_the_same_file_goes(rows_only, scans):
    rows_only.ingest(scans, defer_pixels=True)
    assert rows_only.images.count() == 16  # headers alone do not tell that they are the same
    assert rows_only.fetch().counts["filled_images"] == 8
    assert (rows_only.images.count(), rows_only.images.query("deferred").count()) == (8, 0)
    assert rows_only.fsck(deep=True).clean


def test_other_pixels_are_refused_with_the_reason_and_change_nothing(rows_only, scans):
    m = t.micrograph.c
    uid = rows_only.images.query("name == '01'").to_pandas()["uid"][0]
    change(rows_only, t.micrograph, m.uid == uid, pixel_hash="0" * 64)
    before = dump(rows_only.root)
    said = rf"image 0 of it is here without pixels \({uid}, from Lab A, read by tiff .*\), and its pixels are"
    with pytest.raises(ReadError, match=said):
        rows_only.ingest(scans / "01.tif")
    assert dump(rows_only.root) == before
    done = rows_only.ingest(scans)  # one file's fault is not that of the others
    assert (done.counts["refused"], done.counts["filled_images"]) == (1, 7)
    assert "bundle of level full" in done.of("refused")[0].reason
    assert rows_only.images.query("deferred").to_pandas()["uid"].tolist() == [uid]


def test_an_image_that_the_file_does_not_hold_is_refused(rows_only, scans):
    change(rows_only, t.source, t.source.c.file_name == "01.tif", position=1)
    with pytest.raises(ReadError, match="image 1 of it .* and there is no such image in the file"):
        rows_only.ingest(scans / "01.tif")


def test_a_bundle_with_other_pixels_is_told_and_fills_nothing(rows_only, bundle):
    uid = rows_only.images.to_pandas()["uid"][0]
    change(rows_only, t.micrograph, t.micrograph.c.uid == uid, pixel_hash="0" * 64)
    done = rows_only.import_bundle(bundle)
    assert [(one.row, *one.columns) for one in done.conflicts] == [(uid, "pixel_hash")]
    assert done.filled["micrograph"] == 7
    assert rows_only.images.query("deferred").to_pandas()["uid"].tolist() == [uid]
    rows_only.import_bundle(bundle, policy="theirs")
    assert not rows_only.images.query("deferred").count()
    assert rows_only.fsck(deep=True).clean


def test_the_message_of_pixels_that_are_not_here(rows_only):
    from micdb.errors import UsageError

    with pytest.raises(UsageError, match="micdb fetch, or ingest the files of those that came from another"):
        next(rows_only.pictures(rows_only.images.head(1)))


def test_what_was_deleted_stays_deleted(rows_only, scans):
    m = t.micrograph.c
    change(rows_only, t.micrograph, m.name == "01", deleted_at="2026-01-01T00:00:00Z")
    assert rows_only.ingest(scans).counts["filled_images"] == 7
    assert rows_only.images.count() == 7
    query = sa.select(m.object_pk).where(m.name == "01")
    with rows_only.engine.connect() as connection:
        assert connection.scalar(query) is None
