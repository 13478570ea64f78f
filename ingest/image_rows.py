"""The rows of one micrograph: what its scan says, in columns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from micdb import units
from micdb.catalog import tables
from micdb.catalog.rows import Finder, add
from micdb.errors import UnitError
from micdb.ingest.arrival import Image, axes_json, geometry, pixel_size_columns, setting_json
from micdb.provenance import now
from micdb.records import SETTINGS, Quantity, Scan

m = tables.micrograph.c

# Settings that are also columns of micrograph, in the unit of the column.
COLUMNS = (
    "accelerating_voltage", "magnification", "working_distance", "dwell_time",
    "bias", "setpoint_current", "detector",
)  # fmt: skip


def columns(find: Finder, image: Image, lab: int | None) -> dict[str, Any]:
    """Return what a scan and its pixels say, as columns of ``micrograph``."""
    scan = image.scan
    settings, problems = normal_settings(scan)
    return {
        "instrument_pk": _instrument(find, scan, lab),
        "person_pk": _person(find, scan),
        "name": scan.name,
        "pixel_hash": image.pixel_hash,
        "modality": scan.modality,
        "channel": scan.channel,
        **_times(scan),
        "intensity_unit": scan.intensity_unit,
        "axes": axes_json(scan.axes),
        "settings": {name: setting_json(value) for name, value in scan.settings.items()},
        "problems": [*scan.problems, *problems],
        **geometry(scan),
        **settings,
        **image.statistics,
    }


def add_micrograph(connection: Connection, scan: Scan, facts: Mapping[str, Any]) -> int:
    """Insert a micrograph and its frames; return its key."""
    pk = add(connection, tables.micrograph, {**facts, "created_at": now()})
    _add_frames(connection, pk, scan)
    return pk


def refresh(connection: Connection, pk: int, scan: Scan, facts: Mapping[str, Any]) -> None:
    """Write anew what the file says of a micrograph; what a person said of it stays."""
    own = connection.execute(sa.select(m.pixel_size_origin, m.instrument_pk).where(m.pk == pk)).one()
    kept = set(geometry(scan)) & set(pixel_size_columns(1, 1, (1, 1), None))
    dropped = kept if own.pixel_size_origin == "user" else set()
    if facts["instrument_pk"] is None:
        dropped |= {"instrument_pk"}
    values = {name: value for name, value in facts.items() if name not in dropped}
    connection.execute(tables.micrograph.update().where(m.pk == pk).values(values))
    connection.execute(tables.frame.delete().where(tables.frame.c.micrograph_pk == pk))
    _add_frames(connection, pk, scan)


def _times(scan: Scan) -> dict[str, str | None]:
    moment = scan.acquired
    return {"acquired": moment, "acquired_raw": scan.acquired_raw, "acquired_zone": zone(moment)}


def zone(moment: str | None) -> str | None:
    """Return the zone of an ISO 8601 moment: ``UTC``, an offset like ``+02:00``, or ``unknown``."""
    if moment is None:
        return None
    found = re.search(r"T.*(Z|[+-]\d\d:\d\d)\Z", moment)
    if found is None:
        return "unknown"
    return "UTC" if found[1] in ("Z", "+00:00") else found[1]


def normal_settings(scan: Scan) -> tuple[dict[str, float | str], list[str]]:
    """Return the settings that are columns, in the column's unit, and what could not be converted."""
    values: dict[str, float | str] = {}
    problems: list[str] = []
    for name in COLUMNS:
        quantity = scan.settings.get(name)
        if quantity is None:
            continue
        if isinstance(quantity.value, str):
            if name == "detector":
                values[name] = quantity.value
            continue
        try:
            values[name] = quantity.to(SETTINGS[name])
        except UnitError as error:
            problems.append(f"{name}: {error}")
    return values, problems


def complete(connection: Connection, pk: int, scan: Scan) -> None:
    """Fill what the first source left unknown; what is known is never overwritten."""
    row = connection.execute(sa.select(tables.micrograph).where(m.pk == pk)).mappings().one()
    columns: dict[str, Any] = {
        "modality": scan.modality,
        "channel": scan.channel,
        **_times(scan),
        **normal_settings(scan)[0],
    }
    if row["pixel_size"] is None and row["reciprocal_pixel_size_x"] is None:
        columns |= geometry(scan)
        if any(axis.calibrated for axis in scan.axes):
            columns["axes"] = axes_json(scan.axes)
    missing = {
        name: value
        for name, value in columns.items()
        if value is not None and (row[name] is None or name == "axes")
    }
    added = {
        name: setting_json(value) for name, value in scan.settings.items() if name not in row["settings"]
    }
    if added:
        missing["settings"] = {**row["settings"], **added}
    if missing:
        connection.execute(tables.micrograph.update().where(m.pk == pk).values(missing))


def _add_frames(connection: Connection, pk: int, scan: Scan) -> None:
    if scan.n_frames < 2:
        return
    axes = scan.frame_axes
    time = axes[0] if len(axes) == 1 and axes[0].calibrated and units.compatible(axes[0].unit, "s") else None
    step = units.convert(time.step, time.unit, "s") if time and time.step is not None else None
    rows = [
        {"micrograph_pk": pk, "position": i, "time": None if step is None else i * step}
        for i in range(scan.n_frames)
    ]
    connection.execute(tables.frame.insert(), rows)


def _instrument(find: Finder, scan: Scan, lab: int | None) -> int | None:
    name, vendor = _text(scan.settings.get("instrument")), _text(scan.settings.get("vendor"))
    if not name and not vendor:
        return None
    keys = {"name": name or vendor, "vendor": vendor or "", "lab_pk": lab}
    return find(tables.instrument, keys)


def _person(find: Finder, scan: Scan) -> int | None:
    name = _text(scan.settings.get("operator"))
    return find(tables.person, {"name": name}) if name else None


def _text(quantity: Quantity | None) -> str | None:
    return str(quantity.value).strip() or None if quantity else None
