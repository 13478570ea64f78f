"""What a PostgreSQL server says when something is wrong, in words that say how to mend it.

Error codes: PostgreSQL manual, appendix A. A connection that is refused comes without a code; its English
text is all there is.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Engine

from micdb.catalog.postgres import SILENCE, WAIT, WRITE_LOCK, public_name
from micdb.errors import CatalogError, ForeignDatabaseError, MicdbError, UsageError

_AGAIN = "nothing was committed: run the same again"

# code or its class: what was found, and what mends it
_BY_CODE = {
    "25006": "the server takes no writes (a standby, or read-only by its settings); use the primary server",
    "25P03": f"this process was silent for {SILENCE // 1000} s in the middle of a write, and the server "
    f"ended it; {_AGAIN}",
    "40": f"it ran into another session of the server; {_AGAIN}",
    "42501": "its user has no right to do that; ask the owner of the database to GRANT it",
    "53100": f"the server's disk is full; {_AGAIN} when there is room",
    "53200": f"the server has no memory left; {_AGAIN}",
    "53300": "the server has no connection left; end some clients, or raise its max_connections",
    "57014": f"the statement was cancelled by the server or its administrator; {_AGAIN}",
    "57P": f"the server was stopped or started anew; {_AGAIN} when it is back",
    "58": f"the server cannot use its own files; ask whoever runs it to look at its log; {_AGAIN}",
}
_DAMAGED = ("XX001", "XX002")
_LOCK_NOT_AVAILABLE = "55P03"
_NOT_TEXT = ("22021", "22P05")  # NUL cannot be kept, neither as text nor in JSON

# words of a refused connection: what mends it
_BY_WORDS = {
    "password authentication failed": "the password is wrong: give it in the address, in PGPASSWORD or in "
    "~/.pgpass",
    "no password supplied": "a password is needed: give it in the address, in PGPASSWORD or in ~/.pgpass",
    "pg_hba.conf": "the server lets nobody in from here: whoever runs it must add a line to its pg_hba.conf",
    'role "': "the server does not know this user: name another one in the address, or have it made with "
    "createuser",
    'database "': "there is no such database: make it with createdb, then micdb init ADDRESS --folder DIR",
    "too many": "end some clients, or raise max_connections of the server",
    "starting up": "wait a moment and run the same again",
    "shutting down": "the server is being stopped: run the same again when it is back",
}


def translate(engine: Engine, error: sa.exc.DBAPIError) -> MicdbError | None:
    """Return what a server's error means to the user, or None where it is a bug of ours.

    Parameters
    ----------
    engine
        The catalog; asked who holds the lock when a writer waited in vain.
    error
        What SQLAlchemy raised.
    """
    name = public_name(engine.url)
    code = getattr(error.orig, "sqlstate", None) or ""
    if code == _LOCK_NOT_AVAILABLE:
        return CatalogError(
            f"{name}: another write took longer than {WAIT // 1000} s: {_holder(engine)}; {_AGAIN}"
        )
    if code in _DAMAGED:
        return ForeignDatabaseError(f"{name} is damaged: {_line(error.orig)}; restore it from a backup")
    if code in _NOT_TEXT or _is_not_text(error):
        return UsageError(
            f"{name} cannot keep this text: it holds the character NUL, for which PostgreSQL has no place; "
            "take it out"
        )
    for key in (code, code[:3], code[:2]):
        if key in _BY_CODE:
            return CatalogError(
                f"{name} cannot be used: {_BY_CODE[key]} (the server said: {_line(error.orig)})"
            )
    if not isinstance(error, sa.exc.OperationalError):
        return None
    return CatalogError(f"{name} cannot be used: {_line(error.orig)}; {_mend(str(error.orig))}")


def _mend(said: str) -> str:
    for words, mend in _BY_WORDS.items():
        if words in said:
            return mend
    if "connection" in said and ("failed" in said or "refused" in said or "timeout" in said):
        return "is the server running, and are host and port right?"
    return f"the connection was lost; {_AGAIN} when the server answers"


def _is_not_text(error: sa.exc.DBAPIError) -> bool:
    return isinstance(error, sa.exc.DataError) and "NUL" in str(error.orig)


def _holder(engine: Engine) -> str:
    """Return who holds the lock of all writers, as far as the server tells."""
    query = sa.text(
        "SELECT a.pid, a.application_name, a.usename, host(a.client_addr),"
        " CAST(extract(epoch FROM now() - a.xact_start) AS integer)"
        " FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 0 AND l.objid = :lock"
    )
    try:
        with engine.connect() as connection:
            found = connection.execute(query, {"lock": WRITE_LOCK}).first()
    except sa.exc.DBAPIError:
        found = None
    if found is None:
        return "nobody holds it any more"
    pid, program, user, host, seconds = found
    since = "" if seconds is None else f" for {seconds} s"
    return (
        f"{program or 'a program'} of user {user} on {host or 'the server itself'} holds the lock{since}; "
        f"end that program, or its session with SELECT pg_terminate_backend({pid})"
    )


def _line(said: Any) -> str:
    return " ".join(str(said).split())
