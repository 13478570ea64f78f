"""Lattices with planted defects, and a slow search that leaves nothing out."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from scipy.spatial import ConvexHull

from micdb.query.frame import Frame
from micdb.query.motif.atoms import COLUMNS, collect
from micdb.query.motif.plan import Rule
from micdb.query.motif.search import look

make = SimpleNamespace(**run_path(str(Path(__file__).parents[3] / "data" / "planted" / "make.py")))

BOND = 0.142  # [nm] graphene


def honeycomb(side, constant=0.246):
    """Return a honeycomb about an atom at the origin, ``(n, 2)``, and the sublattice of each atom."""
    count = int(side / constant) + 2
    steps = np.arange(-count, count + 1)
    i, j = (grid.reshape(-1, 1) for grid in np.meshgrid(steps, steps, indexing="ij"))
    cells = i * np.array([constant, 0.0]) + j * np.array([constant / 2, constant * 3**0.5 / 2])
    xy = np.concatenate((cells, cells + np.array([0.0, constant / 3**0.5])))
    sublattice = np.repeat([0, 1], len(cells))
    inside = (np.abs(xy) <= side / 2).all(axis=1)
    return xy[inside], sublattice[inside]


def turned(xy, degrees, *, mirror=False, shift=(0.0, 0.0)):
    """Return points turned from x to y, after their y was reversed, then moved."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (np.asarray(xy) * ([1.0, -1.0] if mirror else [1.0, 1.0])) @ turn.T + np.asarray(shift)


def rows(image, xy, *, species=None, frame=0, pixel=0.02, scaled=True):
    """Return atoms as rows of a part."""
    xy = np.asarray(xy, np.float32).reshape(-1, 2)
    n = len(xy)
    place = [xy[:, 0], xy[:, 1]] if scaled else [pa.nulls(n, pa.float32())] * 2
    table = {
        "image": pa.array([image] * n, pa.int64()), "frame": pa.array([frame] * n, pa.int32()),
        "idx": pa.array(range(n), pa.int32()), "x_px": pa.array(xy[:, 0] / pixel, pa.float32()),
        "y_px": pa.array(xy[:, 1] / pixel, pa.float32()), "x_nm": pa.array(place[0], pa.float32()),
        "y_nm": pa.array(place[1], pa.float32()), "intensity": pa.nulls(n, pa.float32()),
    }  # fmt: skip
    if species is not None:
        table["species"] = pa.array(species, pa.string())
    return pa.table(table)


def search(xy, motif, *, max_rmsd=0.03, k=100_000, species=None, **rule):
    """Return the sets of atoms found in one frame, with their RMSD; all must have been returned."""
    table = rows(1, xy, species=species)
    if "species" not in table.column_names:
        table = table.append_column("species", pa.nulls(len(table), pa.string()))
    atoms = collect(table.select(COLUMNS), ["part"])
    (found,) = look([atoms], [np.zeros(len(atoms["image"]), int)], motif, Rule(max_rmsd, **rule), k=k)
    places = found.places
    assert found.count == len(places) or len(places) == k
    sets = np.sort(atoms["idx"][places.atoms], axis=0).T
    return dict(zip(map(tuple, sets.tolist()), places.rmsd.tolist(), strict=True))


def exhaustive(xy, motif, *, max_rmsd=0.03, mirror=True, extra=False):
    """Return what `search` should find, by trying every assignment of atoms that can still become one."""
    atoms = np.float32(xy).astype(float) @ [1, 1j]
    given = motif.xy @ [1, 1j]
    n, apart = len(given), np.abs(atoms[:, None] - atoms)
    shortest = np.abs(given[:, None] - given)[~np.eye(n, dtype=bool)].min()
    hull = ConvexHull(motif.xy - motif.xy.mean(axis=0)).equations
    best = {}
    for over in (False, True) if mirror else (False,):
        points = given.conj() if over else given
        sets = np.arange(len(atoms))[:, None]
        for j in range(1, n):  # a distance is off by at most twice what one atom may be off
            fits = np.ones((len(sets), len(atoms)), bool)
            for i in range(j):
                fits &= np.abs(apart[sets[:, i]] - abs(points[i] - points[j])) <= shortest
            fits[np.arange(len(sets))[:, None], sets] = False
            row, column = np.nonzero(fits)
            sets = np.column_stack((sets[row], column))
            sets = sets[_squares(points[: j + 1], atoms[sets])[0] <= n * max_rmsd**2]
        squares, turn = _squares(points, atoms[sets])
        for one, square, angle in zip(sets, squares, turn, strict=True):
            middle = atoms[one].mean()
            off = np.abs(atoms[one] - middle - angle * (points - points.mean())).max()
            back = (atoms - middle) / angle
            back = back.conj() if over else back
            deep = -(np.column_stack((back.real, back.imag, np.ones(len(back)))) @ hull.T).max(axis=1)
            deep[one] = -1
            if off <= shortest / 2 and (extra or deep.max() <= 0.3 * shortest):
                key = tuple(sorted(one.tolist()))
                best[key] = min(best.get(key, np.inf), np.sqrt(square / n))
    return best


def _squares(points, atoms):
    points, atoms = points - points.mean(), atoms - atoms.mean(axis=1, keepdims=True)
    turn = atoms @ points.conj()
    squares = (np.abs(atoms) ** 2).sum(axis=1) + (np.abs(points) ** 2).sum() - 2 * np.abs(turn)
    return np.maximum(squares, 0), turn / np.maximum(np.abs(turn), 1e-12)


@pytest.fixture(scope="session")
def plane():
    """Return everything above by name."""
    return SimpleNamespace(
        BOND=BOND, honeycomb=honeycomb, turned=turned, rows=rows, search=search, exhaustive=exhaustive
    )


@pytest.fixture
def lab(tmp_path):
    """Return a database of four images with a run of ``peaks`` and no atoms yet."""
    context = make.database(tmp_path)
    keys = make.images(context, 4)
    run = make.add_run(context, "peaks")

    def add(*tables, run=run):
        together = pa.concat_tables(tables, promote_options="default")
        return make.add_part(context, run, "atoms", rows=together)

    return SimpleNamespace(
        context=context, root=tmp_path, keys=keys, run=run, add=add, make=make,
        images=Frame(context, "images"), uids=[make.uid(context, key) for key in keys],
    )  # fmt: skip
