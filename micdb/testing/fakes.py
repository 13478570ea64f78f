"""A tiny deterministic extractor for tests of what surrounds extractors."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import ClassVar

import numpy as np
import pyarrow as pa

from micdb.populate.extractor import Card, Extraction, Extractor, Space
from micdb.populate.facts import ATOMS, EMBEDDINGS
from micdb.records import Picture, Refusal

SPACE = "fake@px"
N_ATOMS = 3  # brightest pixels of the first frame that are called atoms


class FakeExtractor(Extractor):
    """Fills ``embeddings`` with four statistics and ``atoms`` with the brightest pixels, in no time.

    Parameters
    ----------
    smallest
        Images with a shorter side are refused [pixel].
    seconds
        Time to sleep over each image, so that a test can interrupt it [s].
    """

    card: ClassVar[Card] = Card(
        name="fake",
        version="1",
        summary="Statistics and brightest pixels, for tests",
        parameters={"smallest": 8, "seconds": 0.0},
        licence="BSD-3-Clause",
        reference="none: it measures nothing",
        scale="as recorded",
    )
    schemas: ClassVar[dict[str, pa.Schema]] = {"atoms": ATOMS, "embeddings": EMBEDDINGS}

    @property
    def spaces(self) -> tuple[Space, ...]:
        """One unscaled space of four numbers."""
        return (Space(SPACE, 4, None, "euclidean"),)

    def extract(self, pictures: Iterable[Picture]) -> Iterator[Extraction | Refusal]:
        """Yield the rows of each picture, or refuse it when it is too small."""
        for picture in pictures:
            time.sleep(self.parameters["seconds"])
            side, smallest = min(picture.pixels.shape[1:]), self.parameters["smallest"]
            if side < smallest:
                reason = f"the shorter side is {side} pixel; expected {smallest} or more"
                yield Refusal(picture.image, reason)
            else:
                yield _extraction(picture)


def _extraction(picture: Picture) -> Extraction:
    pixels = picture.pixels.astype(np.float64)
    vector = [pixels.mean(), pixels.std(), pixels.min(), pixels.max()]
    embeddings = [{"image": picture.image, "space": SPACE, "vector": vector}]
    brightest = np.argsort(-pixels[0], axis=None, kind="stable")[:N_ATOMS]
    y_nm, x_nm = picture.pixel_size or (None, None)
    atoms = [
        {
            "image": picture.image,
            "frame": 0,
            "idx": idx,
            "x_px": float(x),
            "y_px": float(y),
            "x_nm": x * x_nm if x_nm else None,
            "y_nm": y * y_nm if y_nm else None,
            "intensity": float(pixels[0, y, x]),
        }
        for idx, (y, x) in enumerate(np.transpose(np.unravel_index(brightest, pixels[0].shape)).tolist())
    ]
    return Extraction(
        picture.image,
        {
            "atoms": pa.Table.from_pylist(atoms, schema=ATOMS),
            "embeddings": pa.Table.from_pylist(embeddings, schema=EMBEDDINGS),
        },
        {"n_atoms": (float(len(atoms)), None), "brightest": (float(pixels.max()), None)},
    )
