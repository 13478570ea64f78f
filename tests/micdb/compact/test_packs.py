"""Packed or not, every answer, export and check is the same."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import threading

import h5py
import pytest
import sqlalchemy as sa

from micdb import copying, opening, places
from micdb.catalog.tables import micrograph, object_
from micdb.compact import Budget, packs
from micdb.errors import StoreError
from micdb.provenance import file_hash
from micdb.publish import publish, seal, stage
from micdb.store.files import object_path

MOMENT = "2024-05-31T14:30:00+02:00"


def packed(lab) -> list[sa.Row]:
    return [row for row in lab.objects() if row.pack_pk is not None]


def test_answers_stay_and_files_become_few(any_lab):
    before, objects = any_lab.answers(), any_lab.objects(media_type="application/x-hdf5")
    done = any_lab.compact()
    assert (done.loose_before, done.packed, done.packs, done.skipped) == (12 + 8, 12, 3, ())
    assert done.loose_after == 2, "two parts"
    assert any_lab.files() == set()
    assert len(any_lab.files("packs")) == 3
    assert any_lab.answers() == before
    assert any_lab.codes(deep=True) == []
    assert [(row.sha256, row.path, row.state) for row in packed(any_lab)] == [
        (row.sha256, row.path, "live") for row in objects
    ]
    again = any_lab.compact()
    assert (again.packed, again.packs) == (0, 3)


def test_a_pack_is_a_plain_tar_whose_members_are_what_their_names_say(lab, tmp_path):
    hashes = {path.name: file_hash(path) for path in lab.root.glob("objects/*/*")}
    assert len(hashes) == 12
    lab.compact()
    for number, path in enumerate((lab.root / "packs").iterdir()):
        assert path.name == f"{file_hash(path)}.tar"
        (tmp_path / f"out{number}").mkdir()
        subprocess.run(["tar", "xf", str(path), "-C", str(tmp_path / f"out{number}")], check=True)
        with tarfile.open(path) as pack:
            for info in pack:
                assert hashes.pop(info.name) == file_hash(tmp_path / f"out{number}" / info.name)
                assert info.offset_data % 512 == 0
                row = next(row for row in packed(lab) if row.path.endswith(info.name))
                assert (row.pack_offset, row.size) == (info.offset_data, info.size)
    assert hashes == {}


@pytest.mark.parametrize("form", ["nexus", "nxem", "ome-tiff", "png", "csv", "coco"])
def test_every_export_is_the_same(lab, tmp_path, form):
    told = {"is_simulation": True, "atom_types": "W, S", "preparation_date": MOMENT, "start_time": MOMENT}
    options = {"sample": told} if form == "nxem" else {}
    lab.db.export(lab.db.images, tmp_path / "before", as_=form, **options)
    lab.compact()
    done = lab.db.export(lab.db.images, tmp_path / "after", as_=form, **options)
    assert len(done.images) == 12
    names = sorted(path.name for path in (tmp_path / "before").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "after").iterdir())
    for name in names:
        old, new = (tmp_path / folder / name for folder in ("before", "after"))
        if form == "csv" and name == "images.csv":
            assert new.read_text().count(",tar://") == 12
        elif name.endswith(".nxs") and form == "nxem":
            with h5py.File(old) as one, h5py.File(new) as two:
                place = "entry/image/data" if "entry" in one else f"{next(iter(one))}/image/data"
                assert (one[place][()] == two[place][()]).all()
        elif form not in ("coco", "ome-tiff"):  # these hold the moment of the export
            assert old.read_bytes() == new.read_bytes(), name


def test_one_image_opens_everywhere(lab):
    lab.compact()
    image = lab.db.image(lab.uids[0])
    assert image.place.packed
    assert image.to_xarray().shape == image.shape
    with image.file() as path:
        assert file_hash(path) == image.sha256
        with h5py.File(path) as file:
            assert (file["entry/image/data"][()] == image.pixels()).all()
    assert not path.exists(), "it was a passing copy"


def test_the_url_of_a_packed_image_opens_with_fsspec(lab):
    fsspec = pytest.importorskip("fsspec")
    lab.compact()
    image = lab.db.image(lab.uids[3])
    with fsspec.open(image.place.url) as stream, h5py.File(stream) as file:
        assert (file["entry/image/data"][()] == image.pixels()).all()


def test_the_same_files_again_are_recognised(lab):
    lab.compact()
    count = len(lab.objects())
    copy = shutil.copytree(lab.scans, lab.folder / "copy")
    lab.scans = copy
    done = lab.ingest()
    assert {one.outcome for one in done.files} == {"known"}
    assert (len(lab.objects()), lab.files()) == (count, set())


def test_the_same_bytes_published_again_stay_in_their_pack(any_lab):
    path = next(any_lab.root.glob("objects/*/*"))
    kept = path.read_bytes()
    any_lab.compact()
    publish_bytes(any_lab, kept)
    assert any_lab.files() == set()
    assert any_lab.codes(deep=True) == []


def test_a_pack_that_is_lost_is_healed_by_the_same_bytes(lab):
    kept = [path.read_bytes() for path in sorted(lab.root.glob("objects/*/*"))]
    before = lab.answers()
    lab.compact()
    for path in (lab.root / "packs").iterdir():
        path.unlink()
    assert lab.codes() == ["pack-missing"] * 3
    for content in kept:
        publish_bytes(lab, content)
    assert lab.answers() == before
    assert packed(lab) == []


def publish_bytes(lab, content: bytes) -> None:
    path = stage(lab.root, ".nxs")
    path.write_bytes(content)
    staged = seal(path, object_path)
    publish(lab.engine, lab.root, [staged], lambda _, keys: keys[staged.sha256])


def test_populate_reads_packed_images(bare):
    bare.compact()
    bare.populate()
    atoms = bare.db.images.assign(n=bare.db.images.atoms.count()).to_pandas()["n"]
    assert atoms.tolist() == [3] * 12


def test_a_reader_that_was_overtaken_looks_again(lab):
    uid = lab.uids[0]
    image = lab.db.image(uid)
    pictures = lab.db.pictures(lab.uids)
    first = next(pictures)
    expected = image.pixels()
    lab.compact()
    assert not image.place.path.exists()
    assert (image.pixels() == expected).all()
    assert image.original()
    with image.file() as path:
        assert file_hash(path) == image.sha256
    rest = list(pictures)
    assert [one.image for one in (first, *rest)] == lab.db.images.sort_values("uid").pks().tolist()


def test_a_file_that_is_really_gone_is_said_to_be(lab):
    image = lab.db.image(lab.uids[0])
    image.place.path.unlink()
    with pytest.raises(StoreError, match="is missing although the catalog names it"):
        image.pixels()


def test_readers_and_a_compaction_at_once(lab):
    stop, errors = threading.Event(), []

    def read() -> None:
        while not stop.is_set():
            try:
                list(lab.db.pictures(lab.uids))
            except BaseException as error:
                errors.append(error)
                return

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    lab.compact()
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []


def test_two_compactions_at_once_pack_each_file_once(any_lab):
    threads = [threading.Thread(target=any_lab.compact) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(packed(any_lab)) == 12
    any_lab.compact()
    assert any_lab.files() == set()
    assert any_lab.codes(deep=True) == []


def test_a_snapshot_taken_before_finds_what_was_packed_since(any_lab):
    before = any_lab.answers()
    any_lab.db.snapshot("paper")
    any_lab.compact()
    with any_lab.db.at("paper") as then:
        assert any_lab.answers(then) == before
        assert not then.image(any_lab.uids[0]).place.packed


def test_a_copy_of_the_database_has_the_packs(lab, tmp_path):
    before = lab.answers()
    lab.compact()
    with opening.init(tmp_path / "copy.micdb") as other:
        copying.copy(lab.db, other)
        assert lab.answers(other) == before
        assert other.fsck(deep=True).findings == ()


def test_a_damaged_file_is_not_packed(lab):
    path = sorted(lab.root.glob("objects/*/*"))[0]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    done = lab.compact()
    assert (done.packed, lab.files()) == (11, {path.name})
    assert done.skipped == ("1 files are damaged; see: micdb fsck --deep",)
    path.unlink()
    done = lab.compact(Budget(pack=1))
    assert done.packed == 0
    assert lab.codes() == ["object-missing"]


def test_only_small_files_are_packed_and_only_when_it_is_worth_it(lab):
    sizes = sorted(row.size for row in lab.objects(media_type="application/x-hdf5"))
    done = lab.compact(Budget())
    assert (done.packed, done.packs) == (0, 0), "12 files are not worth a pack"
    done = lab.compact(Budget(pack=1, small=sizes[3]))
    assert done.packed == sum(size <= sizes[3] for size in sizes)


def test_a_pack_of_which_much_is_purged_is_written_anew(any_lab):
    before = any_lab.answers()
    any_lab.compact(Budget(pack=1 << 20, small=1 << 20))
    assert any_lab.objects(media_type="application/x-tar") == []
    any_lab.compact(Budget(pack=500_000))
    (old,) = any_lab.objects(media_type="application/x-tar")
    gone = packed(any_lab)[:5]
    with any_lab.engine.begin() as connection:  # five images are deleted, by whatever deletes images
        keys = [row.pk for row in gone]
        used = micrograph.c.object_pk.in_(keys)
        uids = connection.scalars(sa.select(micrograph.c.uid).where(used)).all()
        connection.execute(sa.update(micrograph).where(used).values(object_pk=None, deleted_at="2024"))
        dead = {"state": "quarantined", "expires_at": "2000-01-01T00:00:00.000000Z"}
        connection.execute(sa.update(object_).where(object_.c.pk.in_(keys)).values(**dead))
    done = any_lab.compact(purge=True)
    assert (done.purged, done.repacked, done.packs) == (5, 1, 1)
    (new,) = any_lab.objects(media_type="application/x-tar", state="live")
    assert {row.pack_pk for row in packed(any_lab)} == {new.pk}
    assert new.size < old.size
    assert (any_lab.root / old.path).is_file(), "readers may hold it for the time of its grace"
    kept = {uid: thumbnail for uid, thumbnail in before["thumbnails"].items() if uid not in set(uids)}
    assert len(kept) == 7
    assert any_lab.answers()["thumbnails"] == kept
    any_lab.end_grace()
    assert any_lab.compact(purge=True).purged == 1 + 8, "the old pack and the old parts"
    assert any_lab.files("packs") == {new.path.rpartition("/")[2]}
    assert [code for code in any_lab.codes(deep=True) if code != "rollup"] == []


def test_packing_can_be_undone(any_lab):
    before, hashes = (
        any_lab.answers(),
        {path.name: file_hash(path) for path in any_lab.root.glob("objects/*/*")},
    )
    any_lab.compact()
    assert any_lab.db.unpack() == 12
    assert {path.name: file_hash(path) for path in any_lab.root.glob("objects/*/*")} == hashes
    assert packed(any_lab) == []
    assert any_lab.answers() == before
    assert any_lab.codes(deep=True) == []
    assert len(any_lab.files("packs")) == 3
    any_lab.end_grace()
    any_lab.compact(Budget(), purge=True)
    assert any_lab.files("packs") == set()
    assert any_lab.db.unpack() == 0


def test_a_damaged_pack_is_not_taken_apart(lab):
    lab.compact()
    path = sorted((lab.root / "packs").iterdir())[0]
    content = path.read_bytes()
    path.write_bytes(content[:2000] + bytes([content[2000] ^ 1]) + content[2001:])
    with pytest.raises(StoreError, match=r"nxs\) is not what was stored; see: micdb fsck --deep"):
        lab.db.unpack()
    path.write_bytes(content[:1000])
    with pytest.raises(StoreError, match="the pack ends before byte"):
        lab.db.unpack()
    path.unlink()
    with pytest.raises(StoreError, match=f"{path.name} is missing; restore it from a backup"):
        lab.db.unpack()
    assert not list((lab.root / "staging").iterdir())


def test_a_pack_in_which_nothing_is_left_goes(lab):
    lab.compact(Budget(pack=500_000))
    with lab.engine.begin() as connection:
        connection.execute(sa.update(micrograph).values(object_pk=None, deleted_at="2024"))
        connection.execute(sa.delete(object_).where(object_.c.pack_pk.is_not(None)))
    lab.compact()
    assert [row.state for row in lab.objects(media_type="application/x-tar")] == ["quarantined"]


def test_an_object_that_leaves_meanwhile_makes_the_pack_void(lab, monkeypatch):
    write = packs._write

    def meanwhile(root, path, rows, old):
        found = write(root, path, rows, old)
        lab.set_objects(object_.c.pk == rows[0].pk, state="quarantined")
        return found

    monkeypatch.setattr(packs, "_write", meanwhile)
    done = lab.compact(Budget(pack=500_000))
    assert (done.packed, lab.files("packs")) == (0, set())
    assert done.skipped == ("12 files were packed by somebody else meanwhile",)
    assert not list((lab.root / "staging").iterdir())


def test_places_are_found_by_hash(lab):
    lab.compact()
    row = packed(lab)[0]
    place = places.find(lab.engine, lab.root, row.sha256)
    assert place is not None and (place.offset, place.size) == (row.pack_offset, row.size)
    assert places.find(lab.engine, lab.root, "0" * 64) is None


def test_parts_are_never_packed(lab):
    lab.compact(Budget(pack=1))
    assert len(lab.files("parts")) == 2 + 8
    assert {row.media_type for row in packed(lab)} == {"application/x-hdf5"}
