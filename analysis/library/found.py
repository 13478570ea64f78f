"""What detectors found and where they looked, as tables; what the catalog keeps as JSON only when asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Select

from micdb.catalog.engine import reading
from micdb.catalog.results import current_run, defect, model, rollup, run, run_item
from micdb.catalog.rows import id_list
from micdb.catalog.tables import lab, material, micrograph, sample

_D, _M = defect.c, micrograph.c


def defects(engine: Engine, images: Iterable[int] | None = None, *, every_run: bool = False) -> pd.DataFrame:
    """Return the rows of defects in images that are not deleted, whatever their state.

    Parameters
    ----------
    engine
        The catalog.
    images
        ``micrograph.pk``; None for all.
    every_run
        Those of older runs too, not of the current ones alone.

    Returns
    -------
    pandas.DataFrame
        One row each, by `pk`: ``pk``, ``uid``, ``run``, ``motif`` (its key), ``image`` (its key), ``frame``,
        ``kind``, ``formula``, ``key``, ``x_px``, ``y_px``, ``x_nm``, ``y_nm``, ``box``, ``score``, ``state``,
        ``replaces``; ``image_uid``, ``image_name``, ``pixel_size`` [nm], ``material``, ``lab``, ``sample``;
        ``detector``, ``version``.
    """
    columns = [
        _D.pk, _D.uid, _D.run_pk.label("run"), _D.defect_motif_pk.label("motif"),
        _D.micrograph_pk.label("image"), _D.frame, _D.kind, _D.formula, _D.key, _D.x_px, _D.y_px, _D.x_nm,
        _D.y_nm, _D.box, _D.score, _D.state, _D.replaces_pk.label("replaces"), _M.uid.label("image_uid"),
        _M.name.label("image_name"), _M.pixel_size, material.c.name.label("material"),
        lab.c.name.label("lab"), sample.c.name.label("sample"), model.c.name.label("detector"),
        model.c.version,
    ]  # fmt: skip
    query = (
        sa.select(*columns)
        .join(micrograph, _M.pk == _D.micrograph_pk)
        .join(run, run.c.pk == _D.run_pk)
        .join(model, model.c.pk == run.c.model_pk)
        .outerjoin(sample, sample.c.pk == _M.sample_pk)
        .outerjoin(material, material.c.pk == sample.c.material_pk)
        .outerjoin(lab, lab.c.pk == _M.lab_pk)
        .where(_M.deleted_at.is_(None))
        .order_by(_D.pk)
    )
    with reading(engine) as connection:
        chosen = _of_runs(_of_images(connection, query, _D.micrograph_pk, images), _D.run_pk, every_run)
        found = pd.DataFrame(connection.execute(chosen).all(), columns=[column.name for column in columns])
    return found.astype({"motif": "Int64", "replaces": "Int64"})


def looked_at(
    engine: Engine, images: Iterable[int] | None = None, *, every_run: bool = False
) -> pd.DataFrame:
    """Return where detectors of defects have looked.

    Parameters
    ----------
    engine, images, every_run
        As for `defects`.

    Returns
    -------
    pandas.DataFrame
        One row per run and image: ``run``, ``image``, ``detector``, ``version``, ``area_nm2``: what the
        detector says it looked at, else the whole image; missing where the scale is unknown [nm**2].
    """
    area = rollup.alias("area")
    counted = sa.exists().where(rollup.c.run_pk == run_item.c.run_pk, rollup.c.name == "n_defects")
    answered = sa.exists().where(_D.run_pk == run_item.c.run_pk)
    query = (
        sa.select(
            run_item.c.run_pk.label("run"),
            run_item.c.micrograph_pk.label("image"),
            model.c.name.label("detector"),
            model.c.version,
            sa.func.coalesce(area.c.value, _M.area * _M.n_frames).label("area_nm2"),
        )
        .join(micrograph, _M.pk == run_item.c.micrograph_pk)
        .join(run, run.c.pk == run_item.c.run_pk)
        .join(model, model.c.pk == run.c.model_pk)
        .outerjoin(
            area,
            sa.and_(
                area.c.run_pk == run_item.c.run_pk,
                area.c.micrograph_pk == run_item.c.micrograph_pk,
                area.c.name == "analysed_area",
            ),
        )
        .where(run_item.c.status == "done", _M.deleted_at.is_(None), sa.or_(counted, answered))
        .order_by(run_item.c.run_pk, run_item.c.micrograph_pk)
    )
    with reading(engine) as connection:
        chosen = _of_images(connection, query, run_item.c.micrograph_pk, images)
        rows = connection.execute(_of_runs(chosen, run_item.c.run_pk, every_run)).all()
    return pd.DataFrame(rows, columns=["run", "image", "detector", "version", "area_nm2"])


def details(engine: Engine, keys: Sequence[int]) -> pd.DataFrame:
    """Return ``descriptor``, ``structure`` and ``atoms`` of defects by ``defect.pk``, indexed by it."""
    with reading(engine) as connection:
        wanted = sa.select(id_list(connection, keys).c.id)
        query = sa.select(_D.pk, _D.descriptor, _D.structure, _D.atoms).where(_D.pk.in_(wanted))
        rows = connection.execute(query).all()
    table = pd.DataFrame(rows, columns=["pk", "descriptor", "structure", "atoms"]).set_index("pk")
    return table.loc[list(keys)]


def cards(engine: Engine, runs: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Return the model card of each run."""
    query = sa.select(run.c.pk, model.c.card).join(model, model.c.pk == run.c.model_pk)
    with reading(engine) as connection:
        wanted = sa.select(id_list(connection, runs).c.id)
        rows = connection.execute(query.where(run.c.pk.in_(wanted))).all()
    return {row.pk: row.card for row in rows}


def _of_images(
    connection: Connection, query: Select[Any], image: Any, images: Iterable[int] | None
) -> Select[Any]:
    if images is None:
        return query
    return query.where(image.in_(sa.select(id_list(connection, images).c.id)))


def _of_runs(query: Select[Any], column: Any, every_run: bool) -> Select[Any]:
    return query if every_run else query.where(column.in_(sa.select(current_run.c.run_pk)))
