"""One crystal of the bank, simulated once for all tests of this folder."""

from __future__ import annotations

import pytest

from micdb.embed.tilts import bank


@pytest.fixture(scope="session")
def crystal():
    """Return a held-out crystal with six images."""
    return bank.element("held", 3, draws=6)
