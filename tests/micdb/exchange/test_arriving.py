"""A bundle arrives: once, whoever sends it how often, and nothing that was here is lost."""

from __future__ import annotations

import fcntl
import json
import shutil

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

import micdb
from micdb.catalog import results as r
from micdb.catalog import tables as t
from micdb.catalog.engine import postgres_engine, reading
from micdb.database import Database
from micdb.errors import ForeignDatabaseError, NewSchemaError, NotFoundError, StoreError, UsageError
from micdb.exchange.receiver import LOCK
from micdb.opening import settle
from micdb.store.folder import make_folders
from micdb.testing.dump import dump
from micdb.testing.fakes import FakeExtractor

TABLES = ("images", "samples", "properties", "defects", "atoms", "embeddings")


def same(one, other):
    """Whether two databases answer alike, but for where rows came from and when."""
    for name in TABLES:
        here, there = (getattr(db, name).to_pandas() for db in (one, other))
        dropped = [column for column in ("source", "created_at", "source_name") if column in here]
        pd.testing.assert_frame_equal(here.drop(columns=dropped), there.drop(columns=dropped))
    assert one.corrections.history().equals(other.corrections.history())
    assert one.annotations.drawings().equals(other.annotations.drawings())


def test_everything_arrives_and_a_second_time_changes_nothing(home, away, bundle, monkeypatch):
    done = away.import_bundle(bundle)
    assert (done.added["micrograph"], done.files, done.conflicts) == (8, 8, [])
    same(home, away)
    assert set(away.images.to_pandas()["source"]) == {"Lab A"}
    assert away.fsck(deep=True).clean
    with reading(away.engine) as connection:
        (detail,) = connection.scalars(sa.select(t.event.c.detail).where(t.event.c.verb == "import"))
    assert (detail["times"], detail["labs"], detail["level"]) == ("as claimed by Lab A", ["Lab A"], "full")
    before = dump(away.root)
    again = away.import_bundle(bundle)
    assert not again.changed and not again.added.total()
    assert dump(away.root) == before

    def computed(*_):
        raise AssertionError("computed what had come")

    monkeypatch.setattr(FakeExtractor, "extract", computed)
    assert away.populate("fake").progress.done == 8
    uid = away.images.to_pandas()["uid"][0]
    here, there = (db.images.similar_to(uid, k=3)[["uid", "similarity"]].to_pandas() for db in (home, away))
    assert here.equals(there)


def test_home_again_changes_nothing(home, met, tmp_path):
    met.export(met.images, tmp_path / "back.zip", as_="bundle", level="derived")
    before = dump(home.root)
    assert not home.import_bundle(tmp_path / "back.zip").changed
    after = dump(home.root)
    after["event"] = [one for one in after["event"] if '"import"' not in one]
    assert after == before


def test_a_dry_run_says_what_comes_and_writes_nothing(away, bundle):
    before = dump(away.root)
    told = away.import_bundle(bundle, dry_run=True)
    assert dump(away.root) == before
    assert not list((away.root / "objects").rglob("*.nxs"))
    done = away.import_bundle(bundle)
    assert told.added == done.added
    assert told.names == done.names
    assert "would come from Lab A" in str(told)


def test_the_same_on_postgresql(met, bundle, pg_server, tmp_path):
    engine = postgres_engine(pg_server.fresh())
    make_folders(tmp_path / "files")
    settle(engine, tmp_path / "files")
    with Database(tmp_path / "files", engine) as server:
        assert server.import_bundle(bundle, dry_run=True).added["micrograph"] == 8
        server.import_bundle(bundle)
        assert dump(server.root, engine) == dump(met.root)
        assert not server.import_bundle(bundle).changed
        same(met, server)
        assert server.fsck(deep=True).clean
        server.export(server.images, tmp_path / "back", as_="bundle")
        assert not met.import_bundle(tmp_path / "back").changed


def test_rows_first_and_pixels_later(home, away, bundle, derived, tmp_path):
    home.export(home.images, tmp_path / "metadata", as_="bundle", level="metadata")
    away.import_bundle(tmp_path / "metadata")
    assert away.images.query("deferred").count() == 8
    assert away.populate("fake").progress.total == 0  # there is nothing to look at yet
    assert away.import_bundle(derived).added["run_item"] == 16
    assert away.atoms.count() == 24
    assert away.import_bundle(bundle).files == 8
    same(home, away)
    assert away.fsck(deep=True).clean


def test_missing_parents_become_stubs_until_they_come(home, away, bundle, tmp_path, resealed):
    shutil.copytree(bundle, tmp_path / "cut")
    (tmp_path / "cut/catalog/sample.parquet").unlink()
    done = away.import_bundle(resealed(tmp_path / "cut"))
    uids = home.samples.to_pandas()["uid"]
    assert sorted(done.stubs) == sorted(("sample", uid) for uid in uids)
    assert set(away.samples.to_pandas()["name"]) == set(uids)
    assert away.fsck(deep=True).clean
    done = away.import_bundle(bundle)
    assert (done.filled["sample"], done.conflicts) == (2, [])
    same(home, away)


# ---------------------------------------------------------------------- bundles that are none


def test_a_damaged_bundle_is_refused_before_anything_is_written(away, bundle, tmp_path):
    shutil.copytree(bundle, tmp_path / "b")
    path = next((tmp_path / "b" / "objects").rglob("*.nxs"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"!")
    before = dump(away.root)
    with pytest.raises(StoreError, match=r"has other bytes than the manifest says; nothing was imported"):
        away.import_bundle(tmp_path / "b")
    path.unlink()
    with pytest.raises(StoreError, match=r"is missing; nothing was imported: get the bundle again"):
        away.import_bundle(tmp_path / "b")
    assert dump(away.root) == before


def test_what_is_no_bundle(away, bundle, tmp_path, resealed):
    with pytest.raises(NotFoundError, match="no bundle .*nowhere"):
        away.import_bundle(tmp_path / "nowhere")
    with pytest.raises(ForeignDatabaseError, match=r"is no bundle: it has no manifest\.json"):
        away.import_bundle(away.root)
    (tmp_path / "b.zip").write_bytes(b"PK no")
    with pytest.raises(StoreError, match="is no readable zip file"):
        away.import_bundle(tmp_path / "b.zip")
    shutil.copytree(bundle, tmp_path / "new")
    with pytest.raises(NewSchemaError, match="schema 9999, newer than this micdb .* pip install --upgrade"):
        away.import_bundle(resealed(tmp_path / "new", schema="9999"))
    said = json.loads((bundle / "manifest.json").read_text())
    said["members"]["../../outside"] = {"sha256": "0" * 64, "size": 1}
    (tmp_path / "new" / "manifest.json").write_text(json.dumps(said))
    with pytest.raises(StoreError, match=r"names the file '../../outside', which is not below the bundle"):
        away.import_bundle(tmp_path / "new")


@pytest.mark.parametrize(
    ("table", "column", "value"), [("object", "path", "../../outside.nxs"), ("part", "table_name", "../../x")]
)
def test_a_bundle_cannot_write_outside_of_the_database(
    away, bundle, tmp_path, resealed, *, table, column, value
):
    shutil.copytree(bundle, tmp_path / "b")
    path = tmp_path / "b" / "catalog" / f"{table}.parquet"
    rows = [{**row, column: value} for row in pq.read_table(path).to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows), path)
    with pytest.raises(StoreError, match="do not trust it"):
        away.import_bundle(resealed(tmp_path / "b"))


def test_a_bundle_of_an_older_micdb_is_upgraded_on_the_way(home, away, bundle, tmp_path, resealed):
    """As schema 0006 wrote it: without what 0007 added."""
    shutil.copytree(bundle, tmp_path / "old")
    for name, columns in {
        "micrograph": ["source"], "sample": ["source"], "property_value": ["source"],
        "property_def": ["aliases"],
    }.items():  # fmt: skip
        path = tmp_path / "old" / "catalog" / f"{name}.parquet"
        pq.write_table(pq.read_table(path).drop_columns(columns), path)
    away.import_bundle(resealed(tmp_path / "old", schema="0006"))
    same(home, away)


def test_two_imports_take_turns(away, bundle):
    with (away.root / LOCK).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another process is importing into"):
            away.import_bundle(bundle)


def test_a_run_that_is_not_in_the_bundle_is_an_error(away, bundle, tmp_path, resealed):
    shutil.copytree(bundle, tmp_path / "b")
    (tmp_path / "b/catalog/run.parquet").unlink()
    with pytest.raises(StoreError, match="the bundle refers to the run .*, which is not in it"):
        away.import_bundle(resealed(tmp_path / "b"))
    assert away.images.count() == 0


def test_an_answer_that_is_computed_here_now_is_left_to_the_worker(met, bundle):
    from micdb.catalog.engine import writing
    from micdb.populate import jobs

    with writing(met.engine) as connection:
        run, image = connection.execute(sa.select(r.run_item.c.run_pk, r.run_item.c.micrograph_pk)).first()
        mine = (r.run_item.c.run_pk == run, r.run_item.c.micrograph_pk == image)
        claim = {"status": "claimed", "worker": jobs.identity(), "lease_until": "2999"}
        connection.execute(r.run_item.update().where(*mine).values(claim))
    done = met.import_bundle(bundle)
    assert not done.added["run_item"]
    assert any("are being computed here now" in one for one in done.left_out)


def test_parts_of_other_columns_join(away, bundle, tmp_path, resealed):
    """A plug-in may fill columns that this micdb has never heard of."""
    shutil.copytree(bundle, tmp_path / "b")
    path = next((tmp_path / "b/parts/atoms").glob("*.parquet"))
    atoms = pq.read_table(path)
    pq.write_table(atoms.append_column("charge", pa.array([0.5] * len(atoms))), path)
    listing = tmp_path / "b/catalog/object.parquet"
    rows = pq.read_table(listing).to_pylist()
    from micdb.provenance import file_hash

    old = next(row for row in rows if row["path"].startswith("parts/atoms"))
    parts = tmp_path / "b/catalog/part.parquet"
    named = pq.read_table(parts).to_pylist()
    for row in named:
        if row["object_sha256"] == old["sha256"]:
            row["object_sha256"] = file_hash(path)
    old["sha256"] = file_hash(path)
    pq.write_table(pa.Table.from_pylist(rows), listing)
    pq.write_table(pa.Table.from_pylist(named), parts)
    away.import_bundle(resealed(tmp_path / "b"))
    assert set(away.atoms.to_pandas()["charge"]) == {0.5}


def test_a_federation_and_a_snapshot_take_nothing(away, bundle):
    away.snapshot("then")
    with away.at("then") as then, pytest.raises(UsageError, match="the snapshot 'then' does not change"):
        then.import_bundle(bundle)
    with micdb.federate([away]) as all_, pytest.raises(UsageError, match="the federation of away does not"):
        all_.import_bundle(bundle)
