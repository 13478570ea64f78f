"""``micdb demo``: the whole path once, each step printed as the command a user would type, and a report."""

from __future__ import annotations

import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING

from micdb import opening
from micdb.catalog.engine import CATALOG
from micdb.cli import output
from micdb.cli.demo_report import Findings, write
from micdb.errors import MicdbError, UsageError
from micdb.populate.jobs import Progress

if TYPE_CHECKING:
    import pandas as pd

    from micdb.analysis.linking.result import Link
    from micdb.database import Database

SEED = 0
EXTRACTORS = ("texture", "peaks")


@dataclass(frozen=True, slots=True)
class Batch:
    """A folder of files, whose they are, and their sheet."""

    folder: Path
    lab: str | None = None
    sheet: Path | None = None
    map: Path | None = None


def run(folder: Path, data: Path | None) -> None:
    """Make ``demo.micdb`` and ``report.html`` in `folder` from simulated files, or from those in `data`.

    Raises
    ------
    UsageError
        ``demo.micdb`` exists and is no database of this command's.
    NotFoundError
        `data` does not exist or holds no file.
    """
    batches = _own(data) if data is not None else _simulated(folder / "demo-data")
    base = folder / "demo.micdb"
    _clear(base)
    _say(f"micdb init {base}")
    with opening.init(base) as db:
        for batch in batches:
            _ingest(db, batch)
        _populate(db)
        findings = Findings(db, _query(db), *_similar(db), _link(db), simulated=data is None)
        report = write(folder / "report.html", findings)
    output.console().print(f"\nwrote {base} and {report}; open the page in a browser", highlight=False)
    output.console().print("next, try:", style="bold")
    for command in findings.next_commands:
        _tell(command)


def _simulated(folder: Path) -> list[Batch]:
    from micdb.embed.simulate.labs import write_labs

    output.console().print(
        f"writing simulated micrographs of two labs to {folder} (seed {SEED})", highlight=False
    )
    labs = write_labs(folder, seed=SEED)
    batches = [Batch(lab.folder, lab.name, lab.sheet, lab.map) for lab in labs.labs]
    return [*batches, Batch(labs.folder / "atoms", labs.labs[1].name)]


def _own(data: Path) -> list[Batch]:
    """Take the user's folder; a samples.csv with a map.toml beside it is used."""
    sheet, map_ = data / "samples.csv", data / "map.toml"
    if sheet.is_file() and map_.is_file():
        return [Batch(data, None, sheet, map_)]
    return [Batch(data)]


def _clear(base: Path) -> None:
    """Remove an earlier demo; anything else of that name is left alone."""
    if not base.exists():
        return
    if not (base / CATALOG).is_file():
        raise UsageError(f"{base} exists and is no micdb database; move it away, or use --folder")
    shutil.rmtree(base)


def _ingest(db: Database, batch: Batch) -> None:
    options = {"--lab": batch.lab, "--sheet": batch.sheet, "--map": batch.map}
    given = " ".join(f"{name} {shlex.quote(str(value))}" for name, value in options.items() if value)
    _say(f"micdb ingest {batch.folder} {given}")
    with output.progress("reading") as advance:

        def watch(number: int, total: int, path: Path) -> None:
            if advance:
                advance(output.short(path), number, total)

        result = db.ingest(batch.folder, lab=batch.lab, sheet=batch.sheet, map=batch.map, watch=watch)
    _tell(repr(result))


def _populate(db: Database) -> None:
    _say(f"micdb populate {' '.join(EXTRACTORS)}")
    for name in EXTRACTORS:
        with output.progress(name) as advance:

            def watch(name: str, state: Progress) -> None:
                if advance:
                    advance(name, state.finished, state.total)

            result = db.populate(name, workers=0, watch=watch)
        _tell(repr(result))


def _query(db: Database) -> pd.DataFrame:
    """Ask for the hardest samples where there are such, else for the finest pixels."""
    known = set(db.property_names())
    if "hardness" in known:
        text, sort = 'hardness > 2.5 GPa and modality == "SEM"', "hardness"
        columns = ["name", "lab", "sample", "pixel_size", "anneal_temperature", "hardness"]
    else:
        text, sort = "pixel_size > 0 nm", "pixel_size"
        columns = ["name", "lab", "modality", "width", "height", "pixel_size", *sorted(known)[:3]]
    _say(f"micdb query {shlex.quote(text)} --columns {','.join(columns)} --sort -{sort} --limit 8")
    frame = db.images.query(text).sort_values(sort, ascending=False).head(8)[columns].to_pandas()
    output.print_frame(frame, "table")
    frame.attrs["text"] = text
    return frame


def _similar(db: Database) -> tuple[str | None, pd.DataFrame | None]:
    """Search by the middle one of the images that have a texture."""
    uids = db.images.to_pandas()["uid"]
    example = str(uids.iloc[len(uids) // 2])
    _say(f"micdb similar {example} -k 5 --columns name,lab,sample")
    try:
        found = db.images.similar_to(example, k=5)
        table = found[["similarity", "name", "lab", "sample", "uid"]].to_pandas()
    except MicdbError as error:
        _tell(str(error))
        return None, None
    output.print_frame(table.drop(columns="uid"), "table")
    return example, table


def _link(db: Database) -> Link | None:
    """Link the first measured property that has enough groups."""
    candidates = [
        name for name in ("hardness", *db.property_names("number")) if name in db.property_names("number")
    ]
    for target in dict.fromkeys(candidates):
        formula = f'{target} ~ embedding("texture")'
        _say(f"micdb link {shlex.quote(formula)} --groups sample")
        try:
            fit: Link = db.images.link(formula, groups=("sample",))
        except MicdbError as error:
            _tell(str(error))
            continue
        output.console().print(repr(fit), markup=False, highlight=False)
        return fit
    if not candidates:
        _tell("no property is known; add one with a samples sheet and link it to structure")
    return None


def _say(command: str) -> None:
    output.console().print(f"\n$ {command}", style="bold cyan", markup=False, highlight=False, soft_wrap=True)


def _tell(text: str) -> None:
    output.console().print(indent(text, "  "), markup=False, highlight=False, soft_wrap=True)
