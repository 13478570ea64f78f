"""What stands behind the rows of a frame: the runs whose rows its columns and conditions are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from sqlalchemy import Connection

from micdb.catalog.engine import reading
from micdb.query import verbs
from micdb.query.child_scope import nearby
from micdb.query.columns import PARTS, SOURCES
from micdb.query.frame import Frame
from micdb.query.needs import children_in
from micdb.query.nodes import Node, columns_in
from micdb.query.schema import Schema
from micdb.query.search import physical, vectors
from micdb.query.vocabulary import pin, runs_of


class Origins(NamedTuple):
    """What a frame's rows come from.

    Parameters
    ----------
    runs
        Local keys of the runs, sorted.
    properties
        Names of the properties, in the order they are spoken of.
    """

    runs: list[int]
    properties: list[str]


def origins(frame: Frame) -> Origins:
    """Return the runs and properties that a frame's rows come from.

    Children of images, roll-ups, searches by example and joined frames are looked through; what a condition
    alone speaks of counts, too.

    Parameters
    ----------
    frame
        Any frame.
    """
    with reading(frame.context.engine) as connection:
        found = _Walk(frame, connection)
    return Origins(sorted(found.runs), list(found.properties))


def images_behind(frame: Frame) -> np.ndarray:
    """Return the local keys of the images that a frame's rows are or belong to, ``(n,)``, in row order.

    Of groups these are the images that were grouped; rows of samples, properties and runs have none.
    """
    steps = list(frame.steps)
    grouped = [index for index, step in enumerate(steps) if isinstance(step, verbs.Group)]
    before = Frame(frame.context, frame.base, vocabulary=frame.vocabulary)
    for step in steps[: grouped[0]] if grouped else steps:
        if frame.base == "images" or not isinstance(step, verbs.Select):  # the uid of the image must stay
            before = before.then(step)
    if before.of_images:
        return np.array(list(dict.fromkeys(before.pks().tolist())), np.int64)
    if frame.base in ("samples", "properties", "runs", "images"):
        return np.empty(0, np.int64)
    if "image" not in before.columns:  # renamed: whichever images have such rows
        before = Frame(frame.context, frame.base, vocabulary=frame.vocabulary)
    uids = [uid for uid in before.unique("image") if uid is not None]
    every = Frame(frame.context, "images")
    keys: np.ndarray = every[every.uid.isin(uids)].pks()
    return keys


class _Walk:
    """Goes through the verbs of a frame and gathers the runs they mean."""

    def __init__(self, frame: Frame, connection: Connection) -> None:
        self.frame, self.connection = frame, connection
        self.runs: set[int] = set()
        self.properties: dict[str, None] = {}
        self.pins: dict[str, int] = {}
        if SOURCES[frame.base].run is not None or frame.base in PARTS:
            for step in frame.steps:  # what a pin means holds for the rows it starts from, too
                self._pin(step)
            self._add(frame.base)
        now = Frame(frame.context, frame.base, vocabulary=frame.vocabulary)
        for step in frame.steps:
            self._pin(step)
            self._step(step, now.schema)
            now = now.then(step)

    def _pin(self, step: verbs.Verb) -> None:
        if isinstance(step, verbs.Using):
            self.pins[step.analysis] = pin(self.connection, step.analysis, step.version)

    def _add(self, table: str, name: str | None = None) -> None:
        self.runs |= {*runs_of(self.connection, table, pins=self.pins, name=name)}

    def _step(self, step: verbs.Verb, schema: Schema) -> None:
        self._hidden(name for name in _names(step) if name not in schema.fields)
        for node in _expressions(step):
            for child in children_in(node):
                self._add(child.args[0])
            for near in nearby(node):
                self._add(near.table)
        if isinstance(step, verbs.WithProperty):
            self.properties[step.name] = None
        if isinstance(step, verbs.Explode):
            self._add(step.table)
        if isinstance(step, verbs.Similar):
            self._search(step)
        if isinstance(step, verbs.Join):
            other = Frame(
                self.frame.context, step.other.base, steps=step.other.steps, schema=step.other.schema
            )
            theirs = _Walk(other, self.connection)
            self.runs |= theirs.runs
            self.properties |= theirs.properties

    def _hidden(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self.frame.vocabulary.properties:
                self.properties[name] = None
            else:
                self._add("rollup", name)

    def _search(self, step: verbs.Similar) -> None:
        context = self.frame.context
        if step.scale == "physical":
            self.runs.add(physical.shared_space(context, step.by, self.pins).run)
            return
        table = "patches" if step.level == "patch" else "embeddings"
        self.runs |= {space.run for space in vectors.spaces(context, step.by, self.pins, table=table)}


def _expressions(step: verbs.Verb) -> list[Node]:
    if isinstance(step, verbs.Filter):
        return [step.mask]
    return [expr for _, expr in step.columns] if isinstance(step, verbs.Assign) else []


def _names(step: verbs.Verb) -> Iterator[str]:
    """Yield the columns of its own table that a verb speaks of."""
    for node in _expressions(step):
        yield from columns_in(node)
    if isinstance(step, verbs.Select):
        yield from step.names
    elif isinstance(step, verbs.Sort | verbs.Distinct):
        yield from step.by
    elif isinstance(step, verbs.Group):
        yield from (*step.keys, *(column for _, column, _ in step.aggregates))
