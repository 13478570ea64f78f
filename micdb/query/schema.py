"""What columns a frame has at some point of its making, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from micdb.errors import ExpressionError, UnknownColumnError, UsageError
from micdb.query.expr import Expr, column
from micdb.query.nodes import Kind, Node

DEEPEST = 200  # Python's own limit is 1000 calls, several for each operation


@dataclass(frozen=True, slots=True)
class Field:
    """One column.

    Parameters
    ----------
    name
        Name in queries and in the DataFrame.
    kind, unit
        Type of its values; the unit is None for plain numbers, text and times.
    home
        Frame or verb that made it: a column redefined later is another column of the same name.
    description
        What it is.
    """

    name: str
    kind: Kind
    unit: str | None
    home: str
    description: str = ""

    def expr(self) -> Expr:
        """Return the column as an expression."""
        return column(self.name, self.home, self.kind, unit=self.unit)


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of a frame.

    Parameters
    ----------
    where
        Name of the frame, for messages.
    fields
        Visible columns, in order.
    find
        Looks up names that are no visible column: properties and roll-ups. None where there are none.
    names
        Lists what `find` knows, for suggestions.
    tables
        Gives the columns of another table, for conditions on what of it lies near.
    """

    where: str
    fields: Mapping[str, Field]
    find: Callable[[str], Field | None] | None = None
    names: Callable[[], Iterable[str]] | None = None
    tables: Callable[[str], Schema] | None = None

    def __getitem__(self, name: str) -> Field:
        """Return a column, properties and roll-ups included.

        Raises
        ------
        UnknownColumnError
            There is none; the message offers the nearest ones.
        """
        if not isinstance(name, str):
            raise UsageError(f"{name!r} is no text that names a column")
        field = self.fields.get(name) or (self.find(name) if self.find else None)
        if field is None:
            raise UnknownColumnError(name, [*self.fields, *(self.names() if self.names else ())], self.where)
        return field

    def only(self, fields: Iterable[Field]) -> Schema:
        """Return a schema with just these columns."""
        return Schema(self.where, {field.name: field for field in fields}, tables=self.tables)

    def plus(self, fields: Iterable[Field]) -> Schema:
        """Return a schema with columns added or replaced."""
        return replace(self, fields={**self.fields, **{field.name: field for field in fields}})

    def admit(self, node: Node) -> None:
        """Refuse an expression that is too deep, or has a column that is not this frame's.

        Raises
        ------
        UnknownColumnError
            There is no such column here.
        ExpressionError
            A column of that name exists and is another one, or the expression is too deep.
        """
        if node.depth > DEEPEST:
            raise ExpressionError(
                f"an expression of {node.depth:,} operations in a row is more than {DEEPEST}: "
                "write isin([...]) for many values, or several filters for many conditions"
            )
        if node.op == "column":
            name, home = node.args
            here = self[name]
            if (here.home, here.kind, here.unit) != (home, node.kind, node.unit):
                raise ExpressionError(
                    f"{name!r} in this expression is a column of {home}, in {self.where} it is "
                    f"another one ({here.home}): build the expression from the frame it is used on"
                )
        elif node.op != "child":  # conditions on children speak of the child's columns
            for arg in node.args:
                if isinstance(arg, Node):
                    self.admit(arg)
