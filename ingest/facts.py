"""What a samples sheet says becomes rows: sample, material, processing steps, properties, labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from micdb.catalog import results, tables
from micdb.catalog.rows import add, find_or_add
from micdb.composition import ATOMIC, COMPOSITION, WEIGHT
from micdb.errors import SheetError
from micdb.ingest.arrival import pixel_size_columns
from micdb.ingest.property_rows import Definitions, value_row
from micdb.ingest.sheet import PropertyEntry, Row
from micdb.ingest.specimens import Held, settle
from micdb.ingest.statements import Stated, Statements, image_entries, meaning, sample_entries
from micdb.provenance import now
from micdb.records import Quantity

m = tables.micrograph.c
v = tables.property_value.c

SAME_SCALE = 0.01  # relative difference below which a sheet's pixel size and the file's are the same


def apply(
    connection: Connection,
    row: Row | None,
    *,
    images: Sequence[int],
    lab: int | None,
    said: Statements | None = None,
) -> list[str]:
    """Write everything one row says of its images; the same row again changes nothing.

    Parameters
    ----------
    connection
        The caller's write transaction.
    row
        The sheet's row for the file; None when there is no sheet or no row.
    images
        Micrographs of the file.
    lab
        Laboratory given with the command; the row's own wins.
    said
        The whole sheet of `row`.

    Returns
    -------
    list of str
        What was said and not applied, one sentence each.

    Raises
    ------
    SheetError
        The row needs a sample and names none, or does not fit what a property is: name, kind, dimension.
    """
    notes: list[str] = []
    if row is None or said is None:
        _assign(connection, images, {"lab_pk": lab}, notes)
        return notes
    if row.lab:
        lab = find_or_add(connection, tables.lab, {"name": row.lab})
    material = find_or_add(connection, tables.material, {"name": row.material}) if row.material else None
    sample = _sample(connection, row, (lab, material), notes)
    instrument = (
        find_or_add(connection, tables.instrument, {"name": row.instrument, "vendor": "", "lab_pk": lab})
        if row.instrument
        else None
    )
    _assign(connection, images, {"lab_pk": lab, "sample_pk": sample, "instrument_pk": instrument}, notes)
    if row.pixel_size is not None:
        _scale(connection, images, row.pixel_size, notes)
    place = _Place(row, said, Definitions(connection))
    _put_properties(connection, place, images, sample)
    return notes


class _Place(NamedTuple):
    """A row and the sheet it stands in."""

    row: Row
    sheet: Statements
    definitions: Definitions


def _put_properties(connection: Connection, place: _Place, images: Sequence[int], sample: int | None) -> None:
    row = place.row
    steps: dict[int, int] = {}
    for step in row.steps:
        keys = {"sample_pk": _needed(sample, row, f"step {step.kind}"), "position": step.position}
        steps[step.position] = find_or_add(connection, tables.processing_step, keys | {"kind": step.kind})
    if any(entry.name == COMPOSITION for entry in row.properties):
        _retire_elements(connection, place, _needed(sample, row, COMPOSITION))
    for position, name in dict.fromkeys((position, entry.name) for position, entry in sample_entries(row)):
        owner: dict[str, Any] = {"level": "sample", "sample_pk": _needed(sample, row, f"property {name}")}
        if position:
            owner["processing_step_pk"] = steps[position]
        _put(connection, place, place.sheet.said(row, position, name), owner)
    for entry in image_entries(row):
        for image in images:
            said = {meaning(entry): Stated(row.number, str(entry.raw))}
            _put(connection, place, said, {"level": "image", "micrograph_pk": image})


def _sample(
    connection: Connection, row: Row, owners: tuple[int | None, int | None], notes: list[str]
) -> int | None:
    """Return the row's sample; `owners` are its lab and its material."""
    if not row.sample:
        return None
    s = tables.sample.c
    lab, material = owners
    keys = {"name": row.sample, "lab_pk": lab}
    sample = find_or_add(connection, tables.sample, keys, {"material_pk": material})
    held = Held(sample, connection.execute(sa.select(s.material_pk).where(s.pk == sample)).scalar())
    notes += settle(connection, held, material, (row.sample, row.material))
    return sample


def _assign(
    connection: Connection, images: Sequence[int], facts: Mapping[str, int | None], notes: list[str]
) -> None:
    """Fill unknown owners of images; an owner that is known is never replaced."""
    for image in images if any(value is not None for value in facts.values()) else ():
        query = sa.select(m.name, m.lab_pk, m.sample_pk, m.instrument_pk).where(m.pk == image)
        held = connection.execute(query).mappings().one()
        new = {name: value for name, value in facts.items() if value is not None and held[name] is None}
        if new:
            connection.execute(tables.micrograph.update().where(m.pk == image).values(new))
        for name, value in facts.items():
            if value is not None and held[name] not in (None, value):
                owner = name.removesuffix("_pk")
                notes.append(f"image {held['name']!r} belongs to another {owner} already; left as it is")


def _scale(connection: Connection, images: Sequence[int], size: Quantity, notes: list[str]) -> None:
    """Fill unknown pixel sizes; a file's own is kept, and a sheet's is what the sheet says now."""
    nm = size.to("nm")
    for image in images:
        row = connection.execute(sa.select(tables.micrograph).where(m.pk == image)).one()
        same = row.pixel_size is not None and abs(row.pixel_size - nm) <= SAME_SCALE * row.pixel_size
        said = f"image {row.name!r}: the sheet says {nm:.6g} nm per pixel"
        if row.reciprocal_pixel_size_x is not None:
            notes.append(f"{said} of a diffraction pattern; not applied")
        elif row.pixel_size is None or (row.pixel_size_origin == "user" and row.pixel_size != nm):
            if row.pixel_size is not None and _is_measured(connection, image):
                notes.append(f"{said}, {row.pixel_size:.6g} before; kept, its atoms and features rely on it")
                continue
            columns = pixel_size_columns(nm, nm, (row.width, row.height), "user")
            connection.execute(tables.micrograph.update().where(m.pk == image).values(columns))
        elif not same:
            notes.append(f"{said}, the file {row.pixel_size:.6g}; the file's is kept")


def _is_measured(connection: Connection, image: int) -> bool:
    query = sa.select(results.run_item.c.run_pk).where(
        results.run_item.c.micrograph_pk == image, results.run_item.c.status == "done"
    )
    return connection.execute(query).first() is not None


def _put(
    connection: Connection, place: _Place, said: Mapping[PropertyEntry, Stated], owner: Mapping[str, Any]
) -> None:
    """Make the values that an owner has of one property from this sheet those that the sheet says now."""
    values: dict[str, dict[str, Any]] = {}
    for entry, stated in said.items():
        row = value_row(
            place.definitions, entry, stated,
            owner=owner, source=place.sheet.source, where=place.row.where,
        )  # fmt: skip
        values[row["natural_key"]] = row
    _retire(connection, values)
    for key, value in values.items():
        held = connection.execute(sa.select(v.pk, v.retired_at).where(v.natural_key == key)).one_or_none()
        if held is None:
            add(connection, tables.property_value, value | {"created_at": now()})
        elif held.retired_at is not None:
            connection.execute(tables.property_value.update().where(v.pk == held.pk).values(retired_at=None))


def _retire(connection: Connection, values: Mapping[str, Mapping[str, Any]]) -> None:
    """Retire what the same sheet said of the same property of the same owner, and does not say any more."""
    one = next(iter(values.values()))
    owner = ("property_def_pk", "source_name", "level", "sample_pk", "micrograph_pk", "processing_step_pk")
    connection.execute(
        tables.property_value.update()
        .where(*(v[name].is_not_distinct_from(one.get(name)) for name in owner))
        .where(v.natural_key.not_in(list(values)), v.retired_at.is_(None))
        .values(retired_at=now())
    )


def _retire_elements(connection: Connection, place: _Place, sample: int) -> None:
    """Retire the elements that the same sheet gave a sample and does not give it any more."""
    d = tables.property_def.c
    given = [entry.name for entry in place.row.properties]
    elements = sa.select(d.pk).where(
        sa.or_(d.name.startswith(ATOMIC, autoescape=True), d.name.startswith(WEIGHT, autoescape=True)),
        d.name.not_in(given),
    )
    connection.execute(
        tables.property_value.update()
        .where(v.sample_pk == sample, v.source_name == place.sheet.source, v.property_def_pk.in_(elements))
        .where(v.retired_at.is_(None))
        .values(retired_at=now())
    )


def _needed(sample: int | None, row: Row, what: str) -> int:
    if sample is None:
        raise SheetError(f"{row.where}: {what} needs a sample, and the sample cell is empty; fill it")
    return sample
