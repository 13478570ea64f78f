"""What is mutated: real files where they are beside the checkout, files of every generator, and bombs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared" / "data" / "formats"
Maker = Callable[[Path], Path]  # writes into an empty folder; returns the file to open


class Seed(NamedTuple):
    """One file to mutate, with the files it needs beside it.

    Parameters
    ----------
    name
        Stable name: with a number it identifies a mutant for ever.
    files
        The file that is opened, then its companions.
    """

    name: str
    files: tuple[Path, ...]


def write(folder: Path, *, real: bool = True) -> list[Seed]:
    """Write every seed below `folder`, sorted by name, and a list of them for `load`."""
    from tests.fuzz.bombs import bombs
    from tests.fuzz.made import made

    makers = {f"bomb/{name}": make for name, make in bombs().items()}
    makers |= {f"made/{name}": make for name, make in made().items()}
    seeds = []
    for name, make in makers.items():
        with suppress(ModuleNotFoundError):  # an extra that is not installed
            seeds.append(_make(folder / name, name, make))
    seeds += list(_real(folder)) if real else []
    seeds.sort()
    listed = [[seed.name, [str(file) for file in seed.files]] for seed in seeds]
    (folder / "seeds.json").write_text(json.dumps(listed))
    return seeds


def load(folder: Path) -> list[Seed]:
    """Return the seeds that `write` put there."""
    listed = json.loads((folder / "seeds.json").read_text())
    return [Seed(name, tuple(Path(file) for file in files)) for name, files in listed]


def _make(folder: Path, name: str, make: Maker) -> Seed:
    folder.mkdir(parents=True)
    opened = make(folder)
    return Seed(name, (opened, *_others(folder, opened)))


def _others(folder: Path, opened: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file != opened)


def _real(folder: Path) -> Iterator[Seed]:
    """Every file of every item, the others of the item beside it."""
    manifest = REAL / "manifest.json"
    items = json.loads(manifest.read_text())["items"] if manifest.is_file() else []
    for item in items:
        place = folder / "real" / item["id"].replace("/", "_")
        place.mkdir(parents=True)
        for file in item["files"]:
            shutil.copy(REAL / file["path"], place)
        for file in item["files"]:
            opened = place / Path(file["path"]).name
            yield Seed(f"real/{file['path']}", (opened, *_others(place, opened)))
