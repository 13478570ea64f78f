"""Index files: whole or refused, replaced in one step."""

from __future__ import annotations

import numpy as np
import pytest

from micdb.errors import StoreError
from micdb.store import indexes
from micdb.store.indexes import Blocks, beside, index_path, read_index, write_index
from micdb.store.staging import leftovers

ABOUT = {"run": "r", "space": "a/b@1nm", "seq": 7}


@pytest.fixture
def target(tmp_path):
    return index_path(tmp_path, "run", "embeddings", "a/b@1nm", "vectors")


def written(root, target, **arrays):
    plain = {"rows": np.arange(6, dtype=np.float32).reshape(3, 2), "none": np.empty((0, 5), np.int32)}
    write_index(root, target, ABOUT, {**plain, **arrays})
    return read_index(target)


def test_what_was_written_comes_back_read_only(tmp_path, target):
    pieces = (np.full((2, 3), i, np.int64) for i in range(2))
    found = written(tmp_path, target, late=Blocks("<i8", (4, 3), pieces))
    assert {name: found.about[name] for name in ABOUT} == ABOUT
    assert found.arrays["rows"].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert found.arrays["none"].shape == (0, 5)
    assert found.arrays["late"].tolist() == [[0] * 3] * 2 + [[1] * 3] * 2
    assert not found.arrays["rows"].flags.writeable
    assert found.arrays["rows"].ctypes.data % 64 == 0
    assert list(leftovers(tmp_path, remove=False)) == []


def test_names_of_spaces_make_safe_and_different_file_names(tmp_path, target):
    assert target.parent == tmp_path / "indexes"
    assert "/" not in target.name
    other = index_path(tmp_path, "run", "embeddings", "a/b@2nm", "vectors")
    assert other != target
    assert beside(target, "hnsw") == index_path(tmp_path, "run", "embeddings", "a/b@1nm", "hnsw")


def test_whoever_has_the_old_file_goes_on_reading_it(tmp_path, target):
    old = written(tmp_path, target)
    write_index(tmp_path, target, ABOUT, {"rows": np.full((3, 2), 9, np.float32)})
    assert old.arrays["rows"][2].tolist() == [4, 5]
    assert read_index(target).arrays["rows"][2].tolist() == [9, 9]


def test_a_write_that_fails_leaves_what_was_there(tmp_path, target):
    written(tmp_path, target)

    def pieces():
        yield np.zeros((1, 2), np.float32)
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        write_index(tmp_path, target, ABOUT, {"rows": Blocks("<f4", (3, 2), pieces())})
    with pytest.raises(ValueError, match="announced with 3 rows and has 1"):
        write_index(tmp_path, target, ABOUT, {"rows": Blocks("<f4", (3, 2), [np.zeros((1, 2))])})
    assert read_index(target).arrays["rows"][2].tolist() == [4, 5]
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    assert list((tmp_path / "staging").iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda whole: b"", "cannot be read"),
        (lambda whole: b"x" * 100, "does not begin as an index file does"),
        (lambda whole: whole[:-1], "does not end as an index file does"),
        (lambda whole: whole[:200], "does not end as an index file does"),
        (lambda whole: whole.replace(b'"seq": 7', b'"seq": 8'), "the checksum of its header is wrong"),
        (lambda whole: whole[:72] + b"\x01" + whole[73:], "the array rows has another checksum"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, target, damage, message):
    written(tmp_path, target)
    target.write_bytes(damage(target.read_bytes()))
    with pytest.raises(StoreError, match=message) as caught:
        read_index(target)
    assert "micdb index" in str(caught.value)


def test_every_single_changed_byte_is_noticed(tmp_path, target):
    before = written(tmp_path, target).arrays["rows"].copy()
    whole = target.read_bytes()
    for place in range(len(whole)):
        target.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
        try:
            found = read_index(target)
        except StoreError:
            continue
        assert whole[place] == 0, f"byte {place}"  # between arrays
        np.testing.assert_array_equal(found.arrays["rows"], before)


def test_arrays_too_large_for_a_checksum_may_be_left_out(tmp_path, target):
    written(tmp_path, target)
    whole = target.read_bytes()
    target.write_bytes(whole[:72] + b"\x01" + whole[73:])
    assert read_index(target, unchecked=["rows"]).arrays["rows"].shape == (3, 2)


def test_a_file_of_another_version_is_refused(tmp_path, target, monkeypatch):
    monkeypatch.setattr(indexes, "FORMAT_VERSION", 2)
    write_index(tmp_path, target, ABOUT, {})
    monkeypatch.undo()
    with pytest.raises(StoreError, match="it has version 2, this micdb reads 1"):
        read_index(target)


def test_a_missing_file_is_an_error_of_ours(target):
    with pytest.raises(StoreError, match="cannot be read"):
        read_index(target)
