"""micdb: a database and query engine for micrographs.

>>> import micdb as mdb
>>> db = mdb.open("lab.micdb")  # doctest: +SKIP

Everything public is here, and is loaded when it is first used: ``import micdb`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from micdb.analysis.linking.predictor import load_link
    from micdb.database import Database
    from micdb.errors import MicdbError
    from micdb.federation import federate
    from micdb.ingest.known_formats import formats
    from micdb.opening import connect, init, open, upgrade  # noqa: A004
    from micdb.query.expr import Expr
    from micdb.query.frame import Frame
    from micdb.query.motif.motif import Motif

_HOME = {
    "Database": "micdb.database",
    "Expr": "micdb.query.expr",
    "Frame": "micdb.query.frame",
    "MicdbError": "micdb.errors",
    "Motif": "micdb.query.motif.motif",
    "connect": "micdb.opening",
    "federate": "micdb.federation",
    "formats": "micdb.ingest.known_formats",
    "init": "micdb.opening",
    "load_link": "micdb.analysis.linking.predictor",
    "open": "micdb.opening",
    "upgrade": "micdb.opening",
}

__all__ = [
    "Database",
    "Expr",
    "Frame",
    "MicdbError",
    "Motif",
    "__version__",
    "connect",
    "federate",
    "formats",
    "init",
    "load_link",
    "open",
    "upgrade",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from micdb.provenance import package_version

        return package_version()
    if name not in _HOME:
        raise AttributeError(f"module 'micdb' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
