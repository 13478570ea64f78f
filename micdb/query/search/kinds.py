"""Indexes that are made by name: faiss' own, over the rows of the file of a space.

=========== =================================================================================================
flat-fp16   half the bytes of the vectors, all of them read; M. Douze et al., arXiv:2401.08281
flat-rabitq one bit per dimension, all read: J. Gao and C. Long, Proc. ACM Manag. Data 2, 167, 2024
ivf-sq8     lists of vectors of one byte per dimension
ivf-pq      lists of product codes: H. Jegou et al., IEEE Trans. Pattern Anal. Mach. Intell. 33, 117, 2011
ivf-rabitq  lists of one bit per dimension
hnsw        graph: Y. Malkov and D. Yashunin, IEEE Trans. Pattern Anal. Mach. Intell. 42, 824, 2020
=========== =================================================================================================

They fetch more than is wanted, and the exact similarity decides. How hard they try is measured when they
are made. Graphs and codes lose their recall where a filter leaves only what is far from the query, so that
they are used only where most rows match and the lists nearest to the query hold their share of matches.
On a machine with a GPU that faiss can use, the kinds it has there are moved to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from micdb.errors import StoreError, UsageError, suggestion
from micdb.query.search import lists, scan
from micdb.query.search.clustering import unit
from micdb.query.search.matrix import Matrix
from micdb.store.indexes import IndexFile, beside, read_index

WIDE = 0.5  # share of rows that must match
NEAR = 0.5  # share of matches in the nearest lists, in units of their share among all rows
_AROUND = 0.02  # share of rows whose lists count as nearest
NPROBE = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_TRAINED = 1 << 16  # rows that are learned from
_BLOCK = 1 << 14  # [row] added at a time
FETCH = (2, 5, 10, 20, 50, 100, 200)  # rows fetched for each wanted one


def _lists(n: int) -> int:
    return max(1, min(4096, int(n**0.5)))


def _pieces(dim: int) -> int:
    """Return into how many pieces a product code cuts a vector: the most that are of 4 numbers or more."""
    return max(pieces for pieces in range(1, max(2, dim // 4 + 1)) if dim % pieces == 0)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of index.

    Parameters
    ----------
    factory
        Given dimension and number of rows, returns faiss' description.
    efforts
        How hard a search can try, ascending: lists probed, or nodes kept in mind; a single 0 where it
        always looks at everything.
    parameter
        Name of that in faiss' search parameters; None where there is none.
    filters
        Whether it can search among some of the rows.
    least
        Rows it needs for training.
    gpu
        Whether faiss has it on GPUs.
    """

    factory: Callable[[int, int], str]
    efforts: tuple[int, ...]
    parameter: str | None
    filters: bool
    least: int = 1
    gpu: bool = False


KINDS: dict[str, Kind] = {
    "flat-fp16": Kind(lambda _dim, _n: "SQfp16", (0,), None, True),
    "flat-rabitq": Kind(lambda _dim, _n: "RaBitQfs", (0,), None, False),
    "ivf-sq8": Kind(lambda _dim, n: f"IVF{_lists(n)},SQ8", NPROBE, "nprobe", True, gpu=True),
    "ivf-pq": Kind(
        lambda dim, n: f"IVF{_lists(n)},PQ{_pieces(dim)}x8", NPROBE, "nprobe", True, 256, gpu=True
    ),
    "ivf-rabitq": Kind(lambda _dim, n: f"IVF{_lists(n)},RaBitQfs", NPROBE, "nprobe", True),
    "hnsw": Kind(lambda _dim, _n: "HNSW32", (16, 32, 64, 128, 256, 512, 1024), "efSearch", True),
}


@dataclass(frozen=True, slots=True)
class Index:
    """An index ready to search.

    Parameters
    ----------
    kind
        Key of `KINDS`.
    faiss
        The index; its ids are row numbers.
    effort
        One of the kind's efforts.
    fetch
        Rows fetched for each wanted one.
    seconds
        Time of a search without filter when it was made [s].
    filters
        Whether it can search among some of the rows.
    gpu
        What faiss needs as long as the index is on a GPU; None where it is not.
    """

    kind: str
    faiss: Any
    effort: int
    fetch: int
    seconds: float
    filters: bool = True
    gpu: Any = None


def check(kind: str) -> None:
    """Refuse a name that is no kind of index.

    Raises
    ------
    UsageError
        With the names there are.
    """
    if kind not in KINDS:
        names = ["lists", *KINDS]
        raise UsageError(f"no index {kind!r}{suggestion(kind, names)}; there are {', '.join(names)}")


def build(kind: str, matrix: Matrix, held: lists.Lists) -> Any:
    """Return faiss' index of the rows in lists, trained on all but their probes and filled.

    Raises
    ------
    UsageError
        There are too few rows for it, or this faiss does not have it.
    """
    faiss = scan.library()
    known, rows = KINDS[kind], held.rows
    if rows < known.least:
        raise UsageError(f"{kind} learns from at least {known.least} vectors and there are {rows}")
    dim = matrix.space.dim
    try:
        made = faiss.index_factory(dim, known.factory(dim, rows), faiss.METRIC_L2)
    except RuntimeError as error:
        raise UsageError(f"this faiss ({faiss.__version__}) has no {kind}: {error}") from error
    base, metric = matrix.segments[0], matrix.space.metric
    some = np.setdiff1d(np.arange(0, rows, max(1, rows // _TRAINED)), held.probes)
    made.train(unit(base.vectors[some], base.scale[some], metric))
    for start in range(0, rows, _BLOCK):
        part = slice(start, min(start + _BLOCK, rows))
        made.add(unit(base.vectors[part], base.scale[part], metric))
    return made


def serialised(index: Index) -> np.ndarray:
    """Return the bytes of an index, ``(n,)`` uint8."""
    faiss = scan.library()
    made = index.faiss if index.gpu is None else faiss.index_gpu_to_cpu(index.faiss)
    return np.asarray(faiss.serialize_index(made))


def open_index(matrix: Matrix, kind: str) -> Index | None:
    """Return an index by name; None where there is none for these very rows, or it is damaged."""
    if kind not in KINDS or matrix.file is None:
        return None
    if kind not in matrix.indexes:
        matrix.indexes[kind] = _opened(matrix.file, kind)
    found: Index | None = matrix.indexes[kind]
    return found


def preferred(matrix: Matrix, query: np.ndarray, rows: np.ndarray) -> str | None:
    """Return the index by name that is the quickest and safe for a search; None where lists are better.

    Parameters
    ----------
    matrix, rows
        As for `micdb.query.search.nearest.nearest`.
    query
        ``(dim,)`` float32, of length 1 where the metric is cosine.
    """
    held = lists.open_lists(matrix)
    if held is None or matrix.file is None or len(rows) < WIDE * held.rows:
        return None
    whole = len(rows) >= held.rows and bool(rows[held.rows - 1] == held.rows - 1)
    usable = [
        index
        for kind in KINDS
        if (index := open_index(matrix, kind)) is not None and (whole or index.filters)
    ]
    if not usable or not (whole or is_near(held, query, rows)):
        return None
    quickest = min(usable, key=lambda index: index.seconds)
    return quickest.kind if quickest.seconds < matrix.tuning.get("seconds", np.inf) else None


def is_near(held: lists.Lists, query: np.ndarray, rows: np.ndarray) -> bool:
    """Return whether the lists nearest to a query hold about their share of the matching rows.

    Parameters
    ----------
    held
        The lists.
    query
        ``(dim,)`` float32, of length 1 where the metric is cosine.
    rows
        Matching rows, ascending, ``(m,)`` int64.
    """
    sizes = np.diff(held.offsets)
    squares, _, _ = held.scores(query)
    order = np.argsort(squares)
    around = order[: int(np.searchsorted(np.cumsum(sizes[order]), _AROUND * held.rows)) + 1]
    inside = np.diff(np.searchsorted(rows, held.offsets))[around].sum()
    expected = len(rows) / held.rows * sizes[around].sum()
    return bool(inside >= NEAR * expected)


def search(
    index: Index, query: np.ndarray, rows: np.ndarray, *, k: int, total: int
) -> tuple[np.ndarray, int]:
    """Return rows that an index thinks near, and how often it was widened to find k of them.

    Parameters
    ----------
    index
        The index.
    query
        ``(dim,)`` float32, of length 1 where the metric is cosine.
    rows
        Matching rows, ascending, all of them in the index, ``(m,)`` int64.
    k
        How many are wanted.
    total
        Number of rows in the index.
    """
    only, efforts, widened = None, KINDS[index.kind].efforts, 0
    if len(rows) < total:
        bits = np.zeros(total, bool)
        bits[rows] = True
        only = np.packbits(bits, bitorder="little")
    effort, fetch = index.effort, min(len(rows), index.fetch * k)
    while True:
        found = fetched(index, query, fetch, effort=effort, only=only)
        if len(found) >= min(k, len(rows)) or effort == efforts[-1]:
            return found, widened
        effort, widened = next(one for one in efforts if one > effort), widened + 1


def fetched(
    index: Index, query: np.ndarray, count: int, *, effort: int, only: np.ndarray | None = None
) -> np.ndarray:
    """Return the rows an index fetches, distinct.

    Parameters
    ----------
    index, query
        As for `search`.
    count
        How many.
    effort
        How hard to try.
    only
        Bits of the rows that may come, ``(total / 8,)`` uint8; None for all.
    """
    faiss = scan.library()
    options: dict[str, Any] = {} if only is None else {"sel": faiss.IDSelectorBitmap(only)}
    parameter = KINDS[index.kind].parameter
    if parameter is not None:
        options[parameter] = max(effort, count) if parameter == "efSearch" else effort
    make = {"efSearch": faiss.SearchParametersHNSW, "nprobe": faiss.SearchParametersIVF}
    parameters = make.get(parameter or "", faiss.SearchParameters)(**options) if options else None
    with scan.one_thread():
        found = index.faiss.search(query[None], count, params=parameters)[1][0]
    return np.unique(found[found >= 0])


def ready(kind: str, made: Any, *, effort: int = 0, fetch: int = 2, seconds: float = 0.0) -> Index:
    """Return an index to search with; on the first GPU, where faiss can use one and has the kind there."""
    faiss = scan.library()
    known = KINDS[kind]
    if not known.gpu or faiss.get_num_gpus() == 0:
        return Index(kind, made, effort, fetch, seconds, known.filters)
    resources = faiss.StandardGpuResources()
    moved = faiss.index_cpu_to_gpu(resources, 0, made)
    return Index(kind, moved, effort, fetch, seconds, False, resources)  # it has no selectors there


def _opened(file: IndexFile, kind: str) -> Index | None:
    faiss = scan.library()
    try:
        held = read_index(beside(file.path, kind))
    except StoreError:
        return None
    about = held.about
    if about.get("generation") != file.about["generation"]:  # of rows in another order
        return None
    made = faiss.deserialize_index(held.arrays["index"])
    return ready(kind, made, effort=about["effort"], fetch=about["fetch"], seconds=about["seconds"])
