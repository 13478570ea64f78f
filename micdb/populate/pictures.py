"""Stored micrographs as extractors see them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Engine

from micdb import places
from micdb.catalog.engine import reading
from micdb.catalog.rows import id_list
from micdb.catalog.tables import micrograph, object_
from micdb.errors import UsageError
from micdb.records import Picture
from micdb.store import nexus

UIDS_AT_ONCE = 500  # below the smallest limit of bound variables among the engines

# Rec. ITU-R BT.601 luma: what a grey-scale conversion means in image processing
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def load_pictures(engine: Engine, root: Path, images: Sequence[int]) -> Iterator[Picture]:
    """Yield the pictures of those micrographs in the order given, read one at a time.

    Raises
    ------
    UsageError
        The pixels of one of them are deferred.
    """
    m = micrograph.c
    query = sa.select(
        m.pk, m.name, m.modality, m.channel, m.colour, m.pixel_size_x, m.pixel_size_y,
        m.reciprocal_pixel_size_x, *places.COLUMNS,
    ).select_from(places.with_packs(micrograph.join(object_)))  # fmt: skip
    with reading(engine) as connection:
        wanted = query.where(m.pk.in_(sa.select(id_list(connection, images).c.id)))
        rows = {row.pk: row for row in connection.execute(wanted)}
    if missing := [image for image in images if image not in rows]:
        raise UsageError(
            f"the pixels of {len(missing)} of {len(images)} images are still in their original files; "
            "bring them in with: micdb fetch, or ingest the files of those that came from another laboratory"
        )
    for image in images:
        row = rows[image]
        scaled = row.pixel_size_x is not None and row.pixel_size_y is not None
        yield Picture(
            image=image,
            pixels=as_grey_stack(nexus.read_pixels(places.place(engine, root, row)), colour=row.colour),
            pixel_size=(row.pixel_size_y, row.pixel_size_x) if scaled else None,
            modality="diffraction" if row.reciprocal_pixel_size_x is not None else row.modality,
            channel=row.channel,
            name=row.name,
        )


def image_keys(engine: Engine, uids: Sequence[str]) -> list[int]:
    """Return ``micrograph.pk`` of each uid, in order; raises `UsageError` for one that is not here."""
    with reading(engine) as connection:
        known = {
            row.uid: row.pk
            for start in range(0, len(uids), UIDS_AT_ONCE)
            for row in connection.execute(
                sa.select(micrograph.c.uid, micrograph.c.pk).where(
                    micrograph.c.uid.in_(uids[start : start + UIDS_AT_ONCE])
                )
            )
        }
    missing = [uid for uid in uids if uid not in known]
    if missing:
        raise UsageError(f"no image has the uid {missing[0]!r}; see the column uid of db.images")
    return [known[uid] for uid in uids]


def as_grey_stack(pixels: np.ndarray, *, colour: bool) -> np.ndarray:
    """Return ``(frame, y, x)`` float32: colour as BT.601 luminance, complex numbers as magnitude."""
    if np.iscomplexobj(pixels):
        pixels = np.abs(pixels)
    with np.errstate(over="ignore"):  # beyond float32 is infinite: such a pixel counts as not scanned
        grey = pixels.astype(np.float32, copy=False)
    if colour:
        grey = grey[..., :3] @ LUMA
    return np.ascontiguousarray(grey.reshape(-1, *grey.shape[-2:]))
