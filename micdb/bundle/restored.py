"""Restored images as files: TIFF with values and pixel size, PNG for eyes, masks of what is invented."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from micdb.bundle.form import Folder
from micdb.bundle.names import numbered, stems
from micdb.bundle.png import drawn_bar, scale_bar, stretched
from micdb.errors import UsageError, suggestion
from micdb.query.frame import Frame
from micdb.restored import Restored

if TYPE_CHECKING:
    from PIL.Image import Image

_SMALLEST = 64  # [pixel] a label would cover a smaller image


def write_all(images: Frame, made: Frame, folder: Folder, form: str) -> list[Path]:
    """Write the restored images of a frame of images; see `write`.

    Parameters
    ----------
    images, made
        The images, and all rows of `restorations`.
    folder, form
        As for `write`.

    Raises
    ------
    UsageError
        None of the images is restored, or as for `write`.
    """
    table = images.to_arrow()
    pairs = list(zip(table.column("uid").to_pylist(), table.column("name").to_pylist(), strict=True))
    written: list[Path] = []
    for (uid, _), stem in zip(pairs, stems(pairs), strict=True):
        found = Restored.of_table(made[made.image == uid].to_arrow(nested=True))
        for one, name in zip(found, numbered(stem, len(found), ""), strict=True):
            written += write(one, folder, name, form)
    if not written:
        raise UsageError(f"none of {len(pairs)} images is restored: micdb populate denoise, or super-resolve")
    return written


def write(made: Restored, folder: Folder, stem: str, form: str = "tiff") -> list[Path]:
    """Write a restored image, and beside it the mask of where structure was made of noise.

    Parameters
    ----------
    made
        The image.
    folder
        Where to.
    stem
        Of the files' names.
    form
        ``tiff``: 32-bit values in the unit of the image, pixel size as OME has it. ``png``: 8 bits, grey
        values from the 1st to the 99th percentile, with a scale bar where the pixel size is known.

    Raises
    ------
    UsageError
        No such form, or a file is there already.
    """
    if form not in _FORMS:
        raise UsageError(f"no form {form!r}{suggestion(form, _FORMS)}; expected {' or '.join(_FORMS)}")
    suffix, save = _FORMS[form]
    names = [f"{stem}{suffix}", f"{stem}-invented.png"]
    folder.check(names)
    with folder.new(names[0]) as path:
        save(made, path)
    with folder.new(names[1]) as path:
        _grey(made.invented.astype(np.uint8) * np.uint8(255)).save(path, "PNG")
    return [folder.path / name for name in names]


def _tiff(made: Restored, path: Path) -> None:
    import tifffile

    size = made.pixel_size
    known: dict[str, float | str] = {"axes": "YX"}
    if size is not None:
        known |= {"PhysicalSizeX": size[1], "PhysicalSizeY": size[0]}
        known |= {"PhysicalSizeXUnit": "nm", "PhysicalSizeYUnit": "nm"}
    tifffile.imwrite(path, made.pixels, ome=True, metadata=known)


def _png(made: Restored, path: Path) -> None:
    picture = _grey(stretched(made.pixels))
    size = made.pixel_size
    if size is not None and min(made.pixels.shape) >= _SMALLEST:
        picture = drawn_bar(picture, scale_bar(size[1], "nm", made.pixels.shape[1]))
    picture.save(path, "PNG")


def _grey(values: np.ndarray) -> Image:
    from PIL import Image

    return Image.fromarray(values)


_FORMS: dict[str, tuple[str, Callable[[Restored, Path], None]]] = {
    "tiff": (".ome.tif", _tiff),
    "png": (".png", _png),
}
