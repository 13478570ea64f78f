"""Rows of defects as corrections see them: looked up, marked, copied with a change.

Callers hold the transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from micdb.catalog.results import STANDING, current_run, defect, model, rollup, run, run_item
from micdb.catalog.rows import text_list
from micdb.catalog.tables import micrograph
from micdb.errors import UsageError, suggestion
from micdb.provenance import uuid7

Found = Row[Any]
_SAID = {"rejected": "was rejected", "replaced": "was replaced by a correction", "undone": "was undone"}


def standing(connection: Connection, uids: list[str]) -> list[Found]:
    """Return the rows that corrections speak of, each with what is known of its image."""
    listed = text_list(connection, uids)
    m = micrograph.c
    query = (
        sa.select(defect, m.height, m.width, m.pixel_size_x, m.pixel_size_y, m.name)
        .join(micrograph, m.pk == defect.c.micrograph_pk)
        .where(defect.c.uid.in_(sa.select(listed.c.value)))
    )
    found = {row.uid: row for row in connection.execute(query)}
    for uid in uids:
        if uid not in found:
            raise UsageError(f"there is no defect {uid!r}: db.defects has the uids")
        if found[uid].state not in STANDING:
            raise UsageError(
                f"defect {uid} {_SAID[found[uid].state]}: correct the row that stands, or undo what was said "
                "of it; db.corrections.history(uid) tells"
            )
    return [found[uid] for uid in dict.fromkeys(uids)]


def set_state(connection: Connection, uid: str, state: str) -> None:
    """Change the state of a defect."""
    connection.execute(defect.update().where(defect.c.uid == uid).values(state=state))


def copied(row: Found, **changed: Any) -> dict[str, Any]:
    """Return the values of a new row that replaces one, with a change."""
    own = {column.name: getattr(row, column.name) for column in defect.c if column.name not in ("pk", "uid")}
    # How sure the detector was of what it said is not how sure anyone is of what a person says.
    return {**own, "uid": uuid7(), "state": "accepted", "score": None, "replaces_pk": row.pk, **changed}


def place(row: Found, x_px: float, y_px: float) -> dict[str, float | None]:
    """Return a position in pixels and, where the scale is known, in nm.

    Raises
    ------
    UsageError
        It is outside the image.
    """
    if not (-0.5 <= x_px < row.width - 0.5 and -0.5 <= y_px < row.height - 0.5):
        raise UsageError(
            f"({x_px:g}, {y_px:g}) is outside {row.name}, which has {row.width} x {row.height} pixels; "
            "positions count from the centre of the top-left one"
        )
    size = {"x": row.pixel_size_x, "y": row.pixel_size_y}
    centre = {"x": float(x_px), "y": float(y_px)}
    scaled = {f"{axis}_nm": None if size[axis] is None else at * size[axis] for axis, at in centre.items()}
    return {**{f"{axis}_px": at for axis, at in centre.items()}, **scaled}


def carried(row: Found, place: Mapping[str, float | None]) -> dict[str, Any]:
    """Return box and structure of a moved defect: the box goes with it, the atoms around it stay."""
    carried: dict[str, Any] = {}
    if row.box is not None:
        by_x, by_y = (place["x_px"] or 0.0) - row.x_px, (place["y_px"] or 0.0) - row.y_px
        carried["box"] = [row.box[0] + by_x, row.box[1] + by_y, *row.box[2:]]
    if row.structure is not None and row.x_nm is not None:
        x, y = (place["x_nm"] or 0.0) - row.x_nm, (place["y_nm"] or 0.0) - row.y_nm
        carried["structure"] = [
            {**site, "x_nm": site["x_nm"] - x, "y_nm": site["y_nm"] - y} for site in row.structure
        ]
    return carried


def picture_of(connection: Connection, uid: str) -> Found:
    """Return what is known of a micrograph.

    Raises
    ------
    UsageError
        There is none of that uid.
    """
    m = micrograph.c
    names = ("pk", "name", "n_frames", "height", "width", "pixel_size_x", "pixel_size_y")
    wanted = [m[name] for name in names]
    row = connection.execute(sa.select(*wanted).where(m.uid == uid, m.deleted_at.is_(None))).first()
    if row is None:
        raise UsageError(f"no image has the uid {uid!r}: db.images has them")
    return row


def missed_by(connection: Connection, picture: Found, detector: str | None) -> int:
    """Return the current run that looked for defects in an image and missed one.

    Raises
    ------
    UsageError
        The detector has not looked there; or none is named, and none or several have.
    """
    counted = sa.exists().where(rollup.c.run_pk == run.c.pk, rollup.c.name == "n_defects")
    query = (
        sa.select(model.c.name, run.c.pk)
        .join(run, run.c.model_pk == model.c.pk)
        .join(current_run, current_run.c.run_pk == run.c.pk)
        .join(run_item, run_item.c.run_pk == run.c.pk)
        .where(run_item.c.micrograph_pk == picture.pk, run_item.c.status == "done")
        .where(sa.or_(counted, sa.exists().where(defect.c.run_pk == run.c.pk)))
    )
    looked = {row.name: int(row.pk) for row in connection.execute(query)}
    if detector is None and len(looked) == 1:
        return next(iter(looked.values()))
    if detector in looked:
        return looked[detector]
    if detector is None:
        found = f"these have looked: {', '.join(sorted(looked))}" if looked else "none has looked at it"
        raise UsageError(f"which detector missed a defect in {picture.name}? {found}; name it with detector=")
    raise UsageError(
        f"{detector} has not looked for defects in {picture.name}{suggestion(detector, looked)}; "
        f"run: micdb populate {detector}"
    )
