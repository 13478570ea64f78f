from __future__ import annotations

import io
import os
import tarfile
from hashlib import sha256

import pytest

from micdb.errors import StoreError
from micdb.store.packs import Member, PackWriter, member_name, read_member, read_members


def named(content: bytes) -> str:
    return member_name(f"objects/ab/{sha256(content).hexdigest()}.nxs")


def write(path, contents):
    with PackWriter(path) as pack:
        return [
            pack.add(named(one), io.BytesIO(one), size=len(one), sha256=sha256(one).hexdigest())
            for one in contents
        ]


@pytest.mark.parametrize("sizes", [[1], [511, 512, 513], [0, 3_000_000, 7]])
def test_a_pack_is_a_tar_and_says_where_everything_is(tmp_path, sizes):
    contents = [os.urandom(size) for size in sizes]
    path = tmp_path / "one.tar"
    offsets = write(path, contents)
    raw = path.read_bytes()
    assert len(raw) % 512 == 0 and raw.endswith(bytes(1024))
    for content, offset in zip(contents, offsets, strict=True):
        assert raw[offset : offset + len(content)] == content
    with tarfile.open(path) as pack:
        assert [pack.extractfile(info).read() for info in pack] == contents
    assert read_members(path) == {
        named(content): (offset, len(content)) for content, offset in zip(contents, offsets, strict=True)
    }
    with path.open("rb") as file:
        for content, offset in zip(contents, offsets, strict=True):
            assert read_member(file.fileno(), offset) == Member(named(content), len(content))


def test_the_same_members_give_the_same_pack(tmp_path):
    contents = [b"one", b"two"]
    write(tmp_path / "a.tar", contents)
    write(tmp_path / "b.tar", contents)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


@pytest.mark.parametrize("given", [b"changed", b"longer than promised", b""])
def test_what_is_not_what_its_hash_says_is_left_out_and_leaves_no_trace(tmp_path, given):
    good, wanted = b"good", b"promise"
    with PackWriter(tmp_path / "with.tar") as pack:
        pack.add(named(good), io.BytesIO(good), size=4, sha256=sha256(good).hexdigest())
        size = pack.size
        added = pack.add(named(wanted), io.BytesIO(given), size=7, sha256=sha256(wanted).hexdigest())
        assert (added, pack.size) == (None, size)
        pack.add(named(good), io.BytesIO(good), size=4, sha256=sha256(good).hexdigest())
    write(tmp_path / "without.tar", [good, good])
    assert (tmp_path / "with.tar").read_bytes() == (tmp_path / "without.tar").read_bytes()


@pytest.mark.parametrize("offset", [0, 100, 513, 1 << 20])
def test_no_header_is_no_member(tmp_path, offset):
    write(tmp_path / "one.tar", [b"x" * 2000])
    with (tmp_path / "one.tar").open("rb") as file:
        assert read_member(file.fileno(), offset) is None


def test_what_is_no_pack_is_said_to_be_none(tmp_path):
    path = tmp_path / "no.tar"
    path.write_bytes(b"no tar" * 200)
    with pytest.raises(StoreError, match=r"no.tar is no readable pack: .*micdb fsck --deep"):
        read_members(path)
