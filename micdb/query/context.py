"""What a frame needs from the house around it; the database hands it in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from micdb.records import Picture


@dataclass(frozen=True, slots=True)
class Context:
    """The surroundings of a query.

    Parameters
    ----------
    engine
        The catalog.
    root
        Database folder; object and part paths are relative to it.
    read_picture
        Opens a microscope file as a `Picture` (``image`` is -1), for searching by example; the
        query layer may not import ingest.
    link, classify, suggest, embedding_map, comparable
        What ``frame.link``, ``frame.classify``, ... ask for; analysis lies above the query layer. None where
        no database is open.
    load_images
        Yields stored micrographs by engine, root and local keys, for ``frame.images()``; None where no
        store is open.
    """

    engine: Engine
    root: Path
    read_picture: Callable[[Path], Picture]
    link: Callable[..., Any]
    load_images: Callable[[Engine, Path, Sequence[int]], Iterator[Any]] | None = None
    classify: Callable[..., Any] | None = None
    suggest: Callable[..., Any] | None = None
    embedding_map: Callable[..., Any] | None = None
    comparable: Callable[..., Any] | None = None
