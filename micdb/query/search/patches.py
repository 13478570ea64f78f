"""The windows of images that ``patches`` describes, and the regions they make up.

An example larger than a window is described by the centroid of its windows; so is a region of a stored
image, a block of neighbouring windows that reaches as far as the example does. Both are then made alike,
at one scale and of one size.
"""

from __future__ import annotations

import numpy as np

from micdb.query.context import Context
from micdb.query.search import decode
from micdb.query.search.matrices import open_matrix
from micdb.query.search.matrix import Matrix, Segment
from micdb.query.search.vectors import Space

TABLE = "patches"
_SPARE = 0.25  # [side of a window] a block may reach this much farther than the example
_LEAST_SHOWN = 0.5  # blank windows have no vector; a block of which more is blank is no region


def open_windows(context: Context, space: Space) -> Matrix:
    """Return the windows of a space, one row each; where they cannot be kept decoded they are read anew.

    Raises
    ------
    StoreError
        A part is missing or damaged.
    """
    matrix = open_matrix(context, space, table=TABLE, make=True)
    if matrix is not None:
        return matrix
    rows = decode.read(decode.state(context, space.run, TABLE).parts, space)
    scale, odd = decode.scales(space.metric, rows.matrix)
    places = rows.places.reshape(-1, len(decode.PLACE))
    none = Segment(np.empty((0, space.dim), np.float32), np.empty(0, np.float32))
    segments = (Segment(rows.matrix, scale), none)
    return Matrix(space, TABLE, rows.images, places, segments, odd, np.arange(len(rows.images)))


def windows(context: Context, space: Space, image: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the windows of one image: frame, x, y, width, height ``(n, 5)``, and vectors ``(n, dim)``.

    Raises
    ------
    StoreError
        A part is missing or damaged.
    """
    matrix = open_windows(context, space)
    rows = matrix.rows(np.array([image], np.int64))
    return matrix.places[rows].astype(np.int64), matrix.take(rows)


def regions(
    metric: str, places: np.ndarray, matrix: np.ndarray, extent: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return every block of neighbouring windows of one image that is as large as an example.

    Where an image is smaller than the example, the block is all there is in that direction.

    Parameters
    ----------
    metric
        ``cosine`` or ``euclidean``.
    places
        Frame, x, y, width and height of its windows [pixel], ``(n, 5)`` int64; a grid in each frame.
    matrix
        Their vectors, ``(n, dim)``.
    extent
        How far the example reaches down and across, in sides of a window.

    Returns
    -------
    tuple[numpy.ndarray, numpy.ndarray]
        Frame, x, y, width and height of each block ``(m, 5)`` int64, and the centroid of its windows
        ``(m, dim)`` float64. Windows of zero length have no direction and do not count by cosine.
    """
    made = [
        _regions_of_frame(metric, places[mine], matrix[mine], extent)
        for mine in (places[:, 0] == frame for frame in np.unique(places[:, 0]))
    ]
    return np.concatenate([one for one, _ in made]), np.concatenate([one for _, one in made])


def _regions_of_frame(
    metric: str, places: np.ndarray, matrix: np.ndarray, extent: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    (left, right, column, n_across), (top, bottom, row, n_down) = (
        _axis(places[:, 1 + axis], places[:, 3 + axis], extent[1 - axis]) for axis in (0, 1)
    )
    rows = matrix.astype(np.float64)
    counts = np.ones(len(rows))
    if metric == "cosine":
        lengths = np.linalg.norm(rows, axis=1)
        counts = (lengths > 0).astype(float)
        rows = np.divide(rows, lengths[:, None], out=np.zeros_like(rows), where=lengths[:, None] > 0)
    grid = np.zeros((len(top), len(left), rows.shape[1] + 1))
    grid[row, column, :-1], grid[row, column, -1] = rows, counts
    sums = _sliding(_sliding(grid, n_down, axis=0), n_across, axis=1)
    shown = sums[..., -1] >= max(1.0, _LEAST_SHOWN * n_down * n_across)
    y, x = np.nonzero(shown)
    boxes = np.stack(
        [
            np.full(len(y), places[0, 0]), left[x], top[y],
            right[x + n_across - 1] - left[x], bottom[y + n_down - 1] - top[y],
        ],
        axis=1,
    )  # fmt: skip
    return boxes, sums[y, x, :-1] / sums[y, x, -1:]


def _axis(
    start: np.ndarray, size: np.ndarray, extent: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Return where each line of a grid begins and ends, the line of each window, and the lines of a block."""
    begins, line = np.unique(start, return_inverse=True)
    ends = np.zeros(len(begins), np.int64)
    np.maximum.at(ends, line, start + size)
    reach = (begins - begins[0]) / float(np.median(size)) + 1
    return begins, ends, line, max(1, int(np.searchsorted(reach, extent + _SPARE, side="right")))


def _sliding(grid: np.ndarray, count: int, *, axis: int) -> np.ndarray:
    """Return the sums over `count` neighbours along an axis."""
    if count == 1:
        return grid
    return np.asarray(np.lib.stride_tricks.sliding_window_view(grid, count, axis=axis).sum(axis=-1))
