"""Four processes write and four read: nothing is lost, nothing is half, nobody meets a lock."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS, PROCESSES = 4, "4"  # `make stress` takes 60 s, and twice as many
PROGRAM = Path(__file__).with_name("stress.py")


@pytest.mark.parametrize("new_catalog", ["sqlite", "postgresql"], indirect=True)
def test_nothing_is_lost_and_nothing_is_half(tmp_path, new_catalog):
    engine = new_catalog(tmp_path)
    address = engine.url.render_as_string(hide_password=False)
    command = [
        sys.executable,
        PROGRAM,
        "--seconds",
        str(SECONDS),
        "--catalog",
        address,
        "--engine",
        engine.dialect.name,
        "--writers",
        PROCESSES,
        "--readers",
        PROCESSES,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["errors"] == 0
    for work in ("counted", "ingested", "derived", "agreed", "read"):
        assert told.get(work), f"nothing was {work}: the test proves nothing"
