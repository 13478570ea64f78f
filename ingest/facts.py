"""What a samples sheet says becomes rows: sample, material, processing steps, properties, labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from micdb import units
from micdb.catalog import results, tables
from micdb.catalog.rows import add, find_or_add
from micdb.composition import ATOMIC, COMPOSITION, WEIGHT
from micdb.errors import SheetError, UnitError
from micdb.ingest.arrival import pixel_size_columns
from micdb.ingest.sheet import PropertyEntry, Row
from micdb.ingest.statements import NO_STEP, Stated, Statements, image_entries, meaning, sample_entries
from micdb.provenance import canonical_json, now
from micdb.records import Quantity

m = tables.micrograph.c
v = tables.property_value.c

# Names a property may not take: they are columns of db.images already.
TAKEN = {
    *m.keys(),
    "lab",
    "sample",
    "material",
    "instrument",
    "vendor",
    "operator",
    "file",
    "format",
    "count",
}
SAME_SCALE = 0.01  # relative difference below which a sheet's pixel size and the file's are the same


@dataclass(slots=True)
class Written:
    """What one transaction has written already, so that a sheet of many rows a sample is written once.

    Parameters
    ----------
    values
        Sample, position of the step and property of what is written.
    standing
        Keys of the values that the sheet says.
    definitions
        Key, kind and unit of each property by name.
    """

    values: set[tuple[int | None, int, str]] = field(default_factory=set)
    standing: set[int] = field(default_factory=set)
    definitions: dict[str, tuple[int, str, str | None]] = field(default_factory=dict)


def apply(
    connection: Connection,
    row: Row | None,
    *,
    images: Sequence[int],
    lab: int | None,
    said: Statements | None = None,
    written: Written | None = None,
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
    written
        What this transaction has written of the sheet; None where each row stands for itself.

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
    place = _Place(row, said, Written() if written is None else written)
    _put_properties(connection, place, images, sample)
    return notes


class _Place(NamedTuple):
    """A row and the sheet it stands in."""

    row: Row
    sheet: Statements
    written: Written


def _put_properties(connection: Connection, place: _Place, images: Sequence[int], sample: int | None) -> None:
    row = place.row
    steps: dict[int, int] = {}
    for step in row.steps:
        keys = {"sample_pk": _needed(sample, row, f"step {step.kind}"), "position": step.position}
        steps[step.position] = find_or_add(connection, tables.processing_step, keys | {"kind": step.kind})
    composed = any(entry.name == COMPOSITION for entry in row.properties)
    if composed and (sample, NO_STEP, COMPOSITION) not in place.written.values:
        _retire_elements(connection, place, _needed(sample, row, COMPOSITION))
    for position, entry in sample_entries(row):
        key = (sample, position, entry.name)
        if key in place.written.values:
            continue
        place.written.values.add(key)
        owner: dict[str, Any] = {"level": "sample"}
        owner["sample_pk"] = _needed(sample, row, f"property {entry.name}")
        if position:
            owner["processing_step_pk"] = steps[position]
        _put(connection, place, place.sheet.said(row, position, entry.name), owner)
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
    held = connection.execute(sa.select(s.material_pk).where(s.pk == sample)).scalar()
    if material is not None and held != material:
        connection.execute(tables.sample.update().where(s.pk == sample).values(material_pk=material))
        if held is not None:
            name = sa.select(tables.material.c.name).where(tables.material.c.pk == held)
            before = connection.execute(name).scalar_one()
            notes.append(f"sample {row.sample!r} is of material {row.material!r} now; it was of {before!r}")
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
        definition, unit = _definition(connection, place, entry)
        value: dict[str, Any] = {
            "property_def_pk": definition,
            **owner,
            "text": entry.text,
            **_in_unit(place.row, entry, unit),
            "method": entry.method,
            "source_name": place.sheet.source,
            **_more(entry),
        }
        key = hashlib.sha256(canonical_json(value).encode()).hexdigest()
        value.pop("repeat", None)
        values[key] = value | {"raw": stated.raw, "source_row": stated.row}
    _retire(connection, values)
    for key, value in values.items():
        held = connection.execute(sa.select(v.pk, v.retired_at).where(v.natural_key == key)).one_or_none()
        if held is not None:
            pk = held.pk
        else:
            more = {"natural_key": key, "origin": "user", "created_at": now()}
            pk = add(connection, tables.property_value, value | more)
        if held is not None and held.retired_at is not None:
            connection.execute(tables.property_value.update().where(v.pk == pk).values(retired_at=None))
        place.written.standing.add(pk)


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


def _definition(connection: Connection, place: _Place, entry: PropertyEntry) -> tuple[int, str | None]:
    row, kind = place.row, "text" if entry.text is not None else "number"
    if entry.name not in place.written.definitions:
        place.written.definitions[entry.name] = _defined(connection, row, entry, kind)
    pk, held, unit = place.written.definitions[entry.name]
    if held != kind:
        raise SheetError(
            f"{row.where}: {entry.name} is {kind} here and was {held} before; choose another name"
        )
    return pk, unit


def _defined(
    connection: Connection, row: Row, entry: PropertyEntry, kind: str
) -> tuple[int, str, str | None]:
    if entry.name in TAKEN:
        raise SheetError(
            f"{row.where}: {entry.name!r} is a column of db.images already; choose another name in the map"
        )
    d = tables.property_def.c
    pk = find_or_add(
        connection,
        tables.property_def,
        {"name": entry.name},
        {"kind": kind, "unit": entry.unit, "description": entry.description},
    )
    held = connection.execute(sa.select(d.kind, d.unit).where(d.pk == pk)).one()
    return pk, held.kind, held.unit


def _in_unit(row: Row, entry: PropertyEntry, unit: str | None) -> dict[str, float | None]:
    """Return value, standard deviation and interval in the unit of the property."""
    found: dict[str, float | None] = {"value": None, "sd": None}
    if entry.value is None:
        return found
    try:
        found["value"] = units.convert(entry.value, entry.unit, unit)
        if entry.sd is not None:
            # a standard deviation is a difference: the offset between degC and K must not enter
            found["sd"] = units.convert(entry.sd, entry.unit, unit) - units.convert(0.0, entry.unit, unit)
        for name, end in (("low", entry.low), ("high", entry.high)):
            if end is not None:
                found[name] = units.convert(end, entry.unit, unit)
    except UnitError as error:
        raise SheetError(f"{row.where}: {entry.name}: {error}") from error
    return found


def _more(entry: PropertyEntry) -> dict[str, Any]:
    """Return what few entries have; what is not said does not enter their identity."""
    conditions = {one.name: one.as_json() for one in entry.conditions}
    found = {"n": entry.n, "conditions": conditions or None, "repeat": entry.repeat or None}
    return {name: value for name, value in found.items() if value is not None}


def _needed(sample: int | None, row: Row, what: str) -> int:
    if sample is None:
        raise SheetError(f"{row.where}: {what} needs a sample, and the sample cell is empty; fill it")
    return sample
