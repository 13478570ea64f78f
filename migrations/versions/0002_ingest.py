"""Deferred pixels, quick recognition of known files, zones of dates, files in several parts.

A micrograph may be catalogued from its header, its pixels still in the vendor's file: then it has no object
and no pixel hash. A source remembers when the file was last changed, so that a file already here is known
without hashing it, and the other files that were read with it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the columns; what was required for every image may now be unknown."""
    with op.batch_alter_table("micrograph") as table:
        table.alter_column("object_pk", existing_type=KEY, nullable=True)
        table.alter_column("pixel_hash", existing_type=sa.String(64), nullable=True)
        table.add_column(sa.Column("acquired_zone", sa.String(8)))
    with op.batch_alter_table("acquisition") as table:
        table.alter_column("source_sha256", existing_type=sa.String(64), nullable=True)
    with op.batch_alter_table("source") as table:
        table.alter_column("sha256", existing_type=sa.String(64), nullable=True)
        table.add_column(sa.Column("modified_ns", sa.BigInteger()))
        table.add_column(sa.Column("parts", JSON))
        table.create_index("ix_source_path", ["path"])


def downgrade() -> None:
    """Give the old requirements back; fails while the pixels of an image are deferred."""
    with op.batch_alter_table("source") as table:
        table.drop_index("ix_source_path")
        table.drop_column("parts")
        table.drop_column("modified_ns")
        table.alter_column("sha256", existing_type=sa.String(64), nullable=False)
    with op.batch_alter_table("acquisition") as table:
        table.alter_column("source_sha256", existing_type=sa.String(64), nullable=False)
    with op.batch_alter_table("micrograph") as table:
        table.drop_column("acquired_zone")
        table.alter_column("pixel_hash", existing_type=sa.String(64), nullable=False)
        table.alter_column("object_pk", existing_type=KEY, nullable=False)
