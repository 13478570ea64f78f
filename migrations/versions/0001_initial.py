"""The first schema, frozen: later changes are later revisions, and never an edit here.

The tables stand here once more, without their meaning: `micdb.catalog` describes the newest schema, this
file the oldest, whatever becomes of the other. A test compares the two for as long as they must agree.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

schema = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
TEXT = sa.String()
NUMBER = sa.Float(53)


def upgrade() -> None:
    """Create every table."""
    schema.create_all(op.get_bind(), checkfirst=False)


def downgrade() -> None:
    """Drop every table."""
    schema.drop_all(op.get_bind(), checkfirst=False)


# fmt: off
sa.Table(
    "acquisition", schema,
    sa.Column("pk", KEY, primary_key=True),
    sa.Column("uid", sa.String(36), nullable=False, unique=True),
    sa.Column("source_sha256", sa.String(64), nullable=False, unique=True),
    sa.Column("started", sa.String(32)),
)
sa.Table(
    "dataset", schema,
    sa.Column("pk", KEY, primary_key=True),
    sa.Column("uid", sa.String(36), nullable=False, unique=True),
    sa.Column("name", TEXT, nullable=False, unique=True),
    sa.Column("query", JSON),
    sa.Column("event_seq", KEY),
    sa.Column("created_at", sa.String(32), nullable=False),
)
sa.Table(
    "event", schema,
    sa.Column("seq", KEY, primary_key=True),
    sa.Column("at", sa.String(32), nullable=False),
    sa.Column("actor", TEXT, nullable=False),
    sa.Column("verb", TEXT, nullable=False),
    sa.Column("entity", TEXT, nullable=False),
    sa.Column("uid", sa.String(36)),
    sa.Column("detail", JSON),
)
sa.Table(
    "lab", schema,
    sa.Column("pk", KEY, primary_key=True),
    sa.Column("uid", sa.String(36), nullable=False, unique=True),
    sa.Column("name", TEXT, nullable=False, unique=True),
    sa.Column("ror", TEXT),
    sa.Column("licence", TEXT),
)
sa.Table(
    "material", schema,
    sa.Column("pk", KEY, primary_key=True),
    sa.Column("uid", sa.String(36), nullable=False, unique=True),
    sa.Column("name", TEXT, nullable=False, unique=True),
    sa.Column("formula", TEXT),
    sa.Column("phase", TEXT),
    sa.Column("aliases", JSON),
    sa.Column("external_ids", JSON),
)
sa.Table(
    "model", schema,
    sa.Column("pk", KEY, primary_key=True),
    sa.Column("uid", sa.String(36), nullable=False, unique=True),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("version", TEXT, nullable=False),
    sa.Column("model_hash", sa.String(64), nullable=False, unique=True),
    sa.Column("card", JSON, nullable=False),
)
sa.Table(
    "object", schema,
    sa.Column("pk", KEY, primary_key=True),
    sa.Column("sha256", sa.String(64), nullable=False, unique=True),
    sa.Column("path", TEXT, nullable=False, unique=True),
    sa.Column("size", sa.BigInteger(), nullable=False),
    sa.Column("media_type", TEXT, nullable=False),
    sa.Column("state", sa.String(12), nullable=False, index=True),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("expires_at", sa.String(32)),
    sa.CheckConstraint("state IN ('pending', 'live', 'quarantined')", name="state"),
)
sa.Table(
    "person", schema,
    sa.Column("pk", KEY, primary_key=True),
    sa.Column("uid", sa.String(36), nullable=False, unique=True),
    sa.Column("name", TEXT, nullable=False, unique=True),
    sa.Column("orcid", TEXT),
)
sa.Table(
    "property_def", schema,
    sa.Column("pk", KEY, primary_key=True),
    sa.Column("uid", sa.String(36), nullable=False, unique=True),
    sa.Column("name", TEXT, nullable=False, unique=True),
    sa.Column("kind", sa.String(8), nullable=False),
    sa.Column("unit", TEXT),
    sa.Column("description", TEXT),
    sa.Column("iri", TEXT),
    sa.CheckConstraint("kind IN ('number', 'text')", name="kind"),
)
sa.Table(
    "annotation", schema,
    sa.Column("pk", KEY, primary_key=True),
    sa.Column("uid", sa.String(36), nullable=False, unique=True),
    sa.Column("target_table", TEXT, nullable=False),
    sa.Column("target_uid", sa.String(36), nullable=False, index=True),
    sa.Column("verb", sa.String(8), nullable=False),
    sa.Column("value", JSON),
    sa.Column("person_pk", KEY, sa.ForeignKey("person.pk"), index=True),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("supersedes_uid", sa.String(36)),
)
sa.Table(
    "defect_motif", schema,
    sa.Column("pk", KEY, primary_key=True),
    sa.Column("uid", sa.String(36), nullable=False, unique=True),
    sa.Column("name", TEXT, nullable=False, unique=True),
    sa.Column("definition", JSON, nullable=False),
    sa.Column("status", TEXT, nullable=False),
    sa.Column("person_pk", KEY, sa.ForeignKey("person.pk"), index=True),
)
sa.Table(
    "instrument", schema,
    sa.Column("pk", KEY, primary_key=True),
    sa.Column("uid", sa.String(36), nullable=False, unique=True),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("vendor", TEXT, nullable=False),
    sa.Column("lab_pk", KEY, sa.ForeignKey("lab.pk"), index=True),
    sa.UniqueConstraint("name", "vendor", "lab_pk"),
)
sa.Table(
    "run", schema,
    sa.Column("pk", KEY, primary_key=True),
    sa.Column("uid", sa.String(36), nullable=False, unique=True),
    sa.Column("model_pk", KEY, sa.ForeignKey("model.pk"), nullable=False, index=True),
    sa.Column("run_key", sa.String(64), nullable=False, unique=True),
    sa.Column("parameters", JSON, nullable=False),
    sa.Column("software", JSON, nullable=False),
    sa.Column("device", TEXT, nullable=False),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("actor", TEXT, nullable=False),
)
sa.Table(
    "sample", schema,
    sa.Column("pk", KEY, primary_key=True),
    sa.Column("uid", sa.String(36), nullable=False, unique=True),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("lab_pk", KEY, sa.ForeignKey("lab.pk"), index=True),
    sa.Column("material_pk", KEY, sa.ForeignKey("material.pk"), index=True),
    sa.Column("form", TEXT),
    sa.UniqueConstraint("name", "lab_pk"),
)
sa.Table(
    "current_run", schema,
    sa.Column("analysis", TEXT, primary_key=True),
    sa.Column("run_pk", KEY, sa.ForeignKey("run.pk"), nullable=False, index=True),
)
sa.Table(
    "embedding_space", schema,
    sa.Column("pk", KEY, primary_key=True),
    sa.Column("run_pk", KEY, sa.ForeignKey("run.pk"), nullable=False, index=True),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("dim", sa.Integer(), nullable=False),
    sa.Column("metric", TEXT, nullable=False),
    sa.Column("nm_per_pixel", NUMBER),
    sa.UniqueConstraint("run_pk", "name"),
)
sa.Table(
    "micrograph", schema,
    sa.Column("pk", KEY, primary_key=True),
    sa.Column("uid", sa.String(36), nullable=False, unique=True),
    sa.Column("name", TEXT, nullable=False, index=True),
    sa.Column("acquisition_pk", KEY, sa.ForeignKey("acquisition.pk"), nullable=False, index=True),
    sa.Column("lab_pk", KEY, sa.ForeignKey("lab.pk"), index=True),
    sa.Column("sample_pk", KEY, sa.ForeignKey("sample.pk"), index=True),
    sa.Column("instrument_pk", KEY, sa.ForeignKey("instrument.pk"), index=True),
    sa.Column("person_pk", KEY, sa.ForeignKey("person.pk"), index=True),
    sa.Column("object_pk", KEY, sa.ForeignKey("object.pk"), nullable=False, index=True),
    sa.Column("pixel_hash", sa.String(64), nullable=False, index=True),
    sa.Column("modality", TEXT, index=True),
    sa.Column("channel", TEXT),
    sa.Column("acquired", sa.String(32)),
    sa.Column("acquired_raw", TEXT),
    sa.Column("height", sa.Integer(), nullable=False),
    sa.Column("width", sa.Integer(), nullable=False),
    sa.Column("n_frames", sa.Integer(), nullable=False),
    sa.Column("colour", sa.Boolean(), nullable=False),
    sa.Column("dtype", TEXT, nullable=False),
    sa.Column("intensity_unit", TEXT),
    sa.Column("pixel_size_x", NUMBER),
    sa.Column("pixel_size_y", NUMBER),
    sa.Column("pixel_size", NUMBER),
    sa.Column("pixel_size_origin", TEXT),
    sa.Column("reciprocal_pixel_size_x", NUMBER),
    sa.Column("reciprocal_pixel_size_y", NUMBER),
    sa.Column("area", NUMBER),
    sa.Column("accelerating_voltage", NUMBER),
    sa.Column("magnification", NUMBER),
    sa.Column("working_distance", NUMBER),
    sa.Column("dwell_time", NUMBER),
    sa.Column("bias", NUMBER),
    sa.Column("setpoint_current", NUMBER),
    sa.Column("detector", TEXT),
    sa.Column("intensity_min", NUMBER),
    sa.Column("intensity_max", NUMBER),
    sa.Column("intensity_mean", NUMBER),
    sa.Column("intensity_sd", NUMBER),
    sa.Column("axes", JSON, nullable=False),
    sa.Column("settings", JSON, nullable=False),
    sa.Column("problems", JSON, nullable=False),
    sa.Column("licence", TEXT),
    sa.Column("embargo_until", sa.String(32)),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("deleted_at", sa.String(32)),
    sa.Index("ix_micrograph_pixel_size", "pixel_size"),
)
sa.Table(
    "part", schema,
    sa.Column("pk", KEY, primary_key=True),
    sa.Column("uid", sa.String(36), nullable=False, unique=True),
    sa.Column("run_pk", KEY, sa.ForeignKey("run.pk"), nullable=False, index=True),
    sa.Column("object_pk", KEY, sa.ForeignKey("object.pk"), nullable=False, index=True),
    sa.Column("table_name", TEXT, nullable=False, index=True),
    sa.Column("rows", sa.BigInteger(), nullable=False),
    sa.Column("min_image", KEY, nullable=False),
    sa.Column("max_image", KEY, nullable=False),
)
sa.Table(
    "processing_step", schema,
    sa.Column("pk", KEY, primary_key=True),
    sa.Column("uid", sa.String(36), nullable=False, unique=True),
    sa.Column("sample_pk", KEY, sa.ForeignKey("sample.pk"), nullable=False, index=True),
    sa.Column("position", sa.Integer(), nullable=False),
    sa.Column("kind", TEXT, nullable=False),
    sa.UniqueConstraint("sample_pk", "position", "kind"),
)
sa.Table(
    "sample_link", schema,
    sa.Column("child_pk", KEY, sa.ForeignKey("sample.pk"), primary_key=True),
    sa.Column("parent_pk", KEY, sa.ForeignKey("sample.pk"), primary_key=True),
    sa.Column("kind", TEXT, nullable=False),
)
sa.Table(
    "dataset_member", schema,
    sa.Column("dataset_pk", KEY, sa.ForeignKey("dataset.pk"), primary_key=True),
    sa.Column("micrograph_pk", KEY, sa.ForeignKey("micrograph.pk"), primary_key=True),
)
sa.Table(
    "defect", schema,
    sa.Column("pk", KEY, primary_key=True),
    sa.Column("uid", sa.String(36), nullable=False, unique=True),
    sa.Column("run_pk", KEY, sa.ForeignKey("run.pk"), nullable=False, index=True),
    sa.Column("micrograph_pk", KEY, sa.ForeignKey("micrograph.pk"), nullable=False, index=True),
    sa.Column("defect_motif_pk", KEY, sa.ForeignKey("defect_motif.pk"), index=True),
    sa.Column("frame", sa.Integer(), nullable=False),
    sa.Column("kind", TEXT, nullable=False, index=True),
    sa.Column("x_px", NUMBER),
    sa.Column("y_px", NUMBER),
    sa.Column("x_nm", NUMBER),
    sa.Column("y_nm", NUMBER),
    sa.Column("box", JSON),
    sa.Column("score", NUMBER),
    sa.Column("atoms", JSON),
    sa.Column("state", TEXT, nullable=False),
)
sa.Table(
    "frame", schema,
    sa.Column("micrograph_pk", KEY, sa.ForeignKey("micrograph.pk"), primary_key=True),
    sa.Column("position", sa.Integer(), primary_key=True),
    sa.Column("time", NUMBER),
)
sa.Table(
    "particle", schema,
    sa.Column("pk", KEY, primary_key=True),
    sa.Column("uid", sa.String(36), nullable=False, unique=True),
    sa.Column("run_pk", KEY, sa.ForeignKey("run.pk"), nullable=False, index=True),
    sa.Column("micrograph_pk", KEY, sa.ForeignKey("micrograph.pk"), nullable=False, index=True),
    sa.Column("frame", sa.Integer(), nullable=False),
    sa.Column("x_px", NUMBER),
    sa.Column("y_px", NUMBER),
    sa.Column("x_nm", NUMBER),
    sa.Column("y_nm", NUMBER),
    sa.Column("area_nm2", NUMBER),
    sa.Column("diameter_nm", NUMBER),
    sa.Column("score", NUMBER),
)
sa.Table(
    "phase_fraction", schema,
    sa.Column("run_pk", KEY, sa.ForeignKey("run.pk"), primary_key=True),
    sa.Column("micrograph_pk", KEY, sa.ForeignKey("micrograph.pk"), primary_key=True),
    sa.Column("phase", TEXT, primary_key=True),
    sa.Column("fraction", NUMBER, nullable=False),
    sa.Column("sd", NUMBER),
)
sa.Table(
    "property_value", schema,
    sa.Column("pk", KEY, primary_key=True),
    sa.Column("uid", sa.String(36), nullable=False, unique=True),
    sa.Column("property_def_pk", KEY, sa.ForeignKey("property_def.pk"), nullable=False, index=True),
    sa.Column("level", sa.String(8), nullable=False),
    sa.Column("sample_pk", KEY, sa.ForeignKey("sample.pk"), index=True),
    sa.Column("micrograph_pk", KEY, sa.ForeignKey("micrograph.pk"), index=True),
    sa.Column("processing_step_pk", KEY, sa.ForeignKey("processing_step.pk"), index=True),
    sa.Column("region", JSON),
    sa.Column("value", NUMBER),
    sa.Column("text", TEXT),
    sa.Column("sd", NUMBER),
    sa.Column("low", NUMBER),
    sa.Column("high", NUMBER),
    sa.Column("n", sa.Integer()),
    sa.Column("method", TEXT),
    sa.Column("conditions", JSON),
    sa.Column("raw", TEXT),
    sa.Column("origin", sa.String(8), nullable=False),
    sa.Column("source_name", TEXT, nullable=False),
    sa.Column("source_row", sa.Integer()),
    sa.Column("natural_key", sa.String(64), nullable=False),
    sa.Column("created_at", sa.String(32), nullable=False),
    sa.Column("retired_at", sa.String(32)),
    sa.CheckConstraint("level IN ('sample', 'region', 'image')", name="level"),
    sa.Index("uq_property_value_live", "natural_key", unique=True),
)
sa.Table(
    "rollup", schema,
    sa.Column("run_pk", KEY, sa.ForeignKey("run.pk"), primary_key=True),
    sa.Column("micrograph_pk", KEY, sa.ForeignKey("micrograph.pk"), primary_key=True),
    sa.Column("name", TEXT, primary_key=True),
    sa.Column("value", NUMBER),
    sa.Column("unit", TEXT),
)
sa.Table(
    "run_item", schema,
    sa.Column("run_pk", KEY, sa.ForeignKey("run.pk"), primary_key=True),
    sa.Column("micrograph_pk", KEY, sa.ForeignKey("micrograph.pk"), primary_key=True),
    sa.Column("status", sa.String(8), nullable=False),
    sa.Column("worker", TEXT),
    sa.Column("lease_until", sa.String(32)),
    sa.Column("attempt", sa.Integer(), nullable=False),
    sa.Column("reason", TEXT),
    sa.Column("seconds", NUMBER),
    sa.Column("finished_at", sa.String(32)),
    sa.CheckConstraint("status IN ('pending', 'claimed', 'done', 'refused', 'failed')", name="status"),
    sa.Index("ix_run_item_status", "run_pk", "status"),
)
sa.Table(
    "segment", schema,
    sa.Column("pk", KEY, primary_key=True),
    sa.Column("uid", sa.String(36), nullable=False, unique=True),
    sa.Column("run_pk", KEY, sa.ForeignKey("run.pk"), nullable=False, index=True),
    sa.Column("micrograph_pk", KEY, sa.ForeignKey("micrograph.pk"), nullable=False, index=True),
    sa.Column("object_pk", KEY, sa.ForeignKey("object.pk"), index=True),
    sa.Column("frame", sa.Integer(), nullable=False),
    sa.Column("kind", TEXT, nullable=False, index=True),
    sa.Column("area_px", NUMBER),
    sa.Column("area_nm2", NUMBER),
)
sa.Table(
    "source", schema,
    sa.Column("pk", KEY, primary_key=True),
    sa.Column("uid", sa.String(36), nullable=False, unique=True),
    sa.Column("micrograph_pk", KEY, sa.ForeignKey("micrograph.pk"), nullable=False, index=True),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("position", sa.Integer(), nullable=False),
    sa.Column("file_name", TEXT, nullable=False),
    sa.Column("path", TEXT, nullable=False),
    sa.Column("size", sa.BigInteger(), nullable=False),
    sa.Column("format", TEXT, nullable=False),
    sa.Column("reader", TEXT, nullable=False),
    sa.Column("reader_version", TEXT, nullable=False),
    sa.Column("original", JSON),
    sa.Column("ingested_at", sa.String(32), nullable=False),
    sa.UniqueConstraint("sha256", "position"),
)
