"""A select statement in the making: rows, named columns, order and limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import sqlalchemy as sa
from sqlalchemy import FromClause, Select
from sqlalchemy.types import String

from micdb.query.columns import Source
from micdb.query.dialect import ordered
from micdb.query.elements import Element
from micdb.query.lookups import Lookup, joined_in, present, reach, tables_in

Order = tuple[tuple[Element, bool], ...]  # what to order by, and whether downwards


@dataclass(frozen=True, slots=True)
class Relation:
    """Rows with named columns; immutable, every verb returns another.

    Parameters
    ----------
    rows
        Where rows come from.
    columns
        SQL of the visible columns, in order.
    key
        SQL that identifies a row: the default order, and the tie-break of every other one.
    image, sample
        SQL of the micrograph and sample a row belongs to; None where it has none.
    where, order, limit
        Conditions, explicit order, and (start, stop) of the rows wanted.
    extra
        Columns computed or fetched before, by the text of the expression they answer.
    lookups
        Tables that more columns can be taken from; `select` joins those that are spoken of.
    home
        Table that rows are of, and SQL of its key in them, where the rest of a row is found again by it.
    merged
        How many parts at the end of the key say which row of a merged table stands beside.
    """

    rows: FromClause
    columns: Mapping[str, Element]
    key: tuple[Element, ...]
    image: Element | None = None
    sample: Element | None = None
    where: tuple[Element, ...] = ()
    order: Order = ()
    limit: tuple[int, int | None] | None = None
    extra: Mapping[str, Element] = field(default_factory=dict)
    lookups: tuple[Lookup, ...] = ()
    home: tuple[sa.Table, Element] | None = None
    merged: int = 0

    @property
    def own(self) -> tuple[Element, ...]:
        """The key without what merges added: the rows themselves."""
        return self.key[: len(self.key) - self.merged]

    def select(self, columns: Iterable[Element]) -> Select[tuple[object, ...]]:
        """Return the statement that fetches columns of these rows, in order."""
        shown = list(columns)
        spoken = [*shown, *(element for element, _ in self.ordering)]
        rows, _ = reach(self.rows, self.lookups, spoken, self.where)
        statement = sa.select(*shown).select_from(rows).where(*self.where)
        names = Counter(str(getattr(one, "name", "")).casefold() for one in shown)
        # SQLite and DuckDB take the label x for X: where both are there, neither stands for its column
        alone = (one for one in shown if isinstance(one, sa.Label) and names[one.name.casefold()] == 1)
        labels = {id(one.element): one for one in alone}
        statement = statement.order_by(
            *(
                sorting(_once(element, labels), down, certain=self.certain(element))
                for element, down in self.ordering
            )
        )
        if self.limit is not None:
            start, stop = self.limit
            statement = statement.offset(start or None)
            statement = statement.limit(None if stop is None else stop - start)
        return statement

    @property
    def ordering(self) -> Order:
        """The whole order: the explicit one, then the key."""
        named = {id(element) for element, _ in self.order}
        return (*self.order, *((element, False) for element in self.key if id(element) not in named))

    def certain(self, element: Element) -> bool:
        """Return whether an element is never missing: as a column of these rows, or by a condition on it."""
        own = self.home is not None and isinstance(element, sa.Column) and element.table is self.home[0]
        return (own and not element.nullable) or present(element, self.where)

    def nested(self) -> Relation:
        """Return the same rows as a subquery, so that a verb acts on exactly these rows, as in pandas."""
        names = distinct(self.columns)
        shown = {names[name]: element for name, element in self.columns.items()}
        everything = {**shown, **self._hidden(self.extra)}
        statement = self.select(element.label(name) for name, element in everything.items())
        inner = (statement if self.limit else statement.order_by(None)).subquery()
        columns = {name: inner.c[label] for name, label in names.items()}
        return replace(self._back(inner, self.extra), columns=columns)

    def _hidden(self, extra: Mapping[str, Element]) -> dict[str, Element]:
        """Return what a statement fetches besides columns, so that `_back` finds it."""
        return {
            **{f"__key_{index}": element for index, element in enumerate(self.key)},
            **{f"__order_{index}": element for index, (element, _) in enumerate(self.order)},
            **{f"__extra_{index}": element for index, element in enumerate(extra.values())},
            **({} if self.image is None else {"__image": self.image}),
            **({} if self.sample is None else {"__sample": self.sample}),
        }

    def _back(self, inner: sa.Subquery, extra: Iterable[str]) -> Relation:
        """Return the rows of a statement that fetched `_hidden`; they have no columns yet."""
        return Relation(
            rows=inner,
            columns={},
            key=tuple(inner.c[f"__key_{index}"] for index in range(len(self.key))),
            image=None if self.image is None else inner.c["__image"],
            sample=None if self.sample is None else inner.c["__sample"],
            order=tuple((inner.c[f"__order_{index}"], down) for index, (_, down) in enumerate(self.order)),
            extra={text: inner.c[f"__extra_{index}"] for index, text in enumerate(extra)},
            merged=self.merged,
        )

    def settled(self) -> Relation:
        """Return a relation without limit, so that conditions and joins may be added."""
        return self.late() if self.limit else self

    def late(self) -> Relation:
        """Return the same rows, where a limit picks them before the rest of them is looked up."""
        if self.limit is None:
            return self
        return self.nested() if self.home is None else self.fenced(self.select, {})

    def beside(self, on: Element) -> Relation:
        """Return the same rows with every lookup joined that a condition speaks of."""
        rows, lookups = reach(self.rows, self.lookups, [on])
        return replace(self, rows=rows, lookups=lookups)

    def computed(self, found: Mapping[str, Element], names: Iterable[str] = ()) -> Relation:
        """Return the same rows with elements and some columns computed once for each, not once per use.

        Parameters
        ----------
        found
            Becomes part of `extra`.
        names
            Visible columns.
        """

        def select(columns: Iterable[Element]) -> Select[tuple[object, ...]]:
            # No engine merges a statement with an offset into the one around it: it would compute twice.
            return self.select(columns).order_by(None).offset(0)

        return self.fenced(select, found, names)

    def fenced(
        self,
        select: Callable[[Iterable[Element]], Select[tuple[object, ...]]],
        found: Mapping[str, Element],
        names: Iterable[str] = (),
    ) -> Relation:
        """Return the rows of a statement that fetches their keys and what cannot be looked up by them."""
        table, key = self.home  # type: ignore[misc]
        inside = {one for one in joined_in(self.rows) if one is not table}
        for one in self.lookups:  # what hangs on a table in there is looked up in there too
            if one.table is not table and inside & tables_in([one.on]):
                inside.add(one.table)
        order = {id(element): f"__order_{index}" for index, (element, _) in enumerate(self.order)}
        # The sample is looked up like any other column of the row, unless it is known in there alone.
        own = self.sample is not None and not inside & tables_in([self.sample])
        held = replace(self, sample=None) if own else self
        wanted = {*names}
        carried = {
            name: order.get(id(element), f"{label}")
            for (name, element), label in zip(
                self.columns.items(), distinct(self.columns).values(), strict=True
            )
            if id(element) in order or name in wanted or (inside and inside & tables_in([element]))
        }
        made: dict[str, Element] = {
            **{
                label: self.columns[name]
                for name, label in carried.items()
                if not label.startswith("__order")
            },
            **held._hidden({**self.extra, **found}),
            "__home": key,
        }
        inner = select(element.label(name) for name, element in made.items()).subquery()
        rest = Lookup(table, table.c.pk == inner.c["__home"], outer=False)
        lookups = (rest, *(one for one in self.lookups if one.table is not table and one.table not in inside))
        columns = {
            name: inner.c[carried[name]] if name in carried else element
            for name, element in self.columns.items()
        }
        back = held._back(inner, {**self.extra, **found})
        sample = back.sample if held.sample is not None else self.sample
        return replace(back, columns=columns, sample=sample, lookups=lookups, home=(table, inner.c["__home"]))


def _once(element: Element, labels: Mapping[int, sa.Label[object]]) -> Element:
    """Return the label of an element that is also fetched: SQLite would compute it a second time."""
    return element if isinstance(element.type, String) else labels.get(id(element), element)


def distinct(names: Iterable[str]) -> dict[str, str]:
    """Return a label for each name; SQL takes ``Lab`` and ``lab`` for one column."""
    return {name: f"{name}__{index}" for index, name in enumerate(names)}


def start(source: Source) -> Relation:
    """Return every row of a table that is kept in SQL."""
    if source.rows is None:
        raise ValueError(f"{source.name} is not kept in SQL")
    return Relation(
        source.rows,
        source.elements,
        source.order,
        image=source.image,
        sample=source.sample,
        where=(*source.where, *source.alive),
        lookups=source.lookups,
        home=(source.rows, source.rows.c.pk),
    )


def reversed_sorting(element: Element, down: bool) -> Element:
    """Return an element for ORDER BY that turns the order of `sorting` round."""
    key = ordered(element) if isinstance(element.type, String) else element
    return (key.asc() if down else key.desc()).nulls_first()


def sorting(element: Element, down: bool, *, certain: bool = False) -> Element:
    """Return an element for ORDER BY: missing values last both ways, text by code point.

    Where none is missing nothing is said of them: PostgreSQL's indexes know one of the two ways only.
    """
    key = ordered(element) if isinstance(element.type, String) else element
    way = key.desc() if down else key.asc()
    return way if certain else way.nulls_last()
