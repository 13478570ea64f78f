"""A slice of `make fuzz`: every sound seed and every bomb, then mutants until half a minute is over."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_mutants_gives_scans_or_one_line_of_error(tmp_path):
    """The run itself sees to it that every reader whose extra is installed reads one of the seeds."""
    seconds = os.environ.get("MICDB_FUZZ_SECONDS", "30")
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", seconds, "--processes", "1"]
    run = subprocess.run(
        [*command, "--failed", str(tmp_path / "failed")], cwd=ROOT, capture_output=True, text=True
    )
    print(run.stdout)
    assert run.returncode == 0, f"{run.stderr[-8000:]}\n{run.stdout}"
