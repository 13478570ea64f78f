"""The commands. Each is a few lines: everything that is not parsing or printing is in `Database`."""

from __future__ import annotations

from importlib import import_module

from micdb.cli.options import WrongCommand, app

__all__ = ["WrongCommand", "app"]

for _room in (
    "bring",
    "ask",
    "correct",
    "annotate",
    "library",
    "learn",
    "exchange",
    "citing",
    "keep",
):  # the order in which ``micdb --help`` lists them
    import_module(f"micdb.cli.{_room}")
