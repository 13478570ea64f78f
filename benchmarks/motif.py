"""What it costs to find a motif among a million atoms, and how many of the planted ones are found.

::

    python benchmarks/motif.py FOLDER [--atoms 1_000_000] [--rounds 5] [--noise 0.03] [--max-rmsd 0.03]

FOLDER keeps the database, which is made when it is not there yet: graphene and MoS2, half of the atoms each,
with the defects of `motif_lattices.py` planted at known places. Every defect is asked for twice: as the ideal
arrangement, and as it was found in one of the images, noise and all. `found` is the share of the planted ones
that came back, `other` counts places where nothing of the kind was planted or taken away, so that they are
false. Pieces of the perfect lattice are asked for too: there the number of places is the answer.

Seconds are those of the whole call, from the frame to the DataFrame with uids, with the index in place; on a
busy machine the processor seconds of all threads tell more. The peers are the two ways to do it by hand: lay
the motif on every atom in steps of 2 degrees and look up the nearest atoms in a k-d tree, and list the
subgraph isomorphisms of the bond graph with networkx and align each. Both are given one small image, and
their time is scaled up to all atoms. `sure to` is ``complete_to_nm``.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import networkx as nx
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import scipy
from motif_lattices import DEFECTS, STONE_WALES, Crystal, grow, honeycomb
from scipy.spatial import cKDTree

import micdb
from micdb.catalog import results as r
from micdb.catalog import tables as t
from micdb.catalog.engine import writing
from micdb.database import Database
from micdb.populate.facts import ATOMS
from micdb.provenance import now, uuid7
from micdb.query.motif import index
from micdb.store.parts import write_part

Floats = npt.NDArray[np.float64]

SIDE = 12.0  # [nm] of an image
PIXELS = (0.01, 0.016, 0.02, 0.03)  # [nm] in turn
PART = 100  # images
PLANTED = 8  # defects in an image
SAME = 0.06  # [nm] a place so near to a planted one is that one
RADII = {"vacancy": 0.30, "divacancy": 0.33, "Stone-Wales": 0.36, "N dopant": 0.30}  # [nm] of the motifs
MOS2 = 0.37  # [nm]: three shells


# ---------------------------------------------------------------------- the database


def make(folder: Path, atoms: int, noise: float) -> None:
    """Write a database of images without pixels, and what is in them."""
    rng = np.random.default_rng(7)
    with micdb.init(folder) as db:
        crystals: list[Crystal] = []
        have = {"graphene": 0, "MoS2": 0}
        while sum(have.values()) < atoms:
            material = min(have, key=lambda name: have[name])
            crystals.append(grow(material, SIDE, count=PLANTED, noise=noise, rng=rng))
            have[material] += len(crystals[-1].xy)
        with writing(db.engine) as connection:
            _catalog(connection, len(crystals))
        for first in range(0, len(crystals), PART):
            _part(db, first, crystals[first : first + PART])
    truth = [
        (number + 1, kind, *place)
        for number, one in enumerate(crystals)
        for kind, place in [*one.planted, *(("missing", place) for place in one.missing)]
    ]
    pd.DataFrame(truth, columns=["pk", "kind", "x", "y"]).to_csv(folder / "truth.csv", index=False)


def _catalog(connection: Any, count: int) -> None:
    images = range(1, count + 1)
    rows: dict[Any, list[dict[str, Any]]] = {
        t.acquisition: [{"pk": pk, "uid": uuid7(), "source_sha256": f"{pk:064x}"} for pk in images],
        t.object_: [
            {"pk": pk, "sha256": f"{pk:064x}", "path": f"objects/{pk}.nxs", "size": 1,
             "media_type": "application/x-hdf5", "state": "live", "created_at": now()}
            for pk in images
        ],
        t.micrograph: [
            {"pk": pk, "uid": uuid7(), "name": f"image {pk}", "acquisition_pk": pk, "object_pk": pk,
             "pixel_hash": f"{pk:064x}", "height": 1024, "width": 1024, "n_frames": 1, "colour": False,
             "dtype": "uint16", "axes": [], "settings": {}, "problems": [], "created_at": now()}
            for pk in images
        ],
        r.model: [
            {"pk": 1, "uid": uuid7(), "name": "atoms", "version": "1", "model_hash": "0" * 64, "card": {}}
        ],
        r.run: [
            {"pk": 1, "uid": uuid7(), "model_pk": 1, "run_key": "0" * 64, "parameters": {}, "software": {},
             "device": "cpu", "actor": "benchmark", "created_at": now()}
        ],
        r.current_run: [{"analysis": "atoms", "run_pk": 1}],
    }  # fmt: skip
    for table, values in rows.items():
        connection.execute(table.insert(), values)


def _part(db: Database, first: int, crystals: list[Crystal]) -> None:
    tables = []
    for number, one in enumerate(crystals, first):
        n, pixel = len(one.xy), PIXELS[number % len(PIXELS)]
        columns = {
            "image": np.full(n, number + 1), "frame": np.zeros(n, np.int32), "idx": np.arange(n),
            "x_px": one.xy[:, 0] / pixel, "y_px": one.xy[:, 1] / pixel, "x_nm": one.xy[:, 0],
            "y_nm": one.xy[:, 1], "intensity": np.ones(n),
        }  # fmt: skip
        table = pa.table(
            {name: pa.array(column).cast(ATOMS.field(name).type) for name, column in columns.items()}
        )
        tables.append(table.append_column("species", pa.array(one.species, pa.string())))
    table = pa.concat_tables(tables)
    relative = f"parts/atoms/{uuid7()}.parquet"
    (db.root / relative).parent.mkdir(parents=True, exist_ok=True)
    write_part(db.root / relative, table.add_column(0, "run", pa.array(np.ones(len(table), np.int64))))
    with writing(db.engine) as connection:
        named = {"sha256": uuid7().replace("-", "").ljust(64, "0"), "path": relative, "state": "live",
                 "size": (db.root / relative).stat().st_size, "created_at": now(),
                 "media_type": "application/vnd.apache.parquet"}  # fmt: skip
        key = connection.execute(t.object_.insert().returning(t.object_.c.pk), named).scalar_one()
        part = {"uid": uuid7(), "run_pk": 1, "object_pk": key, "table_name": "atoms", "rows": len(table),
                "min_image": first + 1, "max_image": first + len(crystals)}  # fmt: skip
        connection.execute(r.part.insert(), part)


# ---------------------------------------------------------------------- the questions


class Case(NamedTuple):
    """What is asked, and what was planted: None for pieces of the perfect lattice."""

    name: str
    motif: micdb.Motif
    kind: str | None


def ideal(material: str, kind: str) -> micdb.Motif:
    """Return a defect as it is without noise."""
    if kind == "Stone-Wales":
        atoms = STONE_WALES[1]
        near = atoms[np.hypot(*atoms.T) < RADII[kind]]
        return micdb.Motif(near, ["C"] * len(near))
    xy, species = honeycomb(material, 2.0)
    wanted = "S" if kind == "S vacancy" else species[np.hypot(*xy.T).argmin()]
    far = np.where(species == wanted, np.hypot(*xy.T), np.inf)
    site = int(far.argmin())
    neighbour = int(np.argsort(np.hypot(*(xy - xy[site]).T))[1])
    gone = {"divacancy": [site, neighbour]}.get(kind, [site] if kind.endswith("vacancy") else [])
    middle = xy[gone].mean(axis=0) if gone else xy[site]
    if kind.endswith("dopant"):
        species = species.copy()
        species[site] = kind.split(maxsplit=1)[0]
    kept = np.delete(np.arange(len(xy)), gone)
    kept = kept[np.hypot(*(xy[kept] - middle).T) < RADII.get(kind, MOS2)]
    return micdb.Motif(xy[kept] - middle, species[kept].tolist())


def cases(db: Database, truth: pd.DataFrame) -> Iterator[Case]:
    """Yield every defect, ideal and as it is in an image, and pieces of the lattices."""
    uids = dict(zip(db.images.pks().tolist(), db.images.to_pandas()["uid"], strict=True))
    for material, kinds in DEFECTS.items():
        for kind in kinds:
            yield Case(kind, ideal(material, kind), kind)
            for one in truth[truth["kind"] == kind].itertuples():
                motif = micdb.Motif.from_image(
                    db, uids[one.pk], centre=(one.x, one.y), radius=RADII.get(kind, MOS2)
                )
                if len(motif) == len(ideal(material, kind)):  # noise may move one over the rim
                    yield Case(f"{kind}, from an image", motif, kind)
                    break
    for material, radius in (("graphene", 0.25), ("graphene", 0.40), ("MoS2", 0.33)):
        xy, species = honeycomb(material, 2.0)
        near = np.hypot(*xy.T) < radius
        motif = micdb.Motif(xy[near], species[near].tolist())
        yield Case(f"{material} lattice, {len(motif)} atoms", motif, None)
    xy = honeycomb("graphene", 2.0)[0]
    odd = xy[np.argsort(np.hypot(*(xy - [0.05, 0.13]).T))[:12]]
    yield Case("graphene lattice, 12 atoms without symmetry", micdb.Motif(odd), None)


def score(found: pd.DataFrame, kind: str, truth: pd.DataFrame, uids: dict[str, int]) -> tuple[float, int]:
    """Return the share of planted places that were found, and how many others were."""
    places = found.assign(pk=found["image"].map(uids).astype(int))
    hit, other = 0, 0
    right = truth[truth["kind"] == kind]
    allowed = truth[truth["kind"].isin([kind, "missing"])]
    for pk, group in right.groupby("pk"):
        mine = places[places["pk"] == pk][["x_nm", "y_nm"]].to_numpy(float)
        far = np.hypot(*(group[["x", "y"]].to_numpy()[:, None] - mine[None]).transpose(2, 0, 1))
        hit += int((far.min(axis=1, initial=np.inf) < SAME).sum())
    for pk, group in places.groupby("pk"):
        there = allowed[allowed["pk"] == pk][["x", "y"]].to_numpy()
        far = np.hypot(*(group[["x_nm", "y_nm"]].to_numpy(float)[:, None] - there[None]).transpose(2, 0, 1))
        other += int((far.min(axis=1, initial=np.inf) >= SAME).sum())
    return hit / len(right), other


# ---------------------------------------------------------------------- by hand


def by_rotation(xy: Floats, motif: micdb.Motif, max_rmsd: float) -> set[tuple[int, ...]]:
    """Return the places where the motif lies on atoms, turned in steps of 2 degrees about every atom."""
    tree, found = cKDTree(xy), set()
    points = (motif.xy - motif.xy[0]) @ [1, 1j]
    turns = np.exp(1j * np.radians(np.arange(0, 360, 2)))
    laid = np.concatenate((turns[:, None] * points, turns[:, None] * points.conj()))
    for atom in xy @ [1, 1j]:
        here = laid + atom
        _, near = tree.query(np.stack((here.real, here.imag), -1), distance_upper_bound=0.07)
        for one, mirrored in zip(near, np.arange(len(near)) >= len(turns), strict=True):
            whole = (one < len(xy)).all() and len(set(one.tolist())) == len(one)
            if whole and rmsd(xy[one], motif.xy * [1, -1 if mirrored else 1]) <= max_rmsd:
                found.add(tuple(sorted(one.tolist())))
    return found


def by_graph(xy: Floats, motif: micdb.Motif, max_rmsd: float) -> set[tuple[int, ...]]:
    """Return the places whose bonds are those of the motif, and that it can be laid on."""
    cutoff = 1.35 * motif.shortest
    whole, part = nx.Graph(), nx.Graph()
    for graph, atoms in ((whole, xy), (part, motif.xy)):
        graph.add_nodes_from(range(len(atoms)))
        graph.add_edges_from(cKDTree(atoms).query_pairs(cutoff))
    found = set()
    for onto in nx.algorithms.isomorphism.GraphMatcher(whole, part).subgraph_isomorphisms_iter():
        atoms = [atom for atom, _ in sorted(onto.items(), key=lambda pair: pair[1])]
        if min(rmsd(xy[atoms], motif.xy), rmsd(xy[atoms], motif.xy * [1, -1])) <= max_rmsd:
            found.add(tuple(sorted(atoms)))
    return found


def rmsd(one: Floats, other: Floats) -> float:
    """Return the smallest root mean square distance of two sets of points without reflection [nm]."""
    a, b = ((points - points.mean(axis=0)) @ [1, 1j] for points in (one, other))
    square = (np.abs(a) ** 2).sum() + (np.abs(b) ** 2).sum() - 2 * abs((a * b.conj()).sum())
    return float(np.sqrt(max(square, 0) / len(a)))


# ---------------------------------------------------------------------- measuring


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Return the seconds something takes, those of the processor, and its answer."""
    wall, cpu = time.perf_counter(), time.process_time()
    answer = work()
    return time.perf_counter() - wall, time.process_time() - cpu, answer


def measure(db: Database, options: argparse.Namespace) -> None:
    """Print one line for each case."""
    truth = pd.read_csv(db.root / "truth.csv")
    uids = dict(zip(db.images.to_pandas()["uid"], db.images.pks().tolist(), strict=True))
    asked = list(cases(db, truth))
    times: dict[str, list[tuple[float, float]]] = {case.name: [] for case in asked}
    answers = {}
    for _ in range(options.rounds):
        for case in asked:
            wall, cpu, answers[case.name] = timed(
                lambda case=case: db.images.find_motif(case.motif, k=2000, max_rmsd=options.max_rmsd)
            )
            times[case.name].append((wall, cpu))
    print(f"{'motif':44} atoms {'s':>6} {'cpu s':>6} {'places':>9} {'found':>7} {'other':>5} {'sure to':>8}")
    for case in asked:
        wall, cpu = (statistics.median(column) for column in zip(*times[case.name], strict=True))
        found = answers[case.name]
        scored = ("", "")
        if case.kind is not None:
            share, other = score(found, case.kind, truth, uids)
            scored = (f"{share:.4f}", str(other))
        print(
            f"{case.name:44} {len(case.motif):5} {wall:6.2f} {cpu:6.2f} {found.attrs['n_places']:9,} "
            f"{scored[0]:>7} {scored[1]:>5} {found.attrs['complete_to_nm'] * 1e3:5.1f} pm"
        )
    planted = truth["kind"].value_counts().to_dict()
    print("planted: " + ", ".join(f"{count:,} {kind}" for kind, count in planted.items()))


def compare(options: argparse.Namespace) -> None:
    """Print what doing it by hand costs."""
    rng = np.random.default_rng(1)
    crystal = grow("graphene", 4.0, count=1, noise=options.noise, rng=rng)
    motif = micdb.Motif(ideal("graphene", "vacancy").xy)
    print(f"by hand, a vacancy in one image of {len(crystal.xy)} atoms:")
    for name, work in (("k-d tree, all rotations", by_rotation), ("networkx, subgraphs", by_graph)):
        wall, _, found = timed(lambda work=work: work(crystal.xy, motif, options.max_rmsd))
        scaled = wall / len(crystal.xy) * options.atoms
        print(f"  {name:24} {wall:7.1f} s, {scaled:9,.0f} s for {options.atoms:,} atoms; {len(found)} places")


def measure_index(db: Database) -> None:
    """Print what the index costs."""
    for path in (db.root / "indexes").glob("*.motif.idx"):
        path.unlink()
    images, _, found = db.images.located("atoms")
    with db.engine.connect() as connection:
        run = connection.execute(r.run.select()).one().uid
    wall, cpu, made = timed(lambda: index.load(db.context, run, found, images))
    files = list((db.root / "indexes").glob("*.motif.idx"))
    held, kept = (sum(path.stat().st_size for path in some) for some in (files, [one.path for one in found]))
    atoms = sum(one.n for one in made)
    print(f"{atoms:,} atoms; index made in {wall:.1f} s ({cpu:.1f} cpu), {held / atoms:.0f} byte per atom "
          f"(parts: {kept / atoms:.0f})")  # fmt: skip


def main() -> None:
    """Make the database where it is missing, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--atoms", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--noise", type=float, default=0.03, help="share of the nearest-neighbour distance")
    parser.add_argument("--max-rmsd", type=float, default=0.03, help="in nm")
    parser.add_argument("--no-peers", action="store_true")
    options = parser.parse_args()
    place = options.folder / f"motif-{options.atoms}-{options.noise}"
    if not place.exists():
        options.folder.mkdir(parents=True, exist_ok=True)
        make(place, options.atoms, options.noise)
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}, "
        f"networkx {nx.__version__}; noise {options.noise:.0%}, RMSD up to {options.max_rmsd:g} nm"
    )
    with micdb.open(place) as db:
        measure_index(db)
        measure(db, options)
    if not options.no_peers:
        compare(options)


if __name__ == "__main__":
    main()
