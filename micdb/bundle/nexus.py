"""NeXus: the micrograph files of the database themselves, under readable names."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from micdb.bundle.form import Folder, Form, Written
from micdb.bundle.image import StoredImage
from micdb.errors import StoreError
from micdb.store.places import opened

_PIECE = 1 << 20  # [byte]


class Nexus(Form):
    """Copies byte by byte, each compared with the hash in the catalog; docs/format.md says what they hold."""

    name = "nexus"

    def files(self, stem: str, n_frames: int) -> list[str]:  # noqa: ARG002
        """Return one name: a stack is one file."""
        return [f"{stem}.nxs"]

    def write(self, image: StoredImage, names: Sequence[str], folder: Folder) -> Written:
        """Copy the file; raises `StoreError` when it is not what the catalog says."""
        with folder.new(names[0]) as path, path.open("xb") as target:
            digest = hashlib.sha256()
            try:
                with opened(image.place) as source:
                    while piece := source.read(_PIECE):
                        digest.update(piece)
                        target.write(piece)
            except FileNotFoundError as error:
                raise StoreError(
                    f"{image.place} is missing although the catalog names it; see: micdb fsck --deep"
                ) from error
            if digest.hexdigest() != image.sha256:
                raise StoreError(f"{image.place} is not what was stored; see: micdb fsck --deep")
        return Written(image, tuple(names))
