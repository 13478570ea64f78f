"""A motif from a region of an image: the atoms that an extractor found there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from micdb.errors import UsageError
from micdb.query.facts import questions
from micdb.query.frame import Frame
from micdb.query.motif.motif import FEWEST, MOST, length

Region = tuple[list[tuple[float, float]], list[str | None] | None]


def atoms_within(
    images: Frame | Any,
    uid: str,
    *,
    box: Sequence[float] | None,
    centre: Sequence[float] | None,
    radius: float | str | None,
    number: int,
) -> Region:
    """Return positions [nm] and species of the atoms in a region; see `Motif.from_image`.

    Raises
    ------
    UsageError
        As in `Motif.from_image`.
    """
    if (box is None) == (centre is None) or (centre is None) != (radius is None):
        raise UsageError(
            "a region is either box=(x, y, width, height) in pixels, or centre=(x, y) in nm with radius="
        )
    table, name = _atoms(images if isinstance(images, Frame) else images.images, uid, number)
    x, y = (np.asarray(table[axis], np.float64) for axis in ("x_nm", "y_nm"))
    if box is not None:
        inside = _in_box(table, _numbers(box, "box", 4))
        shown = f"box {','.join(f'{side:g}' for side in box)} pixel"
    else:
        middle = _numbers(centre, "centre", 2)
        reach = length(radius if radius is not None else 0.0, "radius")
        inside = np.hypot(x - middle[0], y - middle[1]) <= reach
        shown = f"disc of {reach:g} nm about {middle[0]:g},{middle[1]:g} nm"
    count = int(inside.sum())
    if not FEWEST <= count <= MOST:
        more = "larger" if count < FEWEST else "smaller"
        raise UsageError(
            f"{count} atoms of {name} lie in the {shown}; a motif has {FEWEST} to {MOST}: "
            f"choose a {more} region"
        )
    if not np.isfinite(x[inside]).all() or not np.isfinite(y[inside]).all():
        raise UsageError(f"{name} has no pixel size, so its atoms have no places in nm: give the motif in nm")
    positions = [(float(a), float(b)) for a, b in zip(x[inside], y[inside], strict=True)]
    if "species" not in table.column_names:
        return positions, None
    species = [kind for kind, chosen in zip(table["species"].to_pylist(), inside, strict=True) if chosen]
    return positions, species if any(species) else None


def _atoms(images: Frame, uid: str, number: int) -> tuple[pa.Table, str]:
    found = images[images["uid"] == uid]
    keys, runs, _ = found.located("atoms")
    if not len(keys):
        raise UsageError(f"no image has the uid {uid!r}; they are in the column uid of db.images")
    name = str(found[["name"]].to_arrow()["name"][0])
    have = questions.columns(images.context, "atoms", runs).names
    wanted = ["frame", "x_px", "y_px", "x_nm", "y_nm", *(["species"] if "species" in have else [])]
    table = questions.rows(images.context, "atoms", runs, images=keys, columns=wanted)
    if not table.num_rows:
        raise UsageError(f"no atoms were found in {name}; look for them with: micdb populate peaks")
    frames = np.asarray(table["frame"])
    if not (frames == number).any():
        listed = ", ".join(map(str, np.unique(frames)[:10]))
        raise UsageError(f"no atoms were found in frame {number} of {name}; there are some in {listed}")
    return table.filter(pa.array(frames == number)), name


def _in_box(table: pa.Table, box: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    left, top, width, height = box
    x, y = (np.asarray(table[axis], np.float64) + 0.5 for axis in ("x_px", "y_px"))  # from the corner
    return np.asarray((x >= left) & (x < left + width) & (y >= top) & (y < top + height))


def _numbers(given: Any, name: str, count: int) -> npt.NDArray[np.float64]:
    try:
        numbers = np.array(given, np.float64)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise UsageError(f"{name} is {given!r}; it has {count} numbers")
    return numbers
