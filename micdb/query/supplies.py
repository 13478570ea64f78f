"""What a query needs from elsewhere: rows of the catalog in DuckDB, numbers out of the big tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Select

from micdb.catalog.results import rollup
from micdb.errors import UsageError
from micdb.query.big_tables import BigTables
from micdb.query.child_scope import is_big, needs_big
from micdb.query.child_sql import child_element
from micdb.query.columns import SOURCES
from micdb.query.crossing import Absent, Values, cross
from micdb.query.elements import Element
from micdb.query.needs import children_in
from micdb.query.nodes import Kind, Node, columns_in
from micdb.query.property_sql import property_value, rollup_lookup, rollup_value
from micdb.query.relation import Relation, start
from micdb.query.text import write


class Supplies(BigTables):
    """How the rows of a query get what is not where they are."""

    def images(self, relation: Relation) -> np.ndarray:
        """Return the local keys of a relation's micrographs, ``(n,)``, sorted and unique."""
        statement = images_of(relation).order_by(None) if relation.limit is None else images_of(relation)
        if self.inside:
            one = statement.subquery()
            distinct = self.session.table(sa.select(*one.c).distinct())
            return np.sort(distinct.column(0).to_numpy())
        found = self.connection.execute(statement).scalars().all()
        return np.unique(np.array(found, dtype=np.int64))

    def column(self, relation: Relation, name: str) -> Element:
        """Return a visible column, a property or a roll-up; in DuckDB `ready` has to come first."""
        if name in relation.columns:
            return relation.columns[name]
        if self.inside:
            return relation.extra[write(self._named(name))]
        place = (name, id(relation.image), id(relation.sample), *self.pins.items())
        if place not in self._found:  # one element, however often it is spoken of: SQL computes it once
            if name in self.vocabulary.properties:
                made = property_value(self.vocabulary.properties[name], relation)
            else:
                beside = self._rollups.get((name, *self.runs("rollup", name)))
                if beside is not None and any(one.table is beside for one in relation.lookups):
                    return beside.c.value
                made = rollup_value(name, self.runs("rollup", name), relation)
            self._found[place] = (made, relation)
        return self._found[place][0]

    def child(self, relation: Relation, node: Node) -> Element:
        """Return an aggregate over children of images; `ready` has to come first."""
        if self.inside:
            return relation.extra[write(node)]
        return child_element(node, relation, self.runs)

    # ------------------------------------------------------------------ what expressions need

    def ready(self, relation: Relation, nodes: Iterable[Node], names: Iterable[str] = ()) -> Relation:
        """Return the relation with everything at hand that expressions and named columns need.

        Parameters
        ----------
        relation
            The rows, without a limit.
        nodes, names
            Expressions, and columns beside theirs.
        """
        nodes = list(nodes)
        if not self.inside:
            relation = self._with_rollups(relation, nodes, names := list(names))
        leaves = {write(leaf): leaf for node in nodes for leaf in _leaves(node, relation.columns)}
        leaves |= {
            write(leaf): leaf for leaf in map(self._named, names) if leaf.args[0] not in relation.columns
        }
        big = {text: leaf for text, leaf in leaves.items() if leaf.op == "child" and is_big(leaf)}
        if not self.inside and not big and not any(map(needs_big, nodes)):
            return relation  # the catalog has them all
        if any(text not in relation.extra for text in big):
            big |= {write(leaf): leaf for leaf in self.ahead if is_big(leaf)}
        small = {text: leaf for text, leaf in leaves.items() if text not in big}
        if self.inside:
            relation = self._fetched(
                relation, {t: leaf for t, leaf in small.items() if t not in relation.extra}
            )
        else:
            relation = self.crossed(relation, small)
        for table in dict.fromkeys(leaf.args[0] for leaf in big.values()):
            asked = {t: leaf for t, leaf in big.items() if leaf.args[0] == table and t not in relation.extra}
            if asked:
                relation = self.aggregated(relation, table, asked)
        return relation

    def _with_rollups(self, relation: Relation, nodes: Iterable[Node], names: Iterable[str]) -> Relation:
        """Return the relation with the roll-ups that are spoken of among its lookups."""
        for name in dict.fromkeys([*(one for node in nodes for one in columns_in(node)), *names]):
            hidden = name not in relation.columns and name not in self.vocabulary.properties
            if relation.image is not None and hidden:
                runs = self.runs("rollup", name)
                table = self._rollups.setdefault((name, *runs), rollup.alias())
                if all(one.table is not table for one in relation.lookups):
                    found = rollup_lookup(table, name, runs, relation.image)
                    relation = replace(relation, lookups=(*relation.lookups, found))
        return relation

    def crossed(self, relation: Relation, leaves: Mapping[str, Node] | None = None) -> Relation:
        """Return the same rows in DuckDB, with leaves of the catalog beside them."""
        later = frozenset() if self.later is None else self.later(tuple(relation.columns))
        self.before = relation if later else None
        done = cross(
            relation,
            self.connection,
            self.session,
            schema=self.schema,
            wanted=self.wanted,
            later=later,
            values=self._values(leaves or {}, relation),
            stable=self.stable,
        )
        self.inside, self.reach = True, done.images
        self.notes.append(f"{len(done.images)} images from the catalog go to DuckDB")
        return done.relation

    def joined(
        self, relation: Relation, values: Callable[[Relation], Values]
    ) -> tuple[Relation, dict[str, Element]]:
        """Fetch values of images from the catalog and return the relation with them beside it.

        Parameters
        ----------
        relation
            Rows in DuckDB that belong to images.
        values
            Given the images of the catalog, says what is wanted of them.
        """
        relation = relation.settled()
        owners = replace(start(SOURCES["images"]), order=(), key=())
        owners = replace(owners, where=(*owners.where, *self.narrowed(owners.image)))
        asked = values(owners)
        columns = [
            ("image", "integer"),
            *((f"v{index}", kind) for index, (kind, _) in enumerate(asked.values())),
        ]
        made = [element.label(f"v{index}") for index, (_, element) in enumerate(asked.values())]
        statement = owners.select([owners.image.label("image"), *made])  # type: ignore[union-attr]
        found = self.handed_over(statement, columns)
        rows = relation.rows.join(found, found.c.image == relation.image, isouter=True)
        return replace(relation, rows=rows), {text: found.c[f"v{index}"] for index, text in enumerate(asked)}

    def _fetched(self, relation: Relation, leaves: Mapping[str, Node]) -> Relation:
        if not leaves:
            return relation
        relation, found = self.joined(relation, lambda owners: self._values(leaves, owners))
        return replace(relation, extra={**relation.extra, **found})

    def _values(self, leaves: Mapping[str, Node], relation: Relation) -> Values:
        """Return the SQL of leaves in the catalog: children, properties, roll-ups."""
        catalog = Supplies(self.context, self.vocabulary, self.connection, self.open)
        catalog.pins = self.pins
        found: dict[str, tuple[Kind, Element]] = {}
        for text, leaf in leaves.items():
            if leaf.op == "child":
                found[text] = (leaf.kind, catalog.child(relation, leaf))
            else:
                found[text] = (leaf.kind, catalog.column(relation, leaf.args[0]))
        return found

    def _named(self, name: str) -> Node:
        """Return a column of the images that is not visible: a property or roll-up."""
        if name in self.schema.fields:
            return self.schema[name].expr()
        return self.vocabulary.schema("images")[name].expr()


def images_of(relation: Relation) -> Select[Any]:
    """Return the statement with the micrographs' local keys, in order."""
    if relation.image is None:
        raise UsageError("these rows are no images: search and count children before groupby")
    return relation.select([relation.image])


def needs_parts(node: Node) -> bool:
    """Return whether an expression has an aggregate over a big table."""
    return needs_big(node) or any(map(is_big, children_in(node)))


def present(element: Element) -> Element:
    """Return a column that an expression speaks of, which must have crossed over."""
    if isinstance(element.type, Absent):
        raise RuntimeError("a column that the query needs was left behind in the catalog; this is a bug")
    return element


def _leaves(node: Node, visible: Mapping[str, Element]) -> Iterator[Node]:
    """Yield what an expression needs besides visible columns: children, properties, roll-ups."""
    if node.op == "child" or (node.op == "column" and node.args[0] not in visible):
        yield node
    elif node.op != "column":
        for arg in node.args:
            if isinstance(arg, Node):
                yield from _leaves(arg, visible)
