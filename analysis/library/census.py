"""How many defects there are, and how densely, with what corrections say of their detector."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Engine

from micdb.analysis.library.density import Counted, Density, Rates, density
from micdb.analysis.library.found import cards, defects, details, looked_at
from micdb.analysis.scorecard import Judged, judged
from micdb.catalog.results import STANDING
from micdb.embed.defects.classes import UNKNOWN

_SOME = 50  # defects whose surroundings tell the host
_THEIRS = ("detected", "accepted", "rejected", "replaced")  # states of what detectors said


@dataclass(frozen=True)
class Census:
    """The defects of some images, as the current runs and the corrections have them.

    Parameters
    ----------
    engine
        The catalog.
    images
        ``micrograph.pk``; None for all.
    """

    engine: Engine
    images: tuple[int, ...] | None = None

    @classmethod
    def of(cls, engine: Engine, images: Iterable[int] | None) -> Census:
        """Return that of some images, or of all."""
        return cls(engine, None if images is None else tuple(int(one) for one in images))

    @cached_property
    def rows(self) -> pd.DataFrame:
        """Every row, whatever its state; see `micdb.analysis.library.found.defects`."""
        return defects(self.engine, self.images)

    @cached_property
    def standing(self) -> pd.DataFrame:
        """The rows that stand: neither rejected nor replaced."""
        return self.rows[self.rows["state"].isin(STANDING)]

    @cached_property
    def _looked(self) -> pd.DataFrame:
        return looked_at(self.engine, self.images)

    @cached_property
    def _judged(self) -> Judged:
        return judged(self.engine)

    @cached_property
    def _cards(self) -> dict[int, dict[str, Any]]:
        return cards(self.engine, self._looked["run"].unique().tolist())

    def density(self, members: pd.DataFrame, *, level: float = 0.95) -> Density | None:
        """Return the areal density of some standing defects, corrected for their detector.

        Parameters
        ----------
        members
            Rows of `standing`. Where several detectors found them, those of the one that found most count.
        level
            Probability of the interval.

        Returns
        -------
        Density or None
            None where no scale is known. Without planted truth and corrections it is not corrected.
        """
        if members.empty:
            return None
        run = int(members["run"].value_counts().index[0])
        own, kind = members[members["run"] == run], str(members["kind"].mode()[0])
        looked = self._looked[(self._looked["run"] == run) & self._looked["area_nm2"].notna()]
        done = np.array([(run, image) in self._judged.reviewed for image in looked["image"]], dtype=bool)
        areas = looked["area_nm2"].to_numpy(dtype=float)
        if areas.sum() <= 0:
            return None
        own = own[own["image"].isin(looked["image"])]
        inside = own["image"].isin(looked["image"][done])
        found = int((~inside & (own["state"] != "added")).sum())
        seen = Counted(found, float(areas[~done].sum()), self._kept(run, kind, looked["image"][~done]))
        reviewed = Counted(int(inside.sum()), float(areas[done].sum()))
        rates = self._rates(run, kind, own, float(areas[done].sum()))
        return density(seen, rates, reviewed=reviewed, level=level)

    def _kept(self, run: int, kind: str, images: pd.Series) -> float:
        """Return the share of a detector's answers of a kind that nobody rejected."""
        rows = self._said(run, kind)
        rows = rows[rows["image"].isin(images)]
        return float((rows["state"] != "rejected").mean()) if len(rows) else 1.0

    def _rates(self, run: int, kind: str, members: pd.DataFrame, reviewed_nm2: float) -> Rates | None:
        """Return what planted truth and corrections say of a detector and a kind.

        Its false ones are taken to be spread over the motifs of the kind as its answers are.
        """
        # Nobody plants what is unknown: it cannot be said how much of it is missed.
        known = {} if kind == UNKNOWN else self._cards[run].get("planted", {})
        planted = planted_in(known, kind, self._elements(members))
        counts = self._judged.counts
        said = counts[(counts["run"] == run) & (counts["kind"] == kind)]
        if planted is None and said.empty:
            return None
        rates = Rates(0.0, 0.0, 0.0, 0.0) if planted is None else Rates.planted(planted)
        if not said.empty:
            right, missed = float(said["right"].iloc[0]), float(said["missed"].iloc[0])
            false = float(said["false"].iloc[0]) if reviewed_nm2 else 0.0
            rates = rates + Rates(right, missed, false, reviewed_nm2)
        every = max(len(self._said(run, kind)), 1)
        share = min(1.0, len(members) / every)
        return Rates(rates.found, rates.missed, rates.false * share, rates.area_nm2)

    def _elements(self, members: pd.DataFrame) -> frozenset[str]:
        """Return the elements around the defects that are more than one in seven of the atoms there."""
        some = details(self.engine, members["pk"].tolist()[:_SOME])["structure"].dropna()
        names = [
            str(site["species"]).rstrip("0123456789") for sites in some for site in sites if site["species"]
        ]
        return frozenset(name for name, count in Counter(names).items() if count > len(names) / 7)

    def _said(self, run: int, kind: str) -> pd.DataFrame:
        rows = self.rows
        theirs = rows["state"].isin(_THEIRS) & rows["replaces"].isna()
        return rows[theirs & (rows["run"] == run) & (rows["kind"] == kind)]


def planted_in(
    planted: Mapping[str, Mapping[str, float]], kind: str, elements: frozenset[str]
) -> Mapping[str, float] | None:
    """Return what a card says of a kind of defect in such a host, or of the kind; None for neither.

    Parameters
    ----------
    planted
        Of the card: counts by kind, ``vacancy``, and by kind and host, ``vacancy in Mo S``.
    kind
        Of the defects.
    elements
        Of the host. The entry that shares most of them is taken, at least half of those in either.
    """

    def shared(name: str) -> float:
        host = set(name.partition(" in ")[2].split())
        return len(host & elements) / len(host | elements)

    hosts = [name for name in planted if name.startswith(f"{kind} in ") and elements]
    best = max(hosts, key=shared, default=None)
    return planted[best] if best is not None and shared(best) >= 0.5 else planted.get(kind)
