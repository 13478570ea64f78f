"""What questions to a catalog cost, against the best SQL by hand on the same file or server.

::

    python benchmarks/catalog.py DATABASE [--rounds 7] [--only WORD]

DATABASE is what ``benchmarks/million.py`` made: a folder, or the URL of a PostgreSQL database. Both sides ask
in turn, round after round, through connections of one pool, and fetch into the same kind of DataFrame by the
same code; first they must give the same rows. micdb's time holds everything: making the frame, compiling it,
finding the current runs. Only ratios of medians are worth comparing between machines.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import sqlalchemy as sa
from catalog_sql import KNOWN_UID, QUESTIONS, Question

import micdb
from micdb.catalog.engine import postgres_engine, reading
from micdb.database import Database
from micdb.query import dialect, result


def connect(place: str) -> Database:
    """Return the database at a folder, or on a server without a folder of its own."""
    if "://" not in place:
        return micdb.open(place)
    return Database(Path(), postgres_engine(place))


def ours(db: Database, question: Question) -> Any:
    """Ask micdb."""
    frame = question.ask(db)
    return frame.count() if question.name.startswith("count") else frame.to_pandas()


def by_hand(db: Database, question: Question) -> Any:
    """Ask in SQL, and fetch as micdb does."""
    text = question.postgres if db.engine.dialect.name == "postgresql" else question.sqlite
    with reading(db.engine) as connection:
        dialect.prepare(connection)
        rows = connection.exec_driver_sql(text.replace("{uid}", KNOWN_UID[0])).all()
    if question.name.startswith("count"):
        return rows[0][0]
    return result.to_frame(result.to_table(rows, list(question.ask(db).schema.fields.values())))


def check(db: Database, question: Question) -> int:
    """Return the number of rows; both sides must give the same ones."""
    left, right = ours(db, question), by_hand(db, question)
    if not isinstance(left, pd.DataFrame):
        if left != right:
            raise SystemExit(f"{question.name}: {left} by micdb, {right} by hand")
        return 1
    left.attrs = {}
    pd.testing.assert_frame_equal(left, right, rtol=1e-9)
    return len(left)


def seconds(task: Callable[[], Any]) -> float:
    """Return how long a call takes [s]."""
    began = time.perf_counter()
    task()
    return time.perf_counter() - began


def measure(db: Database, question: Question, rounds: int) -> tuple[float, float]:
    """Return the median times [s] of micdb and of SQL by hand, asked in turn."""
    mine, hand = [], []
    for _ in range(rounds):
        mine.append(seconds(lambda: ours(db, question)))
        hand.append(seconds(lambda: by_hand(db, question)))
    return statistics.median(mine), statistics.median(hand)


def versions(db: Database) -> str:
    """Return what was measured with."""
    if db.engine.dialect.name == "postgresql":
        with reading(db.engine) as connection:
            server = f"PostgreSQL {connection.exec_driver_sql('SHOW server_version').scalar()}"
    else:
        server = f"SQLite {sqlite3.sqlite_version}"
    libraries = f"SQLAlchemy {sa.__version__}, pandas {pd.__version__}"
    return f"{server}, {libraries}, Python {platform.python_version()}, {os.cpu_count()} cores"


def main() -> None:
    """Print a table of medians and ratios."""
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shape)
    parser.add_argument("database")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="questions whose name holds this word")
    arguments = parser.parse_args()
    db = connect(arguments.database)
    middle = db.images.count() // 2
    KNOWN_UID[0] = db.images[middle : middle + 1].to_pandas()["uid"][0]
    print(f"{versions(db)}; {db.images.count():,} images; medians of {arguments.rounds} rounds", flush=True)
    print(f"{'question':<44}{'rows':>8}{'micdb [ms]':>12}{'by hand [ms]':>14}{'ratio':>7}")
    for question in QUESTIONS:
        if arguments.only in question.name:
            rows = check(db, question)
            mine, hand = measure(db, question, arguments.rounds)
            times = f"{mine * 1e3:>12.1f}{hand * 1e3:>14.1f}{mine / hand:>7.2f}"
            print(f"{question.name:<44}{rows:>8}{times}", flush=True)


if __name__ == "__main__":
    main()
