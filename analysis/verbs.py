"""What frames and databases ask of the analysis, each loaded when it is called: scipy takes its time."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["classify", "comparable", "embedding_map", "link", "scorecard", "suggest"]

if TYPE_CHECKING:
    from micdb.analysis.classify import classify
    from micdb.analysis.comparable import comparable
    from micdb.analysis.embedding_map import embedding_map
    from micdb.analysis.linking.link import link
    from micdb.analysis.scorecard import scorecard
    from micdb.analysis.suggest import suggest
else:

    def _later(module: str) -> Callable[..., Any]:
        """Return a function that calls the one a module of this package is named for."""

        def call(*given: Any, **named: Any) -> Any:
            function = getattr(import_module(f"{__package__}.{module}"), module.rpartition(".")[2])
            return function(*given, **named)

        return call

    classify, comparable, embedding_map, link, scorecard, suggest = map(
        _later, ("classify", "comparable", "embedding_map", "linking.link", "scorecard", "suggest")
    )
