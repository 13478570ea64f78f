"""The answer to a motif search: one row for each place."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import sqlalchemy as sa

from micdb.catalog.engine import reading
from micdb.catalog.results import model, run
from micdb.catalog.rows import id_list
from micdb.catalog.tables import micrograph
from micdb.errors import UsageError
from micdb.query import result
from micdb.query.context import Context
from micdb.query.motif import index
from micdb.query.motif.atoms import Atoms
from micdb.query.motif.motif import Motif, length
from micdb.query.motif.places import mixed
from micdb.query.motif.plan import Rule
from micdb.query.motif.search import ROUNDING, Found, look
from micdb.query.rules import whole

if TYPE_CHECKING:
    from micdb.query.answers import Answers

Ints = npt.NDArray[np.integer]

UNITS = {"x_nm": "nm", "y_nm": "nm", "x_px": "pixel", "y_px": "pixel", "rotation": "deg", "rmsd_nm": "nm"}
SCHEMA = pa.schema([
    ("image", pa.string()), ("frame", pa.int64()),
    ("x_nm", pa.float64()), ("y_nm", pa.float64()), ("x_px", pa.float64()), ("y_px", pa.float64()),
    ("rotation", pa.float64()), ("mirrored", pa.bool_()), ("rmsd_nm", pa.float64()),
    ("n_matched", pa.int64()), ("atoms", pa.list_(pa.int64())),
])  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Scores:
    """What is told of places, and what orders them; ``(m,)`` each but `atoms`, ``(n, m)``."""

    columns: dict[str, npt.NDArray[Any]]
    atoms: Ints
    rank: Ints

    def order(self) -> Ints:
        """Return the order of the answer: by RMSD, then by image, frame and atoms."""
        same = mixed(self.atoms).sum(axis=0, dtype=np.uint64)
        first = self.atoms.min(axis=0) if len(same) else same
        rmsd = np.round(self.columns["rmsd_nm"] / ROUNDING)
        return np.lexsort((same, first, self.columns["frame"], self.rank, rmsd))


def find_motif(
    frame: Answers,
    motif: Motif,
    *,
    k: int,
    max_rmsd: float | str,
    species: bool,
    mirror: bool,
    extra: bool,
) -> pd.DataFrame:
    """Return the places of a motif in the images of a frame; see `micdb.Frame.find_motif`."""
    if not isinstance(motif, Motif):
        raise UsageError(
            f"find_motif takes a Motif, not {type(motif).__name__}: write find_motif(Motif(positions))"
        )
    if whole(k) < 1:
        raise UsageError(f"k is {k}; it must be at least 1")
    rule = Rule(length(max_rmsd, "max_rmsd"), species, mirror, extra)
    if rule.max_rmsd > motif.shortest / 2:
        raise UsageError(
            f"max_rmsd is {rule.max_rmsd:g} nm; at half the motif's shortest distance, "
            f"{motif.shortest / 2:.3g} nm, nothing tells one atom from the next: give less"
        )
    images, runs, parts = frame.located("atoms")
    if len(images) and not runs:
        raise UsageError(
            "no atoms have been found in any image yet; look for them with: micdb populate peaks"
        )
    name, uid = _run(frame.context, runs)
    several = index.load(frame.context, uid, parts, images) if runs else []
    ranks = [_ranks(atoms, images) for atoms in several]
    found = look(several, ranks, motif, rule, k=int(k))
    scores = _joined([_score(*one, motif) for one in zip(several, ranks, found, strict=True)], len(motif))
    made = _frame(frame.context, scores, scores.order()[: int(k)])
    attrs: dict[Hashable, Any] = {
        "units": dict(UNITS),
        "n_places": sum(one.count for one in found),
        **_coverage(several, images),
        "run": name,
        "max_rmsd_nm": rule.max_rmsd,
        "complete_to_nm": min((one.certain for one in found), default=rule.max_rmsd),
        "species_compared": species and motif.species is not None and any(one.species for one in several),
    }
    made.attrs = attrs
    return made


def _run(context: Context, runs: Sequence[int]) -> tuple[str | None, str]:
    if not runs:
        return None, ""
    statement = sa.select(model.c.name, run.c.uid).join(model, model.c.pk == run.c.model_pk)
    with reading(context.engine) as connection:
        row = connection.execute(statement.where(run.c.pk == runs[0])).one()
    return f"{row.name}@{row.uid}", str(row.uid)


def _ranks(atoms: Atoms, images: Ints) -> Ints:
    """Return the place of the image of every frame in the order of the images; -1: not among them."""
    order = np.argsort(images, kind="stable")
    ordered = images[order]
    place = np.searchsorted(ordered, atoms["image"])
    inside = place < len(ordered)
    inside[inside] = ordered[place[inside]] == atoms["image"][inside]
    ranks = np.full(len(inside), -1, np.int64)
    ranks[inside] = order[place[inside]]
    return ranks


def _coverage(several: Sequence[Atoms], images: Ints) -> dict[Hashable, int]:
    wanted = np.unique(images)
    scaled = [atoms["image"] for atoms in several] or [np.empty(0, np.int64)]
    unscaled = [atoms["unscaled"] for atoms in several] or [np.empty(0, np.int64)]
    without = np.intersect1d(wanted, np.concatenate(unscaled))
    searched = np.intersect1d(wanted, np.concatenate(scaled))
    return {
        "n_images": len(searched),
        "n_without_scale": len(without),
        "n_without_atoms": len(wanted) - len(np.union1d(searched, without)),
    }


def _score(atoms: Atoms, ranks: Ints, found: Found, motif: Motif) -> _Scores:
    """Return alignment and position of places, with their atoms in the order of the motif."""
    plan, places = found.plan, found.places.atoms
    at = atoms["x"][places].astype(np.float64) + 1j * atoms["y"][places].astype(np.float64)
    points = motif.xy[:, 0] + 1j * motif.xy[:, 1]
    points = points - points.mean()
    centre = at.mean(axis=0)
    own = np.empty((len(plan.group), *places.shape), np.int64)  # atoms in the order of the motif, each way
    turned = np.empty((len(plan.group), places.shape[1]), np.complex128)
    over = np.empty((len(plan.group), places.shape[1]), np.bool_)
    for way, one in enumerate(plan.group):
        own[way, plan.order[list(one.onto)]] = np.arange(len(places))[:, None]
        over[way] = found.places.mirrored | one.mirrored
        laid = np.where(over[way], points.conj()[:, None], points[:, None])
        turned[way] = (laid.conj() * (np.take_along_axis(at, own[way], axis=0) - centre)).sum(axis=0)
    best = _best_way(at - centre, turned, over, points)
    columns = np.arange(places.shape[1])
    slots = own[best, :, columns].T
    turn, mirrored = turned[best, columns], over[best, columns]
    turn = turn / np.maximum(np.abs(turn), 1e-300)
    laid = np.where(mirrored, points.conj()[:, None], points[:, None]) * turn
    off = np.take_along_axis(at, slots, axis=0) - centre - laid
    numbers = np.take_along_axis(places, slots, axis=0)
    frame = atoms.frame_of(places[0])
    return _Scores(
        {
            "image_pk": atoms["image"][frame],
            "frame": atoms["frame"][frame].astype(np.int64),
            "x_nm": centre.real,
            "y_nm": centre.imag,
            "x_px": atoms["x_px"][places].astype(np.float64).mean(axis=0),
            "y_px": atoms["y_px"][places].astype(np.float64).mean(axis=0),
            "rotation": np.degrees(np.angle(turn)) + 0.0,  # no -0
            "mirrored": mirrored,
            "rmsd_nm": np.sqrt((np.abs(off) ** 2).mean(axis=0)),
        },
        atoms["idx"][numbers].astype(np.int64),
        ranks[frame],
    )


def _best_way(at: Any, turned: Any, over: Any, points: Any) -> Ints:
    """Return the way in which each place fits best; of equal ones not turned over, and turned the least."""
    spread = (np.abs(at) ** 2).sum(axis=0) + (np.abs(points) ** 2).sum()
    rmsd = np.sqrt(np.maximum(spread - 2 * np.abs(turned), 0) / len(points))
    angle = np.round(np.angle(turned), 6)
    order = np.lexsort((-angle, np.abs(angle), over, np.round(rmsd / ROUNDING)), axis=0)
    return np.asarray(order[0])


def _joined(several: Sequence[_Scores], n: int) -> _Scores:
    if not several:
        empty = {name: np.empty(0) for name in ("image_pk", *SCHEMA.names[1:9])}
        return _Scores(empty, np.empty((n, 0), np.int64), np.empty(0, np.int64))
    columns = {name: np.concatenate([one.columns[name] for one in several]) for name in several[0].columns}
    return _Scores(
        columns,
        np.concatenate([one.atoms for one in several], axis=1),
        np.concatenate([one.rank for one in several]),
    )


def _frame(context: Context, scores: _Scores, order: Ints) -> pd.DataFrame:
    keys = scores.columns["image_pk"][order].astype(np.int64).tolist()
    with reading(context.engine) as connection:
        wanted = id_list(connection, sorted(set(keys)))
        statement = sa.select(micrograph.c.pk, micrograph.c.uid).join(wanted, wanted.c.id == micrograph.c.pk)
        uids = {row.pk: row.uid for row in connection.execute(statement)}
    arrays = [pa.array([uids[key] for key in keys], pa.string())]
    arrays += [
        pa.array(scores.columns[name][order]).cast(SCHEMA.field(name).type) for name in SCHEMA.names[1:9]
    ]
    arrays.append(pa.array(np.full(len(order), len(scores.atoms), np.int64)))
    arrays.append(pa.array(scores.atoms[:, order].T.tolist(), SCHEMA.field("atoms").type))
    return result.to_frame(pa.table(arrays, schema=SCHEMA))
