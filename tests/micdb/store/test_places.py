from __future__ import annotations

import pickle
from dataclasses import replace

import h5py
import numpy as np
import pytest

from micdb.errors import StoreError
from micdb.provenance import file_hash
from micdb.store import nexus, places
from micdb.store.packs import PackWriter
from micdb.store.places import Place


@pytest.fixture(params=[(16, 20), (500, 500)], ids=["an image of the file", "a stream"])
def both(request, write, tmp_path):
    """One micrograph as a file and in a pack, on either side of the size from which it is a stream."""
    pixels = np.random.default_rng(1).integers(0, 60_000, request.param).astype(np.uint16)
    path = write(pixels)
    size = path.stat().st_size
    assert (size > places.IMAGE_BYTES) == (request.param[0] == 500)
    with PackWriter(tmp_path / "one.tar") as pack:
        for _ in range(2):
            with path.open("rb") as source:
                offset = pack.add("name.nxs", source, size=size, sha256=file_hash(path))
    return path, Place(tmp_path / "one.tar", size, offset, "name.nxs"), pixels


def test_a_micrograph_in_a_pack_reads_as_its_file_does(both):
    path, place, pixels = both
    assert (nexus.read_pixels(place) == pixels).all()
    assert (nexus.read_frame(place, 0) == pixels).all()
    assert nexus.read_axes(place) == nexus.read_axes(path)
    assert nexus.read_original(place) == nexus.read_original(path)
    assert nexus.read_thumbnail(place) == nexus.read_thumbnail(path)
    with places.opened(place) as stream:
        assert stream.read() == path.read_bytes()
    with places.as_file(place) as copy, h5py.File(copy) as file:
        assert (file["entry/image/data"][()] == pixels).all()
    assert not copy.exists()
    with places.as_file(path) as own:
        assert own == path


def test_a_place_says_where_it_is(both):
    path, place, _ = both
    assert str(Place(path)) == str(path)
    assert str(place) == f"{place.path} (member name.nxs)"
    assert place.url == f"tar://name.nxs::{place.path.resolve()}"
    assert Place(path).url == str(path.resolve())


def test_what_moved_is_looked_up_once_more(both):
    path, place, pixels = both
    asked = []
    gone = Place(path.with_name("gone.nxs"), again=lambda: asked.append(1) or place)
    assert (nexus.read_pixels(gone) == pixels).all()
    assert asked == [1]
    for again in (None, lambda: None, lambda: Place(path.with_name("gone.nxs"))):
        with pytest.raises(StoreError, match="gone.nxs is missing although the catalog names it"):
            nexus.read_pixels(replace(gone, again=again))


def test_a_pack_that_ends_too_soon_is_an_error_that_names_it(both):
    _, place, _ = both
    short = replace(place, offset=place.path.stat().st_size - 100)
    with pytest.raises(StoreError, match=r"one.tar \(member name.nxs\): the pack ends before byte"):
        nexus.read_pixels(short)


def test_a_wrong_offset_is_no_micrograph(both):
    _, place, _ = both
    with pytest.raises(StoreError, match=r"one.tar \(member name.nxs\) is no sound micrograph file"):
        nexus.read_pixels(replace(place, offset=place.offset - 512))


def test_a_place_travels_to_another_process_without_its_catalog(both):
    path, place, _ = both
    for one in (Place(path, again=lambda: place), replace(place, again=lambda: None)):
        copy = pickle.loads(pickle.dumps(one))
        assert copy == one
        assert copy.again is None
