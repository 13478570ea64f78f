"""Threads of scikit-learn."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any


def one_thread() -> AbstractContextManager[Any]:
    """Return a context in which fits use one thread.

    Fits this small lose time to threads, and on a busy machine they stall: 0.7 s instead of 0.03 s each.
    """
    import sklearn.ensemble  # noqa: F401  an OpenMP that is not loaded yet would escape the limit
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(1)
    return limits
