"""A citation is written: the whole folder, or nothing of that name."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pyarrow.parquet as pq

from micdb.bundle.citation import bibtex, records
from micdb.bundle.citation.crate import write_crate
from micdb.bundle.citation.evidence import Evidence, gather
from micdb.bundle.citation.links import CitableLink, check_links, links_rest_on, write_links
from micdb.bundle.citation.methods import paragraph
from micdb.bundle.citation.rows import Given, Rows, rows_of
from micdb.bundle.citation.whom import Citation, settle
from micdb.errors import UsageError
from micdb.exchange.crate import CRATE
from micdb.provenance import now, package_version
from micdb.query import result
from micdb.query.context import Context
from micdb.query.origins import images_behind, origins

MEANINGS = {
    "table.csv": "the cited rows, units in the header",
    "table.parquet": "the same rows with their types; units in the metadata of the columns",
    "query.json": "the query that gives them: db.load_query(\"query.json\")",
    "images.csv": "the images behind the rows, with source, sha256 of the original file and licence",
    "models": "each method whose results the rows come from: card, parameters, what became of images",
    "links": "each link: the fitted model (micdb.load_link), its scores, its predictions of unseen groups",
    "methods.md": "what was done, as a paragraph for a paper",
    "references.bib": "the references of the methods",
    "datacite.json": "DataCite 4.5 record; the DOI is for whoever mints it",
    "CITATION.cff": "how to cite this",
    "README.md": "this page",
}  # fmt: skip

_README = """# {title}

{names}. {publisher}, {year}.

{rows:,} rows, {images:,} images, {licences}. Written by micdb {version} on {date}, {moment}.

| file | what it is |
|---|---|
{files}| {crate} | the same list as an RO-Crate |

| column | unit | kind | what it is |
|---|---|---|---|
{columns}
```python
import pandas as pd

table = pd.read_csv("table.csv")  # or read_parquet("table.parquet")
images = pd.read_csv("images.csv")
```

## Methods

{methods}
"""


@dataclass(frozen=True, slots=True, repr=False)
class Cited:
    """A citation that was written.

    Parameters
    ----------
    folder
        Where.
    rows, images, runs
        How many of each.
    event
        Number of the last event that the catalog contained; 0 where it was a federation.
    moment
        When the rows were true, in words.
    """

    folder: Path
    rows: int
    images: int
    runs: int
    event: int
    moment: str

    def __repr__(self) -> str:
        counts = f"{self.rows:,} rows, {self.images:,} images, {self.runs} runs"
        return f"{counts} cited in {self.folder}: {self.moment}"

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            "folder": str(self.folder), "rows": self.rows, "images": self.images, "runs": self.runs,
            "event": self.event, "moment": self.moment,
        }  # fmt: skip


def cite(
    context: Context,
    what: Given,
    folder: Path,
    *,
    title: str | None,
    creators: Sequence[str | Mapping[str, Any]] | None,
    publisher: str | None,
    year: int | None,
    links: Sequence[CitableLink] = (),
    overwrite: bool = False,
) -> Cited:
    """Write a folder that makes rows something to cite; see `micdb.bundle.outlets.Outlets.cite`."""
    target = folder.absolute()
    if target.resolve().is_relative_to(context.root.resolve()):
        raise UsageError(f"{folder} is inside the database {context.root}; cite to a folder beside it")
    if target.exists() and not overwrite:
        raise UsageError(f"{folder} exists: choose another folder, or say overwrite")
    rows = rows_of(context, what)
    if not rows.table.num_rows:
        raise UsageError("the query gives no row: there is nothing to cite")
    query = rows.frame.to_json()
    shown, linked = origins(rows.frame), links_rest_on(context, links)
    images = _kept(rows, images_behind(rows.frame).tolist())
    evidence = gather(
        context.engine, images=images, runs=sorted({*shown.runs, *linked.runs}),
        properties=list(dict.fromkeys([*shown.properties, *linked.properties])),
    )  # fmt: skip
    check_links(links, [str(image["uid"]) for image in evidence.images])
    citation = settle(evidence.known, title=title, creators=creators, publisher=publisher, year=year)
    target.parent.mkdir(parents=True, exist_ok=True)
    half = Path(mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        half.chmod(0o755)
        (half / "query.json").write_text(_json({"format": "micdb query", "version": 1, **query}), "utf-8")
        _write(half, rows, evidence, citation, links)
        if target.exists():
            shutil.rmtree(target)
        half.rename(target)
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise
    runs, stood = len(evidence.runs), evidence.moment
    return Cited(folder, rows.table.num_rows, len(images), runs, stood.event, stood.text)


def _kept(rows: Rows, images: list[int]) -> list[int]:
    """Return the images of the rows that were taken, where the rows are images and say which."""
    if rows.table.num_rows == rows.whole or not rows.frame.of_images or "uid" not in rows.table.column_names:
        return images
    every = type(rows.frame)(rows.frame.context, "images")
    kept = set(every[every.uid.isin(rows.table["uid"].to_pylist())].pks().tolist())
    return [image for image in images if image in kept]


def _write(
    folder: Path, rows: Rows, evidence: Evidence, citation: Citation, links: Sequence[CitableLink]
) -> None:
    moment = now()
    _write_rows(folder, rows)
    _write_images(folder / "images.csv", evidence.images)
    _write_models(folder / "models", evidence.runs)
    write_links(folder / "links", links)
    methods = paragraph(rows, evidence, links)
    licences = sorted({image["licence"] for image in evidence.images if image["licence"]})
    (folder / "methods.md").write_text(f"# Methods\n\n{methods}\n", "utf-8")
    cards = [run["card"] or {} for run in evidence.runs]
    cards += [{"name": "link", "reference": link.references()} for link in links]
    (folder / "references.bib").write_text(bibtex.bibliography(cards), "utf-8")
    sizes = [f"{rows.table.num_rows} rows", f"{len(evidence.images)} images"]
    materials = sorted({image["material"] for image in evidence.images if image["material"]})
    record = records.datacite(
        citation, description=methods, subjects=materials, licences=licences, sizes=sizes, date=moment
    )
    (folder / "datacite.json").write_text(_json(record), "utf-8")
    about = f"{', '.join(sizes)}; {evidence.moment.text}"
    text = records.cff(citation, licences=licences, date=moment, abstract=about)
    (folder / "CITATION.cff").write_text(text, "utf-8")
    _write_readme(folder, rows, evidence, citation, (methods, licences, moment))
    write_crate(folder, citation, description=about, licences=licences, date=moment, meanings=MEANINGS)


def _write_rows(folder: Path, rows: Rows) -> None:
    pq.write_table(rows.table, folder / "table.parquet", compression="zstd")
    headers = {name: f"{name} [{unit}]" for name, unit in rows.units.items()}
    result.to_frame(rows.table).rename(columns=headers).to_csv(folder / "table.csv", index=False)


def _write_images(path: Path, images: Sequence[Mapping[str, Any]]) -> None:
    names = list(images[0]) if images else ["uid", "name"]
    with path.open("w", newline="", encoding="utf-8") as stream:
        out = csv.DictWriter(stream, names, lineterminator="\n")
        out.writeheader()
        out.writerows(images)


def _write_models(folder: Path, runs: Sequence[Mapping[str, Any]]) -> None:
    for run in runs:
        folder.mkdir(exist_ok=True)
        # Runs of one version with other parameters have names of their own: the end of a uid is random.
        name = f"{run['name']}@{run['version']}-{run['uid'][-8:]}.json"
        (folder / name).write_text(_json(run), "utf-8")


def _write_readme(
    folder: Path, rows: Rows, evidence: Evidence, citation: Citation, more: tuple[str, list[str], str]
) -> None:
    methods, licences, moment = more
    fields = rows.frame.schema.fields
    columns = "".join(
        f"| {name} | {fields[name].unit or ''} | {fields[name].kind} | {fields[name].description} |\n"
        for name in rows.table.column_names
    )
    terms = f"licence {', '.join(licences)}" if licences else "licence unknown"
    there = [name for name in MEANINGS if (folder / name).exists() or name == "README.md"]
    page = _README.format(
        title=citation.title, names="; ".join(one.name for one in citation.creators),
        publisher=citation.publisher, year=citation.year, rows=rows.table.num_rows,
        images=len(evidence.images), licences=terms,
        version=package_version(), date=moment[:10], moment=evidence.moment.text,
        files="".join(f"| {name} | {MEANINGS[name]} |\n" for name in there), crate=CRATE, columns=columns,
        methods=methods,
    )  # fmt: skip
    (folder / "README.md").write_text(page, "utf-8")


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
