"""Samples and processing steps that a sheet names, found or added all at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from micdb.catalog import bulk, tables
from micdb.catalog.rows import Finder, id_list, text_list
from micdb.ingest.sheet import Row
from micdb.provenance import uuid7

Name = tuple[str | None, str | None]  # of the laboratory and of the sample


class Held(NamedTuple):
    """A sample that is here, and its material."""

    pk: int
    material: int | None


def place_samples(
    connection: Connection, rows: Iterable[Row], lab: str | None
) -> tuple[dict[Name, int], list[str]]:
    """Return the key of every sample that rows name, and what was said of one and changed it.

    Parameters
    ----------
    connection
        A write transaction.
    rows
        Rows of a sheet that gives no sample two materials.
    lab
        Laboratory of the rows that name none.
    """
    said: dict[Name, str | None] = {}
    for row in rows:
        name = (row.lab or lab, row.sample)
        said[name] = said.get(name) or row.material
    find = Finder(connection)
    homes = {home: find(tables.lab, {"name": home}) if home else None for home, _ in said}
    of = {one: find(tables.material, {"name": one}) if one else None for one in said.values()}
    wanted = {(sample, homes[home]): of[material] for (home, sample), material in said.items()}
    held = _samples(connection, wanted)
    fresh = [(uuid7(), *key, material) for key, material in wanted.items() if key not in held]
    if fresh:
        bulk.insert(connection, tables.sample, ["uid", "name", "lab_pk", "material_pk"], fresh)
        held = _samples(connection, wanted)
    notes = [
        note
        for (home, sample), material in said.items()
        for note in settle(connection, held[sample, homes[home]], of[material], (sample, material))
    ]
    return {(home, sample): held[sample, homes[home]].pk for home, sample in said}, notes


def _samples(connection: Connection, wanted: Iterable[tuple[str | None, int | None]]) -> dict[Any, Held]:
    s = tables.sample.c
    names = text_list(connection, {str(name) for name, _ in wanted})
    query = sa.select(s.pk, s.name, s.lab_pk, s.material_pk).where(s.name.in_(sa.select(names.c.value)))
    found = connection.execute(query.order_by(s.pk.desc()))
    return {(row.name, row.lab_pk): Held(row.pk, row.material_pk) for row in found}


def settle(
    connection: Connection, held: Held, material: int | None, names: tuple[str | None, str | None]
) -> list[str]:
    """Make a sample one of the material that a sheet names; say so where it was of another.

    Parameters
    ----------
    connection
        A write transaction.
    held
        The sample.
    material
        Key of the material; None where the sheet names none.
    names
        Of the sample and of the material.
    """
    if material is None or held.material == material:
        return []
    s, m = tables.sample.c, tables.material.c
    connection.execute(tables.sample.update().where(s.pk == held.pk).values(material_pk=material))
    if held.material is None:
        return []
    before = connection.execute(sa.select(m.name).where(m.pk == held.material)).scalar_one()
    return [f"sample {names[0]!r} is of material {names[1]!r} now; it was of {before!r}"]


def place_steps(
    connection: Connection, rows: Iterable[Row], samples: Mapping[Name, int], lab: str | None
) -> dict[tuple[int, int], int]:
    """Return the key of every processing step that rows name, by sample and position."""
    wanted = {
        (samples[row.lab or lab, row.sample], step.position): step.kind for row in rows for step in row.steps
    }
    if not wanted:
        return {}
    held = _steps(connection, wanted)
    fresh = [(uuid7(), *key, kind) for key, kind in wanted.items() if key not in held]
    if fresh:
        names = ["uid", "sample_pk", "position", "kind"]
        bulk.insert(connection, tables.processing_step, names, fresh)
        held = _steps(connection, wanted)
    return held


def _steps(connection: Connection, wanted: Mapping[tuple[int, int], str]) -> dict[tuple[int, int], int]:
    c = tables.processing_step.c
    listed = id_list(connection, {sample for sample, _ in wanted})
    query = sa.select(c.pk, c.sample_pk, c.position, c.kind).where(c.sample_pk.in_(sa.select(listed.c.id)))
    found = connection.execute(query.order_by(c.pk.desc()))
    return {
        (row.sample_pk, row.position): row.pk
        for row in found
        if wanted.get((row.sample_pk, row.position)) == row.kind
    }
