"""The contract of an extractor: pictures become rows, or a refusal with a reason."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

import pyarrow as pa

from micdb.errors import UsageError, suggestion
from micdb.provenance import canonical_json
from micdb.records import Picture, Refusal
from micdb.registry import Registry


@dataclass(frozen=True, slots=True)
class Space:
    """A space of vectors an extractor fills.

    Parameters
    ----------
    name
        Globally unique, begins with the extractor's name: ``texture@256nm``.
    dim
        Length of its vectors.
    nm_per_pixel
        Scale images are resampled to [nm]; None for an unscaled space.
    metric
        ``cosine`` or ``euclidean``.
    """

    name: str
    dim: int
    nm_per_pixel: float | None
    metric: str = "cosine"


@dataclass(frozen=True, slots=True)
class Card:
    """What a user must know before trusting an extractor.

    Parameters
    ----------
    name, version
        Registered name; the version changes whenever the numbers may.
    summary
        One sentence.
    parameters
        Name and default of every parameter; values are JSON scalars.
    licence
        Of the method and its weights.
    reference
        Paper or standard it follows.
    scale
        Input scale, in words with units.
    modalities
        Modalities it accepts; empty for all.
    weights_hash
        sha256 of the weights file; None when there are no weights.
    validated
        Measured numbers and where they come from.
    planted
        Of a detector, what it did with planted truth: how many were ``planted`` and ``found``, how many
        ``false`` ones it found in ``area_nm2``; by kind, ``vacancy``, and by kind and elements of the host,
        ``vacancy in Mo S``. Densities are corrected with it.
    """

    name: str
    version: str
    summary: str
    parameters: Mapping[str, Any]
    licence: str
    reference: str
    scale: str
    modalities: tuple[str, ...] = ()
    weights_hash: str | None = None
    validated: Mapping[str, str] = field(default_factory=dict)
    planted: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the card as plain JSON values."""
        planted = {kind: dict(counts) for kind, counts in self.planted.items()}
        plain = {"parameters": dict(self.parameters), "validated": dict(self.validated), "planted": planted}
        return {**asdict(self), **plain}


@dataclass(frozen=True, slots=True)
class Extraction:
    """The rows of one image.

    Parameters
    ----------
    image
        ``pk`` of the micrograph.
    tables
        Arrow table per declared table name; every row's ``image`` column equals `image`.
    rollups
        Per-image numbers: name to (value, unit); value None for "not defined here".
    """

    image: int
    tables: Mapping[str, pa.Table]
    rollups: Mapping[str, tuple[float | None, str | None]] = field(default_factory=dict)


class Extractor:
    """Turns pictures into rows of Arrow tables. Knows neither SQL nor HDF5.

    A plug-in extends this class, registers under the entry-point group ``micdb.extractors`` and
    proves itself by inheriting ``micdb.testing.ExtractorContract``. The same picture, parameters
    and version give the same rows, in any order and any batch.

    Parameters
    ----------
    **parameters
        Overrides of the card's defaults.

    Raises
    ------
    UsageError
        A parameter is unknown, or of another type than its default.
    """

    card: ClassVar[Card]
    #: Arrow schema of every table it fills. Those of `FACTS` in `micdb.populate.facts` begin with the
    #: columns there; those of `CATALOGUED` have exactly these.
    schemas: ClassVar[Mapping[str, pa.Schema]]
    #: Side [pixel of the space] of the windows that fill ``patches``; None when it fills no such table.
    window: ClassVar[int | None] = None
    #: Parameters that say where weights lie or a device is: the hash of the weights makes the run instead.
    places: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, **parameters: Any) -> None:
        defaults = self.card.parameters
        for name, value in parameters.items():
            if name not in defaults:
                raise UsageError(f"{self.card.name} has no parameter {name!r}{suggestion(name, defaults)}")
            _check_type(self.card.name, name, value, defaults[name])
        self.parameters: dict[str, Any] = {**defaults, **parameters}
        canonical_json(self.parameters)

    @property
    def spaces(self) -> tuple[Space, ...]:
        """Spaces of vectors it may fill; empty when it fills neither ``embeddings`` nor ``patches``."""
        return ()

    def _learnt(self, sha256: str, validated: Mapping[str, str], **further: Any) -> None:
        """Make the weights of this instance part of its run: another hash is another run.

        Parameters
        ----------
        sha256
            Of the weights.
        validated
            What they reached.
        **further
            Other fields of the card that no longer hold.
        """
        self.card = replace(  # type: ignore[misc]  # of this instance
            self.card, weights_hash=sha256, validated=validated, **further
        )

    def extract(self, pictures: Iterable[Picture]) -> Iterator[Extraction | Refusal]:
        """Yield exactly one Extraction or Refusal for each picture, in order.

        "This image cannot be measured" is a `Refusal`; an exception means a bug and stops the run. Only what
        measures several pictures together overrides this; all else has `extract_one`.
        """
        yield from map(self.extract_one, pictures)

    def extract_one(self, picture: Picture) -> Extraction | Refusal:
        """Return the rows of a picture, or the reason why there are none."""
        raise TypeError(f"{type(self).__name__} has neither extract_one nor extract for {picture.name!r}")


def check_positive(extractor: Extractor, name: str, expected: str) -> None:
    """Refuse a parameter that is neither None nor a positive, finite number.

    Parameters
    ----------
    extractor
        Whose parameter it is.
    name
        Of the parameter.
    expected
        What it should be, with an example: ``a length in nm, for example 0.142``.

    Raises
    ------
    UsageError
        With what was given and what was expected.
    """
    value = extractor.parameters[name]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (number and 0 < value < math.inf):
        raise UsageError(f"{extractor.card.name}: parameter {name} is {value!r}; expected {expected}")


def _check_type(extractor: str, name: str, value: Any, default: Any) -> None:
    if default is None or value is None:
        return
    expected = (int, float) if isinstance(default, float) else type(default)
    if not isinstance(value, expected) or isinstance(value, bool) != isinstance(default, bool):
        raise UsageError(
            f"{extractor}: parameter {name} is {value!r}; expected {type(default).__name__} like {default!r}"
        )


def extractors() -> Registry[Extractor]:
    """Return the registry of extractors (entry points ``micdb.extractors``)."""
    return _EXTRACTORS


_EXTRACTORS: Registry[Extractor] = Registry("micdb.extractors", Extractor)
