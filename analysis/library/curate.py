"""What changes the library: motifs are proposed, added, merged, split, retired; defects are put into them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pandas as pd
from sqlalchemy import Connection, Engine

from micdb.analysis.library import definition as define
from micdb.analysis.library import motifs as store
from micdb.analysis.library.census import Census
from micdb.analysis.library.found import defects, details
from micdb.analysis.library.proposals import Proposal, by_graph, by_look
from micdb.catalog.engine import writing
from micdb.embed.defects.classes import UNKNOWN
from micdb.errors import UsageError


@dataclass(frozen=True, slots=True, repr=False)
class Built:
    """What building the library did.

    Parameters
    ----------
    proposed
        Names of new motifs.
    assigned
        Defects that belong to a motif now.
    rest
        Defects that belong to none: too few of their sort, or like no other.
    """

    proposed: tuple[str, ...]
    assigned: int
    rest: int

    def __repr__(self) -> str:
        new = f"; {len(self.proposed)} new: {', '.join(self.proposed)}" if self.proposed else ""
        return f"{self.assigned:,} defects in motifs, {self.rest:,} in none{new}"

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {"proposed": list(self.proposed), "assigned": self.assigned, "rest": self.rest}


class Curator:
    """Changes the library of one catalog; each method is one transaction.

    Parameters
    ----------
    engine
        The catalog.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def build(self, images: Iterable[int] | None, *, rare: int) -> Built:
        """See `micdb.analysis.library.library.Library.build`."""
        with writing(self._engine) as connection:
            rows = Census.of(self._engine, images).standing
            known = store.motifs(connection, retired=True)
            taken = define.assign({one.pk: one.definition for one in known}, rows, self._descriptors)
            gone = [one.pk for one in known if one.status == "retired"]
            new = []
            for name, definition, members in self._proposals(rows[taken.isna()], known, rare):
                taken[members] = store.insert(connection, name, definition)
                new.append(name)
            taken = taken.mask(taken.isin(gone))
            _put(connection, rows, taken)
        return Built(tuple(new), int(taken.notna().sum()), int(taken.isna().sum()))

    def add(self, name: str, uids: list[str], *, least: float) -> None:
        """See `micdb.analysis.library.library.Library.add`."""
        if not 0 < least <= 1:
            raise UsageError(f"least is {least!r}; expected a probability above 0, up to 1")
        with writing(self._engine) as connection:
            rows = Census(self._engine).standing
            shown, descriptors = self._examples(rows, uids)
            pk = store.insert(
                connection, name, define.of_examples(shown, descriptors, least), status="accepted"
            )
            chosen = {one.pk: one.definition for one in store.motifs(connection)}
            taken = define.assign(chosen, rows, self._descriptors)
            _put(connection, rows[taken == pk], taken[taken == pk])

    def merge(self, names: Iterable[str], into: str) -> None:
        """See `micdb.analysis.library.library.Library.merge`."""
        wanted = list(dict.fromkeys(names))
        if len({*wanted, into}) < 2 or not wanted:
            raise UsageError(f"merging takes two motifs or more, not {', '.join(wanted) or 'none'}")
        with writing(self._engine) as connection:
            known = {one.name for one in store.motifs(connection)}
            parts = [store.motif(connection, one) for one in dict.fromkeys([*wanted, *({into} & known)])]
            whole = define.of_any(one.definition for one in parts)
            target = next((one.pk for one in parts if one.name == into), None)
            if target is None:
                target = store.insert(connection, into, whole, status="accepted")
            else:
                store.change(connection, target, definition=whole, status="accepted")
            store.move(connection, [one.pk for one in parts], target)
            for one in parts:
                if one.pk != target:
                    store.remove(connection, one)

    def split(self, name: str, *, by: str, rare: int) -> list[str]:
        """See `micdb.analysis.library.library.Library.split`."""
        if by not in ("key", "look"):
            raise UsageError(f"by is {by!r}; expected 'key' or 'look'")
        with writing(self._engine) as connection:
            old = store.motif(connection, name)
            every = defects(self._engine, every_run=True)
            every = every[every["motif"] == old.pk]
            shown = every[every["pk"].isin(Census(self._engine).standing["pk"])]
            taken = {one.name for one in store.motifs(connection, retired=True)}
            parts = list(
                by_graph(shown, taken, rare=rare)
                if by == "key"
                else by_look(shown, taken, rare=rare, descriptors=self._descriptors, prefix=name)
            )
            if len(parts) < 2:
                raise UsageError(
                    f"{name} does not come apart by {by}: of its {len(shown)} defects there are not two "
                    f"sorts of {rare} or more each"
                )
            store.move(connection, [old.pk], None)
            store.remove(connection, old)
            made = {store.insert(connection, new, definition): definition for new, definition, _ in parts}
            belongs = define.assign(made, every, self._descriptors)  # those of older runs follow
            for pk, (_, _, index) in zip(made, parts, strict=True):
                belongs[index] = pk
            _put(connection, every.assign(motif=pd.array([pd.NA] * len(every), dtype="Int64")), belongs)
        return [new for new, _, _ in parts]

    def rename(self, name: str, new: str) -> None:
        """See `micdb.analysis.library.library.Library.rename`."""
        with writing(self._engine) as connection:
            old = store.motif(connection, name)
            store.require_free(connection, new)
            store.change(connection, old.pk, name=new)

    def accept(self, name: str) -> None:
        """See `micdb.analysis.library.library.Library.accept`."""
        with writing(self._engine) as connection:
            store.change(connection, store.motif(connection, name).pk, status="accepted")

    def retire(self, name: str) -> None:
        """See `micdb.analysis.library.library.Library.retire`."""
        with writing(self._engine) as connection:
            old = store.motif(connection, name)
            store.move(connection, [old.pk], None)
            store.change(connection, old.pk, status="retired")

    def _proposals(self, rows: pd.DataFrame, known: list[store.Motif], rare: int) -> Iterator[Proposal]:
        taken = {one.name for one in known}
        unknown = rows[rows["kind"] == UNKNOWN]
        return chain(
            by_graph(rows, taken, rare=rare),
            by_look(unknown, taken, rare=rare, descriptors=self._descriptors, prefix=UNKNOWN),
        )

    def _descriptors(self, rows: pd.DataFrame) -> pd.Series:
        found = details(self._engine, rows["pk"].tolist())["descriptor"]
        return pd.Series(found.to_numpy(), index=rows.index, dtype=object)

    def _examples(self, rows: pd.DataFrame, uids: list[str]) -> tuple[pd.DataFrame, pd.Series]:
        """Return the rows of examples and their descriptors."""
        missing = sorted(set(uids) - set(rows["uid"]))
        if missing:
            raise UsageError(
                f"{missing[0]!r} is no defect that stands in a current run: db.defects has their uids"
            )
        shown = rows[rows["uid"].isin(uids)]
        detectors = sorted(set(shown["detector"] + "@" + shown["version"]))
        if len(shown) < 2 or len(detectors) != 1:
            raise UsageError(
                f"{len(shown)} examples by {', '.join(detectors) or 'no detector'}: expected two or more by "
                "one detector, whose descriptors can be compared"
            )
        descriptors = self._descriptors(shown)
        without = shown[descriptors.isna()]
        if not without.empty:
            raise UsageError(
                f"{without['uid'].iloc[0]!r} has no descriptor: a person added it, or its detector has no "
                "network; take others as examples"
            )
        return shown, descriptors


def _put(connection: Connection, rows: pd.DataFrame, taken: pd.Series) -> None:
    """Write where defects belong, of those whose motif changes."""
    changed = (rows["motif"] != taken).fillna(value=True) & ~(rows["motif"].isna() & taken.isna())
    for motif, members in rows[changed].groupby(taken[changed], dropna=False):
        store.put(connection, members["pk"].tolist(), None if pd.isna(motif) else int(motif))
