"""What people said of findings and drew on images joins, history by history.

A history is one thing that was found, with every row that replaced it and everything said of it; or all
drawings of one kind on one image. Annotations are only ever added, so of two versions of a history one may
hold the other: then the longer one is current. Where each has what the other has not, it is a conflict.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from micdb.catalog import results as r
from micdb.catalog.rows import id_list, text_list
from micdb.catalog.tables import micrograph
from micdb.exchange import conflicts
from micdb.exchange.joining import Merge, Row
from micdb.exchange.report import Disagreement

# What a detector says of one thing: two runs of the same weights on the same pixels say the same.
_PLACE = ("frame", "kind", "x_px", "y_px", "score")

d, a = r.defect.c, r.annotation.c


@dataclass(slots=True)
class History:
    """One history: rows of defects, oldest first, and annotations in order."""

    rows: list[Row] = field(default_factory=list)
    said: list[Row] = field(default_factory=list)

    @property
    def words(self) -> set[str]:
        """Uid of every annotation."""
        return {one["uid"] for one in self.said}

    @property
    def moment(self) -> str:
        """When the last word was said."""
        return max((one["created_at"] for one in self.said), default="")

    @property
    def added(self) -> bool:
        """Whether a person began it: a defect that a detector missed."""
        return any(one["verb"] == "add" and one["target_uid"] == self.rows[0]["uid"] for one in self.said)

    def as_json(self) -> dict[str, Any]:
        """Return what conflicts show of it."""
        return {
            "states": {row["uid"]: row["state"] for row in self.rows},
            "said": [{"uid": one["uid"], "verb": one["verb"], "at": one["created_at"]} for one in self.said],
        }


class Histories:
    """Histories of another catalog while they join.

    Parameters
    ----------
    merge
        The merge.
    write
        A write transaction.
    """

    def __init__(self, merge: Merge, write: Connection) -> None:
        self.merge, self.write = merge, write
        self.uids: dict[str, str] = {}  # ours by theirs, of rows that are the same under another uid

    def join(self, run: int, images: Mapping[int, int], fresh: set[int]) -> None:
        """Let the defects of one run join.

        Parameters
        ----------
        run
            Their key of the run.
        images
            Their keys of images by ours.
        fresh
            Our keys of the images whose answer comes now; of the others ours stays.
        """
        reading = self.merge.supply.connection
        keys = {theirs: ours for ours, theirs in images.items()}
        rows = self.merge.theirs(r.defect, d.run_pk == run, self.merge.of(d.micrograph_pk, keys))
        if not rows:
            return
        theirs = _histories(rows, _annotations(reading, "defect", [row["uid"] for row in rows]))
        new = [one for one in theirs if keys[one.rows[0]["micrograph_pk"]] in fresh]
        self._bring(new)
        if len(new) < len(theirs):
            fresh_keys = {images[pk] for pk in fresh}
            old = [one for one in theirs if one.rows[0]["micrograph_pk"] not in fresh_keys]
            self._meet(run, old, [pk for pk in images if pk not in fresh])

    def join_drawings(self, images: Sequence[Row]) -> None:
        """Let what was said of images join: drawings."""
        reading, keys = self.merge.supply.connection, self.merge.keys["micrograph"]
        named = {row["uid"]: keys[row["pk"]] for row in images}
        listed = sa.select(id_list(self.write, named.values()).c.id)
        m = micrograph.c
        ours = {row.pk: row.uid for row in self.write.execute(sa.select(m.pk, m.uid).where(m.pk.in_(listed)))}
        self.uids.update({uid: ours[pk] for uid, pk in named.items() if uid != ours[pk]})
        theirs = _drawings(_annotations(reading, "micrograph", named))
        if not theirs:
            return
        here = _drawings(_annotations(self.write, "micrograph", list(ours.values())))
        for (uid, *kind), history in theirs.items():
            target = self.uids.get(uid, uid)
            held = here.get((target, *kind), History())
            if self._is_theirs(held, history, "micrograph", target):
                self._say(one for one in history.said if one["uid"] not in held.words)

    def _meet(self, run: int, theirs: Sequence[History], images: Sequence[int]) -> None:
        """Let histories join those of answers that are here already."""
        listed = sa.select(id_list(self.write, images).c.id)
        mine = (d.run_pk == self.merge.keys["run"][run], d.micrograph_pk.in_(listed))
        rows = [dict(row) for row in self.write.execute(sa.select(r.defect).where(*mine)).mappings()]
        rows.sort(key=lambda row: row["pk"])
        ours = _histories(rows, _annotations(self.write, "defect", [row["uid"] for row in rows]))
        by_uid = {row["uid"]: one for one in ours for row in one.rows}
        by_place = {self._place(one.rows[0], here=True): one for one in ours if not one.added}
        unknown = 0
        for history in theirs:
            held = by_uid.get(history.rows[0]["uid"])
            if held is None and not history.added:
                held = by_place.get(self._place(history.rows[0], here=False))
                if held is not None:
                    self.uids[history.rows[0]["uid"]] = held.rows[0]["uid"]
            if held is not None:
                self._compare(held, history)
            elif history.added:
                self._bring([history])
            else:
                unknown += 1
        if unknown:
            self.merge.report.left_out.append(
                f"{unknown} defects of a run that answered here already, with other answers: ours stay"
            )

    def _compare(self, ours: History, theirs: History) -> None:
        self.merge.report.known["defect"] += len(theirs.rows)
        here = {row["uid"]: row for row in ours.rows}
        if not self._is_theirs(ours, theirs, "defect", ours.rows[0]["uid"]):
            return
        fresh = [row for row in theirs.rows if self.uids.get(row["uid"], row["uid"]) not in here]
        kept = {self.uids.get(row["uid"], row["uid"]): row["state"] for row in theirs.rows}
        for uid, row in here.items():  # what only ours made is undone when theirs is current
            state = kept.get(uid, "undone")
            if state != row["state"]:
                self.write.execute(r.defect.update().where(d.uid == uid).values(state=state))
                self.merge.report.filled["defect"] += 1
        self._insert(fresh)
        self._say(one for one in theirs.said if one["uid"] not in ours.words)

    def _is_theirs(self, ours: History, theirs: History, entity: str, uid: str) -> bool:
        """Return whether their version becomes current; where neither holds the other, decide."""
        if theirs.words <= ours.words:
            return False
        if ours.words <= theirs.words:
            return True
        kept = conflicts.choose(self.merge.policy, ours.moment, theirs.moment)
        here, there = ours.as_json(), theirs.as_json()
        found = Disagreement(entity, uid, {"annotations": (here["said"], there["said"])}, kept)
        revision = there if kept == "ours" else here
        conflicts.keep(self.write, self.merge.report, found, policy=self.merge.policy, revision=revision)
        return kept == "theirs"

    def _bring(self, histories: Sequence[History]) -> None:
        self._insert([row for one in histories for row in one.rows])
        self._say(sorted((one for each in histories for one in each.said), key=lambda one: one["pk"]))

    def _insert(self, rows: Sequence[Row]) -> None:
        """Insert defects; each finds what it replaces once all are there."""
        made = [{**self.merge.translated(r.defect, row), "replaces_pk": None} for row in rows]
        self.merge.insert(self.write, r.defect, made)
        linked = [row for row in rows if row["replaces_pk"] is not None]
        if not linked:
            return
        theirs = {row["pk"]: row["uid"] for row in self.merge.theirs(
            r.defect, self.merge.of(d.pk, {row["replaces_pk"] for row in linked}))}  # fmt: skip
        wanted = {self.uids.get(uid, uid) for uid in theirs.values()} | {row["uid"] for row in linked}
        listed = sa.select(text_list(self.write, wanted).c.value)
        ours = {
            row.uid: row.pk for row in self.write.execute(sa.select(d.uid, d.pk).where(d.uid.in_(listed)))
        }
        for row in linked:
            before = theirs[row["replaces_pk"]]
            replaced = ours[self.uids.get(before, before)]
            self.write.execute(r.defect.update().where(d.pk == ours[row["uid"]]).values(replaces_pk=replaced))

    def _say(self, said: Iterable[Row]) -> None:
        """Insert annotations, with our uids for rows that have another here."""
        made = []
        for one in said:
            row = self.merge.translated(r.annotation, one)
            row["target_uid"] = self.uids.get(row["target_uid"], row["target_uid"])
            made.append(row)
        self.merge.insert(self.write, r.annotation, made)

    def _place(self, row: Row, *, here: bool) -> tuple[Any, ...]:
        image = row["micrograph_pk"]
        ours = image if here else self.merge.keys["micrograph"][image]
        return (ours, *(row[name] for name in _PLACE))


def _histories(rows: Sequence[Row], said: Sequence[Row]) -> list[History]:
    """Return rows of defects and what was said of them as histories, in the order of their beginnings."""
    by_pk = {row["pk"]: row for row in rows}
    root: dict[int, int] = {}
    for pk in by_pk:
        chain = [pk]
        while (before := by_pk[chain[-1]]["replaces_pk"]) in by_pk:
            chain.append(before)
        root[pk] = chain[-1]
    found: dict[int, History] = defaultdict(History)
    for row in sorted(rows, key=lambda row: (row["replaces_pk"] is not None, row["pk"])):
        found[root[row["pk"]]].rows.append(row)
    begun = {row["uid"]: root[row["pk"]] for row in rows}
    for one in said:
        found[begun[one["target_uid"]]].said.append(one)
    return list(found.values())


def _drawings(said: Sequence[Row]) -> dict[tuple[Any, ...], History]:
    """Return what was said of images by image, kind and frame; an undo belongs to what it undoes."""
    kinds: dict[str, tuple[Any, ...]] = {}
    found: dict[tuple[Any, ...], History] = defaultdict(History)
    for one in said:
        value = one["value"] or {}
        kind = kinds.get(one["supersedes_uid"]) if one["verb"] == "undo" else None
        kinds[one["uid"]] = kind or (one["target_uid"], value.get("kind"), value.get("frame"))
        found[kinds[one["uid"]]].said.append(one)
    return dict(found)


def _annotations(connection: Connection, table: str, uids: Iterable[str]) -> list[Row]:
    """Return what was said of rows of a table, in the order it was written."""
    listed = sa.select(text_list(connection, uids).c.value)
    query = sa.select(r.annotation).where(a.target_table == table, a.target_uid.in_(listed)).order_by(a.pk)
    return [dict(row) for row in connection.execute(query).mappings()]
