"""What one searches by: a file, a stored image, a picture or a vector becomes vectors in named spaces."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from micdb import units
from micdb.catalog.engine import reading
from micdb.catalog.results import model, run, run_item
from micdb.catalog.tables import micrograph
from micdb.errors import NotFoundError, UsageError
from micdb.populate.extractor import Extraction, Extractor, extractors
from micdb.populate.facts import FACTS
from micdb.populate.pictures import load_pictures
from micdb.query.context import Context
from micdb.query.facts import parts
from micdb.query.search import patches, pgvector, vectors
from micdb.query.search.decode import PLACE
from micdb.query.search.vectors import Pins, Space
from micdb.records import Picture

Query = str | PathLike[str] | np.ndarray | Picture
Box = tuple[int, int, int, int]
WINDOW = (1.0, 1.0)


class Description(NamedTuple):
    """An example in one space.

    Parameters
    ----------
    vector
        ``(dim,)`` float32.
    extent
        How far its windows reach down and across, in sides of a window; `WINDOW` outside ``patches``.
    """

    vector: np.ndarray
    extent: tuple[float, float] = WINDOW


def describe(
    context: Context,
    query: Query,
    *,
    box: Box | None = None,
    by: str | None = None,
    pins: Pins | None = None,
    pixel_size: str | None = None,
    table: str = vectors.TABLE,
) -> dict[Space, Description]:
    """Return the vectors of a query image, by space.

    Parameters
    ----------
    context
        Surroundings of the query.
    query
        A microscope file, the ``uid`` of an image in the database, a picture, or a vector ``(dim,)``
        of the space that `by` names.
    box
        Part of the image to search by: x, y, width, height [pixel], from the top-left corner.
    by
        Name of an extractor or space; None for the run that was created first.
    pins
        Runs that stand for an analysis instead of its current one.
    pixel_size
        Of an example that does not say, with its unit: ``"0.2 um"``.
    table
        ``embeddings`` for vectors of images. With ``patches`` the image, or its box, is described by
        windows as stored images are, and the `centroid` of their vectors stands for it.

    Raises
    ------
    UsageError
        The box, the vector, the pixel size or `by` does not fit, or the extractor refuses the image.
    NotFoundError
        There is no such file.
    """
    if not isinstance(query, str | PathLike | np.ndarray | Picture):
        raise UsageError(
            f"one searches by a file, the uid of an image, a picture or an array, not {type(query).__name__}"
        )
    uid = None if isinstance(query, np.ndarray | Picture) else _uid(query)
    if uid is None and not isinstance(query, np.ndarray | Picture):
        query = _opened(context, Path(query))  # first: a file that is not there is the nearer mistake
    chosen = vectors.spaces(context, by, pins, table=table)
    if isinstance(query, np.ndarray):
        if box is not None or pixel_size is not None:
            raise UsageError("a vector has neither box nor pixel size: leave them out, or give the image")
        return _given(query, chosen, by)
    if uid is not None and box is None and pixel_size is None:
        return _stored(context, uid, chosen, table)
    return _extracted(context, _picture(context, query, box, pixel_size), chosen, table)


def facts(
    context: Context, query: Query, table: str, *, space: Space, box: Box | None, pixel_size: str | None
) -> pa.Table:
    """Return the rows of an example in another table that the run of a space fills; none for a vector.

    Parameters
    ----------
    context, query, box, pixel_size
        As for `describe`.
    table
        For example ``spectra``.
    space
        Of the run.

    Raises
    ------
    UsageError, NotFoundError
        As for `describe`.
    """
    if isinstance(query, np.ndarray):
        return FACTS[table].empty_table()
    uid = None if isinstance(query, Picture) else _uid(query)
    if uid is not None and box is None and pixel_size is None:
        image = np.array([_image(context, uid)[0]], np.int64)
        held = parts.holding(parts.find(context, table, [space.run]), image)
        if not held:
            return FACTS[table].empty_table()
        with parts.database(held) as duck:
            duck.register("wanted", pa.table({"image": image}))
            return duck.sql("SELECT * FROM facts SEMI JOIN wanted USING (image)").to_arrow_table()
    answer = _answered(context, _picture(context, query, box, pixel_size), space)
    return answer.tables.get(table, FACTS[table].empty_table())


def centroid(metric: str, rows: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Return the mean of vectors, ``(dim,)`` float64; of their directions in a space compared by cosine.

    Parameters
    ----------
    metric
        ``cosine`` or ``euclidean``.
    rows
        ``(n, dim)``, finite; zero vectors have no direction and are left out by cosine.
    """
    matrix = np.asarray(rows, np.float64)
    if metric == "cosine":
        lengths = np.linalg.norm(matrix, axis=1)
        matrix = matrix[lengths > 0] / lengths[lengths > 0, None]
        if not len(matrix):
            return np.zeros(np.shape(rows)[1])
    return np.asarray(matrix.mean(axis=0))


def scale(picture: Picture, pixel_size: str) -> Picture:
    """Return a picture of unknown scale with the pixel size a person states, for example ``"0.2 um"``.

    Raises
    ------
    UsageError
        It is no positive length, or the picture knows another pixel size.
    """
    nm = units.convert(*units.parse(pixel_size), "nm")
    if not 0 < nm < np.inf:
        raise UsageError(f"pixel_size is {pixel_size!r}; it must be above zero, for example '0.2 um'")
    if picture.pixel_size is not None and not np.allclose(picture.pixel_size, nm, rtol=1e-3):
        y, x = picture.pixel_size
        raise UsageError(
            f"{picture.name} says that its pixels are {x:g} x {y:g} nm and pixel_size says {pixel_size}: "
            "leave pixel_size out, or correct the file"
        )
    return replace(picture, pixel_size=picture.pixel_size or (nm, nm))


def crop(picture: Picture, box: Box) -> Picture:
    """Return a part of a picture.

    Parameters
    ----------
    picture
        The whole.
    box
        x, y, width, height [pixel], from the top-left corner.

    Raises
    ------
    UsageError
        The box is empty or reaches outside the image; the message gives the image's size.
    """
    height, width = picture.pixels.shape[-2:]
    try:
        x, y, across, down = (int(side) if int(side) == side else -1 for side in box)
    except (TypeError, ValueError):
        x = y = across = down = -1
    if min(x, y) < 0 or min(across, down) < 1 or x + across > width or y + down > height:
        shown = ",".join(map(str, box)) if isinstance(box, Sequence) else repr(box)
        raise UsageError(
            f"the box {shown} is not inside {picture.name}, which is {width} x {height} pixel; "
            "give whole numbers x,y,width,height counted from the top-left corner"
        )
    return replace(picture, pixels=picture.pixels[:, y : y + down, x : x + across])


def _given(vector: np.ndarray, chosen: Sequence[Space], by: str | None) -> dict[Space, Description]:
    names = ", ".join(space.name for space in chosen)
    if by is None or len(chosen) != 1:
        raise UsageError(
            f"a vector has no scale of its own: say which space it is in with by=; there are {names}"
        )
    if vector.shape != (chosen[0].dim,) or vector.dtype.kind not in "fiu" or not np.isfinite(vector).all():
        raise UsageError(
            f"the vector has shape {vector.shape} and type {vector.dtype}; "
            f"{names} needs {chosen[0].dim} finite numbers"
        )
    return {chosen[0]: Description(vector.astype(np.float32))}


def _picture(
    context: Context, query: str | PathLike[str] | Picture, box: Box | None, pixel_size: str | None
) -> Picture:
    """Return the picture of an example, or the part of it that a box marks."""
    if isinstance(query, Picture):
        picture = query
    elif (uid := _uid(query)) is not None:
        picture = next(load_pictures(context.engine, context.root, [_image(context, uid)[0]]))
    else:
        picture = _opened(context, Path(query))
    if pixel_size is not None:
        picture = scale(picture, pixel_size)
    return picture if box is None else crop(picture, box)


def _uid(query: str | PathLike[str]) -> str | None:
    try:
        return str(UUID(query)) if isinstance(query, str) else None
    except ValueError:
        return None


def _opened(context: Context, path: Path) -> Picture:
    if not path.exists():
        raise NotFoundError(
            f"no file {path}; search by a microscope file or by the uid of an image in the database"
        )
    return context.read_picture(path)


def _image(context: Context, uid: str) -> tuple[int, str]:
    statement = sa.select(micrograph.c.pk, micrograph.c.name).where(
        micrograph.c.uid == uid, micrograph.c.deleted_at.is_(None)
    )
    with reading(context.engine) as connection:
        row = connection.execute(statement).one_or_none()
    if row is None:
        raise UsageError(f"no image has the uid {uid}; they are in the column uid of db.images")
    return row.pk, row.name


def _stored(context: Context, uid: str, chosen: Sequence[Space], table: str) -> dict[Space, Description]:
    image, name = _image(context, uid)
    if table == patches.TABLE:
        windows = {space: patches.windows(context, space, image) for space in chosen}
        found = {space: _joint(space, *these) for space, these in windows.items() if len(these[0])}
    elif pgvector.chosen(context):
        vectors_of = {space: pgvector.load(context, space, np.array([image]))[1] for space in chosen}
        found = {space: Description(matrix[0]) for space, matrix in vectors_of.items() if len(matrix)}
    else:
        only = np.array([image], np.int64)
        held = [chosen[position] for position in vectors.coverage(context, chosen, only).spaces]
        found = {space: Description(vectors.load(context, space, only)[1][0]) for space in held}
    if not found:
        statement = sa.select(run_item.c.reason).where(
            run_item.c.run_pk == chosen[0].run, run_item.c.micrograph_pk == image
        )
        with reading(context.engine) as connection:
            reason = connection.execute(statement).scalar()
        names = ", ".join(space.name for space in chosen)
        raise UsageError(
            f"image {name} has no vector in {names}: "
            + (reason or f"compute it with: micdb populate {chosen[0].extractor}")
        )
    return found


def _extracted(
    context: Context, picture: Picture, chosen: Sequence[Space], table: str
) -> dict[Space, Description]:
    answer = _answered(context, picture, chosen[0])
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for one in answer.tables[table].to_pylist():
        rows.setdefault(one["space"], []).append(one)
    found: dict[Space, Description] = {}
    for space in chosen:
        these = rows.get(space.name, [])
        matrix = np.array([one["vector"] for one in these], np.float32)
        if these and table == patches.TABLE:
            places = np.array([[one[name] for name in PLACE] for one in these], np.int64)
            found[space] = _joint(space, places, matrix)
        elif these:
            found[space] = Description(matrix[0])
    if not found:
        raise UsageError(
            f"{picture.name} has vectors in {', '.join(rows) or 'no space'}, and the search is in "
            f"{', '.join(space.name for space in chosen)}: the scale asked for is one the image cannot give"
            + _needed(picture, chosen[0], _extractor(context, chosen[0].run).window)
        )
    return found


def _answered(context: Context, picture: Picture, space: Space) -> Extraction:
    """Return what the extractor of a space's run finds in a picture."""
    extractor = _extractor(context, space.run)
    answer = next(iter(extractor.extract([picture])))
    if not isinstance(answer, Extraction):
        raise UsageError(f"{extractor.card.name} cannot describe {picture.name}: {answer.reason}")
    return answer


def _joint(space: Space, places: np.ndarray, matrix: np.ndarray) -> Description:
    """Return windows as one; a single one as it is, so that the same place has the same vector."""
    first = places[places[:, 0] == places[0, 0]]
    across, down = (
        float((first[:, axis] + first[:, axis + 2]).max() - first[:, axis].min()) / first[0, axis + 2]
        for axis in (1, 2)
    )
    vector = matrix[0] if len(matrix) == 1 else centroid(space.metric, matrix).astype(np.float32)
    return Description(vector, (down, across))


def _extractor(context: Context, run_pk: int) -> Extractor:
    """Return the extractor of a run as it was when the run was made."""
    statement = (
        sa.select(model.c.name, model.c.version, model.c.card, run.c.parameters)
        .join(model, model.c.pk == run.c.model_pk)
        .where(run.c.pk == run_pk)
    )
    with reading(context.engine) as connection:
        row = connection.execute(statement).one()
    made = extractors().get(row.name)
    if made.card.version == row.version:  # else it may not know these parameters
        extractor = made(**row.parameters)
        if extractor.card.weights_hash == row.card.get("weights_hash"):
            return extractor
    raise UsageError(
        f"the stored vectors were made by {row.name} {row.version}, installed is {made.card.version}: "
        f"they cannot be compared; recompute them with: micdb populate {row.name}"
    )


def _needed(picture: Picture, space: Space, window: int | None) -> str:
    """Return how large a picture has to be for a window at the scale of a space; nothing where it is."""
    if window is None or space.nm_per_pixel is None or picture.pixel_size is None:
        return ""
    width_nm = window * space.nm_per_pixel
    height, width = (math.ceil(width_nm / pitch) for pitch in picture.pixel_size)
    if picture.pixels.shape[-2] >= height and picture.pixels.shape[-1] >= width:
        return ""
    return f"; a window there is {width_nm:g} nm wide: give at least {width} x {height} pixel"
