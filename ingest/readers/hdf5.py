"""HDF5: a container of many layouts, each a module with ``known(file)`` and ``scans(path, file)``."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from micdb.errors import NotAnImageError, UnknownFormatError
from micdb.ingest.hdf5_probe import member, members
from micdb.ingest.hdf5_stream import opened, signed
from micdb.ingest.reader import Format, Reader
from micdb.records import Scan

# The first that knows a file reads it. micdb's own files are NeXus and EMD 0.2 too, hence first.
_DIALECTS: tuple[tuple[str, Format], ...] = (
    ("hdf5_micdb", Format("micdb", "micdb micrograph", (".nxs",), tested=True)),
    ("hdf5_velox", Format("emd_velox", "Velox EMD (Thermo Fisher)", (".emd",), tested=True)),
    ("dm5", Format("dm5", "DigitalMicrograph 5 (Gatan)", (".dm5",))),
    ("hdf5_hyperspy", Format("hspy", "HyperSpy", (".hspy", ".hdf5"))),
    ("hdf5_py4dstem", Format("py4dstem", "EMD 1.0 (py4DSTEM, emdfile)", (".h5", ".emd"))),
    ("hdf5_jpk", Format("h5_jpk", "JPK fast AFM movie", (".h5-jpk",))),
    ("hdf5_nexus", Format("nexus", "NeXus NXdata", (".nxs", ".h5"))),
    ("hdf5_ncem", Format("emd_ncem", "NCEM EMD 0.2 (Berkeley)", (".emd",), tested=True)),
)
_SHOWN = 8  # names in a refusal


class Hdf5(Reader):
    """Velox, NCEM and py4DSTEM EMD, DM5, HyperSpy, NeXus, JPK movies: images and stacks, no spectra."""

    name = "hdf5"
    formats = tuple(known for _, known in _DIALECTS)

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:
        """Say 3 for a known layout, 2 for HDF5 too damaged to look inside, 1 for any other HDF5."""
        if not signed(head):
            return 0
        try:
            with opened(path) as file:  # nothing but HDF5's library can tell the layouts apart
                return 3 if _dialect(file) else 1
        except Exception:  # damage of any kind; `read` says which
            return 2

    def read(self, path: Path) -> list[Scan]:
        """Return every image dataset; see `Reader.read`."""
        with opened(path) as file:
            dialect = _dialect(file)
            if dialect is None:
                raise UnknownFormatError(path, _unknown(file), reader=self.name)
            found, refused = dialect.scans(path, file)
        if not found:
            raise NotAnImageError(path, _joined(refused) or "the file holds no image", reader=self.name)
        return list(found)


def _dialect(file: Any) -> ModuleType | None:
    for name, _ in _DIALECTS:
        module = import_module(f"micdb.ingest.readers.{name}")
        if module.known(file):
            return module
    return None


def _unknown(file: Any) -> str:
    layouts = ", ".join(known.title for _, known in _DIALECTS)
    shown = [
        f"{name} {getattr(item, 'shape', '(group)')}" for name, item in list(members(file).items())[:_SHOWN]
    ]
    elsewhere = [name for name in list(file)[:_SHOWN] if member(file, name) is None]
    if elsewhere:
        shown.append(f"links that are not followed: {', '.join(elsewhere)}")
    return f"this HDF5 file is of no layout micdb knows ({layouts}); it holds {', '.join(shown) or 'nothing'}"


def _joined(refused: list[str]) -> str:
    more = f"; and {len(refused) - _SHOWN} more" if len(refused) > _SHOWN else ""
    return "; ".join(refused[:_SHOWN]) + more
