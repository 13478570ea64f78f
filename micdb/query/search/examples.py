"""Several examples, wanted and unwanted, become one vector in each space that all of them share.

The vector is the one of relevance feedback (J. J. Rocchio, Relevance feedback in information retrieval,
in G. Salton (ed.), The SMART Retrieval System, Prentice-Hall 1971, chapter 14)::

    q = alpha q0 + beta mean(wanted) - gamma mean(unwanted)

with the weights of C. D. Manning, P. Raghavan and H. Schuetze, Introduction to Information Retrieval,
Cambridge 2008, section 9.1.1: beta = 0.75 and gamma = 0.15. There is no query q0 beside the examples, so
alpha is 0. In a space compared by cosine every example is first scaled to length 1. The sum is divided by
beta - gamma, which changes no cosine and makes it an affine combination: in a euclidean space, where the
origin means nothing, it is the mean of the wanted pushed away from the mean of the unwanted by a quarter
of their distance. Being one vector, it goes through every index as one example does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

import numpy as np

from micdb.errors import UsageError
from micdb.query.context import Context
from micdb.query.search import example, vectors
from micdb.query.search.example import Box, Description, Query
from micdb.query.search.vectors import Pins, Space

BETA, GAMMA = 0.75, 0.15  # weights of wanted and unwanted examples
_LEAST = 1e-6  # of the length of an example: below it, rounding decides where their combination points


@dataclass(frozen=True, slots=True)
class Example:
    """One thing to search by.

    Parameters
    ----------
    query
        A microscope file, the ``uid`` of an image, a picture, or a vector.
    box
        Part of it: x, y, width, height [pixel]; None for all.
    pixel_size
        Of an image that does not say, with its unit.
    """

    query: Query
    box: Box | None = None
    pixel_size: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What one searches by: at least one wanted example.

    Parameters
    ----------
    wanted, unwanted
        What answers shall resemble, and what they shall not.
    """

    wanted: tuple[Example, ...]
    unwanted: tuple[Example, ...] = ()


def frozen(value: Any) -> Any:
    """Return lists as tuples and numpy's numbers as Python's, at any depth."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    return tuple(frozen(one) for one in value) if isinstance(value, list | tuple) else value


def listed(queries: Sequence[Any]) -> tuple[Any, ...]:
    """Return examples as a query tree holds them: paths as text."""
    return tuple(fspath(one) if isinstance(one, PathLike) else one for one in queries)


def question(
    query: Any, *, box: Any = None, pixel_size: Any = None, negative: Sequence[Any] = ()
) -> Question:
    """Return a question as a person writes it.

    Parameters
    ----------
    query
        One example, or a tuple of them.
    box, pixel_size
        Of the one example; or a tuple with one for each, None where there is none. It may go on with
        those of `negative`.
    negative
        Unwanted examples.

    Raises
    ------
    UsageError
        There is no wanted example, or there are not as many boxes or pixel sizes as examples.
    """
    wanted = query if isinstance(query, tuple) else (query,)
    if not wanted:
        less = "only negative examples say what is not wanted" if negative else "there is no example"
        raise UsageError(f"{less}: give at least one image, uid or vector to be similar to")
    several = isinstance(box, tuple) and any(one is None or isinstance(one, tuple) for one in box)
    boxes = _alike("boxes", box if several else _only(box), (len(wanted), len(negative)))
    sizes = pixel_size if isinstance(pixel_size, tuple) else _only(pixel_size)
    scales = _alike("pixel sizes", sizes, (len(wanted), len(negative)))
    made = [Example(*one) for one in zip((*wanted, *negative), boxes, scales, strict=True)]
    return Question(tuple(made[: len(wanted)]), tuple(made[len(wanted) :]))


def describe(
    context: Context,
    query: Query | Question,
    *,
    box: Box | None = None,
    by: str | None = None,
    pins: Pins | None = None,
    pixel_size: str | None = None,
    scale: str | None = None,
) -> dict[Space, np.ndarray]:
    """Return the vector of a question in every space that all its examples share.

    Parameters
    ----------
    context
        Surroundings of the query.
    query
        One example, or a question.
    box, pixel_size
        Of one example.
    by
        Name of an extractor or space; None for the run that was created first.
    pins
        Runs that stand for an analysis instead of its current one.
    scale
        As for `of_scale`.

    Returns
    -------
    dict
        ``(dim,)`` float32 by space. Of an example that has a scale, only spaces that have one; see
        `of_scale`. The vector of a single example is as its extractor gave it.

    Raises
    ------
    UsageError
        An example does not fit, points nowhere, or the examples share no space or cancel one another.
    NotFoundError
        There is no such file.
    """
    asked = query if isinstance(query, Question) else Question((Example(query, box, pixel_size),))
    found = describe_in(context, asked, vectors.TABLE, by=by, pins=pins, scale=scale)
    return {space: one.vector for space, one in found.items()}


def describe_in(
    context: Context,
    asked: Question,
    table: str,
    *,
    by: str | None,
    pins: Pins | None,
    scale: str | None = None,
) -> dict[Space, Description]:
    """Return what `describe` does, from a table: ``embeddings``, or ``patches`` for places in images.

    The extent of several wanted examples is the smallest of theirs.
    """
    found = [
        of_scale(
            example.describe(
                context, one.query, box=one.box, by=by, pins=pins, pixel_size=one.pixel_size, table=table
            ),
            scale,
        )
        for one in (*asked.wanted, *asked.unwanted)
    ]
    if len(found) == 1:
        _check_direction(found[0], "the example's vector")
        return found[0]
    for number, spaces in enumerate(found, start=1):
        _check_direction(spaces, f"the vector of example {number}")
    count = len(asked.wanted)
    made = {}
    for space in _shared(found):
        wanted, unwanted = [one[space] for one in found[:count]], [one[space] for one in found[count:]]
        vector = combine(space.metric, [one.vector for one in wanted], [one.vector for one in unwanted])
        down, across = (min(one.extent[axis] for one in wanted) for axis in (0, 1))
        made[space] = Description(vector, (down, across))
    return made


def of_scale(found: Mapping[Space, Description], scale: str | None = None) -> dict[Space, Description]:
    """Return the spaces in which an example is to be compared.

    Parameters
    ----------
    found
        What it is in every space it has.
    scale
        ``same``: at one number of nanometres per pixel; ``free``: patterns whatever their size, in unscaled
        spaces; None: ``same`` for an example that has a scale, pixel for pixel for one that has none. An
        unscaled space named with `by` is then the only one there is.

    Raises
    ------
    UsageError
        There is no such space, or the example has no scale.
    """
    scaled = {space: one for space, one in found.items() if space.nm_per_pixel is not None}
    free = {space: one for space, one in found.items() if space.nm_per_pixel is None}
    names = ", ".join(space.name for space in found)
    if scale == "free" and not free:
        raise UsageError(
            f"scale='free' compares patterns whatever their size, and the example is in {names} only: search "
            "with by='micro' or by='texture'"
        )
    if scale == "same" and not scaled:
        raise UsageError(
            f"scale='same' compares at one number of nm per pixel, and the example is in {names} only: state "
            "its pixel_size='0.2 um', or search with scale='free'"
        )
    return free if scale == "free" else scaled or free


def combine(metric: str, wanted: Sequence[np.ndarray], unwanted: Sequence[np.ndarray] = ()) -> np.ndarray:
    """Return Rocchio's vector of examples in one space, ``(dim,)`` float32.

    Parameters
    ----------
    metric
        ``cosine`` or ``euclidean``.
    wanted, unwanted
        Vectors ``(dim,)``; at least one is wanted.

    Raises
    ------
    UsageError
        They cancel, so that the vector would point nowhere.
    """
    best = example.centroid(metric, wanted)
    if len(unwanted):
        best = (BETA * best - GAMMA * example.centroid(metric, unwanted)) / (BETA - GAMMA)
    if metric == "cosine" and np.linalg.norm(best) < _LEAST:
        raise UsageError(
            "the examples cancel one another: together they point nowhere; leave some of them out"
        )
    return best.astype(np.float32)


def _check_direction(found: Mapping[Space, Description], whose: str) -> None:
    for space, one in found.items():
        if space.metric == "cosine" and not np.any(one.vector):
            raise UsageError(f"{whose} in {space.name} is zero: it points nowhere; choose another example")


def _shared(found: Sequence[Mapping[Space, Description]]) -> list[Space]:
    shared = [space for space in found[0] if all(space in one for one in found)]
    if not shared:
        has = "; ".join(
            f"example {number} is in {', '.join(space.name for space in one)}"
            for number, one in enumerate(found, start=1)
        )
        raise UsageError(
            f"the examples have no space in common, so nothing can be compared with all of them: {has}; "
            "state the pixel size where an example has none, or leave out what does not fit"
        )
    return shared


def _only(value: Any) -> tuple[Any, ...]:
    return () if value is None else (value,)


def _alike(what: str, given: tuple[Any, ...], counts: tuple[int, int]) -> tuple[Any, ...]:
    """Return one value for each example, wanted ones first; those not given are None."""
    wanted, unwanted = counts
    if not given:
        return (None,) * (wanted + unwanted)
    if len(given) not in (wanted, wanted + unwanted):
        also = f" and {unwanted} negative ones" if unwanted else ""
        raise UsageError(
            f"{len(given)} {what} for {wanted} examples{also}: give one for each in the same order, "
            "None for an example that needs none"
        )
    return (*given, *(None,) * (wanted + unwanted - len(given)))
