"""What people corrected or drew, as examples to learn from: ``micdb train NAME --from-annotations``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from micdb.analysis.library.found import defects
from micdb.analysis.scorecard import judged
from micdb.annotations import rows as annotated
from micdb.catalog.engine import reading
from micdb.catalog.results import STANDING
from micdb.embed.sampling import constant, factors, resample, scanned
from micdb.errors import UsageError
from micdb.masks import UNKNOWN, Mask
from micdb.populate.pictures import image_keys, load_pictures
from micdb.query.context import Context
from micdb.query.frame import Frame

if TYPE_CHECKING:
    from micdb.embed.train import segment, vae
    from micdb.embed.train.annotated import Example


def examples(context: Context, detector: str) -> list[Example]:
    """Return the images in which every answer of a detector was judged, with the defects that stand.

    Where only some answers were judged, the others would be taught as what they may not be: such images are
    left out.

    Parameters
    ----------
    context
        The database.
    detector
        Extractor whose answers were corrected.

    Raises
    ------
    UsageError
        There is no such image, and how many are begun.
    """
    from micdb.embed.train.annotated import Example, Mark

    rows = defects(context.engine)
    own = rows[rows["detector"] == detector]
    done = {image for run, image in judged(context.engine).reviewed if run in set(own["run"])}
    shown = own[own["image"].isin(done) & own["pixel_size"].notna()]
    if shown.empty:
        begun = own[own["state"] != "detected"]["image"].nunique()
        raise UsageError(
            f"no image of known scale in which every answer of {detector} is judged; {begun} are begun: "
            "accept or reject the other answers in them, and add what was missed (micdb correct)"
        )
    found = []
    for picture in load_pictures(context.engine, context.root, sorted(set(shown["image"]))):
        here = shown[(shown["image"] == picture.image) & shown["state"].isin(STANDING)]
        size = picture.pixel_size
        assert size is not None  # noqa: S101 (only those of known scale are shown)
        for frame, pixels in enumerate(picture.pixels):
            marks = [
                Mark(
                    float(row["x_px"]), float(row["y_px"]), str(row["kind"]), row["box"] and tuple(row["box"])
                )
                for _, row in here[here["frame"] == frame].iterrows()
            ]
            found.append(Example(pixels, math.sqrt(size[0] * size[1]), marks))
    return found


def drawn(context: Context) -> list[segment.Example]:
    """Return the images on which phases are drawn, with their masks; every frame is an example.

    Parameters
    ----------
    context
        The database.

    Raises
    ------
    UsageError
        Nobody has drawn phases.
    """
    from micdb.embed.train import segment

    with reading(context.engine) as connection:
        masks = [one for one in annotated.drawn(connection) if one.kind == "phases"]
    if not masks:
        raise UsageError(
            "nobody has drawn phases: bring masks in with micdb annotate read, or db.annotations.draw"
        )
    keys = image_keys(context.engine, [one.image for one in masks])
    shown = []
    for picture, one in zip(load_pictures(context.engine, context.root, keys), masks, strict=True):
        pixels = picture.pixels[one.frame]
        known = np.isfinite(pixels)
        labels = np.where(known, one.mask.labels, UNKNOWN)
        filled = np.where(known, pixels, np.median(pixels[known]) if known.any() else 0.0)
        size = picture.pixel_size
        scale = None if size is None else math.sqrt(size[0] * size[1])
        shown.append(segment.Example(filled, Mask(labels, one.mask.classes), scale))
    return shown


def shown(
    images: Frame, *, conditions: Sequence[str] = (), nm_per_pixel: float | None = None
) -> list[vae.Shown]:
    """Return every frame of some images at one pixel size, with what is known of them as numbers.

    Parameters
    ----------
    images
        What to learn from.
    conditions
        Columns or properties; an image that lacks one is left out.
    nm_per_pixel
        Pixel size [nm]; None for pixels as they are. An image that cannot give it is left out.

    Raises
    ------
    UsageError
        No image is left.
    """
    from micdb.embed.train import vae

    table = images[["uid", *conditions]].to_pandas().dropna().reset_index(drop=True)
    context = images.context
    keys = image_keys(context.engine, table["uid"].tolist())
    found: list[vae.Shown] = []
    told = table[list(conditions)].astype(float).to_numpy()
    for picture, known in zip(load_pictures(context.engine, context.root, keys), told, strict=True):
        grown = factors(picture.pixel_size, nm_per_pixel)
        if isinstance(grown, str):
            continue
        for pixels in picture.pixels:
            part, _ = scanned(pixels)
            if part.size and not constant(part):
                scaled = part / float(np.abs(part).max())
                found.append(vae.Shown(resample(scaled, grown), tuple(known.tolist())))
    if not found:
        raise UsageError(
            f"no image to learn from: {images.count()} in the query, {len(table)} of which have "
            f"{', '.join(conditions) or 'all that is asked'}; none can be shown at the pixel size asked for"
        )
    return found


def noisy(images: Frame) -> list[np.ndarray]:
    """Return every frame of some images ``(y, x)``, to learn their noise from.

    Parameters
    ----------
    images
        Of one instrument and dose.

    Raises
    ------
    UsageError
        There are none.
    """
    uids = images.to_arrow().column("uid").to_pylist()
    if not uids:
        raise UsageError("the query finds no image to learn from")
    context = images.context
    keys = image_keys(context.engine, uids)
    return [pixels for one in load_pictures(context.engine, context.root, keys) for pixels in one.pixels]
