"""A microscope file as a question: searched by, never stored."""

from __future__ import annotations

from pathlib import Path

from micdb.errors import UsageError
from micdb.ingest.sniff import open_scans
from micdb.populate.pictures import as_grey_stack
from micdb.records import Picture


def read_picture(path: Path) -> Picture:
    """Return the image of a file as extractors see it; ``image`` is -1.

    Raises
    ------
    UsageError
        The file holds several images, so that which one is meant is not clear.
    ReadError, NotFoundError
        The file cannot be read.
    """
    scans = open_scans(path)
    if len(scans) > 1:
        names = ", ".join(scan.channel or scan.name for scan in scans)
        raise UsageError(
            f"{path} holds {len(scans)} images ({names}); ingest it and search by the uid of one of them"
        )
    scan = scans[0]
    steps = (scan.axis("y").step_in("nm"), scan.axis("x").step_in("nm"))
    reciprocal = scan.axis("x").step_in("1/nm") is not None
    return Picture(
        image=-1,
        pixels=as_grey_stack(scan.pixels.read(), colour=scan.colour),
        pixel_size=(steps[0], steps[1]) if steps[0] and steps[1] else None,
        modality="diffraction" if reciprocal else scan.modality,
        channel=scan.channel,
        name=scan.name,
    )
