"""Fixtures every test folder shares."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real microscope files beside the checkout, or skip where there is none."""
    if not (SHARED / "data" / "formats" / "manifest.json").is_file():
        pytest.skip("real data (../shared/data) is not beside this checkout")
    return SHARED
