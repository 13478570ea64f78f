"""Rings and neighbours of many images at once: each as if it stood alone."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from scipy.spatial import cKDTree

from micdb.catalog.engine import writing
from micdb.catalog.results import run_item
from micdb.query.frame import Frame
from micdb.query.spatial.derived import DERIVED, NEAREST, NEIGHBOURS, RINGS, neighbours_of, rings_of

make = SimpleNamespace(**run_path(str(Path(__file__).parents[3] / "data" / "planted" / "make.py")))
HEXAGON = np.array([[np.cos(a), np.sin(a)] for a in np.arange(6) * np.pi / 3])
SQUARE = np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]])


def scene(*frames):
    """Return atoms and bonds of frames: image, frame, positions, bonds, nm per pixel or None."""
    atoms, bonds = [], []
    for image, frame, xy, edges, scale in frames:
        for idx, (x, y) in enumerate(xy):
            nm = (None, None) if scale is None else (x * scale, y * scale)
            atoms.append((1, image, frame, idx, x, y, *nm))
        bonds += [(1, image, frame, i, j) for i, j in edges]
    random = np.random.default_rng(0)
    random.shuffle(bonds)
    return table("atoms", "neighbours", atoms), table("bonds", "rings", bonds)


def table(name, of, rows):
    columns = DERIVED[of].sources[name]
    types = [pa.float32() if column[-3:] in ("_px", "_nm") else pa.int64() for column in columns]
    return pa.table([pa.array([row[n] for row in rows], t) for n, t in enumerate(types)], names=columns)


def ring(n):
    return [(k, (k + 1) % n) if k + 1 < n else (0, n - 1) for k in range(n)]


def test_rings_of_many_frames():
    two = np.concatenate([SQUARE, SQUARE + np.array([5, 0])])
    edges = [*ring(4), *((a + 4, b + 4) for a, b in ring(4))]
    atoms, bonds = scene(
        (7, 0, HEXAGON, ring(6), 0.5), (7, 1, two, edges, 0.5), (3, 0, SQUARE, ring(4), None)
    )
    found = rings_of(bonds, atoms)
    assert (found.schema.names, found.schema.types) == (RINGS.names, RINGS.types)
    rows = found.to_pylist()
    assert [(r["image"], r["frame"], r["ring"], r["size"]) for r in rows] == [
        (3, 0, 0, 4), (7, 0, 0, 6), (7, 1, 0, 4), (7, 1, 1, 4),
    ]  # fmt: skip
    assert [r["area_nm2"] for r in rows] == [None, pytest.approx(1.5 * np.sqrt(3) / 4), 0.25, 0.25]
    assert [(r["x_px"], r["y_px"]) for r in rows[2:]] == [(0.5, 0.5), (5.5, 0.5)]
    assert [(r["x_nm"], r["y_nm"]) for r in rows[2:]] == [(0.25, 0.25), (2.75, 0.25)]
    assert rows[0]["x_nm"] is None


def test_bonds_without_their_atoms_make_no_ring():
    atoms, bonds = scene((1, 0, SQUARE, [*ring(4), (2, 9), (9, 0)], 1.0))
    stray = table("bonds", "rings", [(1, 2, 0, 0, 1), (1, 2, 0, 1, 2), (1, 2, 0, 0, 2)])
    found = rings_of(pa.concat_tables([bonds, stray]), atoms)
    assert found["size"].to_pylist() == [4]
    assert rings_of(bonds, atoms.slice(0, 0)).num_rows == 0
    assert rings_of(bonds.slice(0, 0), atoms).num_rows == 0


def test_neighbours_of_many_frames():
    random = np.random.default_rng(1)
    frames = [(image, frame, random.normal(size=(20, 2)), [], 0.1) for image in (5, 2) for frame in (0, 1)]
    frames.append((9, 0, random.normal(size=(3, 2)), [], None))
    atoms, _ = scene(*frames)
    found = neighbours_of(atoms)
    assert (found.schema.names, found.schema.types) == (NEIGHBOURS.names, NEIGHBOURS.types)
    rows = found.to_pandas()
    for image, frame, xy, _, scale in frames:
        here = rows[(rows.image == image) & (rows.frame == frame)]
        k = min(NEAREST, len(xy) - 1)
        distance, who = cKDTree(np.float32(xy)).query(np.float32(xy), k=k + 1)
        assert here["i"].tolist() == np.repeat(np.arange(len(xy)), k).tolist()
        assert here["j"].tolist() == who[:, 1:].ravel().tolist()
        assert here["rank"].tolist() == list(range(1, k + 1)) * len(xy)
        assert here["distance_px"].to_numpy() == pytest.approx(distance[:, 1:].ravel(), rel=1e-5)
        if scale is None:
            assert here["distance_nm"].isna().all()
        else:
            assert here["distance_nm"].to_numpy() == pytest.approx(distance[:, 1:].ravel() * scale, rel=1e-5)


def test_neighbours_are_nearest_on_the_sample_where_pixels_are_not_square():
    atoms, _ = scene((1, 0, np.array([[0, 0], [2, 0], [0, 3.0]]), [], 1.0))
    wide = atoms.set_column(6, "x_nm", pa.array([0, 20, 0], pa.float32()))
    assert neighbours_of(wide).to_pandas().query("i == 0")["j"].tolist() == [2, 1]
    assert neighbours_of(atoms).to_pandas().query("i == 0")["j"].tolist() == [1, 2]


def test_nothing_gives_nothing():
    atoms, bonds = scene()
    assert (rings_of(bonds, atoms).num_rows, neighbours_of(atoms).num_rows) == (0, 0)


def test_they_are_children_of_images_like_any_other(tmp_path):
    home = make.database(tmp_path / "db")
    images = make.images(home, 3)
    run = make.add_run(home, "peaks")
    two = np.concatenate([HEXAGON, SQUARE + np.array([5, 0])])
    edges = [*ring(6), *((a + 6, b + 6) for a, b in ring(4))]
    atoms, bonds = scene((images[0], 0, two, edges, 0.5), (images[1], 0, HEXAGON, ring(6), 0.5))
    atoms, bonds = atoms.drop_columns(["run"]), bonds.drop_columns(["run"])
    frames = {"frame": pa.int32(), "idx": pa.int32(), "i": pa.int32(), "j": pa.int32()}
    lengths = pa.array(np.ones(bonds.num_rows), pa.float32())
    bonds = bonds.append_column("length_px", lengths).append_column("length_nm", lengths)
    for name, table in (("atoms", atoms), ("bonds", bonds)):
        kept = [table[c].cast(frames.get(c, table[c].type)) for c in table.column_names]
        make.add_part(home, run, name, rows=pa.table(kept, names=table.column_names))
    with writing(home.engine) as connection:
        for image in images:
            item = {"run_pk": run, "micrograph_pk": image, "status": "done", "attempt": 1}
            connection.execute(run_item.insert().values(item))
    im = Frame(home, "images")
    squares = im.rings[im.rings.size == 4]
    made = im.assign(n=im.rings.count(), four=squares.count(), area=squares.max("area_nm2"))
    assert made.to_arrow().select(["n", "four", "area"]).to_pylist() == [
        {"n": 2, "four": 1, "area": 0.25},
        {"n": 1, "four": 0, "area": None},
        {"n": 0, "four": 0, "area": None},
    ]
    assert made.units["area"] == "nm**2"
    assert im.query("count(rings, size == 4) == 1").count() == 1
    nearest = im.neighbours[im.neighbours.rank == 1]
    assert im[nearest.mean("distance_nm") < "0.6 nm"].count() == 2
    table = Frame(home, "rings")
    assert table.groupby("size").agg(n=("ring", "count")).to_arrow().to_pylist() == [
        {"size": 4, "n": 1}, {"size": 6, "n": 2},
    ]  # fmt: skip
    assert im.explode("rings").count() == 3
    assert len(im.rings.to_pandas()) == 3
    near = im.rings[im.rings.within("3 nm", of=im.rings)]
    assert near.to_pandas()["size"].tolist() == [6, 4]
