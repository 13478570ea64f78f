"""One stored micrograph: what the catalog knows of it, and its pixels when asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import Engine

from micdb import places
from micdb.catalog import tables as t
from micdb.catalog.engine import reading
from micdb.catalog.rows import id_list
from micdb.errors import StoreError
from micdb.ingest.image_rows import zone
from micdb.records import Axis, OnAxes, Quantity
from micdb.store import nexus
from micdb.store.places import Place, as_file

if TYPE_CHECKING:
    import numpy as np

AT_ONCE = 200  # rows of the catalog in memory at a time; settings and problems may be some kB each


@dataclass(frozen=True, slots=True)
class StoredImage(OnAxes):
    """One micrograph of a database; make one with ``db.image(uid)``.

    Parameters
    ----------
    uid, pk
        Its identity everywhere, and its key in this database.
    name
        Title in the original file, or the file's stem.
    object, sha256
        Where the micrograph file lies, and the hash of its bytes; None while the pixels are deferred.
    axes
        One `Axis` per dimension, in order. A pixel size that a samples sheet gave stands here too.
    dtype
        numpy's name of the type of the pixels.
    settings
        Instrument settings by the names of `micdb.records.SETTINGS`.
    modality, channel, intensity_unit, acquired
        As in the catalog; None when unknown. ``acquired`` without a zone is local time of an unknown zone.
    intensity_range
        Smallest and largest finite value, of complex pixels the magnitude's; None when there is none.
    sample, instrument, vendor, operator, licence
        Names; None when unknown.
    source
        File name, format and, unless the pixels are deferred, sha256 of the original file.
    """

    uid: str
    pk: int
    name: str
    object: Place | None
    sha256: str | None
    axes: tuple[Axis, ...]
    dtype: str
    settings: Mapping[str, Quantity]
    modality: str | None
    channel: str | None
    intensity_unit: str | None
    intensity_range: tuple[float, float] | None
    acquired: str | None
    sample: str | None
    instrument: str | None
    vendor: str | None
    operator: str | None
    licence: str | None
    source: Mapping[str, str]

    def __repr__(self) -> str:
        sizes = " x ".join(f"{axis.size} {axis.name}" for axis in self.axes)
        return f"<image {self.uid}: {self.name!r}, {sizes}, {self.dtype}>"

    # ------------------------------------------------------------------ shape

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(axis.size for axis in self.axes)

    @property
    def zone_known(self) -> bool:
        """Whether the moment of acquisition says its time zone."""
        return zone(self.acquired) not in (None, "unknown")

    # ------------------------------------------------------------------ content

    @property
    def place(self) -> Place:
        """Where the micrograph file lies; raises `StoreError` while the pixels are deferred."""
        if self.object is None:
            raise StoreError(
                f"the pixels of {self.name!r} are not here yet; bring them in with: micdb fetch, or ingest "
                "its file where it came from another laboratory"
            )
        return self.object

    def pixels(self) -> np.ndarray:
        """Return the whole array as recorded.

        Raises
        ------
        StoreError
            The file is missing or damaged, or the pixels are deferred.
        """
        return nexus.read_pixels(self.place)

    def frame(self, i: int) -> np.ndarray:
        """Return frame `i` of the flattened leading axes: ``(y, x)``, or ``(y, x, 3 or 4)`` for colour.

        Raises
        ------
        StoreError
            The file is missing or damaged, or has no such frame.
        """
        return nexus.read_frame(self.place, i)

    def frames(self) -> Iterator[np.ndarray]:
        """Yield every frame in order, one in memory at a time."""
        for number in range(self.n_frames):
            yield self.frame(number)

    def file(self) -> AbstractContextManager[Path]:
        """Give the micrograph file to other programs: ``with image.file() as path:``; never write to it.

        Raises
        ------
        StoreError
            The pixels are deferred.
        FileNotFoundError
            The file is missing.
        """
        return as_file(self.place)

    def original(self) -> dict[str, Any]:
        """Return the vendor's metadata, untouched."""
        return nexus.read_original(self.place)

    def to_xarray(self) -> Any:
        """Return an ``xarray.DataArray``; see `micdb.bundle.data_array.data_array`."""
        from micdb.bundle.data_array import data_array

        return data_array(self)

    def to_hyperspy(self) -> Any:
        """Return a HyperSpy signal; see `micdb.bundle.hyperspy_signal.signal`."""
        from micdb.bundle.hyperspy_signal import signal

        return signal(self)


def load_images(engine: Engine, root: Path, keys: Sequence[int]) -> Iterator[StoredImage]:
    """Yield the micrographs of those keys in the order given, a few hundred rows in memory at a time.

    Parameters
    ----------
    engine, root
        Catalog and folder of the database.
    keys
        ``micrograph.pk``; one that is not there any more is left out.
    """
    for start in range(0, len(keys), AT_ONCE):
        some = keys[start : start + AT_ONCE]
        found = {image.pk: image for image in _read(engine, root, some)}
        yield from (found[key] for key in some if key in found)


def _read(engine: Engine, root: Path, keys: Iterable[int]) -> Iterator[StoredImage]:
    m, first = t.micrograph.c, t.source.alias("first")
    first_source = sa.select(sa.func.min(first.c.pk)).where(first.c.micrograph_pk == m.pk).scalar_subquery()
    rows = (
        t.micrograph.outerjoin(t.object_, t.object_.c.pk == m.object_pk)
        .outerjoin(t.sample, t.sample.c.pk == m.sample_pk)
        .outerjoin(t.instrument, t.instrument.c.pk == m.instrument_pk)
        .outerjoin(t.person, t.person.c.pk == m.person_pk)
        .outerjoin(t.lab, t.lab.c.pk == m.lab_pk)
        .outerjoin(t.source, t.source.c.pk == first_source)
    )
    query = sa.select(
        m.uid, m.pk, m.name, m.axes, m.dtype, m.settings, m.modality, m.channel, m.intensity_unit,
        m.intensity_min, m.intensity_max, m.acquired, m.pixel_size_x, m.pixel_size_y, m.pixel_size_origin,
        *places.COLUMNS, t.sample.c.name.label("sample"),
        t.instrument.c.name.label("instrument"), sa.func.nullif(t.instrument.c.vendor, "").label("vendor"),
        t.person.c.name.label("operator"), sa.func.coalesce(m.licence, t.lab.c.licence).label("licence"),
        t.source.c.file_name, t.source.c.sha256.label("source_sha256"), t.source.c.format,
    ).select_from(places.with_packs(rows))  # fmt: skip
    with reading(engine) as connection:
        wanted = query.where(m.pk.in_(sa.select(id_list(connection, keys).c.id)))
        found = connection.execute(wanted).all()
    for row in found:
        yield _image(row, places.place(engine, root, row) if row.object_path is not None else None)


def _image(row: Any, place: Place | None) -> StoredImage:
    known = row.intensity_min is not None and row.intensity_max is not None
    source = {"file_name": row.file_name, "sha256": row.source_sha256, "format": row.format}
    return StoredImage(
        uid=row.uid,
        pk=row.pk,
        name=row.name,
        object=place,
        sha256=row.object_sha256,
        axes=tuple(_axis(values, row) for values in row.axes),
        dtype=row.dtype,
        settings={name: Quantity(**value) for name, value in row.settings.items()},
        modality=row.modality,
        channel=row.channel,
        intensity_unit=row.intensity_unit,
        intensity_range=(row.intensity_min, row.intensity_max) if known else None,
        acquired=row.acquired,
        sample=row.sample,
        instrument=row.instrument,
        vendor=row.vendor,
        operator=row.operator,
        licence=row.licence,
        source={name: value for name, value in source.items() if value is not None},
    )


def _axis(values: Mapping[str, Any], row: Any) -> Axis:
    """Return an axis; a pixel size that came after the file (from a sheet) is in the columns only."""
    axis = Axis(**values)
    size = {"y": row.pixel_size_y, "x": row.pixel_size_x}.get(axis.name)
    if axis.calibrated or size is None:
        return axis
    return replace(axis, step=size, offset=0.0, unit="nm", origin=row.pixel_size_origin or "user")
