"""What an extractor says, checked against what it promised: a bug in a plug-in must not become rows."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from micdb.errors import ContractError, MicdbError
from micdb.populate.extractor import Extraction, Extractor
from micdb.populate.facts import CATALOGUED
from micdb.records import Picture, Refusal


@dataclass(frozen=True, slots=True)
class Answer:
    """What an extractor said of one image, and how long it took [s]."""

    image: int
    result: Extraction | Refusal
    seconds: float


def ask(extractor: Extractor, pictures: Iterator[Picture]) -> Iterator[Answer]:
    """Feed one picture at a time, so that an exception names its image.

    Raises
    ------
    ContractError
        The extractor raised, or did not give exactly one answer for the picture.
    """
    for picture in pictures:
        start = time.perf_counter()
        image = f"image {picture.name!r} (pk {picture.image})"
        try:
            results = list(extractor.extract([picture]))
        except MicdbError:
            raise
        except Exception as error:
            raise ContractError(
                f"extractor {extractor.card.name!r} raised {type(error).__name__} on {image}: {error}; "
                "this is a bug in the extractor"
            ) from error
        if len(results) != 1 or not isinstance(results[0], Extraction | Refusal):
            raise ContractError(
                f"extractor {extractor.card.name!r} gave {len(results)} answers for {image}; "
                "it must yield exactly one Extraction or Refusal per picture"
            )
        if results[0].image != picture.image:
            raise ContractError(
                f"extractor {extractor.card.name!r} answered for image pk {results[0].image} when asked "
                f"about {image}; it must hand back the picture's `image`"
            )
        if isinstance(results[0], Extraction) and len(picture.pixels) == 1:
            _check_counts(extractor, results[0], image)
        yield Answer(picture.image, results[0], time.perf_counter() - start)


def gather(extractor: Extractor, answers: Sequence[Answer], *, run_pk: int) -> dict[str, pa.Table]:
    """Return the rows of all answers by table, a column ``run`` in front; tables without rows are left out.

    Raises
    ------
    ContractError
        A table or a space of vectors was not declared, or rows do not fit the declared schema.
    """
    tables: dict[str, list[pa.Table]] = {}
    for answer in answers:
        if isinstance(answer.result, Extraction):
            for name, table in answer.result.tables.items():
                tables.setdefault(name, []).append(_checked(extractor, answer.image, name, table))
    joined = {name: pa.concat_tables(chunks) for name, chunks in tables.items()}
    run = pa.field("run", pa.int64(), nullable=False)
    return {
        name: table.add_column(0, run, pa.repeat(pa.scalar(run_pk, pa.int64()), table.num_rows))
        for name, table in joined.items()
        if table.num_rows
    }


def _checked(extractor: Extractor, image: int, name: str, table: pa.Table) -> pa.Table:
    """Return the table in the declared schema."""
    where = f"extractor {extractor.card.name!r}, image pk {image}, table {name!r}"
    schema = extractor.schemas.get(name)
    if schema is None or "image" not in schema.names:
        declared = ", ".join(extractor.schemas)
        raise ContractError(f"{where}: not declared in `schemas` with a column 'image'; declared: {declared}")
    if name in CATALOGUED and not schema.equals(CATALOGUED[name]):
        raise ContractError(f"{where}: its schema must be that of micdb.populate.facts.CATALOGUED[{name!r}]")
    try:
        rows = table.cast(schema)
    except (pa.ArrowException, ValueError) as error:
        raise ContractError(f"{where}: the rows do not fit the declared schema: {error}") from error
    for field in schema:
        if not field.nullable and rows[field.name].null_count:
            raise ContractError(f"{where}: nulls in {field.name!r}, which is declared without nulls")
    if not pc.all(pc.equal(rows["image"], image), min_count=0).as_py():
        raise ContractError(
            f"{where}: rows of another image; the column 'image' must be {image} in every row"
        )
    if name in ("embeddings", "patches"):
        _check_vectors(extractor, rows, where)
    return rows


def _check_counts(extractor: Extractor, result: Extraction, image: str) -> None:
    """Refuse a roll-up ``n_atoms`` of one frame that is not the number of atoms: queries answer with it."""
    for table in extractor.schemas:
        value, _ = result.rollups.get(f"n_{table}", (None, None))
        rows = result.tables[table].num_rows if table in result.tables else 0
        if value is not None and value != rows:
            raise ContractError(
                f"extractor {extractor.card.name!r} says n_{table} is {value:g} for {image} and gave {rows} "
                "rows; of one frame it must be their number, of a stack the mean over its frames"
            )


def _check_vectors(extractor: Extractor, rows: pa.Table, where: str) -> None:
    dims = {space.name: space.dim for space in extractor.spaces}
    lengths = pa.table({"space": rows["space"], "dim": pc.list_value_length(rows["vector"])})
    for found in lengths.group_by(["space", "dim"]).aggregate([]).to_pylist():
        if dims.get(found["space"]) != found["dim"]:
            declared = ", ".join(f"{name} of {dim}" for name, dim in dims.items()) or "none"
            raise ContractError(
                f"{where}: a vector of {found['dim']} numbers in {found['space']!r}; declared: {declared}"
            )
    if not pc.all(pc.is_finite(pc.list_flatten(rows["vector"])), min_count=0).as_py():
        raise ContractError(
            f"{where}: a vector with numbers that are not finite; refuse such an image instead"
        )
