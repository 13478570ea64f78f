"""Contracts for authors of plug-ins: inherit one test class and the reader or extractor is proven."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from micdb.testing.extractors import ExtractorContract
    from micdb.testing.readers import ReaderContract

# Loaded on first use: the contracts need pytest, the other modules here do not.
_HOME = {
    "ExtractorContract": "micdb.testing.extractors",
    "ReaderContract": "micdb.testing.readers",
}

__all__ = ["ExtractorContract", "ReaderContract"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'micdb.testing' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOME[name]), name)
