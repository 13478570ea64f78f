"""Gatan DigitalMicrograph, DM3 and DM4: every image of the file; previews, plots and spectra are left out.

The tags are read by `dm_tags`, an entry of ImageList becomes a Scan in `dm_image`, data types are the matter
of `dm_pixels`. DM5, the same tree as HDF5, is read by `dm5`.
"""

from __future__ import annotations

from pathlib import Path

from micdb.errors import DamagedFileError, NotAnImageError
from micdb.ingest.block import Block
from micdb.ingest.reader import Format, Reader
from micdb.ingest.readers import dm_image, dm_pixels
from micdb.ingest.readers.dm_tags import TagArray, read_tags
from micdb.provenance import package_version
from micdb.records import Pixels, Scan, Source


class DigitalMicrograph(Reader):
    """DM3 and DM4 files: images, stacks and 4-D data."""

    name = "dm"
    formats = (
        Format("dm3", "Gatan DigitalMicrograph 3", (".dm3",), tested=True),
        Format("dm4", "Gatan DigitalMicrograph 4", (".dm4",), tested=True),
    )

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:  # noqa: ARG003
        """Say 2 for a DM3 or DM4 header: version, byte-order flag and the root tag group."""
        version = int.from_bytes(head[:4], "big")
        flag = {3: 8, 4: 12}.get(version)
        if flag is None or len(head) < flag + 6:
            return 0
        order = int.from_bytes(head[flag : flag + 4], "big")
        return 2 if order in (0, 1) and head[flag + 4] in (0, 1) and head[flag + 5] in (0, 1) else 0

    def read(self, path: Path) -> list[Scan]:
        """Return one scan per image; see `Reader.read`."""
        tags = read_tags(path)
        if tags.damage is not None and "ImageList" not in tags.root:
            raise tags.damage
        problems = [f"the tags after the images are damaged: {tags.damage.reason}"] if tags.damage else []
        scans: list[Scan] = []
        refused: list[str] = []
        for entry in dm_image.entries(path, tags.root, reader=self.name):
            reason = dm_image.refusal(entry)
            if reason:
                refused.append(f"{entry.name!r} {reason}")
                continue
            source = Source(str(path), f"dm{tags.version}", self.name, package_version(), len(scans))
            scans.append(dm_image.scan(entry, _pixels(path, tags.order, entry), source, problems))
        if not scans:
            raise NotAnImageError(path, "; ".join(refused) or "the file holds no image", reader=self.name)
        return scans


def _pixels(path: Path, order: str, entry: dm_image.Entry) -> Pixels:
    """Check that the data block is there and as long as it must be; the pixels stay unread."""
    kind, shape, data = entry.data_type, entry.shape, entry.data
    dtype = dm_pixels.shown_dtype(kind)
    expected = dm_pixels.stored_bytes(kind, shape)
    if not isinstance(data, TagArray) or data.size != expected:
        found, offset = (data.size, data.offset) if isinstance(data, TagArray) else ("no array", None)
        reason = f"image {entry.number} of {dtype} {shape} needs {expected} bytes, the file holds {found}"
        raise DamagedFileError(path, reason, reader=DigitalMicrograph.name, offset=offset)
    stored_shape = dm_pixels.stored_shape(kind, shape)
    block = Block(path, data.offset, stored_shape, order + dm_pixels.STORED[kind])
    stored = dm_pixels.StoredImage(block, kind, shape[-1])
    colour = (3,) if kind in dm_pixels.COLOUR else ()
    load_frame = stored.load_frame if len(shape) > 2 else None
    return Pixels((*shape, *colour), dtype, stored.load, load_frame)
