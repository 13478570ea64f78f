"""What a link needs from the database: one table of columns, and the vectors of its images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
import sqlalchemy as sa
from numpy.typing import NDArray

from micdb.catalog.engine import reading
from micdb.catalog.tables import micrograph
from micdb.query.dialect import local
from micdb.query.search import vectors

if TYPE_CHECKING:
    from micdb.query.context import Context


class Frame(Protocol):
    """The part of a query frame that linking uses."""

    @property
    def context(self) -> Context:
        """Return the surroundings of the query."""

    def __contains__(self, name: object, /) -> bool:
        """Return whether a column of that name is shown."""

    def __getitem__(self, names: list[str], /) -> Any:
        """Return a frame of these columns; properties resolve by name."""

    def assign(self, **columns: Any) -> Any:
        """Return a frame with further columns."""

    def expression(self, text: str) -> Any:
        """Return what a query text says of each row."""


class Vectors(NamedTuple):
    """The vectors an ``embedding(...)`` term stands for.

    Parameters
    ----------
    space
        Name of the space they live in, for example ``texture@256nm``.
    keys
        Row names, shape ``(m,)``.
    matrix
        Shape ``(m, d)``.
    """

    space: str
    keys: Sequence[Any] | NDArray[Any]
    matrix: NDArray[Any]


def read_table(
    frame: Frame, names: Iterable[str], *, computed: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Return ``uid`` and the named columns of a frame, units in ``attrs["units"]``.

    Parameters
    ----------
    frame
        Of images.
    names
        Columns.
    computed
        Those of them that a query text computes -> the text.

    Raises
    ------
    UnknownColumnError
        The frame has no such column.
    QuerySyntaxError, ExpressionError
        A text cannot be read.
    """
    if computed:
        frame = frame.assign(**{name: frame.expression(text) for name, text in computed.items()})
    table: pd.DataFrame = frame[list(dict.fromkeys(["uid", *names]))].to_pandas()
    return table


def read_vectors(context: Context, names: Sequence[str], uids: pd.Series[Any]) -> dict[str, Vectors]:
    """Return the vectors of images for each name in ``embedding(...)``.

    The name of an extractor means the space of its current run that holds most of the images; the name
    of a space means that space.

    Raises
    ------
    UsageError
        Nothing of that name fills vectors.
    """
    return {name: found for name, (_, found) in read_spaces(context, names, uids).items()}


def read_spaces(
    context: Context, names: Sequence[str], uids: pd.Series[Any]
) -> dict[str, tuple[vectors.Space, Vectors]]:
    """Return the space that each name means beside the vectors in it; see `read_vectors`."""
    if not names:
        return {}
    wanted = local(((uid,) for uid in uids), [("uid", "text")])
    statement = sa.select(micrograph.c.pk, micrograph.c.uid).join(wanted, wanted.c.uid == micrograph.c.uid)
    with reading(context.engine) as connection:
        uid_of = {int(pk): str(uid) for pk, uid in connection.execute(statement)}
    images = np.array(sorted(uid_of), dtype=np.int64)
    found = {}
    for name in names:
        space = vectors.best_space(context, name, images)
        held, matrix = vectors.load(context, space, images)
        found[name] = space, Vectors(space.name, [uid_of[int(pk)] for pk in held], matrix)
    return found
