"""The private DuckDB of a process, and how statements of the query layer become text for it.

There is one in-memory instance per process; it holds no data and is never reached from outside. Each query
has a cursor of its own, so that names registered by one query are unknown to every other.
"""

from __future__ import annotations

import atexit
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy.dialects.postgresql.base import PGDialect, PGTypeCompiler
from sqlalchemy.sql import ClauseElement

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",  # the network is never touched
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",  # names in SQL are views, never Python variables
    # DuckDB would believe the statistics of the files, and Parquet leaves NaN out of them. Row groups are
    # still skipped by the range of `image`, which has no NaN: that happens in the scan, not in the optimizer.
    "disabled_optimizers": "statistics_propagation",
}


class _Types(PGTypeCompiler):
    """Names of types: DuckDB's FLOAT has 32 bits, whatever stands in parentheses, and so has INTEGER."""

    def visit_FLOAT(self, type_: Any, **kw: Any) -> str:  # noqa: ARG002, N802 - SQLAlchemy's names
        """Return the name of a 64-bit float."""
        return "DOUBLE"

    def visit_INTEGER(self, type_: Any, **kw: Any) -> str:  # noqa: ARG002, N802
        """Return the name of a 64-bit integer."""
        return "BIGINT"


class DuckDialect(PGDialect):
    """SQLAlchemy's PostgreSQL with DuckDB's names of types; it compiles statements and never connects."""

    name = "duckdb"
    default_paramstyle = "numeric_dollar"
    type_compiler_cls = _Types
    supports_statement_cache = False


DIALECT = DuckDialect()  # type: ignore[no-untyped-call]


def written(statement: ClauseElement) -> tuple[str, list[Any]]:
    """Return the text of a statement and its constants, which travel beside it as ``$1``, ``$2``, ..."""
    compiled: Any = statement.compile(dialect=DIALECT, compile_kwargs={"render_postcompile": True})
    return compiled.string, [compiled.params[name] for name in compiled.positiontup or ()]


def shown(statement: ClauseElement) -> str:
    """Return a statement and its constants as text, for people."""
    text, constants = written(statement)
    listed = ", ".join(f"${number}={value!r:.80}" for number, value in enumerate(constants, start=1))
    return f"{text}\nwith {listed}" if listed else text


def connect() -> DuckDBPyConnection:
    """Return a new cursor of this process' DuckDB; close it when the query is done."""
    return _instance(os.getpid()).cursor()


def renew() -> None:
    """Give later queries a new DuckDB: one that met an internal error answers nothing any more."""
    _instance.cache_clear()


@cache
def _instance(_process: int) -> DuckDBPyConnection:
    """Open the DuckDB of a process; one that was forked opens its own."""
    import duckdb

    # A folder of its own: two processes that spill into one folder would overwrite each other's files.
    # DuckDB makes it when it first spills, and removes it when it is closed.
    folder = Path(tempfile.gettempdir()) / f"micdb-{uuid4().hex}"
    settings = {**_SETTINGS, "temp_directory": str(folder), "threads": _cores()}
    instance = duckdb.connect(":memory:", config=settings)
    instance.execute("SET GLOBAL parquet_metadata_cache = true")  # a file that changed is read again
    atexit.register(instance.close)
    return instance


def _cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
