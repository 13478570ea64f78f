"""Where a row was received from, what other laboratories call a property, and what two have differently."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
RECEIVED = ("micrograph", "property_value", "sample")


def upgrade() -> None:
    """Add the columns and the table."""
    for name in RECEIVED:
        op.add_column(name, sa.Column("source", sa.String()))
    op.add_column("property_def", sa.Column("aliases", JSON))
    op.create_table(
        "conflict",
        sa.Column("pk", KEY, nullable=False),
        sa.Column("uid", sa.String(36), nullable=False),
        sa.Column("entity", sa.String(), nullable=False),
        sa.Column("row_uid", sa.String(36), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("differing", JSON, nullable=False),
        sa.Column("revision", JSON, nullable=False),
        sa.Column("revision_hash", sa.String(64), nullable=False),
        sa.Column("kept", sa.String(8), nullable=False),
        sa.Column("policy", sa.String(8), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("pk", name="pk_conflict"),
        sa.UniqueConstraint("uid", name="uq_conflict_uid"),
        sa.UniqueConstraint("revision_hash", name="uq_conflict_revision_hash"),
    )
    op.create_index("ix_conflict_row_uid", "conflict", ["row_uid"])


def downgrade() -> None:
    """Take them away."""
    op.drop_table("conflict")
    for name, columns in {**dict.fromkeys(RECEIVED, ("source",)), "property_def": ("aliases",)}.items():
        with op.batch_alter_table(name) as table:
            for column in columns:
                table.drop_column(column)
