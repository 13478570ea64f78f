"""What stands behind cited rows: images, runs with their cards, labs, people, and when it was true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from micdb.bundle.citation.whom import Creator, Known
from micdb.catalog import results as r
from micdb.catalog import tables as t
from micdb.catalog.engine import reading
from micdb.catalog.rows import MEMBERS, id_list, last_event, text_list
from micdb.catalog.sqlite import PRESENT
from micdb.errors import UsageError
from micdb.exchange.terms import withheld

SHOWN = 10  # refused images that a message names


@dataclass(frozen=True, slots=True)
class Moment:
    """When the rows were true.

    Parameters
    ----------
    event
        Number of the last event the catalog contained, and when that was; 0 and None before any.
    snapshot
        Name of the snapshot that was asked; None for the catalog as it is.
    members
        Of a federation: number and time of the last event of each member, by its name.
    """

    event: int
    at: str | None
    snapshot: str | None
    members: Mapping[str, tuple[int, str | None]] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The moment in words."""
        if self.members:
            return "; ".join(f"{name} at {_stood(*last)}" for name, last in self.members.items())
        stood = _stood(self.event, self.at)
        return f"snapshot {self.snapshot}, {stood}" if self.snapshot else stood


@dataclass(frozen=True, slots=True)
class Evidence:
    """What stands behind cited rows.

    Parameters
    ----------
    moment
        When they were true.
    images
        The images, one mapping each, in row order: ``uid``, ``name``, ``lab``, ``licence``, ``sha256``, ...
    runs
        The runs whose rows gave the columns: model, card, parameters, software, what became of these images.
    properties
        Values of each property by name: number of them, unit, methods, sheets they are from.
    known
        Labs and operators.
    """

    moment: Moment
    images: tuple[Mapping[str, Any], ...]
    runs: tuple[Mapping[str, Any], ...]
    properties: Mapping[str, Mapping[str, Any]]
    known: Known


def gather(
    engine: Engine, *, images: Sequence[int], runs: Sequence[int], properties: Sequence[str]
) -> Evidence:
    """Return what stands behind rows.

    Parameters
    ----------
    engine
        The catalog, or a snapshot of it.
    images, runs
        Local keys.
    properties
        Names of the properties that were spoken of.

    Raises
    ------
    UsageError
        An image may not leave the database: it is under embargo, or its licence forbids it.
    """
    with reading(engine) as connection:
        _refuse(connection, images)
        found = _images(connection, images)
        made = tuple(_run(connection, row, images) for row in _runs(connection, runs))
        return Evidence(
            _moment(connection, engine), found, made,
            {name: _values(connection, name) for name in properties}, _known(connection, images, found),
        )  # fmt: skip


def _refuse(connection: Connection, images: Sequence[int]) -> None:
    kept = withheld(connection, images)
    if not kept:
        return
    wanted = sa.select(id_list(connection, list(kept)).c.id)
    query = sa.select(t.micrograph.c.pk, t.micrograph.c.name).where(t.micrograph.c.pk.in_(wanted))
    names = {row.pk: row.name for row in connection.execute(query.order_by(t.micrograph.c.uid))}
    shown = "; ".join(f"{name!r} is {kept[pk]}" if kept[pk].startswith("under") else f"{name!r}: {kept[pk]}"
                      for pk, name in list(names.items())[:SHOWN])  # fmt: skip
    more = f"; and {len(names) - SHOWN} more" if names and len(names) > SHOWN else ""
    raise UsageError(
        f"{len(kept)} of {len(images)} images may not leave the database: {shown}{more}; "
        "leave them out of the query, or change their terms"
    )


def _images(connection: Connection, images: Sequence[int]) -> tuple[Mapping[str, Any], ...]:
    m, first = t.micrograph.c, t.source.alias("first")
    number = sa.select(sa.func.min(first.c.pk)).where(first.c.micrograph_pk == m.pk).scalar_subquery()
    tables = (
        t.micrograph.outerjoin(t.lab, t.lab.c.pk == m.lab_pk)
        .outerjoin(t.sample, t.sample.c.pk == m.sample_pk)
        .outerjoin(t.material, t.material.c.pk == t.sample.c.material_pk)
        .outerjoin(t.instrument, t.instrument.c.pk == m.instrument_pk)
        .outerjoin(t.person, t.person.c.pk == m.person_pk)
        .outerjoin(t.source, t.source.c.pk == number)
    )
    query = sa.select(
        m.pk, m.uid, m.name, t.source.c.file_name, t.source.c.format, t.source.c.sha256, m.pixel_hash,
        t.lab.c.name.label("lab"), t.sample.c.name.label("sample"), t.material.c.name.label("material"),
        t.instrument.c.name.label("instrument"), t.instrument.c.vendor, t.person.c.name.label("operator"),
        m.source.label("received_from"), m.modality, m.acquired, m.pixel_size.label("pixel_size_nm"),
        sa.func.coalesce(m.licence, t.lab.c.licence).label("licence"),
    ).select_from(tables)  # fmt: skip
    wanted = query.where(m.pk.in_(sa.select(id_list(connection, images).c.id)))
    rows = {row["pk"]: dict(row) for row in connection.execute(wanted).mappings()}
    return tuple({name: value for name, value in rows[pk].items() if name != "pk"} for pk in images)


def _runs(connection: Connection, runs: Sequence[int]) -> Sequence[Any]:
    query = sa.select(
        r.run.c.pk, r.run.c.uid, r.run.c.run_key, r.run.c.parameters, r.run.c.software, r.run.c.device,
        r.run.c.created_at, r.run.c.actor, r.model.c.name, r.model.c.version, r.model.c.model_hash,
        r.model.c.card,
    ).join(r.model, r.model.c.pk == r.run.c.model_pk)  # fmt: skip
    wanted = query.where(r.run.c.pk.in_(sa.select(id_list(connection, runs).c.id)))
    return connection.execute(wanted.order_by(r.model.c.name, r.run.c.uid)).mappings().all()


def _run(connection: Connection, row: Mapping[str, Any], images: Sequence[int]) -> Mapping[str, Any]:
    item = r.run_item.c
    query = sa.select(item.status, item.reason).where(item.run_pk == row["pk"])
    mine = item.micrograph_pk.in_(sa.select(id_list(connection, images).c.id))
    states = connection.execute(query.where(mine)).all()
    return {
        **{name: value for name, value in row.items() if name != "pk"},
        "weights_hash": (row["card"] or {}).get("weights_hash"),
        "images": dict(sorted(Counter(state.status for state in states).items())),
        "refusals": dict(
            Counter(state.reason for state in states if state.status == "refused").most_common()
        ),
    }


def _values(connection: Connection, name: str) -> Mapping[str, Any]:
    """Return how a property is known, over the whole catalog."""
    v, d = t.property_value.c, t.property_def.c
    query = sa.select(d.unit, v.method, v.source_name, sa.func.count().label("n")).join(
        t.property_def, d.pk == v.property_def_pk
    )
    grouped = query.where(d.name == name, v.retired_at.is_(None)).group_by(d.unit, v.method, v.source_name)
    rows = connection.execute(grouped).all()
    return {
        "unit": rows[0].unit if rows else None,
        "n": sum(row.n for row in rows),
        "methods": sorted({row.method for row in rows if row.method}),
        "sheets": sorted({Path(row.source_name).name for row in rows}),
    }


def _moment(connection: Connection, engine: Engine) -> Moment:
    members = connection.scalar(sa.select(t.setting.c.value).where(t.setting.c.name == MEMBERS)) or {}
    frozen = PRESENT in engine.get_execution_options()
    name = Path(str(engine.url.database)).stem if frozen else None
    return Moment(*last_event(connection), name, members)


def _stood(event: int, at: str | None) -> str:
    return f"event {event} ({(at or 'before any')[:19]})"


def _known(connection: Connection, images: Sequence[int], found: Sequence[Mapping[str, Any]]) -> Known:
    labs = sorted({image["lab"] for image in found if image["lab"]})
    if not images:  # rows of samples or properties: whoever they are of
        labs = list(connection.execute(sa.select(t.lab.c.name).order_by(t.lab.c.name)).scalars())
    names = sorted({image["operator"] for image in found if image["operator"]})
    wanted = sa.select(text_list(connection, names).c.value)
    query = sa.select(t.person.c.name, t.person.c.orcid).where(t.person.c.name.in_(wanted))
    orcids = {row.name: row.orcid for row in connection.execute(query)}
    return Known(tuple(labs), tuple(Creator(name, orcids.get(name)) for name in names))
