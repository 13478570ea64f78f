"""What a defect is made of and looks like, and which row a correction replaces."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the columns."""
    with op.batch_alter_table("defect") as table:
        table.add_column(sa.Column("formula", sa.String()))
        table.add_column(sa.Column("key", sa.String()))
        table.add_column(sa.Column("descriptor", JSON))
        table.add_column(sa.Column("structure", JSON))
        table.add_column(sa.Column("replaces_pk", KEY))
        table.create_foreign_key("fk_defect_replaces_pk_defect", "defect", ["replaces_pk"], ["pk"])
        table.create_index("ix_defect_formula", ["formula"])
        table.create_index("ix_defect_key", ["key"])
        table.create_index("ix_defect_replaces_pk", ["replaces_pk"])


def downgrade() -> None:
    """Take them away."""
    with op.batch_alter_table("defect") as table:
        for name in ("replaces_pk", "key", "formula"):
            table.drop_index(f"ix_defect_{name}")
        table.drop_constraint("fk_defect_replaces_pk_defect", type_="foreignkey")
        for name in ("replaces_pk", "structure", "descriptor", "key", "formula"):
            table.drop_column(name)
