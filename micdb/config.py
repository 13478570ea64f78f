"""Typed settings from the environment. There is no settings file: arguments and four variables."""

from __future__ import annotations

import os
from dataclasses import dataclass

from micdb.errors import UsageError


@dataclass(frozen=True, slots=True)
class Config:
    """What the environment says.

    Parameters
    ----------
    database
        ``MICDB_DB``: database the command line uses when ``--db`` is not given.
    folder
        ``MICDB_FOLDER``: where the files of a catalog on a server are on this machine, if not where it says.
    workers
        ``MICDB_WORKERS``: processes for populate; 0 means one per processor.
    actor
        ``MICDB_ACTOR`` or the login name: written in the audit log.
    """

    database: str | None
    folder: str | None
    workers: int
    actor: str


def load(environ: os._Environ[str] | dict[str, str] | None = None) -> Config:
    """Read the environment.

    Raises
    ------
    UsageError
        ``MICDB_WORKERS`` is not a whole number of 0 or more.
    """
    env = os.environ if environ is None else environ
    text = env.get("MICDB_WORKERS", "0")
    if not text.isdecimal():
        raise UsageError(f"MICDB_WORKERS is {text!r}; it must be a whole number, 0 for one per processor")
    actor = env.get("MICDB_ACTOR") or env.get("USER") or env.get("LOGNAME") or "unknown"
    return Config(env.get("MICDB_DB") or None, env.get("MICDB_FOLDER") or None, int(text), actor)
