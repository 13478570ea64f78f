"""Rows for made-up catalogs: random values, and the quickest way of writing them on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Engine, Table

from micdb.catalog.columns import metadata

START = 1_577_836_800_000  # 2020-01-01 [ms since 1970]


class Sink:
    """Writes rows straight into the tables: ``executemany`` on SQLite, ``COPY`` on PostgreSQL.

    Parameters
    ----------
    driver
        The driver's own connection.
    copies
        Whether it takes COPY.
    """

    def __init__(self, driver: Any, *, copies: bool) -> None:
        self.driver = driver
        self.copies = copies

    def write(self, table: Table, names: str, columns: Iterable[Iterable[Any]]) -> None:
        """Write columns, each a sequence of one length, into the columns of `names`."""
        listed = ", ".join(names.split())
        rows = zip(*columns, strict=True)
        if not self.copies:
            marks = ", ".join("?" * len(names.split()))
            self.driver.executemany(f'INSERT INTO "{table.name}" ({listed}) VALUES ({marks})', rows)  # noqa: S608
            return
        copying = f'COPY "{table.name}" ({listed}) FROM STDIN'
        with self.driver.cursor() as cursor, cursor.copy(copying) as copy:
            for row in rows:
                copy.write_row(row)


@contextmanager
def loading(engine: Engine) -> Iterator[Sink]:
    """Give a sink; indexes that enforce nothing are made when all rows are there, which is quicker."""
    later = [index for table in metadata.sorted_tables for index in table.indexes if not index.unique]
    postgres = engine.dialect.name == "postgresql"
    with engine.begin() as connection:
        for index in later:
            index.drop(connection)
    held = engine.raw_connection()
    driver = held.driver_connection
    if postgres:
        driver.execute("SET session_replication_role = replica")  # references are right by construction
        yield Sink(driver, copies=True)
        driver.execute("SET session_replication_role = DEFAULT")
        driver.commit()
    else:
        for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -1000000"):
            driver.execute(f"PRAGMA {setting}")
        driver.execute("BEGIN")
        yield Sink(driver, copies=False)
        driver.execute("COMMIT")
        driver.execute("PRAGMA journal_mode = WAL")
    held.invalidate()  # its settings go with it
    with engine.begin() as connection:
        for index in later:
            index.create(connection)
        if postgres:
            _count_on(connection)


def _count_on(connection: sa.Connection) -> None:
    """Let PostgreSQL's counters go on behind the keys that were written."""
    for table in metadata.sorted_tables:
        if "pk" in table.c:
            made = sa.func.setval(
                sa.func.pg_get_serial_sequence(f'"{table.name}"', "pk"),
                sa.select(sa.func.coalesce(sa.func.max(table.c.pk), 1)).scalar_subquery(),
            )
            connection.execute(sa.select(made))


# ---------------------------------------------------------------------- values


class Dice:
    """Random values as the columns of tables need them.

    Parameters
    ----------
    seed
        The same seed gives the same values.
    """

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def uids(self, count: int, first: int = 0, step: int = 1000) -> list[str]:
        """Return UUIDv7 texts `step` ms apart, the first `first` steps after `START`."""
        noise = self.rng.bytes(9 * count).hex()
        made = []
        for index in range(count):
            stamp, rest = f"{START + (first + index) * step:012x}", noise[18 * index : 18 * index + 18]
            made.append(f"{stamp[:8]}-{stamp[8:]}-7{rest[:3]}-8{rest[3:6]}-{rest[6:]}")
        return made

    def digests(self, count: int) -> list[str]:
        """Return texts of 64 hexadecimal digits."""
        noise = self.rng.bytes(32 * count).hex()
        return [noise[64 * index : 64 * index + 64] for index in range(count)]

    def some(self, values: Sequence[Any], shares: Sequence[float], count: int) -> list[Any]:
        """Return that many of the values, each as often as its share says."""
        return [values[index] for index in self.rng.choice(len(values), count, p=shares).tolist()]

    def gaps(self, values: Sequence[Any], share: float) -> list[Any]:
        """Return the values, a share of them missing."""
        missing = self.rng.random(len(values)) < share
        return [None if gap else value for value, gap in zip(values, missing.tolist(), strict=True)]


def moments(milliseconds: np.ndarray) -> list[str]:
    """Return moments [ms since 1970] as ISO 8601 in UTC, as micdb writes them."""
    stamps = np.datetime_as_string(milliseconds.astype("datetime64[ms]"), unit="us")
    return [f"{stamp}Z" for stamp in stamps.tolist()]
