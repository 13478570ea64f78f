"""What experts draw on images: masks of phases and of objects, strokes; ``db.annotations``.

Drawings are annotations and only ever added: a later one of the same image, frame and kind stands for the
earlier, `undo` brings that back. Files of many tools are read and written: `micdb.annotations.files`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from sqlalchemy import Connection, Engine

from micdb.annotations import files, rows
from micdb.annotations.matching import Match, matched
from micdb.catalog.engine import reading, writing
from micdb.corrections.rows import picture_of
from micdb.errors import UsageError
from micdb.masks import Mask

KINDS = ("phases", "objects")


@dataclass(frozen=True, slots=True)
class Drawing:
    """One mask that was kept.

    Parameters
    ----------
    uid
        Of the annotation: what `Annotations.undo` takes.
    image
        uid of the micrograph.
    kind
        ``phases`` or ``objects``.
    frame
        Of a stack, from 0.
    """

    uid: str
    image: str
    kind: str
    frame: int

    def as_json(self) -> dict[str, str | int]:
        """Return it as plain JSON values."""
        return {"uid": self.uid, "image": self.image, "kind": self.kind, "frame": self.frame}


class Annotations:
    """What experts drew on the images of one database.

    Parameters
    ----------
    engine
        The catalog.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def draw(
        self,
        image: str,
        labels: Mask | npt.ArrayLike,
        *,
        classes: Iterable[str] = (),
        frame: int = 0,
        by: str | None = None,
    ) -> Drawing:
        """Keep a mask of an image; it stands for what was drawn before of the same kind.

        Parameters
        ----------
        image
            uid of the micrograph.
        labels
            ``(y, x)`` of the image's shape: the class of each pixel by number, -1 where nothing is said;
            without `classes` the number of the object, from 1, 0 where there is none.
        classes
            Names of the classes, by number.
        frame
            Of a stack, from 0.
        by
            Who drew it; the user of the computer unless given.

        Raises
        ------
        UsageError
            No such image or frame, a mask of another shape, or labels that are no classes.
        """
        mask = labels if isinstance(labels, Mask) else Mask(np.asarray(labels), tuple(classes))
        with writing(self._engine) as connection:
            return _keep(connection, image, mask, frame, by)

    def read(
        self,
        path: str | Path,
        *,
        classes: Mapping[int, str] | Iterable[str] = (),
        unknown: int | None = None,
        by: str | None = None,
    ) -> list[Drawing]:
        """Read masks from files and keep them with the images they are of: all, or none.

        Parameters
        ----------
        path
            A label image (PNG, TIFF as of napari, NPY), a Labelme or COCO file, or a folder of them. A label
            image belongs to the image whose name, file name or uid is its own name without the ending, with
            or without ``_mask``, ``_label``, ``_labels``, ``_seg`` or ``_annot`` behind it.
        classes
            Names of the classes of label images: by number, or by value where the values are others, as
            ``{0: "matrix", 128: "pearlite"}``. Without them label images are masks of objects.
        unknown
            Value of pixels of which nothing is said in label images.
        by
            Who drew them.

        Raises
        ------
        UsageError
            A file is none of these, or belongs to no image or to several, or is of another shape.
        """
        found = list(files.read(Path(path), classes, unknown))
        if not found:
            raise UsageError(f"{path} has no masks; expected {files.KNOWN}")
        with writing(self._engine) as connection:
            pairs: list[Match] = matched(connection, found)
            return [_keep(connection, one.image, one.mask, 0, by) for one in pairs]

    def mask(self, image: str, kind: str = "phases", *, frame: int = 0) -> Mask:
        """Return the mask that stands.

        Parameters
        ----------
        image
            uid of the micrograph.
        kind
            ``phases`` or ``objects``.
        frame
            Of a stack, from 0.

        Raises
        ------
        UsageError
            Nobody has drawn one.
        """
        _check_kind(kind)
        with reading(self._engine) as connection:
            row = rows.standing(connection, image, kind, frame)
            if row is None:
                raise UsageError(
                    f"nobody has drawn {kind} on frame {frame} of {image}: see db.annotations.drawings()"
                )
            return Mask.from_json(row.value)

    def drawings(self) -> pd.DataFrame:
        """Return the drawings that stand, oldest first.

        Returns
        -------
        pandas.DataFrame
            ``uid``, ``image`` (uid), ``name`` (its own), ``kind``, ``frame``, ``classes``, ``by``, ``at``.
        """
        with reading(self._engine) as connection:
            return rows.listed(connection)

    def undo(self, uid: str, *, by: str | None = None) -> None:
        """Take a drawing back; what it stood for stands again.

        Raises
        ------
        UsageError
            There is no such drawing, or it is undone already.
        """
        with writing(self._engine) as connection:
            rows.undo(connection, uid, by)

    def write(self, folder: str | Path, form: str = "png", *, overwrite: bool = False) -> list[Path]:
        """Write the drawings that stand, for other tools.

        Parameters
        ----------
        folder
            Where to; made when there is none.
        form
            ``png`` or ``tiff`` (label images; napari opens both), ``coco`` or ``labelme``.
        overwrite
            Replace files that are there.

        Returns
        -------
        list of pathlib.Path
            What was written.

        Raises
        ------
        UsageError
            No such form, a file is there already, or nothing is drawn.
        """
        with reading(self._engine) as connection:
            drawn = list(rows.drawn(connection))
        if not drawn:
            raise UsageError("nothing is drawn: db.annotations.draw(image, labels) or .read(path) first")
        return files.write(drawn, Path(folder), form, overwrite=overwrite)


def _keep(connection: Connection, image: str, mask: Mask, frame: int, by: str | None) -> Drawing:
    picture = picture_of(connection, image)
    if not 0 <= frame < picture.n_frames:
        raise UsageError(f"frame {frame} is none of the {picture.n_frames} of {picture.name}, from 0")
    if mask.labels.shape != (picture.height, picture.width):
        height, width = mask.labels.shape
        raise UsageError(
            f"a mask of {width} x {height} pixels for {picture.name}, which has {picture.width} x "
            f"{picture.height}: resample it with nearest neighbours first, or cut it as the image was cut"
        )
    kind = KINDS[0] if mask.classes else KINDS[1]
    return Drawing(
        rows.keep(connection, rows.Drawn(image, picture.name, frame, kind, mask), by), image, kind, frame
    )


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise UsageError(f"{kind!r} is no kind of drawing; expected {' or '.join(KINDS)}")
