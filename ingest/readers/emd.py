"""Electron Microscopy Dataset files: Velox (Thermo Fisher) and NCEM EMD 0.2, both HDF5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from micdb.errors import NotAnImageError
from micdb.ingest.reader import Reader
from micdb.ingest.readers import emd_ncem, emd_velox
from micdb.records import Scan

SIGNATURE = b"\x89HDF\r\n\x1a\n"


class Emd(Reader):
    """Velox and NCEM EMD 0.2: images and stacks; spectra and spectrum streams are left out."""

    name = "emd"
    extensions = (".emd",)

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:
        """Say 3 where the groups are those of Velox or NCEM, 2 for HDF5 too damaged to look inside."""
        if not head.startswith(SIGNATURE):
            return 0
        import h5py  # only for what is HDF5 already: nothing but its library can tell the dialects apart

        try:
            with h5py.File(path, "r") as file:
                return 3 if emd_velox.known(file) or emd_ncem.first_group(file) else 0
        except OSError:
            return 2

    def read(self, path: Path) -> list[Scan]:
        """Return every image dataset; see `Reader.read`."""
        import h5py

        with h5py.File(path, "r") as file:
            dialect: Any = emd_velox if emd_velox.known(file) else emd_ncem
            scans, refused = dialect.scans(path, file)
        if not scans:
            raise NotAnImageError(path, "; ".join(refused) or "the file holds no image", reader=self.name)
        return list(scans)
