"""The page on tilts runs as it is printed, and its benchmark is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_the_page_of_tilts_runs(tmp_path):
    (block,) = re.findall(r"^```python\n(.*?)^```", (DOCS / "tilts.md").read_text(), re.MULTILINE | re.DOTALL)
    run = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "beam_sd_deg" in run.stdout
    assert "## Octahedral tilts" in (DOCS / "benchmarks.md").read_text()
