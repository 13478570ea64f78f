"""The rows of one file, written in the transaction that makes its objects live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from micdb import units
from micdb.catalog import tables
from micdb.catalog.rows import add, find_or_add, record
from micdb.errors import UnitError
from micdb.ingest.arrival import Arrival, Image, axes_json, geometry, setting_json
from micdb.provenance import now
from micdb.records import SETTINGS, Quantity, Scan

m = tables.micrograph.c

# Settings that are also columns of micrograph, in the unit of the column.
COLUMNS = (
    "accelerating_voltage", "magnification", "working_distance", "dwell_time",
    "bias", "setpoint_current", "detector",
)  # fmt: skip


def find_twins(connection: Connection, arrival: Arrival) -> dict[int, int]:
    """Return the stored micrograph of each image that is already here under another file, by index.

    Blank images carry no identity, and two channels of one file are two images even when equal.
    """
    twins: dict[int, int] = {}
    for index, image in enumerate(arrival.images):
        if image.blank:
            continue
        twin = connection.execute(
            sa.select(m.pk)
            .where(m.pixel_hash == image.pixel_hash, m.deleted_at.is_(None))
            .where(m.pk.not_in(list(twins.values())))
            .order_by(m.pk)
            .limit(1)
        ).scalar()
        if twin is not None:
            twins[index] = twin
    return twins


def known_images(connection: Connection, sha256: str) -> list[int]:
    """Return the micrographs that a file with those bytes became, in the file's order."""
    s = tables.source.c
    query = sa.select(s.micrograph_pk).where(s.sha256 == sha256).order_by(s.position)
    return list(connection.execute(query).scalars())


def commit_arrival(
    connection: Connection,
    arrival: Arrival,
    *,
    objects: Mapping[str, int],
    twins: Mapping[int, int],
    lab: int | None,
) -> list[int]:
    """Write every row of one file; return its micrographs in the file's order.

    Parameters
    ----------
    connection
        The write transaction that makes the objects live.
    arrival
        The file.
    objects
        Key of each published object by its hash.
    twins
        Micrographs that hold an image's pixels already.
    lab
        Laboratory the file came from.
    """
    images: list[int] = []
    acquisition: int | None = None
    for index, image in enumerate(arrival.images):
        if index in twins:
            pk = twins[index]
            _complete(connection, pk, image.scan)
        else:
            if acquisition is None:
                keys = {"source_sha256": arrival.sha256}
                started = {"started": image.scan.acquired}
                acquisition = find_or_add(connection, tables.acquisition, keys, started)
            facts = {"acquisition_pk": acquisition, "lab_pk": lab}
            facts["object_pk"] = objects[arrival.staged[index].sha256]
            pk = _add_micrograph(connection, image, facts)
        _add_source(connection, arrival, index, pk, keep_original=index in twins)
        images.append(pk)
    record(
        connection,
        "ingest",
        "micrograph",
        detail={"file": arrival.path.name, "sha256": arrival.sha256, "images": len(images)},
    )
    return images


def _add_micrograph(connection: Connection, image: Image, facts: Mapping[str, Any]) -> int:
    scan = image.scan
    settings, problems = normal_settings(scan)
    pk = add(
        connection,
        tables.micrograph,
        {
            **facts,
            "instrument_pk": _instrument(connection, scan, facts["lab_pk"]),
            "person_pk": _person(connection, scan),
            "name": scan.name,
            "pixel_hash": image.pixel_hash,
            "modality": scan.modality,
            "channel": scan.channel,
            "acquired": scan.acquired,
            "acquired_raw": scan.acquired_raw,
            "intensity_unit": scan.intensity_unit,
            "axes": axes_json(scan.axes),
            "settings": {name: setting_json(value) for name, value in scan.settings.items()},
            "problems": [*scan.problems, *problems],
            "created_at": now(),
            **geometry(scan),
            **settings,
            **image.statistics,
        },
    )
    _add_frames(connection, pk, scan)
    return pk


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


def _complete(connection: Connection, pk: int, scan: Scan) -> None:
    """Fill what the first source left unknown; what is known is never overwritten."""
    row = connection.execute(sa.select(tables.micrograph).where(m.pk == pk)).mappings().one()
    columns: dict[str, Any] = {
        "modality": scan.modality,
        "channel": scan.channel,
        "acquired": scan.acquired,
        "acquired_raw": scan.acquired_raw,
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


def _add_source(
    connection: Connection, arrival: Arrival, index: int, pk: int, *, keep_original: bool
) -> None:
    scan = arrival.images[index].scan
    add(
        connection,
        tables.source,
        {
            "micrograph_pk": pk,
            "sha256": arrival.sha256,
            "position": index,
            "file_name": arrival.path.name,
            "path": str(arrival.path.resolve()),
            "size": arrival.state[0],
            "format": scan.source.format,
            "reader": scan.source.reader,
            "reader_version": scan.source.reader_version,
            "original": dict(scan.original) if keep_original else None,
            "ingested_at": now(),
        },
    )


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


def _instrument(connection: Connection, scan: Scan, lab: int | None) -> int | None:
    name, vendor = _text(scan.settings.get("instrument")), _text(scan.settings.get("vendor"))
    if not name and not vendor:
        return None
    keys = {"name": name or vendor, "vendor": vendor or "", "lab_pk": lab}
    return find_or_add(connection, tables.instrument, keys)


def _person(connection: Connection, scan: Scan) -> int | None:
    name = _text(scan.settings.get("operator"))
    return find_or_add(connection, tables.person, {"name": name}) if name else None


def _text(quantity: Quantity | None) -> str | None:
    return str(quantity.value).strip() or None if quantity else None
