"""What people and instruments bring: labs, samples, micrographs, properties, and the bytes on disk.

Derived rows (runs, defects, roll-ups) are in `micdb.catalog.results`. Reasons for each entity:
docs/schema.md. Rows are written by the services of the layers above, through SQLAlchemy Core.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    UniqueConstraint,
    text,
)

from micdb.catalog.columns import Json, Moment, Text, changed, column, key, metadata, number, refers, uid

lab = Table(
    "lab", metadata, key(), uid(),
    column("name", Text, "name as people say it", nullable=False, unique=True),
    column("ror", Text, "identifier at ror.org"),
    column("licence", Text, "licence of its data unless a micrograph says otherwise"),
    comment="A laboratory: the source of micrographs and measurements.",
)  # fmt: skip

person = Table(
    "person", metadata, key(), uid(),
    column("name", Text, "as written in the file or sheet", nullable=False, unique=True),
    column("orcid", Text, "identifier at orcid.org"),
    comment="An operator or author.",
)  # fmt: skip

instrument = Table(
    "instrument", metadata, key(), uid(),
    column("name", Text, "model or nickname as the file names it", nullable=False),
    column("vendor", Text, "maker; empty when unknown", nullable=False, default=""),
    refers("lab", "laboratory it stands in"),
    UniqueConstraint("name", "vendor", "lab_pk"),
    comment="A microscope.",
)  # fmt: skip

material = Table(
    "material", metadata, key(), uid(),
    column("name", Text, "name people search by", nullable=False, unique=True),
    column("formula", Text, "chemical formula"),
    column("phase", Text, "phase or polytype"),
    column("aliases", Json, "other names"),
    column("external_ids", Json, "identifiers in OPTIMADE, Materials Project and others"),
    comment="What a sample is made of.",
)  # fmt: skip

sample = Table(
    "sample", metadata, key(), uid(),
    column("name", Text, "label, unique within its lab", nullable=False),
    refers("lab", "laboratory that made it"),
    refers("material", "what it is made of"),
    column("form", Text, "bulk, film, powder, lamella, ..."),
    column("source", Text, "database or bundle it was received from; NULL where it was brought in here"),
    changed(),
    UniqueConstraint("name", "lab_pk"),
    comment="A physical specimen: what properties belong to and what cross-validation must not split.",
)  # fmt: skip

sample_link = Table(
    "sample_link", metadata,
    refers("sample", "the sample that was made", name="child_pk", primary_key=True),
    refers("sample", "the sample it was made from", name="parent_pk", primary_key=True),
    column("kind", Text, "cut, thinned, annealed, ...", nullable=False, default="cut"),
    comment="Which sample was made from which.",
)  # fmt: skip

processing_step = Table(
    "processing_step", metadata, key(), uid(),
    refers("sample", "sample that was processed", nullable=False),
    column("position", Integer, "order of the step, from 1", nullable=False),
    column("kind", Text, "anneal, quench, roll, etch, ...; prefix of its parameters' names", nullable=False),
    UniqueConstraint("sample_pk", "position", "kind"),
    comment="One step in a sample's history; its parameters are rows of property_value.",
)  # fmt: skip

object_ = Table(
    "object", metadata, key(),
    column("sha256", String(64), "sha256 of the bytes", nullable=False, unique=True),
    column("path", Text, "place below the database folder", nullable=False, unique=True),
    column("size", BigInteger, "length", nullable=False, unit="byte"),
    column("media_type", Text, "application/x-hdf5, vnd.apache.parquet or x-tar", nullable=False),
    column("state", String(12), "pending, live or quarantined", nullable=False, index=True),
    column("created_at", Moment, "when the row was written", nullable=False),
    column("expires_at", Moment, "when a pending or quarantined object may be purged"),
    refers("object", "pack that holds its bytes; NULL where it is a file of its own", name="pack_pk"),
    column("pack_offset", BigInteger, "where its bytes begin in the pack", unit="byte"),
    CheckConstraint("state IN ('pending', 'live', 'quarantined')", name="state"),
    comment="Every file micdb owns. A byte on disk counts only when a live row names it.",
)  # fmt: skip

acquisition = Table(
    "acquisition", metadata, key(), uid(),
    column("source_sha256", String(64), "of the file that recorded it; NULL until it is hashed", unique=True),
    column("started", Moment, "moment of acquisition, ISO 8601; no zone means local time, zone unknown"),
    comment="One recording: its channels are micrographs that share it.",
)  # fmt: skip

_DELETED = text("deleted_at IS NOT NULL")  # few are: their index is small
micrograph = Table(
    "micrograph", metadata, key(), uid(),
    column("name", Text, "title in the file, or the file's stem", nullable=False, index=True),
    refers("acquisition", "recording it is a channel of", nullable=False),
    refers("lab", "laboratory that took it"),
    refers("sample", "specimen it shows"),
    refers("instrument", "microscope that took it"),
    refers("person", "operator"),
    refers("object", "HDF5 file with the pixels; NULL while they are deferred"),
    column("pixel_hash", String(64), "sha256 of shape, dtype and values; NULL while deferred", index=True),
    column("modality", Text, "SEM, TEM, STEM, STM, AFM, optical or diffraction", index=True),
    column("channel", Text, "detector or signal as the file names it"),
    column("acquired", Moment, "moment of acquisition, ISO 8601; no zone means local time, zone unknown"),
    column("acquired_raw", Text, "the same as the file wrote it"),
    column("acquired_zone", String(8), "of acquired: UTC, an offset as +02:00, or unknown (local time)"),
    column("height", Integer, "rows", nullable=False, unit="pixel"),
    column("width", Integer, "columns", nullable=False, unit="pixel"),
    column("n_frames", Integer, "images along all leading axes", nullable=False),
    column("colour", Boolean, "whether pixels are RGB or RGBA", nullable=False),
    column("dtype", Text, "numpy dtype of the pixels", nullable=False),
    column("intensity_unit", Text, "unit of the pixel values; NULL for counts"),
    number("pixel_size_x", "nm", "step along x; NULL when unknown or not a length"),
    number("pixel_size_y", "nm", "step along y; NULL when unknown or not a length"),
    number("pixel_size", "nm", "the coarser of pixel_size_x and pixel_size_y"),
    column("pixel_size_origin", Text, "file, sidecar, derived or user"),
    number("reciprocal_pixel_size_x", "1/nm", "step along x of a diffraction pattern"),
    number("reciprocal_pixel_size_y", "1/nm", "step along y of a diffraction pattern"),
    number("area", "nm**2", "imaged area of one frame"),
    number("accelerating_voltage", "V", "of the electron beam"),
    number("magnification", None, "as the instrument states it"),
    number("working_distance", "mm", "lens to sample"),
    number("dwell_time", "s", "per pixel"),
    number("bias", "V", "tip or sample bias of a scanning probe"),
    number("setpoint_current", "A", "tunnelling current setpoint"),
    column("detector", Text, "as the file names it"),
    number("intensity_min", None, "smallest finite value"),
    number("intensity_max", None, "largest finite value"),
    number("intensity_mean", None, "mean of finite values"),
    number("intensity_sd", None, "standard deviation of finite values"),
    column("axes", Json, "every axis as found: name, size, step, offset, unit, origin", nullable=False),
    column("settings", Json, "every mapped setting: value, unit, origin, raw", nullable=False),
    column("problems", Json, "what could not be read, one sentence each", nullable=False),
    column("licence", Text, "overrides the lab's"),
    column("embargo_until", Moment, "may not leave the database before"),
    column("source", Text, "database or bundle it was received from; NULL where it was brought in here"),
    column("created_at", Moment, "when it was ingested", nullable=False),
    changed(),
    column("deleted_at", Moment, "tombstone; NULL while alive"),
    Index("ix_micrograph_pixel_size", "pixel_size"),  # im.pixel_size < "1 nm"
    Index("ix_micrograph_created_at", "created_at", "deleted_at"),  # the newest ones, and how many there are
    Index("ix_micrograph_deleted_at", "deleted_at", sqlite_where=_DELETED, postgresql_where=_DELETED),
    comment="One image of one channel, with one or more frames: the grain of db.images.",
)  # fmt: skip

frame = Table(
    "frame", metadata,
    refers("micrograph", "stack it belongs to", primary_key=True),
    column("position", Integer, "index along the flattened leading axes, from 0", primary_key=True),
    number("time", "s", "since the first frame; NULL when the leading axis is not time"),
    comment="The frames of a stack; single images have none.",
)  # fmt: skip

thumbnail = Table(
    "thumbnail", metadata,
    refers("micrograph", "image it is of", primary_key=True),
    column("png", LargeBinary, "as the micrograph file has it, PNG", nullable=False),
    comment="Small pictures of images that came without pixels; others have theirs in their file.",
)  # fmt: skip

source = Table(
    "source", metadata, key(), uid(),
    refers("micrograph", "image it became", nullable=False),
    column("sha256", String(64), "sha256 of the original file; NULL while its pixels are deferred"),
    column("position", Integer, "which image of the file, from 0", nullable=False),
    column("file_name", Text, "name without folder", nullable=False),
    column("path", Text, "absolute, at ingest time; below its archive", nullable=False, index=True),
    column("size", BigInteger, "length of the original file", nullable=False, unit="byte"),
    column("modified_ns", BigInteger, "last change of the file, since 1970; NULL in archives", unit="ns"),
    column("parts", Json, "further files that were read with it: name and sha256 of each"),
    column("format", Text, "dm3, tif_fei, ...", nullable=False),
    column("reader", Text, "registered reader name", nullable=False),
    column("reader_version", Text, "version of the library that parsed it", nullable=False),
    column("original", Json, "vendor metadata; NULL for the first source, whose object holds it"),
    column("ingested_at", Moment, "when", nullable=False),
    UniqueConstraint("sha256", "position"),
    comment="The original files of a micrograph: the same image saved twice has two sources.",
)  # fmt: skip

property_def = Table(
    "property_def", metadata, key(), uid(),
    column("name", Text, "column name in queries", nullable=False, unique=True),
    column("kind", String(8), "number or text", nullable=False),
    column("unit", Text, "unit of property_value.value; NULL for plain numbers and text"),
    column("description", Text, "what it is"),
    column("iri", Text, "identifier in an ontology"),
    column("aliases", Json, "names that other laboratories have for it"),
    CheckConstraint("kind IN ('number', 'text')", name="kind"),
    comment="A property people measure, set or assign: hardness, anneal_temperature, a class label.",
)  # fmt: skip

property_value = Table(
    "property_value", metadata, key(), uid(),
    refers("property_def", "which property", nullable=False, index=False),  # it leads the last index
    column("level", String(8), "sample, region or image", nullable=False),
    refers("sample", "sample it belongs to"),
    refers("micrograph", "image it belongs to"),
    refers("processing_step", "step it is a parameter of"),
    column("region", Json, "box x, y, width, height of a region", unit="pixel"),
    number("value", "of its property_def", "the number, converted to the unit of the property"),
    column("text", Text, "the text of a text property"),
    number("sd", "of its property_def", "standard deviation"),
    number("low", "of its property_def", "lower end of an interval"),
    number("high", "of its property_def", "upper end of an interval"),
    column("n", Integer, "number of measurements behind it"),
    column("method", Text, "how it was measured"),
    column("conditions", Json, "temperature, load and others, each value and unit"),
    column("raw", Text, "value and unit as given"),
    column("origin", String(8), "file, sidecar, derived or user", nullable=False),
    column("source_name", Text, "sheet or file it came from", nullable=False),
    column("source_row", Integer, "row of the sheet, as a spreadsheet counts"),
    column("natural_key", String(64), "hash of everything that makes it the same value", nullable=False),
    column("created_at", Moment, "when", nullable=False),
    column("retired_at", Moment, "set when a newer version of the same source replaced it"),
    changed(),
    column("source", Text, "database or bundle it was received from; NULL where it was brought in here"),
    Index("uq_property_value_live", "natural_key", unique=True),
    # which samples fulfil a condition on a property
    Index("ix_property_value_of_samples", "property_def_pk", "level", "sample_pk", "retired_at", "value"),
    CheckConstraint("level IN ('sample', 'region', 'image')", name="level"),
    comment="One value of one property of one sample, region or image.",
)  # fmt: skip

conflict = Table(
    "conflict", metadata, key(), uid(),
    column("entity", Text, "table of the row that two laboratories have differently", nullable=False),
    column("row_uid", String(36), "the row here", nullable=False, index=True),
    column("source", Text, "whose the other version is", nullable=False),
    column("differing", Json, "columns with `ours` and `theirs`; rows are named by uid", nullable=False),
    column("revision", Json, "the version that is not current; rows are named by uid", nullable=False),
    column("revision_hash", String(64), "of table, row and their version", nullable=False, unique=True),
    column("kept", String(8), "which version is current: ours or theirs", nullable=False),
    column("policy", String(8), "ours, theirs or newest", nullable=False),
    column("created_at", Moment, "when it was found", nullable=False),
    comment="Two versions of one row, found by an import: one is current, the other is kept here.",
)  # fmt: skip

setting = Table(
    "setting", metadata,
    column(
        "name", Text,
        "folder: where files lie when the catalog is on a server; members: what a federation was made of",
        primary_key=True,
    ),
    column("value", Json, "its value", nullable=False),
    comment="What a database knows about itself.",
)  # fmt: skip

event = Table(
    "event", metadata,
    column("seq", key().type, "order of events; indexes carry the last one they contain", primary_key=True),
    column("at", Moment, "when", nullable=False),
    column("actor", Text, "who", nullable=False),
    column("verb", Text, "ingest, populate, delete, repair, ...", nullable=False),
    column("entity", Text, "table concerned", nullable=False),
    column("uid", String(36), "row concerned, when it is one row"),
    column("detail", Json, "counts and arguments"),
    comment="Audit log, append-only.",
)  # fmt: skip
