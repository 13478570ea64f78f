"""Small parts become one, and nobody sees a difference."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from micdb.catalog.results import part
from micdb.catalog.tables import object_
from micdb.compact import Budget
from micdb.errors import UsageError
from micdb.query.facts import parts as facts
from micdb.store.parts import read_part

ONLY_PARTS = Budget(small=1)  # no micrograph is that small


def test_answers_stay_and_parts_become_few(any_lab):
    before, old = any_lab.answers(), any_lab.parts()
    assert len(old) == 8
    done = any_lab.compact(ONLY_PARTS)
    assert (done.parts_before, done.parts_after, done.packed, done.skipped) == (8, 2, 0, ())
    live = [row for row in any_lab.objects(state="live") if row.path.startswith("parts/")]
    assert done.part_bytes_after == sum((any_lab.root / row.path).stat().st_size for row in live)
    assert done.part_bytes_before > done.part_bytes_after
    assert any_lab.answers() == before
    assert {name for name, _ in any_lab.parts()} == {"atoms", "embeddings"}
    assert min(key for _, key in any_lab.parts()) > max(key for _, key in old), "caches know the newest key"
    assert any_lab.codes(deep=True) == []
    assert any_lab.compact(ONLY_PARTS).parts_after == 2, "nothing is left to do"


def test_the_new_part_is_sorted_and_keeps_every_row_in_its_order(lab):
    old = [row for row in lab.objects() if row.path.startswith("parts/atoms")]
    planted = {}
    for row in old:
        for atom in read_part(lab.root / row.path).to_pylist():
            planted.setdefault(atom["image"], []).append(atom)
    lab.compact(ONLY_PARTS)
    (new,) = (row for row in lab.objects(state="live") if row.path.startswith("parts/atoms"))
    table = read_part(lab.root / new.path)
    assert table["image"].to_pylist() == sorted(table["image"].to_pylist())
    assert table.to_pylist() == [atom for image in sorted(planted) for atom in planted[image]]
    footer = pq.read_metadata(lab.root / new.path)
    statistics = footer.row_group(0).column(footer.schema.to_arrow_schema().names.index("image")).statistics
    assert (statistics.min, statistics.max) == (min(planted), max(planted))


def test_a_reader_with_the_old_parts_goes_on_reading_them(lab):
    with lab.engine.connect() as connection:
        run = connection.scalar(sa.select(part.c.run_pk))
    old = facts.find(lab.db.context, "atoms", [run])
    lab.compact(ONLY_PARTS)
    with facts.database(old) as duck:
        assert duck.sql("SELECT count(*) FROM facts").fetchall() == [(36,)]
    retired = lab.objects(state="quarantined")
    assert len(retired) == 8
    soon, late = (datetime.now(UTC) + timedelta(days=days) for days in (13.9, 14.1))
    for row in retired:
        assert (lab.root / row.path).is_file()
        assert soon < datetime.fromisoformat(row.expires_at) < late


def test_populating_goes_on_afterwards_and_the_next_compaction_takes_it_in(bare):
    bare.populate(first=2)
    bare.compact(ONLY_PARTS)
    bare.populate()
    before = bare.answers()
    assert bare.compact(ONLY_PARTS).parts_after == 2
    assert bare.answers() == before
    assert bare.codes(deep=True) == []


def test_runs_and_schemas_are_never_mixed(lab):
    lab.db.populate("fake", parameters={"smallest": 4}, where=lab.db.images.head(3))
    lab.db.populate("fake", parameters={"smallest": 4})
    assert lab.compact(ONLY_PARTS).parts_after == 4
    assert lab.codes(deep=True) == []


def test_large_parts_are_left_alone(lab):
    size = min(row.size for row in lab.objects() if row.path.startswith("parts/"))
    done = lab.compact(Budget(small=1, part=2 * size))
    assert (done.parts_before, done.parts_after) == (8, 8)


def test_purging_waits_for_the_end_of_the_grace(lab):
    lab.compact(ONLY_PARTS)
    before = lab.answers()
    assert lab.compact(ONLY_PARTS, purge=True).purged == 0
    lab.end_grace()
    size = sum(row.size for row in lab.objects(state="quarantined"))
    assert lab.codes() == ["expired-objects"]
    done = lab.compact(ONLY_PARTS, purge=True)
    assert (done.purged, done.purged_bytes) == (8, size)
    assert (len(lab.files("parts")), lab.objects(state="quarantined")) == (2, [])
    assert lab.codes(deep=True) == []
    assert lab.answers() == before


def test_repair_purges_too(lab):
    lab.compact(ONLY_PARTS)
    lab.end_grace()
    report = lab.db.fsck(repair=True)
    assert [(one.code, one.repaired) for one in report.findings] == [("expired-objects", True)]
    assert len(lab.files("parts")) == 2


def test_what_a_row_or_a_snapshot_needs_is_not_purged(any_lab):
    before = any_lab.answers()
    any_lab.db.snapshot("paper")
    any_lab.compact(ONLY_PARTS)
    any_lab.end_grace()
    assert any_lab.codes() == []
    assert any_lab.compact(ONLY_PARTS, purge=True).purged == 0
    with any_lab.db.at("paper") as then:
        assert any_lab.answers(then) == before
    any_lab.db.drop_snapshot("paper")
    assert any_lab.compact(ONLY_PARTS, purge=True).purged == 8
    (used, *_) = (row for row in any_lab.objects(state="live") if row.path.startswith("parts/"))
    any_lab.set_objects(
        object_.c.pk == used.pk, state="quarantined", expires_at="2000-01-01T00:00:00.000000Z"
    )
    assert any_lab.compact(ONLY_PARTS, purge=True).purged == 0
    assert (any_lab.root / used.path).is_file()
    assert "object-not-live" in any_lab.codes()


def test_a_snapshot_that_cannot_be_read_stops_purging(lab):
    lab.db.snapshot("paper")
    lab.compact(ONLY_PARTS)
    lab.end_grace()
    (lab.root / "snapshots" / "paper.sqlite").write_bytes(b"x" * 4096)
    assert "snapshot-unreadable" in lab.codes(repair=True)
    assert len(lab.objects(state="quarantined")) == 8


def test_a_damaged_part_stops_its_table_only(lab):
    path = next((lab.root / "parts" / "atoms").iterdir())
    content = bytearray(path.read_bytes())
    content[20:60] = bytes(40)
    path.write_bytes(bytes(content))
    done = lab.compact(ONLY_PARTS)
    assert done.parts_after == 5, "the vectors are merged, the atoms are not"
    assert path.name in done.skipped[0] and "micdb fsck --deep" in done.skipped[0]
    path.write_bytes(b"no parquet at all")
    done = lab.compact(ONLY_PARTS)
    assert done.parts_after == 3, "of the others one is made"
    assert path.name in done.skipped[0]


def test_a_part_with_fewer_rows_than_promised_is_not_merged(lab):
    with lab.engine.begin() as connection:
        pk = connection.scalar(sa.select(sa.func.min(part.c.pk)))
        connection.execute(sa.update(part).where(part.c.pk == pk).values(rows=part.c.rows + 1))
    done = lab.compact(ONLY_PARTS)
    assert done.parts_after == 5
    assert "the catalog says" in done.skipped[0]
    assert not list((lab.root / "staging").glob("*"))


def test_too_little_memory_is_said(lab):
    done = lab.compact(Budget(small=1, memory=1))
    assert done.parts_after == 8
    assert "too little memory to join them; allow more with --memory" in done.skipped[0]
    assert lab.codes(deep=True) == []


def test_sizes_are_checked():
    with pytest.raises(UsageError, match="the size 'memory' is 0 byte; it must be at least 1"):
        Budget(memory=0)


def test_two_compactions_and_a_populate_at_once_lose_nothing(bare):
    bare.populate(first=2)
    errors: list[BaseException] = []
    reports = []

    def run(action) -> None:
        try:
            reports.append(action())
        except BaseException as error:
            errors.append(error)

    def populate() -> None:
        bare.db.populate("fake")

    actions = [lambda: bare.compact(ONLY_PARTS), lambda: bare.compact(ONLY_PARTS), populate]
    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    atoms = bare.db.images.assign(n=bare.db.images.atoms.count()).to_pandas()["n"]
    assert atoms.tolist() == [3] * 12
    bare.compact(ONLY_PARTS)
    assert len(bare.parts()) == 2
    assert bare.codes(deep=True) == []


def test_whoever_comes_second_changes_nothing(lab, monkeypatch):
    from micdb.compact import parts as module

    before, compact = lab.answers(), module._compact
    inner = []

    def overtaken(engine, root, group, memory):
        monkeypatch.setattr(module, "_compact", compact)
        inner.append(lab.compact(ONLY_PARTS))
        compact(engine, root, group, memory)

    monkeypatch.setattr(module, "_compact", overtaken)
    done = lab.compact(ONLY_PARTS)
    assert inner[0].parts_after == 2
    assert [one.partition(" ")[2] for one in done.skipped] == [
        "parts of atoms were merged by somebody else meanwhile",
        "parts of embeddings were merged by somebody else meanwhile",
    ]
    assert len(lab.parts()) == 2
    assert lab.answers() == before
    assert lab.codes(deep=True) == []
