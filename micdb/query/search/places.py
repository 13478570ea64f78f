"""Rank places in images by likeness to an example: where else does this texture occur.

A place is a window that an extractor described (table ``patches``) or, for an example that is larger than a
window, a block of windows as large as the example. It is compared in the finest space that its image and the
example share, at one number of nanometres per pixel, whatever the microscope's magnification. Of places of
one frame that overlap only the best is an answer (greedy non-maximum suppression: A. Neubeck and L. Van Gool,
Proc. ICPR 2006, vol. 3, p. 850).

The planner of `micdb.query.search.nearest` finds the windows most like the example; the places are then those
of the images these windows are in, compared exactly. Windows are asked for until there are as many places as
wanted or no window is left.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from micdb.query.context import Context
from micdb.query.search import examples, patches
from micdb.query.search.example import WINDOW, Description, Query
from micdb.query.search.examples import Example, Question
from micdb.query.search.matrix import Matrix
from micdb.query.search.nearest import Found, nearest
from micdb.query.search.scan import similarity
from micdb.query.search.similar import Ranking
from micdb.query.search.vectors import Pins

Offer = tuple[np.ndarray, np.ndarray, np.ndarray]  # image (n,), frame and box (n, 5), similarity (n,)

SHORTLIST = 1024  # windows asked for at first, or
PER_ANSWER = 32  # so many for each answer, if that is more: a region has many windows, and neighbours
OVERLAP = 0.1  # intersection over union: neighbours on a grid of half windows have 1/3, diagonal ones 1/7
SCHEMA = pa.schema(
    [
        ("image", pa.int64()),
        ("similarity", pa.float64()),
        ("match_box", pa.string()),  # x,y,width,height [pixel]
        ("match_frame", pa.int64()),
    ]
)


def rank(
    context: Context,
    query: Query | Question,
    candidates: np.ndarray,
    *,
    k: int = 10,
    by: str | None = None,
    pins: Pins | None = None,
    per_image: int | None = 1,
    kind: str | None = None,
    scale: str | None = None,
) -> Ranking:
    """Return the places most like an example.

    Parameters
    ----------
    context
        Surroundings of the query.
    query
        One example or a question. An example larger than a window is described by the `centroid` of
        its windows.
    candidates
        ``pk`` of the micrographs that passed the filter, ``(n,)`` int64.
    k
        Number of places wanted; there are as many, or as many as there are without overlap.
    by
        Name of an extractor or space; None for the run that was created first.
    pins
        Runs that stand for an analysis instead of its current one.
    per_image
        Places of one image at most; None for no limit. With 1 the answer is a ranking of images.
    kind
        How to search for windows, if the choice is not to be the planner's.
    scale
        As for `micdb.query.search.similar.rank`.

    Returns
    -------
    Ranking
        Its table has `SCHEMA`: the box is the place's own, in pixels of the image as it is stored.

    Raises
    ------
    UsageError
        No image has patches, or the example does not fit; see `micdb.query.search.examples.describe`.
    NotFoundError
        There is no such file.
    StoreError
        A part with vectors is missing or damaged.
    """
    asked = query if isinstance(query, Question) else Question((Example(query),))
    example = examples.describe_in(context, asked, patches.TABLE, by=by, pins=pins, scale=scale)
    left = np.unique(np.asarray(candidates, np.int64))
    offers: list[Offer] = []
    paths: list[str] = []
    for space in sorted(example, key=lambda space: space.fineness):
        matrix = patches.open_windows(context, space)
        held = matrix.holds(left)
        if held.any() or not paths:
            offer, path = _search(matrix, example[space], left[held], k=k, per_image=per_image, kind=kind)
            offers.append(offer)
            paths.append(path)
        left = left[~held]
    return Ranking(_table(offers, k), f"patches: {' and '.join(paths)}{_skipped(len(left))}", len(left))


def survivors(
    images: np.ndarray, places: np.ndarray, similarity: np.ndarray, *, k: int, per_image: int | None
) -> np.ndarray:
    """Return the indices of the best places that do not overlap a better one, best first, at most k.

    Parameters
    ----------
    images
        ``(n,)`` int64.
    places
        Frame, x, y, width and height, ``(n, 5)``.
    similarity
        ``(n,)``; ties go to the smaller image, then to the earlier row.
    k, per_image
        As for `rank`.
    """
    order = np.lexsort((np.arange(len(images)), images, -similarity))
    if per_image == 1:
        _, first = np.unique(images[order], return_index=True)
        return np.asarray(order[np.sort(first)][:k])
    kept: list[int] = []
    held: dict[int, list[tuple[int, ...]]] = {}
    for index in order.tolist():
        better = held.setdefault(int(images[index]), [])
        if per_image is not None and len(better) >= per_image:
            continue
        place = tuple(places[index].tolist())
        if all(overlap(place, other) <= OVERLAP for other in better):
            better.append(place)
            kept.append(index)
            if len(kept) == k:
                break
    return np.array(kept, np.int64)


def overlap(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Return the intersection over union of two places; 0 in different frames.

    Parameters
    ----------
    one, other
        Frame, x, y, width, height [pixel].
    """
    (frame, x, y, width, height), (frame_, x_, y_, width_, height_) = one, other
    across = min(x + width, x_ + width_) - max(x, x_)
    down = min(y + height, y_ + height_) - max(y, y_)
    if frame != frame_ or across <= 0 or down <= 0:
        return 0.0
    shared = across * down
    return shared / (width * height + width_ * height_ - shared)


def _search(
    matrix: Matrix,
    example: Description,
    images: np.ndarray,
    *,
    k: int,
    per_image: int | None,
    kind: str | None,
) -> tuple[Offer, str]:
    """Return the places of some images that are most like an example, best first, and how they were found."""
    rows = matrix.rows(images)
    number = max(SHORTLIST, PER_ANSWER * k)
    while True:
        found = nearest(matrix, example.vector, rows, k=number, kind=kind)
        offered = _offered(matrix, example, found)
        kept = survivors(*offered, k=k, per_image=per_image)
        if len(kept) == k or number >= len(rows):
            break
        number *= 4
    image, place, like = offered
    path = f"{found.path} over {len(rows):,} windows of {len(images):,} images in {matrix.space.name}"
    return (image[kept], place[kept], like[kept]), path + _size(example)


def _offered(matrix: Matrix, example: Description, found: Found) -> Offer:
    """Return every place of the images that some windows are in."""
    if example.extent == WINDOW:
        return matrix.images[found.rows], matrix.places[found.rows].astype(np.int64), found.similarity
    metric = matrix.space.metric
    images, places, like = [], [], []
    for image in np.unique(matrix.images[found.rows]).tolist():
        rows = matrix.rows(np.array([image], np.int64))
        boxes, centroids = patches.regions(
            metric, matrix.places[rows].astype(np.int64), matrix.take(rows), example.extent
        )
        images.append(np.full(len(boxes), image))
        places.append(boxes)
        like.append(similarity(metric, example.vector, centroids))
    if not images:
        return np.empty(0, np.int64), np.empty((0, 5), np.int64), np.empty(0)
    return np.concatenate(images), np.concatenate(places), np.concatenate(like)


def _size(example: Description) -> str:
    if example.extent == WINDOW:
        return ""
    down, across = example.extent
    return f", in regions of {across:.3g} x {down:.3g} windows"


def _skipped(count: int) -> str:
    has = "image has" if count == 1 else "images have"
    return f" ({count:,} {has} no patches at a common scale)" if count else ""


def _table(offers: list[Offer], k: int) -> pa.Table:
    image, place, like = (np.concatenate([one[column] for one in offers]) for column in range(3))
    best = np.lexsort((np.arange(len(image)), image, -like))[:k]
    boxes = [",".join(map(str, one[1:])) for one in place[best].tolist()]
    return pa.table([image[best], like[best], boxes, place[best, 0]], schema=SCHEMA)
