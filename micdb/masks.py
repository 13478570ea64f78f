"""Which class or object each pixel of an image belongs to, and how that is kept."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from micdb.errors import UsageError

Labels = npt.NDArray[np.int32]

UNKNOWN = -1  # label of pixels of which nothing is said: what lies between the strokes of a brush


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """A label for each pixel of an image.

    Parameters
    ----------
    labels
        ``(y, x)``; `UNKNOWN` where nothing is said. Of classes the number of the class, from 0; of objects a
        number from 1 for each, 0 for what is none.
    classes
        Names of the classes, by number; empty of a mask of objects.

    Raises
    ------
    UsageError
        The labels are not whole numbers in two dimensions, or one has no class.
    """

    labels: Labels
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels)
        if labels.ndim != 2 or not (np.issubdtype(labels.dtype, np.integer) or labels.dtype == bool):
            raise UsageError(
                f"a mask of {labels.dtype} {labels.shape}; expected whole numbers, one for each pixel (y, x)"
            )
        least, most = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
        limit = len(self.classes) - 1 if self.classes else np.iinfo(np.int32).max
        if least < UNKNOWN or most > limit:
            told = f"{UNKNOWN} for unknown and 0 to {limit}" + (
                f" for {', '.join(self.classes)}" if self.classes else ""
            )
            raise UsageError(f"a mask with the label {least if least < UNKNOWN else most}; expected {told}")
        if len(set(self.classes)) < len(self.classes):
            raise UsageError(f"two classes have the same name: {', '.join(self.classes)}")
        object.__setattr__(self, "labels", labels.astype(np.int32, copy=False))

    @classmethod
    def of_runs(
        cls,
        labels: npt.ArrayLike,
        lengths: npt.ArrayLike,
        shape: tuple[int, int],
        classes: Sequence[str] = (),
    ) -> Mask:
        """Return the mask of `runs`; ``shape`` is ``(y, x)``.

        Raises
        ------
        UsageError
            The runs do not fill the shape.
        """
        values = np.repeat(np.asarray(labels, np.int32), np.asarray(lengths, np.int64))
        if values.size != shape[0] * shape[1]:
            raise UsageError(f"runs of {values.size} pixels; expected {shape[0]} x {shape[1]}")
        return cls(values.reshape(shape), tuple(classes))

    def runs(self) -> tuple[Labels, Labels]:
        """Return labels and lengths of the runs of equal labels along the rows, each ``(n,)``."""
        flat = self.labels.ravel()
        starts = np.flatnonzero(np.diff(flat, prepend=flat[:1] - 1))
        return flat[starts], np.diff(starts, append=flat.size).astype(np.int32)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values; `from_json` takes them."""
        labels, lengths = self.runs()
        return {
            "height_px": self.labels.shape[0],
            "width_px": self.labels.shape[1],
            "classes": list(self.classes),
            "labels": _packed(labels),
            "lengths": _packed(lengths),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Mask:
        """Return the mask of `as_json`."""
        shape = (value["height_px"], value["width_px"])
        return cls.of_runs(_unpacked(value["labels"]), _unpacked(value["lengths"]), shape, value["classes"])

    def count(self, label: int) -> int:
        """Return the number of pixels with a label."""
        return int(np.count_nonzero(self.labels == label))


def _packed(values: Labels) -> str:
    return base64.b64encode(zlib.compress(values.astype("<i4").tobytes())).decode()


def _unpacked(text: str) -> Labels:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), "<i4").astype(np.int32)
