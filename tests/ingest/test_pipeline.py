"""Files in: what is recognised, what is refused, and what never gets in twice."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import warnings
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
import tifffile

from micdb import fsck, opening
from micdb.catalog import tables
from micdb.catalog.engine import reading
from micdb.errors import (
    DamagedFileError,
    MissingExtraError,
    NotFoundError,
    ReadError,
    SheetError,
    UnknownFormatError,
    UsageError,
)
from micdb.ingest import arrival, intake
from micdb.testing.dump import dump

DATA = Path(__file__).parents[1] / "data"
dm, emd, mrc, tiff, delivery = (
    SimpleNamespace(**run_path(str(DATA / name / "make.py")))
    for name in ("dm", "emd", "mrc", "tiff", "delivery")
)
IMAGE = np.arange(12 * 16, dtype=np.int16).reshape(12, 16)


@pytest.fixture
def db(tmp_path):
    with opening.init(tmp_path / "lab.micdb") as opened:
        yield opened
        assert fsck.check(opened.engine, opened.root, deep=True).clean, "a test left something behind"


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    return folder


def rows(db, table=tables.micrograph):
    with reading(db.engine) as connection:
        return connection.execute(sa.select(table).order_by(table.c.pk)).all()


def counts(result):
    return {name: count for name, count in result.counts.items() if count}


# ------------------------------------------------------------------ the same again


def test_the_same_folder_twice_adds_nothing_and_says_so(db, tmp_path):
    folder = delivery.write(tmp_path / "delivery", files=6, images=2)
    sheet = {"sheet": folder / "samples.csv", "map": folder / "map.toml", "lab": "Lab A"}
    assert counts(db.ingest(folder, **sheet)) == {"files": 6, "new_images": 8, "added": 6}
    before = dump(db.root)
    again = db.ingest(folder, **sheet)
    assert counts(again) == {"files": 6, "known": 6}
    assert [result.notes for result in again.files] == [()] * 6
    assert dump(db.root) == before


def test_the_same_file_under_another_name_is_known(db, scans):
    mrc.write(scans / "a.mrc", IMAGE)
    shutil.copy(scans / "a.mrc", scans / "b.mrc")
    assert counts(db.ingest(scans)) == {"files": 2, "new_images": 1, "added": 1, "known": 1}
    assert len(rows(db, tables.source)) == 1


@pytest.mark.parametrize("dm_first", [True, False])
def test_one_image_as_dm_and_as_tiff_is_one_object_with_two_sources(db, scans, dm_first):
    axes = [dm.axis(0.5, "nm"), dm.axis(0.5, "nm")]
    tags = {"Microscope Info": dm.MICROSCOPE}
    saved = [
        dm.write(scans / "a.dm3", dm.image(IMAGE, axes=axes, tags=tags)),
        tiff.write(scans / "a.tif", IMAGE),
    ]
    first, second = saved if dm_first else reversed(saved)
    assert counts(db.ingest(first)) == {"files": 1, "new_images": 1, "added": 1}
    assert counts(db.ingest(second)) == {"files": 1, "merged": 1}
    (image,) = rows(db)
    assert (image.pixel_size, image.pixel_size_origin) == (0.5, "file")
    assert image.area == pytest.approx(0.25 * IMAGE.size)
    assert [axis["step"] for axis in image.axes] == [0.5, 0.5]
    assert image.accelerating_voltage == 200_000
    assert [source.file_name for source in rows(db, tables.source)] == [first.name, second.name]
    assert len(rows(db, tables.object_)) == 1
    assert counts(db.ingest(scans)) == {"files": 2, "known": 2}


def test_a_second_source_never_overwrites_what_is_known(db, scans):
    db.ingest(mrc.write(scans / "a.mrc", IMAGE, voxel=2.0))
    db.ingest(dm.write(scans / "a.dm3", dm.image(IMAGE, axes=[dm.axis(7, "nm"), dm.axis(7, "nm")])))
    (image,) = rows(db)
    assert image.pixel_size == pytest.approx(0.2)
    assert image.axes[0]["unit"] == "angstrom"


def test_blank_images_are_never_merged(db, scans):
    blank = np.zeros((12, 16), np.int16)
    mrc.write(scans / "a.mrc", blank)
    tiff.write(scans / "b.tif", blank)
    assert counts(db.ingest(scans)) == {"files": 2, "new_images": 2, "added": 2}
    assert len(rows(db)) == 2


def test_images_of_nothing_but_nan_are_never_merged(db, scans):
    blank = np.full((12, 16), np.nan, np.float32)
    tiff.write(scans / "a.tif", blank)
    tiff.write(scans / "b.tif", blank, description="another file")
    assert db.ingest(scans).counts["new_images"] == 2
    assert rows(db)[0].intensity_mean is None


def test_two_equal_channels_of_one_file_are_two_images(db, scans):
    axes = [("y", "[n_m]", np.arange(12.0)), ("x", "[n_m]", np.arange(16.0))]
    db.ingest(emd.write_ncem(scans / "a.emd", {"left": (IMAGE, axes), "right": (IMAGE, axes)}))
    images = rows(db)
    assert len(images) == 2
    assert images[0].pixel_hash == images[1].pixel_hash
    assert images[0].acquisition_pk == images[1].acquisition_pk
    again = emd.write_ncem(scans / "b.emd", {"one": (IMAGE, axes), "two": (IMAGE, axes)})
    assert counts(db.ingest(again)) == {"files": 1, "merged": 1}
    assert len({source.micrograph_pk for source in rows(db, tables.source)}) == 2


def test_unknown_scale_stays_unknown(db, scans):
    db.ingest(tiff.write(scans / "a.tif", IMAGE))
    (image,) = rows(db)
    assert (image.pixel_size, image.pixel_size_x, image.area, image.pixel_size_origin) == (None,) * 4


def test_a_stack_has_frames(db, scans):
    db.ingest(mrc.write(scans / "a.mrcs", np.stack([IMAGE, IMAGE + 1, IMAGE + 2])))
    assert rows(db)[0].n_frames == 3
    with reading(db.engine) as connection:
        assert connection.execute(sa.select(tables.frame.c.position, tables.frame.c.time)).all() == [
            (0, None),
            (1, None),
            (2, None),
        ]


# ------------------------------------------------------------------ folders


def test_a_folder_takes_what_it_can_and_says_why_not(db, scans):
    mrc.write(scans / "a.mrc", IMAGE)
    (scans / "b.mrc").write_bytes((scans / "a.mrc").read_bytes()[:1200])
    (scans / "notes.txt").write_text("a day in the lab")
    (scans / "empty.tif").touch()
    result = db.ingest(scans)
    assert counts(result) == {"files": 4, "new_images": 1, "added": 1, "refused": 2, "skipped": 1}
    (skipped,) = result.of("skipped")
    assert "no reader knows this file" in skipped.reason
    said = repr(result).splitlines()
    assert said[0] == "1 new images from 4 files; 2 refused; 1 skipped"
    assert [line.partition(":")[0] for line in said[1:]] == ["refused", "refused", "skipped"]
    reasons = {file.path.name: file.reason for file in result.of("refused")}
    assert "empty" in reasons["empty.tif"]
    assert reasons["b.mrc"]
    assert {entry["outcome"] for entry in result.as_json()["details"]} == {"refused", "skipped"}


def test_a_folder_without_an_image_is_an_error_that_names_the_first(db, scans):
    (scans / "a.txt").write_text("nothing to see")
    (scans / "b.txt").write_text("nothing here either")
    with pytest.raises(
        UsageError, match=r"scans holds no image .*, among 2 files; the first, a\.txt: no reader knows"
    ):
        db.ingest(scans)


def test_a_folder_without_a_file_and_a_missing_path_are_errors(db, scans):
    with pytest.raises(NotFoundError, match=r"scans holds no file; name a folder"):
        db.ingest(scans)
    with pytest.raises(NotFoundError, match=r"nowhere does not exist; give a file or a folder"):
        db.ingest(scans / "nowhere")


def test_hidden_files_and_databases_are_not_searched(db, scans):
    mrc.write(scans / "a.mrc", IMAGE)
    (scans / ".hidden").mkdir()
    mrc.write(scans / ".hidden" / "b.mrc", IMAGE + 1)
    mrc.write(scans / "._a.mrc", IMAGE + 2)
    (scans / "old.micdb").mkdir()
    mrc.write(scans / "old.micdb" / "c.mrc", IMAGE + 3)
    with opening.init(scans / "named_otherwise") as other:
        other.ingest(scans / "a.mrc")
    assert counts(db.ingest(scans)) == {"files": 1, "new_images": 1, "added": 1}


def test_a_single_file_that_cannot_be_read_raises(db, scans):
    whole = mrc.write(scans / "a.mrc", IMAGE)
    damaged = scans / "b.mrc"
    damaged.write_bytes(whole.read_bytes()[:1200])
    with pytest.raises(DamagedFileError, match=r"b\.mrc"):
        db.ingest(damaged)
    text = scans / "c.txt"
    text.write_text("no image")
    with pytest.raises(UnknownFormatError, match="no reader knows this file"):
        db.ingest(text)
    assert counts(db.ingest([whole, damaged])) == {"files": 2, "new_images": 1, "added": 1, "refused": 1}


def test_links_are_one_file_and_broken_ones_a_refusal(db, scans):
    mrc.write(scans / "a.mrc", IMAGE)
    (scans / "b.mrc").symlink_to(scans / "a.mrc")
    (scans / "c.mrc").symlink_to(scans / "gone.mrc")
    (scans / "d.mrc").symlink_to(scans / "d.mrc")
    os.mkfifo(scans / "e.mrc")  # reading it would wait for ever
    result = db.ingest(scans)
    assert counts(result) == {"files": 4, "new_images": 1, "added": 1, "refused": 3}
    assert {file.reason for file in result.of("refused")} <= {
        "this is no regular file, or a link that leads nowhere"
    }


def test_a_missing_extra_does_not_stop_the_rest(db, scans, monkeypatch):
    mrc.write(scans / "a.mrc", IMAGE)
    mrc.write(scans / "b.mrc", IMAGE + 1)
    read = arrival.open_scans

    def lacking(path):
        if path.name == "a.mrc":
            raise MissingExtraError("this needs the package 'rsciio': pip install 'micdb[em]'")
        return read(path)

    monkeypatch.setattr(arrival, "open_scans", lacking)
    result = db.ingest(scans)
    assert result.of("refused")[0].reason.endswith("pip install 'micdb[em]'")
    assert result.counts["added"] == 1


def test_a_file_that_changes_while_it_is_read_is_refused(db, scans, monkeypatch):
    path = mrc.write(scans / "a.mrc", IMAGE)
    read = arrival.open_scans

    def overwritten(path):
        scans = read(path)
        mrc.write(path, IMAGE + 1)
        return scans

    monkeypatch.setattr(arrival, "open_scans", overwritten)
    with pytest.raises(ReadError, match=r"a\.mrc: the file changed while it was being read; ingest it again"):
        db.ingest(path)
    assert rows(db) == []
    monkeypatch.undo()
    assert db.ingest(path).counts["new_images"] == 1


def test_the_caller_can_watch(db, scans):
    mrc.write(scans / "a.mrc", IMAGE)
    mrc.write(scans / "b.mrc", IMAGE + 1)
    seen = []
    db.ingest(scans, watch=lambda number, total, path: seen.append((number, total, path.name)))
    assert seen == [(0, 2, "a.mrc"), (1, 2, "b.mrc")]


def test_every_file_is_in_the_audit_log(db, scans):
    db.ingest(mrc.write(scans / "a.mrc", IMAGE))
    with reading(db.engine) as connection:
        (event,) = connection.execute(sa.select(tables.event)).all()
    assert (event.verb, event.detail["file"], event.detail["images"]) == ("ingest", "a.mrc", 1)


# ------------------------------------------------------------------ two at once


def ingest_together(root, folder, barrier):
    with opening.open(root) as db:
        barrier.wait()
        sheet = {"sheet": folder / "samples.csv", "map": folder / "map.toml"}
        return db.ingest(folder, lab="Lab A", **sheet).counts


def test_two_processes_bring_in_one_folder(db, tmp_path):
    folder = delivery.write(tmp_path / "delivery", files=9, images=2)
    for path in sorted(folder.glob("*.tif")):  # the same pixels once more, so that both meet twins too
        tiff.write(
            folder / f"twin{path.name}",
            delivery.pixels(1000 * int(path.stem)).astype(np.uint16),
            description="x",
        )
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(2) as pool:
        found = pool.starmap(ingest_together, [(db.root, folder, manager.Barrier(2))] * 2)
    assert sum(each["new_images"] for each in found) == 12
    assert [each["refused"] for each in found] == [0, 0]
    with opening.init(tmp_path / "single.micdb") as single:
        single.ingest(folder, lab="Lab A", sheet=folder / "samples.csv", map=folder / "map.toml")
        assert without_who_came_first(dump(db.root)) == without_who_came_first(dump(single.root))


def without_who_came_first(facts):
    """Drop what depends on which of two twin files came first: names, and metadata kept with the second."""
    return {
        name: lines
        for name, lines in facts.items()
        if name not in ("micrograph", "object", "source", "event", "acquisition")
    }


@pytest.mark.parametrize("other", ["the same file", "a twin"])
def test_whoever_is_overtaken_keeps_one_image(db, scans, monkeypatch, other):
    mine = mrc.write(scans / "a.mrc", IMAGE)
    theirs = (
        shutil.copy(mine, scans / "b.mrc") if other == "the same file" else tiff.write(scans / "b.tif", IMAGE)
    )
    publish = intake.publish
    pending = [theirs]

    def overtaken(*given):
        if pending:
            db.ingest(pending.pop())
        return publish(*given)

    monkeypatch.setattr(intake, "publish", overtaken)
    outcome = {"the same file": "known", "a twin": "merged"}[other]
    assert counts(db.ingest(mine)) == {"files": 1, outcome: 1}
    assert len(rows(db)) == 1
    assert len(rows(db, tables.object_)) == 1


def test_a_name_that_is_not_utf8_is_refused_by_name(db, scans):
    name = os.fsdecode(b"Gr\xf6\xdfe.tif")
    try:
        tifffile.imwrite(scans / "sound.tif", np.arange(64, dtype=np.uint8).reshape(8, 8))
        (scans / name).write_bytes((scans / "sound.tif").read_bytes())
    except OSError:
        pytest.skip("this file system keeps UTF-8 names only")
    result = db.ingest(scans)
    (refused,) = result.of("refused")
    assert refused.path.name == name
    assert refused.reason == "the name of the file or of its folder is not UTF-8 text; rename it"
    assert db.fsck(deep=True).exit_code == 0


def test_numbers_too_large_to_square_give_an_unknown_deviation_and_no_warning(db, scans):
    values = np.linspace(1, 2, 64).reshape(8, 8) * 1e300
    tifffile.imwrite(scans / "large.tif", values)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        db.ingest(scans / "large.tif")
    row = db.images.query('name == "large"').to_pandas().iloc[0]
    assert row["intensity_max"] == 2e300
    assert pd.isna(row["intensity_sd"])


def test_a_mistake_in_the_sheet_keeps_the_files_before_it(db, tmp_path):
    folder = delivery.write(tmp_path / "delivery", files=6, images=1)
    table = folder / "samples.csv"
    lines = table.read_text().splitlines()
    lines[5] = lines[5].replace(lines[5].split(",")[1], "", 1)  # the fifth row has no sample
    table.write_text("\n".join(lines) + "\n")
    with pytest.raises(SheetError):
        db.ingest(folder, sheet=table, map=folder / "map.toml")
    assert len(rows(db)) == 4
