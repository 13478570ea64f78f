"""The public columns of every frame: name, kind, unit, meaning and the SQL behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import Column, ColumnElement, Select
from sqlalchemy.types import Boolean, Float, Integer

from micdb.catalog import results as r
from micdb.catalog import tables as t
from micdb.populate.facts import FACTS
from micdb.query import dialect
from micdb.query.lookups import Lookup
from micdb.query.nodes import Kind
from micdb.query.schema import Field
from micdb.query.spatial.derived import DERIVED

PART_UNITS = {
    "nm": "nm",
    "nm2": "nm**2",
    "pm": "pm",
    "deg": "deg",
    "mrad": "mrad",
    "s": "s",
    "eV": "eV",
}  # by suffix
PARTS = {  # kept in Parquet, or computed from what is
    "atoms": "atom",
    "bonds": "bond",
    "embeddings": "embedding",
    "patches": "patch",
    "tracks": "track",
    "latents": "latent",
    "lattices": "lattice",
    "heights": "height",
    "tilts": "tilt",
    "phases": "phase",
    "interfaces": "interface",
    "regions": "region",
    "particles": "particle",
    "classes": "class",
    "masks": "mask",
    "spectra": "spectrum",
    "restorations": "restoration",
    "rings": "ring",
    "neighbours": "neighbour",
}
TIMES = frozenset({"acquired", "created_at", "started"})


@dataclass(frozen=True, slots=True)
class Source:
    """A table of the query language and where its rows come from.

    Parameters
    ----------
    name, singular
        ``images``, ``image``.
    fields
        Public columns in order.
    elements
        SQL of each column; empty for tables kept in Parquet parts.
    rows, lookups
        Where rows come from (None for tables kept in Parquet parts), and what their columns are looked up in.
    image, sample, run
        SQL of the micrograph, sample and run a row belongs to, where it has one.
    order
        SQL of the default order, unique for each row.
    where
        What every row must fulfil.
    alive
        What it must fulfil besides when nothing else checks that its micrograph is not deleted.
    tallies
        The columns that count rows of another table, as the statement that has each row of this one with any
        in one group: what a condition on the count can be asked of all at once.
    """

    name: str
    singular: str
    fields: tuple[Field, ...]
    elements: Mapping[str, ColumnElement[object]] = field(default_factory=dict)
    rows: sa.Table | None = None
    lookups: tuple[Lookup, ...] = ()
    image: ColumnElement[int] | None = None
    sample: ColumnElement[int] | None = None
    run: ColumnElement[int] | None = None
    order: tuple[ColumnElement[object], ...] = ()
    where: tuple[ColumnElement[bool], ...] = ()
    alive: tuple[ColumnElement[bool], ...] = ()
    tallies: Mapping[str, Select[int]] = field(default_factory=dict)


Derived = tuple[ColumnElement[object], Kind, str]


def _fields(home: str, elements: Mapping[str, Column[object] | Derived]) -> tuple[Field, ...]:
    """Return the columns of a table; what the catalog says of its own is not said again.

    Its units are spelled as micdb spells them, so that pint is not loaded for them.
    """
    found = []
    for name, element in elements.items():
        if isinstance(element, Column):
            unit = element.info.get("unit")
            physical = None if unit is None or unit.startswith(("pixel", "of its")) else unit
            found.append(Field(name, _kind(name, element), physical, home, str(element.comment)))
        else:
            found.append(Field(name, element[1], None, home, element[2]))
    return tuple(found)


def _sql(elements: Mapping[str, Column[object] | Derived]) -> dict[str, ColumnElement[object]]:
    return {name: found if isinstance(found, Column) else found[0] for name, found in elements.items()}


def _kind(name: str, element: Column[object]) -> Kind:
    if name in TIMES:
        return "time"
    if isinstance(element.type, Boolean):
        return "bool"
    if isinstance(element.type, Float):
        return "number"
    return "integer" if isinstance(element.type, Integer) else "text"


def _named(*columns: Column[object]) -> dict[str, Column[object]]:
    return {column.name: column for column in columns}


def _images() -> Source:
    m, first = t.micrograph, t.source.alias("first_source")
    first_source = sa.select(sa.func.min(first.c.pk)).where(first.c.micrograph_pk == m.c.pk).scalar_subquery()
    elements: dict[str, Column[object] | Derived] = {
        **_named(m.c.uid, m.c.name),
        "file": (t.source.c.file_name, "text", "name of the first file it came from"),
        "format": (t.source.c.format, "text", "format of that file: dm3, tif_fei, ..."),
        "lab": (t.lab.c.name, "text", "laboratory that took it"),
        "sample": (t.sample.c.name, "text", "specimen it shows"),
        "material": (t.material.c.name, "text", "what the sample is made of"),
        "instrument": (t.instrument.c.name, "text", "microscope as the file names it"),
        "vendor": (
            sa.func.nullif(t.instrument.c.vendor, "", type_=sa.String()),
            "text",
            "maker of the microscope",
        ),
        "operator": (t.person.c.name, "text", "who took it"),
        **_named(
            m.c.modality, m.c.channel, m.c.acquired, m.c.acquired_zone, m.c.height, m.c.width, m.c.n_frames,
            m.c.dtype, m.c.colour, m.c.pixel_size, m.c.pixel_size_x, m.c.pixel_size_y, m.c.pixel_size_origin,
            m.c.reciprocal_pixel_size_x, m.c.reciprocal_pixel_size_y, m.c.area, m.c.accelerating_voltage,
            m.c.magnification, m.c.working_distance, m.c.dwell_time, m.c.bias, m.c.setpoint_current,
            m.c.detector, m.c.intensity_unit, m.c.intensity_min, m.c.intensity_max, m.c.intensity_mean,
            m.c.intensity_sd,
        ),
        "licence": (sa.func.coalesce(m.c.licence, t.lab.c.licence), "text", "its own licence, or its lab's"),
        **_named(m.c.embargo_until, m.c.source, m.c.pixel_hash, m.c.created_at),
        "deferred": (
            sa.case((m.c.object_pk.is_(None), True), else_=False),
            "bool",
            "whether its pixels are still in the original file",
        ),
    }  # fmt: skip
    lookups = (
        Lookup(t.lab, t.lab.c.pk == m.c.lab_pk),
        Lookup(t.sample, t.sample.c.pk == m.c.sample_pk),
        Lookup(t.material, t.material.c.pk == t.sample.c.material_pk),
        Lookup(t.instrument, t.instrument.c.pk == m.c.instrument_pk),
        Lookup(t.person, t.person.c.pk == m.c.person_pk),
        Lookup(t.source, t.source.c.pk == first_source),
    )
    return Source(
        "images", "image", _fields("images", elements), _sql(elements), m, lookups,
        image=m.c.pk, sample=m.c.sample_pk, order=(m.c.uid,), where=(m.c.deleted_at.is_(None),),
    )  # fmt: skip


def _samples() -> Source:
    s, image = t.sample, t.micrograph.alias("shown")
    n_images, tally = _counted(image.c.sample_pk, s.c.pk, image.c.deleted_at.is_(None))
    elements: dict[str, Column[object] | Derived] = {
        **_named(s.c.uid, s.c.name),
        "lab": (t.lab.c.name, "text", "laboratory that made it"),
        "material": (t.material.c.name, "text", "what it is made of"),
        "formula": (t.material.c.formula, "text", "chemical formula of the material"),
        **_named(s.c.form, s.c.source),
        "n_images": (n_images, "integer", "number of micrographs that show it"),
    }
    lookups = (
        Lookup(t.lab, t.lab.c.pk == s.c.lab_pk),
        Lookup(t.material, t.material.c.pk == s.c.material_pk),
    )
    return Source(
        "samples", "sample", _fields("samples", elements), _sql(elements), s, lookups,
        sample=s.c.pk, order=(s.c.uid,), tallies={"n_images": tally},
    )  # fmt: skip


def _counted(
    belongs: ColumnElement[int], owner: Column[int], *where: ColumnElement[bool]
) -> tuple[ColumnElement[object], Select[int]]:
    """Return the number of rows that belong to one of another table, and the statement that groups them."""
    number = sa.select(sa.func.count()).where(belongs == owner, *where).scalar_subquery()
    return number, sa.select(belongs).where(belongs.is_not(None), *where).group_by(belongs)


def _properties() -> Source:
    v, d, m = t.property_value, t.property_def, t.micrograph
    elements: dict[str, Column[object] | Derived] = {
        "uid": v.c.uid,
        "property": (d.c.name, "text", "which property"),
        "level": v.c.level,
        "sample": (t.sample.c.name, "text", "sample it belongs to"),
        "image": (m.c.uid, "text", "uid of the image it belongs to"),
        "value": v.c.value,
        "unit": (d.c.unit, "text", "unit of value, sd, low and high"),
        **_named(v.c.text, v.c.sd, v.c.low, v.c.high, v.c.n, v.c.method, v.c.raw, v.c.origin),
        **_named(v.c.source_name, v.c.source_row, v.c.source, v.c.created_at),
    }
    lookups = (
        Lookup(d, d.c.pk == v.c.property_def_pk, outer=False),
        Lookup(t.sample, t.sample.c.pk == v.c.sample_pk),
        Lookup(m, m.c.pk == v.c.micrograph_pk),
    )
    return Source(
        "properties", "property", _fields("properties", elements), _sql(elements), v, lookups,
        order=(v.c.uid,), where=(v.c.retired_at.is_(None),), alive=(dialect.shown(v.c.micrograph_pk),),
    )  # fmt: skip


def _runs() -> Source:
    run, model = r.run, r.model
    current = sa.exists().where(r.current_run.c.run_pk == run.c.pk)
    elements: dict[str, Column[object] | Derived] = {
        "uid": run.c.uid,
        "analysis": (model.c.name, "text", "extractor name"),
        "version": (model.c.version, "text", "version of the method"),
        "current": (
            sa.type_coerce(current, Boolean()),
            "bool",
            "whether im.atoms, im.defects and so on mean this run",
        ),
        **{
            f"n_{status}": (_items(status), "integer", f"images {status}")
            for status in ("done", "refused", "failed", "pending")
        },
        **_named(run.c.device, run.c.actor, run.c.run_key, run.c.created_at),
    }
    lookups = (Lookup(model, model.c.pk == run.c.model_pk, outer=False),)
    return Source("runs", "run", _fields("runs", elements), _sql(elements), run, lookups, order=(run.c.uid,))


def _items(status: str) -> ColumnElement[object]:
    item = r.run_item.alias(f"item_{status}")
    return (
        sa.select(sa.func.count())
        .where(item.c.run_pk == r.run.c.pk, item.c.status == status)
        .scalar_subquery()
    )


def _defects() -> Source:
    table, motif = r.defect, r.defect_motif
    name = sa.select(motif.c.name).where(motif.c.pk == table.c.defect_motif_pk).scalar_subquery()
    received = t.micrograph.alias("received")
    source = sa.select(received.c.source).where(received.c.pk == table.c.micrograph_pk).scalar_subquery()
    skipped = {
        column.name for column in table.c if column.name.endswith("pk") or isinstance(column.type, sa.JSON)
    }
    owner = t.micrograph.alias("owner")
    elements: dict[str, Column[object] | Derived] = {
        "uid": table.c.uid,
        "image": (owner.c.uid, "text", "uid of the image it is in"),
        **{column.name: column for column in table.c if column.name not in skipped},
        "motif": (name, "text", "entry of the defect library"),
        "source": (source, "text", "database or bundle its image was received from"),
    }
    lookups = (Lookup(owner, owner.c.pk == table.c.micrograph_pk, outer=False),)
    return Source(
        "defects", "defect", _fields("defects", elements), _sql(elements), table, lookups,
        image=table.c.micrograph_pk, run=table.c.run_pk, order=(table.c.uid,),
        alive=(dialect.shown(table.c.micrograph_pk),),
        # What a person rejected is none; of what was corrected the new row counts.
        where=(table.c.state.in_(r.STANDING),),
    )  # fmt: skip


def part_fields(table: str, schema: pa.Schema) -> tuple[Field, ...]:
    """Return the columns of a table kept in Parquet parts; names end in their unit."""
    found = []
    for column in schema:
        if column.name == "image":  # the local key of a micrograph, which means nothing outside
            found.append(Field("image", "text", None, table, "uid of the image it is in"))
            continue
        if column.name == "run" or pa.types.is_nested(column.type):
            continue
        kind = arrow_kind(column.type)
        suffix = column.name.rpartition("_")[2]
        unit = PART_UNITS.get(suffix) if kind == "number" else None
        found.append(Field(column.name, kind, unit, table))
    return tuple(found)


def arrow_kind(type_: pa.DataType) -> Kind:
    """Return the kind that values of an Arrow type have in queries."""
    if pa.types.is_boolean(type_):
        return "bool"
    if pa.types.is_integer(type_):
        return "integer"
    return "number" if pa.types.is_floating(type_) else "text"


SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        _images(),
        _samples(),
        _properties(),
        _runs(),
        _defects(),
        *(
            Source(name, singular, part_fields(name, FACTS[name] if name in FACTS else DERIVED[name].schema))
            for name, singular in PARTS.items()
        ),
    )
}
CHILDREN = ("defects", *PARTS)  # of images
