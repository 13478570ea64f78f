"""Vectors of images: which spaces there are, who has a vector in them, and the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from micdb.catalog.engine import reading
from micdb.catalog.results import current_run, embedding_space, part
from micdb.errors import StoreError, UsageError, suggestion
from micdb.query.context import Context
from micdb.query.facts import parts

BLOCK = 1 << 26  # [byte] of vectors held in memory at a time
TABLE = "embeddings"
Pins = Mapping[str, int]  # analysis -> pk of the run that stands for it


@dataclass(frozen=True, slots=True)
class Space:
    """A space of vectors that a run fills.

    Parameters
    ----------
    run
        ``pk`` of the run.
    extractor
        Name of the extractor the run belongs to.
    name
        ``texture@256nm``: only vectors of one space are compared.
    dim
        Length of its vectors.
    nm_per_pixel
        Scale its images were resampled to [nm]; None for an unscaled space.
    metric
        ``cosine`` or ``euclidean``.
    """

    run: int
    extractor: str
    name: str
    dim: int
    nm_per_pixel: float | None
    metric: str

    @property
    def fineness(self) -> tuple[float, str]:
        """Sort key: finest scale first, unscaled spaces last."""
        return (np.inf if self.nm_per_pixel is None else self.nm_per_pixel, self.name)


class Coverage(NamedTuple):
    """Who has a vector where.

    Parameters
    ----------
    images
        ``pk`` of micrographs, ``(n,)`` int64.
    spaces
        Index into the spaces asked for, ``(n,)`` int64.
    """

    images: np.ndarray
    spaces: np.ndarray


class Block(NamedTuple):
    """Some vectors of one space.

    Parameters
    ----------
    positions
        Index into the images asked for, ``(n,)`` int64.
    matrix
        ``(n, dim)`` float32.
    """

    positions: np.ndarray
    matrix: np.ndarray


def spaces(
    context: Context, by: str | None, pins: Pins | None = None, *, table: str = TABLE
) -> tuple[Space, ...]:
    """Return the spaces of one run, finest first.

    Parameters
    ----------
    context
        Surroundings of the query.
    by
        Name of an extractor (all its spaces) or of one space; None for the run that was created
        first.
    pins
        Runs that stand for an analysis instead of its current one.
    table
        ``embeddings`` for vectors of images, ``patches`` for those of places in them.

    Raises
    ------
    UsageError
        Nothing fills vectors yet, or nothing of that name does.
    """
    known = _known(context, pins or {}, table)
    if not known:
        what, name = ("patches", "texture-patches") if table == "patches" else ("a vector", "texture")
        raise UsageError(f"no image has {what} to compare yet; compute them with: micdb populate {name}")
    if by is None:
        by = min(known, key=lambda space: space.run).extractor
    chosen = [space for space in known if by in (space.name, space.extractor)]
    if not chosen:
        names = {space.name for space in known} | {space.extractor for space in known}
        raise UsageError(f"no vectors are called {by!r}{suggestion(by, names)}")
    return tuple(sorted(chosen, key=lambda space: space.fineness))


def all_spaces(context: Context, table: str = TABLE) -> tuple[Space, ...]:
    """Return the spaces that the current runs of all extractors fill, by run, finest first."""
    known = _known(context, {}, table)
    return tuple(sorted(known, key=lambda space: (space.run, space.fineness)))


def coverage(context: Context, chosen: Sequence[Space], images: np.ndarray) -> Coverage:
    """Return which of the images have a vector in which of the spaces of one run.

    Parameters
    ----------
    context
        Surroundings of the query.
    chosen
        Spaces of one run.
    images
        ``pk`` of micrographs, ``(n,)`` int64.
    """
    wanted = np.unique(images)
    held = parts.holding(parts.find(context, TABLE, [chosen[0].run]), wanted)
    if not held:
        return Coverage(np.empty(0, np.int64), np.empty(0, np.int64))
    with parts.database(held) as duck:
        duck.register("wanted", pa.table({"image": wanted}))
        names = [space.name for space in chosen]
        duck.register("names", pa.table({"space": names, "position": np.arange(len(names))}))
        found = duck.sql(
            "SELECT image, position FROM facts SEMI JOIN wanted USING (image) JOIN names USING (space) "
            "ORDER BY image, position"
        ).to_arrow_table()
    return Coverage(found["image"].to_numpy(), found["position"].to_numpy())


def best_space(context: Context, by: str | None, images: np.ndarray, *, pins: Pins | None = None) -> Space:
    """Return the scaled space in which most of the images have a vector, an unscaled one if there is none.

    Equal counts go to the finest scale, then to the first name: the same images give the same space
    on every machine. An unscaled space, where magnification would pass for structure, is taken only
    when `by` names it or no image has a scale.

    Parameters
    ----------
    context, by, pins
        As for `spaces`.
    images
        ``pk`` of micrographs, ``(n,)`` int64.

    Raises
    ------
    UsageError
        Nothing of that name fills vectors.
    """
    chosen = spaces(context, by, pins)
    counts = np.bincount(coverage(context, chosen, images).spaces, minlength=len(chosen))
    scaled = np.array([space.nm_per_pixel is not None for space in chosen])
    if counts[scaled].any():
        counts[~scaled] = 0
    return chosen[int(np.argmax(counts))]  # the first of equals: `spaces` sorts finest first


def load(context: Context, space: Space, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors of images in one space.

    Parameters
    ----------
    context
        Surroundings of the query.
    space
        As `spaces` or `best_space` return it.
    images
        ``pk`` of micrographs, distinct, ``(n,)`` int64.

    Returns
    -------
    tuple[numpy.ndarray, numpy.ndarray]
        The images that have a vector, in the order given, ``(m,)`` int64, and their vectors,
        ``(m, dim)`` float32.

    Raises
    ------
    StoreError
        A part is missing or damaged, or a vector has another length than its space.
    """
    matrix = np.zeros((len(images), space.dim), np.float32)
    has = np.zeros(len(images), bool)
    for positions, block in blocks(context, space, images):
        matrix[positions] = block
        has[positions] = True
    return images[has], (matrix if has.all() else matrix[has])


def blocks(context: Context, space: Space, images: np.ndarray) -> Iterator[Block]:
    """Yield the vectors of images in one space, at most about `BLOCK` bytes at a time.

    Parameters
    ----------
    context, space, images
        As for `load`.
    """
    order = np.argsort(images, kind="stable")
    found = parts.find(context, TABLE, [space.run])
    step = max(1, BLOCK // (4 * space.dim))
    for start in range(0, len(order), step):
        chosen = order[start : start + step]
        held = parts.holding(found, images[chosen])
        if held:
            yield _read(held, space, images=images[chosen], positions=chosen)


def _read(held: Sequence[parts.Part], space: Space, *, images: np.ndarray, positions: np.ndarray) -> Block:
    with parts.database(held) as duck:
        duck.register("wanted", pa.table({"image": images, "position": positions}))
        duck.register("names", pa.table({"space": [space.name]}))
        found = duck.sql(
            "SELECT position, vector FROM facts JOIN wanted USING (image) SEMI JOIN names USING (space)"
        ).to_arrow_table()
    lists = found["vector"].combine_chunks()
    flat = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    if len(flat) != len(found) * space.dim:
        raise StoreError(
            f"a vector in {space.name} has not the {space.dim} numbers its space declares; "
            "look for the damage with: micdb fsck --deep"
        )
    return Block(found["position"].to_numpy(), flat.reshape(-1, space.dim))


# Asked in every search: building them costs more than their answers.
_CURRENT = sa.select(current_run.c.analysis, current_run.c.run_pk)
_RUNS: sa.BindParameter[int] = sa.bindparam("runs", expanding=True)
_FILLED = sa.select(part.c.run_pk, part.c.table_name).where(part.c.run_pk.in_(_RUNS)).distinct()
_SPACES = sa.select(
    embedding_space.c.run_pk,
    embedding_space.c.name,
    embedding_space.c.dim,
    embedding_space.c.nm_per_pixel,
    embedding_space.c.metric,
).where(embedding_space.c.run_pk.in_(_RUNS))


def _known(context: Context, pins: Pins, table: str) -> list[Space]:
    """Return the spaces whose run fills a table; a run that has filled nothing yet will fill `TABLE`."""
    with reading(context.engine) as connection:
        current = connection.execute(_CURRENT).all()
        meant = {**{row.analysis: row.run_pk for row in current}, **pins}
        names = {run: analysis for analysis, run in meant.items()}
        filled = {tuple(row) for row in connection.execute(_FILLED, {"runs": list(names)})}
        patchy = {run for run in names if (run, "patches") in filled and (run, TABLE) not in filled}
        fits = {run for run in names if (run, table) in filled} if table != TABLE else set(names) - patchy
        names = {run: name for run, name in names.items() if run in fits}
        found = connection.execute(_SPACES, {"runs": list(names)})
        return [Space(run, names[run], *rest) for run, *rest in found]
