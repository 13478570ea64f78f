"""Packs of small objects, and settings of the database itself.

An object may lie inside another one, its pack, so that a million micrographs are not a million files. A
catalog on a server has to know where its files lie.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the columns and the table."""
    with op.batch_alter_table("object") as table:
        table.add_column(sa.Column("pack_pk", KEY))
        table.add_column(sa.Column("pack_offset", sa.BigInteger()))
        table.create_foreign_key("fk_object_pack_pk_object", "object", ["pack_pk"], ["pk"])
        table.create_index("ix_object_pack_pk", ["pack_pk"])
    op.create_table(
        "setting",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("value", JSON, nullable=False),
    )


def downgrade() -> None:
    """Take them away; fails to read what lies in packs afterwards."""
    op.drop_table("setting")
    with op.batch_alter_table("object") as table:
        table.drop_index("ix_object_pack_pk")
        table.drop_constraint("fk_object_pack_pk_object", type_="foreignkey")
        table.drop_column("pack_offset")
        table.drop_column("pack_pk")
