"""The index of motif search: never wrong, never needed, and kept up with the parts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from micdb.errors import StoreError
from micdb.query.motif import index
from micdb.query.motif.atoms import COLUMNS, collect
from micdb.query.motif.motif import Motif
from micdb.query.motif.plan import NEIGHBOURS
from micdb.store.indexes import INDEXES


@pytest.fixture
def star(plane):
    xy, _ = plane.honeycomb(2.0)
    return Motif(xy[np.hypot(*xy.T) < 0.25])


def graphene(plane, side=2.0, angle=10.0):
    return plane.turned(plane.honeycomb(side)[0], angle, shift=(2, 2))


def files(lab):
    return sorted((lab.root / INDEXES).glob(f"*.{index.KIND}.idx"))


def answer(lab, motif):
    found = lab.images.find_motif(motif, k=10_000)
    return found.to_json(), found.attrs["n_places"]


def test_every_atom_knows_its_neighbours(plane):
    rng = np.random.default_rng(0)
    clouds = [rng.uniform(0, side, (count, 2)) for side, count in ((3, 300), (1, 5), (2, 1), (5, 40))]
    clouds[3][7] = clouds[3][9] = clouds[3][8]  # in one place
    table = pa.concat_tables([plane.rows(image, xy) for image, xy in enumerate(clouds)])
    table = table.append_column("species", pa.nulls(len(table), pa.string())).select(COLUMNS)
    atoms = collect(table, ["part"])
    assert atoms.n == 346
    for number, image in enumerate(atoms["image"].tolist()):
        here = slice(atoms["start"][number], atoms["start"][number + 1])
        xy = np.column_stack((atoms["x"][here], atoms["y"][here])).astype(float)
        np.testing.assert_array_equal(xy, np.float32(clouds[image])[atoms["idx"][here]].astype(float))
        far = np.hypot(*(xy[:, None] - xy[None]).transpose(2, 0, 1))
        np.fill_diagonal(far, np.inf)
        expected = np.sort(far, axis=1)[:, :NEIGHBOURS]
        expected = np.pad(expected, ((0, 0), (0, NEIGHBOURS - expected.shape[1])), constant_values=np.inf)
        np.testing.assert_allclose(atoms["distance"][:, here].T, expected, rtol=1e-3)
        near = atoms["near"][:, here].T
        assert ((near == -1) == np.isinf(expected)).all()
        row, column = np.nonzero(near >= 0)
        reached = far[row, near[row, column] - here.start]
        np.testing.assert_allclose(reached, expected[row, column], rtol=1e-6)


def test_the_first_search_writes_it_and_the_next_one_reads_it(plane, lab, star):
    lab.add(plane.rows(lab.keys[0], graphene(plane)))
    before = answer(lab, star)
    (path,) = files(lab)
    state = path.stat()
    assert answer(lab, star) == before
    assert files(lab) == [path]
    assert path.stat() == state
    assert before[1] > 50


def test_new_parts_are_found_at_once(plane, lab, star):
    lab.add(plane.rows(lab.keys[0], graphene(plane)))
    _, first = answer(lab, star)
    lab.add(plane.rows(lab.keys[1], graphene(plane, angle=55)))
    _, both = answer(lab, star)
    assert both > first
    assert len(files(lab)) == 2
    whole = answer(lab, star)
    for path in files(lab):
        path.unlink()
    assert answer(lab, star) == whole  # built anew from all parts together
    assert len(files(lab)) == 1


def test_many_small_files_become_one(plane, lab, star):
    counts = []
    for number in range(index.MANY + 2):
        lab.add(plane.rows(lab.keys[number % 4], graphene(plane, side=1.2), frame=number))
        counts.append(answer(lab, star)[1])
        assert len(files(lab)) <= index.MANY
    assert len(files(lab)) == 2
    assert counts == [counts[0] * (number + 1) for number in range(index.MANY + 2)]
    assert len(lab.images.find_motif(star, k=10_000)["frame"].unique()) == index.MANY + 2


def test_a_file_holds_no_more_atoms_than_it_may(plane, lab, star, monkeypatch):
    monkeypatch.setattr(index, "LARGEST", 300)
    for number in range(3):
        lab.add(plane.rows(lab.keys[number], graphene(plane)))
    whole = answer(lab, star)
    assert len(files(lab)) == 3
    for path in files(lab):
        path.unlink()
    monkeypatch.setattr(index, "LARGEST", 10_000)
    assert answer(lab, star) == whole
    assert len(files(lab)) == 1


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "layout", "gone"])
def test_a_damaged_file_is_never_trusted(plane, lab, star, damage, monkeypatch):
    lab.add(plane.rows(lab.keys[0], graphene(plane)))
    whole = answer(lab, star)
    (path,) = files(lab)
    data = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(data[:-100])
    elif damage == "flip":
        data[200] ^= 1
        path.write_bytes(data)
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "layout":
        monkeypatch.setattr(index, "LAYOUT", 99)
        index._header.cache_clear()
    else:
        path.unlink()
    assert answer(lab, star) == whole
    (path,) = files(lab)
    index._read.cache_clear()
    index._header.cache_clear()
    assert index._opened(path).n == len(graphene(plane))  # mended


def test_a_folder_that_cannot_be_written_costs_only_time(plane, lab, star, monkeypatch):
    lab.add(plane.rows(lab.keys[0], graphene(plane)))

    def refuse(*_):
        raise PermissionError("read-only")

    monkeypatch.setattr(index, "write_index", refuse)
    found = answer(lab, star)
    assert not files(lab)
    monkeypatch.undo()
    assert answer(lab, star) == found


def test_the_file_of_a_part_that_is_gone_is_removed(plane, lab, star):
    part = lab.add(plane.rows(lab.keys[0], graphene(plane)))
    answer(lab, star)
    (old,) = files(lab)
    lab.add(plane.rows(lab.keys[1], graphene(plane)))
    with lab.context.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE object SET state = 'pending' WHERE path LIKE '%{part.name}'")
    part.unlink()
    found = lab.images.find_motif(star)
    assert set(found["image"]) == {lab.uids[1]}
    assert old not in files(lab)


def test_only_what_is_asked_for_is_read(plane, lab, star, monkeypatch):
    lab.add(plane.rows(lab.keys[0], graphene(plane)))
    lab.images.find_motif(star)
    lab.add(plane.rows(lab.keys[1], graphene(plane, angle=55)))
    first = lab.images[lab.images.uid == lab.uids[0]]
    monkeypatch.setattr(index, "read_atoms", None)  # nothing new may be made
    assert first.find_motif(star).attrs["n_images"] == 1
    monkeypatch.undo()
    lab.images.find_motif(star)
    assert len(files(lab)) == 2
    index._read.cache_clear()
    read, opened = [], index.read_index

    def watched(path, **options):
        if not options:  # otherwise only what the file says of itself
            read.append(path)
        return opened(path, **options)

    monkeypatch.setattr(index, "read_index", watched)
    assert first.find_motif(star).attrs["n_places"] > 50
    assert len(read) == 1


def test_a_damaged_part_is_named(plane, lab, star):
    part = lab.add(plane.rows(lab.keys[0], graphene(plane)))
    part.write_bytes(b"nothing")
    with pytest.raises(StoreError, match=part.name):
        lab.images.find_motif(star)
