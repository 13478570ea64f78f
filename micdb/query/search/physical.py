"""Likeness in nanometres: the best by pattern, ranked again by how their power is spread over 1/nm.

Patterns are compared whatever their size; spectra (the table ``spectra``) then tell sizes apart. Only bands
that both images know are compared, so there is no common length of vectors, and no index.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from micdb.errors import UsageError
from micdb.query.context import Context
from micdb.query.facts import parts
from micdb.query.search import example, similar, vectors
from micdb.query.search.examples import Question
from micdb.query.search.similar import Ranking
from micdb.query.search.vectors import Pins, Space

TABLE = "spectra"
WEIGHT = 0.4  # of the distance beside the cosine; this and `_FLOOR` were chosen on simulated textures
_FLOOR = 0.03  # share of the variance per octave: below it, noise decides
_LEAST = 4  # bands that two images must both know: an octave
_POOL = 200  # candidates by pattern, or ten for each answer
_ORDERS = ("order2", "order4", "order6")


class Spectra(NamedTuple):
    """Spectra of images on common bands.

    Parameters
    ----------
    images
        ``pk`` of micrographs, ascending, ``(n,)`` int64.
    first
        Number of the first band.
    numbers
        Power and `_ORDERS` of each band ``(n, 4, bands)``; NaN where it is not known.
    """

    images: np.ndarray
    first: int
    numbers: np.ndarray


def rank(
    context: Context,
    query: Question,
    candidates: np.ndarray,
    *,
    k: int = 10,
    by: str | None = None,
    pins: Pins | None = None,
    kind: str | None = None,
) -> Ranking:
    """Return the candidates most like an example in pattern and in size.

    Parameters
    ----------
    context, candidates, k, pins, kind
        As for `micdb.query.search.similar.rank`.
    query
        One example with a pixel size.
    by
        Name of an extractor that fills ``spectra`` and an unscaled space; None for the first there is.

    Returns
    -------
    Ranking
        Similarity is the cosine of the patterns less `WEIGHT` times the distance of the spectra: 1 is best.

    Raises
    ------
    UsageError
        Several examples, an example without a pixel size, or nothing has spectra.
    NotFoundError, StoreError
        As for `micdb.query.search.similar.rank`.
    """
    if len(query.wanted) != 1 or query.unwanted:
        raise UsageError("scale='physical' compares with one example: give one, or leave scale out")
    space = shared_space(context, by, pins)
    own = _of_example(context, query, space)
    known = _images(context, space.run, np.unique(np.asarray(candidates, np.int64)))
    fetch = max(_POOL, 10 * k)
    while True:
        found = similar.rank(
            context, query, known, k=fetch, by=space.name, pins=pins, kind=kind, scale="free"
        )
        again = _again(context, space, own, found.table)
        if again.num_rows >= k or found.table.num_rows < fetch:
            break
        fetch *= 4
    path = f"{found.path}, {found.table.num_rows:,} of them ranked again by their power over 1/nm"
    without = len(candidates) - len(known)
    if without:
        path += f" ({without:,} {'image has' if without == 1 else 'images have'} no spectrum)"
    return Ranking(again.slice(0, k), path, found.skipped + without)


def distances(one: Spectra, others: Spectra) -> np.ndarray:
    """Return how far spectra are from one, ``(n,)``; NaN where too few bands are known to both.

    The root of the mean, over the bands that both know, of the squared differences of the logarithm of
    power, less their mean, and of the angular orders.
    """
    first = min(one.first, others.first)
    last = max(each.first + each.numbers.shape[2] for each in (one, others))
    own, many = _wide(one, first, last)[0], _wide(others, first, last)
    shared = np.isfinite(many[:, 0]) & np.isfinite(own[0])
    count = shared.sum(axis=1)
    some = np.maximum(count, 1)
    with np.errstate(invalid="ignore"):
        power = np.where(shared, np.log(many[:, 0] + _FLOOR) - np.log(own[0] + _FLOOR), 0.0)
        orders = np.where(shared[:, None], many[:, 1:] - own[1:], 0.0)
    power = np.where(shared, power - (power.sum(axis=1) / some)[:, None], 0.0)
    total = (power**2).sum(axis=1) + (orders**2).sum(axis=(1, 2))
    return np.where(count >= _LEAST, np.sqrt(total / some), np.nan)


def _wide(spectra: Spectra, first: int, last: int) -> np.ndarray:
    """Return numbers on the bands from `first` to before `last`."""
    left = spectra.first - first
    right = last - spectra.first - spectra.numbers.shape[2]
    return np.pad(spectra.numbers, ((0, 0), (0, 0), (left, right)), constant_values=np.nan)


def shared_space(context: Context, by: str | None, pins: Pins | None) -> Space:
    """Return the unscaled space of a run that has spectra."""
    chosen = vectors.all_spaces(context) if by is None else vectors.spaces(context, by, pins)
    if not chosen:
        vectors.spaces(context, by, pins)  # which says what to do
    runs = {one.run for one in parts.find(context, TABLE, [space.run for space in chosen])}
    for space in chosen:
        if space.run in runs and space.nm_per_pixel is None:
            return space
    names = ", ".join(sorted({space.extractor for space in chosen}))
    raise UsageError(
        f"scale='physical' compares patterns and spectra, and {by or names} has not both: "
        "compute them with micdb populate micro, and search with by='micro'"
    )


def _of_example(context: Context, query: Question, space: Space) -> Spectra:
    (one,) = query.wanted
    rows = example.facts(context, one.query, TABLE, space=space, box=one.box, pixel_size=one.pixel_size)
    if not rows.num_rows:
        raise UsageError(
            "the example has no spectrum in 1/nm: it has no pixel size, or is too small; state the size with "
            "pixel_size='0.2 um', or search with scale='free'"
        )
    return _dense(rows)


def _again(context: Context, space: Space, own: Spectra, table: pa.Table) -> pa.Table:
    """Return a ranking in its new order, without those whose size cannot be compared."""
    images = table["image"].to_numpy()
    order = np.argsort(images)
    spectra = read(context, space.run, images)
    far = np.full(len(images), np.nan)
    far[order[np.isin(images[order], spectra.images)]] = distances(own, spectra)
    like = table["similarity"].to_numpy() - WEIGHT * far
    best = np.lexsort((images, -like))[: int(np.isfinite(like).sum())]  # NaN is last
    again = table.set_column(table.column_names.index("similarity"), "similarity", pa.array(like))
    return again.take(best)


def read(context: Context, run: int, images: np.ndarray) -> Spectra:
    """Return the spectra of images, of those that have one.

    Parameters
    ----------
    context
        Surroundings of the query.
    run
        ``pk`` of the run that filled them.
    images
        ``pk`` of micrographs, ``(n,)`` int64.
    """
    wanted = np.unique(images)
    held = parts.holding(parts.find(context, TABLE, [run]), wanted)
    if not held:
        return Spectra(wanted[:0], 0, np.empty((0, 1 + len(_ORDERS), 0)))
    with parts.database(held) as duck:
        duck.register("wanted", pa.table({"image": wanted}))
        return _dense(duck.sql("SELECT * FROM facts SEMI JOIN wanted USING (image)").to_arrow_table())


def _images(context: Context, run: int, images: np.ndarray) -> np.ndarray:
    """Return those of the images that have a spectrum."""
    held = parts.holding(parts.find(context, TABLE, [run]), images)
    if not held:
        return images[:0]
    with parts.database(held) as duck:
        duck.register("wanted", pa.table({"image": images}))
        found = duck.sql("SELECT DISTINCT image FROM facts SEMI JOIN wanted USING (image) ORDER BY image")
        return np.asarray(found.to_arrow_table()["image"].to_numpy())


def _dense(rows: pa.Table) -> Spectra:
    images, at = np.unique(rows["image"].to_numpy(), return_inverse=True)
    band = rows["band"].to_numpy()
    first = int(band.min()) if len(band) else 0
    length = int(band.max()) - first + 1 if len(band) else 0
    numbers = np.full((len(images), 1 + len(_ORDERS), length), np.nan)
    for number, name in enumerate(("power", *_ORDERS)):
        numbers[at, number, band - first] = rows[name].to_numpy()
    return Spectra(images, first, numbers)
