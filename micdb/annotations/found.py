"""What the readers of annotation files give."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from micdb.masks import Mask


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A mask out of a file.

    Parameters
    ----------
    path
        The file.
    name
        What it says of the image it belongs to: a file name, or a name without ending.
    mask
        The labels.
    frame
        Of a stack, from 0.
    """

    path: Path
    name: str
    mask: Mask
    frame: int = 0
