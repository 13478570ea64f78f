"""One motif of the library: its members, its mean look, its density."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from micdb.analysis.library.average import Average, average
from micdb.analysis.library.census import Census
from micdb.analysis.library.density import Density
from micdb.analysis.library.motifs import Motif
from micdb.query.context import Context


@dataclass(frozen=True)
class Entry:
    """A motif as some images show it; ``db.library["Si1C3"]``.

    Parameters
    ----------
    context
        The database.
    motif
        Its row in the catalog.
    census
        Of the images.
    """

    context: Context
    motif: Motif
    census: Census

    def __repr__(self) -> str:
        return f"<motif {self.name!r} ({self.status}): {len(self.members)} defects in {self.n_images} images>"

    @property
    def name(self) -> str:
        """Its name in the library."""
        return self.motif.name

    @property
    def status(self) -> str:
        """``proposed`` or ``accepted``."""
        return self.motif.status

    @property
    def definition(self) -> dict[str, Any]:
        """What makes a defect one of it; see `micdb.analysis.library.definition`."""
        return self.motif.definition

    @cached_property
    def members(self) -> pd.DataFrame:
        """Its defects, one row each; see `micdb.analysis.library.found.defects`."""
        rows = self.census.standing
        return rows[(rows["motif"] == self.motif.pk).fillna(value=False)]

    @property
    def n_images(self) -> int:
        """Number of images that show it."""
        return int(self.members["image"].nunique())

    @property
    def kind(self) -> str | None:
        """The most frequent kind of its members."""
        return None if self.members.empty else str(self.members["kind"].mode()[0])

    @cached_property
    def average(self) -> Average | None:
        """Mean picture and mean atoms; None without members. Reads the images."""
        return None if self.members.empty else average(self.context, self.members)

    def density(self, *, level: float = 0.95) -> Density | None:
        """Return its areal density [nm**-2]; see `micdb.analysis.library.census.Census.density`."""
        return self.census.density(self.members, level=level)

    def exemplars(self, n: int = 8) -> pd.DataFrame:
        """Return the members that look most like the mean, each from another image where there are enough."""
        if self.average is None:
            return self.members
        order = [pk for pk in self.average.misfit.index if pk in set(self.members["pk"])]
        ranked = self.members.set_index("pk", drop=False).loc[order]
        again = ranked.duplicated("image")
        return pd.concat([ranked[~again], ranked[again]]).head(n).reset_index(drop=True)

    def summary(self, *, level: float = 0.95) -> dict[str, Any]:
        """Return one row of the library's table; see `micdb.analysis.library.library.Library.motifs`."""
        found = self.density(level=level)
        rows = self.members
        return {
            "name": self.name,
            "kind": self.kind,
            "formula": None if rows["formula"].isna().all() else str(rows["formula"].mode()[0]),
            "status": self.status,
            "n": len(rows),
            "images": self.n_images,
            "density": None if found is None else found.value,
            "density_low": None if found is None else found.low,
            "density_high": None if found is None else found.high,
            "corrected": None if found is None else found.corrected,
            "materials": _listed(rows["material"]),
            "labs": _listed(rows["lab"]),
            "detectors": _listed(rows["detector"] + "@" + rows["version"]),
        }


def _listed(values: pd.Series) -> str:
    return ", ".join(sorted(set(values.dropna())))
