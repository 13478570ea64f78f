"""CSV: the rows of a frame, and which image is in which file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import Any

from micdb.bundle.form import Folder, Form, Written
from micdb.bundle.image import StoredImage

LISTING = "images.csv"
TABLE = "table.csv"


class Csv(Form):
    """The frame's own table, units in the headers; no pixels are copied."""

    name = "csv"
    needs_pixels = False
    tables = (TABLE, LISTING)

    def files(self, stem: str, n_frames: int) -> list[str]:  # noqa: ARG002
        """Return no name: the images stay where they are."""
        return []

    def write(self, image: StoredImage, names: Sequence[str], folder: Folder) -> Written:  # noqa: ARG002
        """List the image under the path of its file in the database, or its URL in a pack."""
        return Written(image, (image.object.url if image.object else "",))

    def finish(self, frame: Any, written: Sequence[Written], folder: Folder) -> None:
        """Write the table and the listing."""
        with folder.new(TABLE) as path:
            frame.to_pandas(units="header").to_csv(path, index=False)
        super().finish(frame, written, folder)


def write_listing(written: Sequence[Written], folder: Folder) -> None:
    """Write one row per file: the image's uid, the file, title and original file of the image."""
    with folder.new(LISTING) as path, path.open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(("uid", "file", "name", "original_file"))
        for done in written:
            image = done.image
            for name in done.files:
                rows.writerow((image.uid, name, image.name, image.source["file_name"]))
