"""What can go wrong with packs is found, and what can be mended is."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from micdb.catalog.tables import object_
from micdb.compact import packs
from micdb.fsck import packs as checks


@pytest.fixture
def whole(lab):
    """A lab with three packs of four micrographs."""
    lab.compact()
    assert lab.codes(deep=True) == []
    return lab


def pack_of(lab):
    row = lab.objects(media_type="application/x-tar")[0]
    members = [one for one in lab.objects() if one.pack_pk == row.pk]
    return row, lab.root / row.path, sorted(members, key=lambda one: one.pack_offset)


def change(path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def test_a_missing_pack_is_one_error_that_says_how_much_is_lost(whole):
    row, path, _ = pack_of(whole)
    path.unlink()
    (found,) = whole.db.fsck(deep=True, repair=True).open
    assert (found.severity, found.code, found.subject) == ("error", "pack-missing", row.path)
    assert found.message == "the file is not there, and 4 live objects lie in it; restore it from a backup"


def test_a_truncated_pack(whole):
    row, path, members = pack_of(whole)
    with path.open("r+b") as file:
        file.truncate(members[2].pack_offset + 1)
    (found,) = whole.db.fsck(deep=True).open
    assert (found.code, found.subject) == ("pack-size", row.path)
    assert "2 of 4 live objects lie in it whole" in found.message
    image = next(one for one in map(whole.db.image, whole.uids) if one.sha256 == members[3].sha256)
    with pytest.raises(Exception, match=r"the pack ends before byte \d+; restore it from a backup"):
        image.pixels()


@pytest.mark.parametrize("wrong", [512, -512, 7, 10**9])
def test_a_wrong_offset(whole, wrong):
    _, _, members = pack_of(whole)
    offset = max(0, members[1].pack_offset + wrong)
    whole.set_objects(object_.c.pk == members[1].pk, pack_offset=offset)
    (found,) = whole.db.fsck().open
    assert (found.severity, found.code, found.subject) == ("error", "pack-offset", members[1].path)
    assert f"at {offset} there is" in found.message
    whole.set_objects(object_.c.pk == members[1].pk, pack_offset=members[2].pack_offset)
    (found,) = whole.db.fsck().open
    assert f"there is {members[2].sha256}.nxs, {members[2].size} byte" in found.message


def test_a_changed_byte_is_found_by_the_deep_check_and_blamed_on_its_object(whole):
    _, path, members = pack_of(whole)
    change(path, members[1].pack_offset + 100)
    assert whole.codes() == []
    (found,) = whole.db.fsck(deep=True).open
    assert (found.code, found.subject) == ("object-hash", members[1].path)


def test_a_changed_byte_between_objects_is_found_too(whole):
    row, path, _ = pack_of(whole)
    change(path, row.size - 1)
    (found,) = whole.db.fsck(deep=True).open
    assert (found.code, found.subject) == ("pack-hash", row.path)
    assert "what lies in it is whole" in found.message


def test_a_pack_out_of_use_with_live_objects_in_it(whole):
    row, _, _ = pack_of(whole)
    past = "2000-01-01T00:00:00.000000Z"
    whole.set_objects(object_.c.pk == row.pk, state="quarantined", expires_at=past)
    assert whole.codes(repair=True) == ["pack-not-live"], "and it is not purged"


def test_an_unknown_pack_goes_to_quarantine(whole):
    (whole.root / "packs" / "stray.tar").write_bytes(b"x")
    report = whole.db.fsck(repair=True)
    assert [(one.code, one.subject, one.repaired) for one in report.findings] == [
        ("unknown-file", "packs/stray.tar", True)
    ]
    assert (whole.root / "quarantine" / "packs" / "stray.tar").is_file()


def test_what_a_crash_leaves_beside_a_pack_is_removed_unless_it_is_the_only_copy(lab, monkeypatch):
    monkeypatch.setattr(packs, "_remove_loose", lambda *_: None)
    lab.compact()
    assert lab.codes() == ["packed-leftover"] * 12
    _, path, members = pack_of(lab)
    change(path, members[0].pack_offset + 100)
    report = lab.db.fsck(repair=True)
    assert sum(one.repaired for one in report.findings) == 11
    assert lab.files() == {members[0].path.rpartition("/")[2]}
    assert "packed-leftover" in lab.codes()


def test_very_many_files_are_worth_a_word(lab, monkeypatch):
    monkeypatch.setattr(checks, "MANY", 20)
    report = lab.db.fsck()
    assert [(one.severity, one.code) for one in report.findings] == [("info", "many-files")]
    assert report.findings[0].message == "20 files; pack them with: micdb compact"
    assert report.clean


def test_counts_of_a_packed_database_are_those_of_the_disk(whole):
    size = sum(
        path.stat().st_size for folder in ("objects", "packs") for path in (whole.root / folder).rglob("*.*")
    )
    with whole.engine.connect() as connection:
        live = sa.select(sa.func.sum(object_.c.size)).where(object_.c.state == "live")
        parts = connection.scalar(live.where(object_.c.path.like("parts/%")))
    assert whole.db.fsck().counts["live_bytes"] == size + parts
