"""The library as a folder for a paper's supplement: page, figures, tables, structures, model cards, citation.

Everything is written to a folder of another name first, which is renamed when it is whole.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import tifffile

from micdb import config
from micdb.analysis.library.entry import Entry
from micdb.analysis.library.figure import ROWS, library_figure
from micdb.analysis.library.found import cards
from micdb.analysis.library.page import density_text, library_page, ranked
from micdb.embed.structure_files import to_ase, write_structure
from micdb.errors import UsageError
from micdb.extras import require
from micdb.provenance import now, package_version

if TYPE_CHECKING:
    from micdb.analysis.library.library import Library

_README = """# {title}

{n} defects of {motifs} motifs in {images} images, from micdb {version}, {date}.

| file | what it is |
|---|---|
| library.html | the whole library as a page |
| figure-1.pdf, .png | the figure, 180 mm wide; further pages where there are more than {rows} motifs |
| motifs.csv | one row per motif: counts; density with its interval [nm^-2] |
| members.csv | one row per defect: uid, image, frame, position [nm] from the centre of the top-left pixel |
| positions.csv | mean atoms of each motif from its centre [nm], y downwards, with standard deviation |
| structures/ | the same as XYZ [angstrom], y upwards |
| means/ | mean pictures as 32-bit TIFF, in standard deviations of the images above their median |
| models/ | card of every detector: method, licence, paper, what it did with planted truth |
| CITATION.cff | how to cite this |

{table}

## Methods

{methods}
"""


def export_library(
    library: Library, folder: str | PathLike[str], *, title: str, overwrite: bool, level: float
) -> Path:
    """Write the folder; see `micdb.analysis.library.library.Library.export`."""
    require("ase")
    target = Path(folder)
    root = library.context.root
    if target.resolve().is_relative_to(root.resolve()):
        raise UsageError(f"{target} is inside the database {root}; export to a folder beside it")
    if target.exists() and not overwrite:
        raise UsageError(f"{target} exists: choose another folder, or say overwrite=True")
    entries = ranked(library)
    target.parent.mkdir(parents=True, exist_ok=True)
    half = Path(mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        half.chmod(0o755)
        library_page(library, half / "library.html", title=title, level=level)
        _write_figures(half, entries, level)
        _write_tables(half, library, entries, level)
        _write_shapes(half, entries)
        found = _write_cards(half, library, entries)
        _write_words(half, title, entries, found, level)
        if target.exists():
            shutil.rmtree(target)
        half.rename(target)
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise
    return target


def _write_figures(folder: Path, entries: Sequence[Entry], level: float) -> None:
    for number, start in enumerate(range(0, len(entries), ROWS), start=1):
        figure = library_figure(entries[start : start + ROWS], level=level)
        figure.savefig(folder / f"figure-{number}.pdf")
        figure.savefig(folder / f"figure-{number}.png", dpi=600)


def _write_tables(folder: Path, library: Library, entries: Sequence[Entry], level: float) -> None:
    library.motifs(level=level).to_csv(folder / "motifs.csv", index=False)
    names = [
        "uid", "image_uid", "image_name", "frame", "kind", "formula", "key", "x_px", "y_px", "x_nm", "y_nm",
        "score", "state", "material", "lab", "sample", "detector", "version",
    ]  # fmt: skip
    members = pd.concat([entry.members[names].assign(motif=entry.name) for entry in entries])
    members[["motif", *names]].to_csv(folder / "members.csv", index=False)
    known = [entry.average.positions.assign(motif=entry.name) for entry in entries if entry.average]
    positions = pd.concat(known)
    positions[["motif", "x_nm", "y_nm", "sd_nm", "species", "share"]].to_csv(
        folder / "positions.csv", index=False
    )


def _write_shapes(folder: Path, entries: Sequence[Entry]) -> None:
    for name in ("structures", "means"):
        (folder / name).mkdir()
    for entry, stem in zip(entries, _stems(entry.name for entry in entries), strict=True):
        found = entry.average
        if found is None:
            continue
        size = found.pixel_size
        scale: dict[str, Any] = {} if size is None else {"resolution": (1 / size, 1 / size)}
        unit = {} if size is None else {"unit": "nm"}
        picture = found.picture.astype(np.float32)
        tifffile.imwrite(folder / "means" / f"{stem}.tif", picture, imagej=True, metadata=unit, **scale)
        if found.sites:
            xy = found.positions[["x_nm", "y_nm"]].to_numpy()
            species = np.array([one or "X" for one in found.positions["species"]])
            write_structure(folder / "structures" / f"{stem}.xyz", to_ase(xy, species))


def _stems(names: Any) -> list[str]:
    """Return a file name for each motif: letters, digits, dots and dashes, each once."""
    taken: list[str] = []
    for name in names:
        stem = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.") or "motif"
        same = sum(one.lower() == stem.lower() or one.lower().startswith(f"{stem.lower()}~") for one in taken)
        taken.append(f"{stem}~{same + 1}" if same else stem)
    return taken


def _write_cards(folder: Path, library: Library, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    (folder / "models").mkdir()
    runs = sorted({int(run) for entry in entries for run in entry.members["run"]})
    found = list(cards(library.context.engine, runs).values())
    for card in found:
        text = json.dumps(card, indent=2, ensure_ascii=False)
        (folder / "models" / f"{card['name']}@{card['version']}.json").write_text(text, encoding="utf-8")
    return found


def _write_words(
    folder: Path, title: str, entries: Sequence[Entry], found: Sequence[dict[str, Any]], level: float
) -> None:
    rows = [entry.summary(level=level) for entry in entries]
    lines = [f"| {row['name']} | {row['n']} | {row['images']} | {density_text(row)} |" for row in rows]
    head = f"| motif | defects | images | density, {100 * level:g} % interval |\n|---|---|---|---|\n"
    methods = [
        f"{card['name']} version {card['version']}: {card['summary']}. {card['reference']}." for card in found
    ]
    text = _README.format(
        title=title, n=sum(row["n"] for row in rows), motifs=len(rows), version=package_version(),
        images=len({pk for entry in entries for pk in entry.members["image"]}), date=now()[:10], rows=ROWS,
        table=head + "\n".join(lines), methods="\n".join(methods),
    )  # fmt: skip
    (folder / "README.md").write_text(text, encoding="utf-8")
    labs = sorted({one for entry in entries for one in entry.members["lab"].dropna()})
    authors = "\n".join(f"  - name: {json.dumps(name)}" for name in labs or [config.load().actor])
    cff = (
        f"cff-version: 1.2.0\nmessage: If you use this library of defects, cite it.\ntype: dataset\n"
        f"title: {json.dumps(title)}\nauthors:\n{authors}\ndate-released: {now()[:10]}\n"
    )
    (folder / "CITATION.cff").write_text(cff, encoding="utf-8")
