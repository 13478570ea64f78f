"""The page on lattices runs as it is printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[3] / "docs" / "lattices.md"


def test_the_page_of_lattices_runs(tmp_path):
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    run = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "layer.xyz").read_text().count("Mo") > 50
    assert "'hexagonal': 0.9" in run.stdout
