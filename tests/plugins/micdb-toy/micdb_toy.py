"""Toy images: a line ``TOYIMG 1``, lines ``key = value``, a line ``data``, then a line of numbers per row."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from micdb.errors import DamagedFileError
from micdb.ingest.metadata import Key, apply, plain
from micdb.ingest.reader import Format, Reader
from micdb.records import Axis, Pixels, Scan, Source
from micdb.units import parse

if TYPE_CHECKING:
    import numpy as np

_SIGNATURE = b"TOYIMG 1\n"
_KEYS = (Key("voltage", "accelerating_voltage"), Key("microscope", "instrument"))


class Toy(Reader):
    """Images of the toy microscope."""

    name = "toy"
    formats = (Format("toyimg", "Toy microscope image", (".toyimg",)),)

    @classmethod
    def sniff(cls, path: Path, head: bytes) -> int:
        """Say 3 for the signature."""
        return 3 if head.startswith(_SIGNATURE) else 0

    def read(self, path: Path) -> list[Scan]:
        """Return the one image of the file."""
        header = dict(line.split(" = ", 1) for line in _parts(path)[0].splitlines()[1:])
        width, height = (int(number) for number in header["size"].split())
        step, unit = parse(header["pixel_size"]) if "pixel_size" in header else (None, None)
        settings = apply(_KEYS, header)
        return [
            Scan(
                pixels=Pixels((height, width), "float64", partial(_load, path, (height, width))),
                axes=(Axis("y", height, step, unit=unit), Axis("x", width, step, unit=unit)),
                name=path.stem,
                source=Source(str(path), "toyimg", self.name, "micdb-toy 1.0"),
                settings=settings.values,
                original=plain(header),
                problems=tuple(settings.problems),
            )
        ]


def _parts(path: Path) -> tuple[str, str]:
    header, mark, data = path.read_text().partition("\ndata\n")
    if not mark:
        raise DamagedFileError(path, "there is no line 'data'", reader=Toy.name)
    return header, data


def _load(path: Path, shape: tuple[int, int]) -> np.ndarray:
    import numpy as np

    return np.array([float(number) for number in _parts(path)[1].split()]).reshape(shape)
