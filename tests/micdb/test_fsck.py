from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa

from micdb import fsck
from micdb.catalog import results, tables
from micdb.catalog.engine import reading, writing
from micdb.provenance import now, uuid7
from micdb.publish import publish, seal, stage
from micdb.records import Axis, Pixels, Scan, Source
from micdb.store.files import object_path, part_path
from micdb.store.nexus import write_micrograph
from micdb.store.parts import write_part
from micdb.store.thumbnail import thumbnail

HASH = "0" * 64
PAST, FUTURE = "2000-01-01T00:00:00Z", "2999-01-01T00:00:00Z"


class Lab:
    """A database with three micrographs, one run over them, its atoms and its vectors."""

    def __init__(self, root: Path, new_catalog: Callable[[Path], sa.Engine]) -> None:
        self.root = root
        root.mkdir()
        self.engine = new_catalog(root)
        self.images = [self._image(i) for i in range(3)]
        with writing(self.engine) as connection:
            self.run = self._run(connection)
        self.part("atoms", {"image": [image for image in self.images for _ in range(4)]})
        vectors = {"space": ["texture"] * 3, "vector": [[1.0, 2.0]] * 3}
        self.part("embeddings", {"image": self.images, **vectors})
        for image in self.images:
            self.insert(results.run_item, run_pk=self.run, micrograph_pk=image, status="done")
            self.insert(results.rollup, run_pk=self.run, micrograph_pk=image, name="n_atoms", value=4.0)
        self.insert(results.embedding_space, run_pk=self.run, name="texture", dim=2, metric="cosine")

    def check(self, **options: Any) -> fsck.Report:
        return fsck.check(self.engine, self.root, **options)

    def codes(self, **options: Any) -> list[str]:
        return [one.code for one in self.check(**options).findings]

    def insert(self, table: sa.Table, **row: Any) -> int:
        with writing(self.engine) as connection:
            return self._insert(connection, table, **row)

    def execute(self, text: str) -> None:
        with writing(self.engine) as connection:
            connection.execute(sa.text(text))

    def path(self, pattern: str) -> Path:
        return next(self.root.glob(pattern))

    def part(self, name: str, columns: dict[str, Any]) -> None:
        path = stage(self.root, ".parquet")
        images = columns["image"]
        write_part(path, pa.table({"run": pa.array([self.run] * len(images), pa.int64()), **columns}))
        staged = seal(path, lambda _: part_path(name, uuid7()))

        def commit(connection: sa.Connection, keys: dict[str, int]) -> None:
            row = {"rows": len(images), "min_image": min(images), "max_image": max(images), "uid": uuid7()}
            owner = {"run_pk": self.run, "object_pk": keys[staged.sha256], "table_name": name}
            self._insert(connection, results.part, **row, **owner)

        publish(self.engine, self.root, [staged], commit)

    def _image(self, i: int) -> int:
        pixels = np.full((8, 9), i, np.uint8)
        source = self.root.parent / "scan.tif"
        source.write_bytes(b"vendor")
        axes = (Axis("y", 8, 1.0, unit="nm"), Axis("x", 9, 1.0, unit="nm"))
        load = Pixels((8, 9), "uint8", lambda: pixels)
        scan = Scan(load, axes, f"image {i}", Source(str(source), "tif", "tiff", "1"))
        path = stage(self.root, ".nxs")
        write_micrograph(path, scan, pixels, thumbnail=thumbnail(pixels, colour=False))
        staged = seal(path, object_path)

        def commit(connection: sa.Connection, keys: dict[str, int]) -> int:
            acquisition = self._insert(connection, tables.acquisition, uid=uuid7(), source_sha256=f"{i}" * 64)
            shape = {"height": 8, "width": 9, "n_frames": 1, "colour": False, "dtype": "uint8"}
            said = {"axes": [], "settings": {}, "problems": [], "created_at": now(), "name": scan.name}
            key = {"uid": uuid7(), "acquisition_pk": acquisition, "object_pk": keys[staged.sha256]}
            return self._insert(connection, tables.micrograph, **key, **shape, **said, pixel_hash=HASH)

        return publish(self.engine, self.root, [staged], commit)

    def _run(self, connection: sa.Connection) -> int:
        model = self._insert(
            connection, results.model, uid=uuid7(), name="peaks", version="1", model_hash=HASH, card={}
        )
        said = {"parameters": {}, "software": {}, "device": "cpu", "created_at": now(), "actor": "test"}
        return self._insert(connection, results.run, uid=uuid7(), model_pk=model, run_key=HASH, **said)

    @staticmethod
    def _insert(connection: sa.Connection, table: sa.Table, **row: Any) -> int:
        key = connection.execute(sa.insert(table).values(row)).inserted_primary_key
        return int(key[0])


@pytest.fixture
def lab(tmp_path: Path, new_catalog: Callable[[Path], sa.Engine]) -> Lab:
    return Lab(tmp_path / "lab.micdb", new_catalog)


only_in_a_folder = pytest.mark.parametrize("new_catalog", ["sqlite"], indirect=True)
only_on_a_server = pytest.mark.parametrize("new_catalog", ["postgresql"], indirect=True)


def test_a_sound_database_is_clean(lab):
    report = lab.check(deep=True)
    assert report.findings == ()
    assert report.clean
    assert report.exit_code == 0
    assert report.counts["micrographs"] == 3
    assert report.counts["objects"] == 5
    assert report.counts["parts"] == 2
    assert report.counts["live_bytes"] == sum(
        path.stat().st_size for folder in ("objects", "parts") for path in lab.root.glob(f"{folder}/*/*")
    )


def test_the_report_is_json(lab):
    lab.path("parts/atoms/*").unlink()
    said = json.loads(json.dumps(lab.check().as_json()))
    assert (said["clean"], said["errors"], said["warnings"], said["repaired"]) == (False, 1, 0, 0)
    assert said["findings"][0]["code"] == "object-missing"
    assert lab.check().exit_code == 1


def test_a_missing_object_cannot_be_repaired_and_its_row_stays(lab):
    path = lab.path("objects/*/*.nxs")
    path.unlink()
    (found,) = lab.check(deep=True, repair=True).open
    assert (found.severity, found.code) == ("error", "object-missing")
    assert found.subject == path.relative_to(lab.root).as_posix()
    assert "restore it from a backup" in found.message
    assert lab.check().counts["micrographs"] == 3


def test_a_shortened_object_is_seen_without_reading_it(lab):
    path = lab.path("objects/*/*.nxs")
    path.write_bytes(path.read_bytes()[:-1])
    assert lab.codes() == ["object-size"]


def test_one_flipped_bit_is_seen_by_deep_only(lab):
    path = lab.path("objects/*/*.nxs")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert lab.codes() == []
    assert lab.codes(deep=True) == ["object-hash"]


def test_an_object_that_was_never_a_micrograph_file_is_seen_by_deep(lab):
    path = stage(lab.root, ".nxs")
    path.write_bytes(b"not HDF5")
    publish(lab.engine, lab.root, [seal(path, object_path)], lambda connection, keys: dict(keys))
    assert lab.codes() == []
    assert lab.codes(deep=True) == ["object-unreadable"]


@pytest.mark.parametrize(
    "name", ["objects/notes.txt", f"objects/ab/{'ab' * 32}.nxs", "parts/atoms/x.parquet"]
)
def test_unknown_files_are_quarantined_never_deleted(lab, name):
    path = lab.root / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"somebody's work")
    (found,) = lab.check().findings
    assert (found.severity, found.code, found.subject) == ("warning", "unknown-file", name)
    assert lab.check(repair=True).clean
    assert lab.codes() == []
    assert (lab.root / "quarantine" / name).read_bytes() == b"somebody's work"
    path.write_bytes(b"and again")
    assert lab.check(repair=True).clean
    assert len(list((lab.root / "quarantine").rglob(f"*{path.name}"))) == 2


def test_what_a_killed_process_staged_is_swept_and_what_a_living_one_stages_is_not(lab):
    code = (
        "import os; from pathlib import Path; from micdb.publish import stage\n"
        f"stage(Path({str(lab.root)!r}), '.nxs'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    mine = stage(lab.root, ".nxs")
    (found,) = lab.check().findings
    assert (found.severity, found.code) == ("warning", "staging-leftover")
    report = lab.check(repair=True)
    assert [one.repaired for one in report.findings] == [True]
    assert report.clean
    assert mine.exists()
    assert lab.codes() == []


def test_a_stray_file_in_staging_is_quarantined(lab):
    (lab.root / "staging").mkdir(exist_ok=True)
    (lab.root / "staging" / "stray.nxs").write_bytes(b"?")
    assert lab.check(repair=True).clean
    assert (lab.root / "quarantine/staging/stray.nxs").exists()


def pending(lab: Lab, name: str = "objects/cd/pending.nxs") -> Path:
    path = lab.root / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"half published")
    row = {"sha256": "cd" * 32, "path": name, "size": 14, "media_type": "application/x-hdf5"}
    lab.insert(tables.object_, **row, state="pending", created_at=now(), expires_at=FUTURE)
    return path


def test_a_pending_object_of_a_dead_publisher_goes_with_its_file(lab):
    path = pending(lab)
    assert lab.codes(grace=timedelta(0)) == ["pending-object"]
    assert path.exists()
    assert lab.check(repair=True, grace=timedelta(0)).clean
    assert not path.exists()
    assert lab.check(deep=True).counts["objects"] == 5


def test_a_pending_object_that_a_row_speaks_of_is_never_removed(lab):
    path = pending(lab)
    lab.execute(
        "UPDATE micrograph SET object_pk = (SELECT pk FROM object WHERE state = 'pending') WHERE pk = 1"
    )
    assert [one.code for one in lab.check(repair=True).open] == ["object-not-live"]
    assert path.exists()


@only_on_a_server
def test_on_a_server_catalog_a_young_pending_object_may_be_someone_elses(lab):
    path = pending(lab)
    from micdb.fsck.report import Scope
    from micdb.fsck.storage import check_pending

    def swept(grace: timedelta) -> list[str]:
        scope = Scope(lab.engine, lab.root, deep=False, repair=False, grace=grace)
        return [one.code for one in check_pending(scope)]

    assert swept(timedelta(days=14)) == []
    assert swept(timedelta(0)) == ["pending-object"]
    assert path.exists()


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (
            "UPDATE part SET rows = 13 WHERE table_name = 'atoms'",
            "part-rows",
            "it has 12 rows, the catalog says 13",
        ),
        ("UPDATE part SET max_image = 7", "part-range", "run from 1 to 3, the catalog says from 1 to 7"),
        (
            "UPDATE embedding_space SET dim = 3",
            "embedding-dim",
            "length 2 in the space 'texture', which has 3",
        ),
        ("UPDATE embedding_space SET name = 'other'", "embedding-dim", "unknown to the catalog"),
        ("UPDATE rollup SET value = 5 WHERE micrograph_pk = 2", "rollup", "says 5 atoms, the parts hold 4"),
        (
            "UPDATE object SET state = 'quarantined' WHERE pk = 1",
            "object-not-live",
            "is quarantined, not live",
        ),
    ],
)
def test_rows_that_disagree_with_the_files_are_errors(lab, change, code, message):
    lab.execute(change)
    found = lab.check(deep=True).open
    assert {one.code for one in found} == {code}
    assert {one.severity for one in found} == {"error"}
    assert message in found[0].message


def test_the_mean_over_the_frames_of_a_stack_is_no_miscount(lab):
    lab.execute("UPDATE rollup SET value = 2 WHERE micrograph_pk = 2")
    lab.execute("UPDATE micrograph SET n_frames = 2 WHERE pk = 2")
    assert lab.codes(deep=True) == []


def test_rollups_are_sampled_without_deep(lab):
    lab.execute("UPDATE rollup SET value = 5 WHERE micrograph_pk = 2")
    assert lab.codes() == ["rollup"]


def test_rows_of_another_run_are_errors(lab):
    with writing(lab.engine) as connection:
        connection.exec_driver_sql(
            "INSERT INTO run (uid, model_pk, run_key, parameters, software, device, created_at, actor) "
            "SELECT 'other', model_pk, 'other', parameters, software, device, created_at, actor FROM run"
        )
    lab.execute("UPDATE part SET run_pk = 2 WHERE table_name = 'atoms'")
    assert "part-run" in lab.codes(deep=True)


def test_an_expired_claim_is_freed(lab):
    lab.execute(
        "UPDATE run_item SET status = 'claimed', worker = 'w', "
        f"lease_until = '{PAST}' WHERE micrograph_pk = 1"
    )
    lab.execute(
        "UPDATE run_item SET status = 'claimed', worker = 'v', "
        f"lease_until = '{FUTURE}' WHERE micrograph_pk = 2"
    )
    (found,) = lab.check().findings
    assert (found.severity, found.code) == ("warning", "lease-expired")
    assert lab.check(repair=True).clean
    with reading(lab.engine) as connection:
        items = connection.execute(
            sa.select(results.run_item).order_by(results.run_item.c.micrograph_pk)
        ).all()
    assert [(item.status, item.worker) for item in items] == [
        ("pending", None),
        ("claimed", "v"),
        ("done", None),
    ]


def test_done_without_a_single_row_is_noted(lab):
    lab.execute("DELETE FROM rollup WHERE micrograph_pk = 1")
    assert lab.codes() == []  # it is within the range of a part
    lab.execute("DELETE FROM part")
    report = lab.check()
    assert [one.code for one in report.findings if one.severity == "info"] == ["done-without-rows"]


def add_property(lab: Lab, **value: Any) -> None:
    definition = {"name": "hardness", "kind": "number", "unit": value.pop("kept_in", "GPa")}
    pk = lab.insert(tables.property_def, uid=uuid7(), **definition)
    said = {"origin": "sidecar", "source_name": "s.csv", "natural_key": HASH, "created_at": now()}
    row = {"uid": uuid7(), "property_def_pk": pk, "level": "image", "micrograph_pk": 1, **said, **value}
    lab.insert(tables.property_value, **row)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ({"value": 3.0, "raw": "3000 MPa"}, None),
        ({"value": 3.0, "raw": "3"}, None),
        ({"value": 3.0, "raw": "about three"}, None),
        ({"value": 3.0, "raw": "3 nm"}, "property-value"),
        ({"value": None, "raw": "3 GPa"}, "property-value"),
        ({"value": 3.0, "kept_in": "smoots"}, "property-unit"),
    ],
)
def test_units_of_properties(lab, value, code):
    add_property(lab, **value)
    assert lab.codes() == ([code] if code else [])


@only_in_a_folder
def test_broken_references_inside_the_catalog(lab):
    lab.engine.dispose()
    with sqlite3.connect(lab.root / "catalog.sqlite") as connection:  # without foreign keys
        connection.execute("DELETE FROM run")
    found = lab.check().open
    assert {one.code for one in found} == {"foreign-key"}
    assert "refers to a row of run that does not exist" in found[0].message


def test_another_schema_stops_the_check(lab):
    lab.execute("UPDATE alembic_version SET version_num = '9999'")
    (found,) = lab.check(repair=True).findings
    assert (found.severity, found.code) == ("error", "schema")
    assert "this micdb needs" in found.message


@only_in_a_folder
def test_a_damaged_catalog_is_a_finding_not_an_exception(lab):
    lab.engine.dispose()
    path = lab.root / "catalog.sqlite"
    path.with_name("catalog.sqlite-wal").unlink(missing_ok=True)
    path.write_bytes(b"no database" * 1000)
    (found,) = lab.check().findings
    assert (found.severity, found.code) == ("error", "catalog-damaged")
    assert "restore it from a backup" in found.message


@only_on_a_server
def test_counters_behind_the_keys_are_set_forward(lab):
    """Rows that came with their keys, as from a copy, must not meet a counter that gives them again."""
    lab.execute("INSERT INTO lab (pk, uid, name) VALUES (7, 'u7', 'Seven')")
    (found,) = lab.check().findings
    assert (found.severity, found.code, found.subject) == ("error", "counter-behind", "lab")
    assert lab.check(repair=True).clean
    assert lab.check().findings == ()
    assert lab.insert(tables.lab, uid="u8", name="Eight") == 8


@only_on_a_server
@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ("ALTER TABLE defect DISABLE TRIGGER ALL", "foreign-key", "ALTER TABLE defect ENABLE TRIGGER ALL"),
        (
            "ALTER TABLE lab ADD CONSTRAINT short CHECK (length(name) < 9) NOT VALID",
            "constraint-unchecked",
            "ALTER TABLE lab VALIDATE CONSTRAINT short does it",
        ),
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_defect_kind'::regclass",
            "index-invalid",
            "REINDEX INDEX ix_defect_kind",
        ),
        (
            "UPDATE pg_database SET datcollversion = '0.1' WHERE datname = current_database()",
            "collation-version",
            "built with collation 0.1, .* REINDEX DATABASE",
        ),
    ],
)
def test_what_makes_a_server_wrong_is_found(lab, change, code, message):
    lab.execute(change)
    (found,) = lab.check().findings
    assert (found.severity, found.code) == ("error", code)
    assert re.search(message, found.message)
