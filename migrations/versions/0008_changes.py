"""When a row was changed in place, and thumbnails of images whose pixels are elsewhere."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
CHANGING = ("sample", "micrograph", "property_value", "defect_motif")


def upgrade() -> None:
    """Add the columns and the table."""
    for name in CHANGING:
        op.add_column(name, sa.Column("changed_at", sa.String(32)))
    op.create_table(
        "thumbnail",
        sa.Column("micrograph_pk", KEY, nullable=False),
        sa.Column("png", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["micrograph_pk"], ["micrograph.pk"], name="fk_thumbnail_micrograph_pk_micrograph"
        ),
        sa.PrimaryKeyConstraint("micrograph_pk", name="pk_thumbnail"),
    )


def downgrade() -> None:
    """Take them away."""
    op.drop_table("thumbnail")
    for name in CHANGING:
        with op.batch_alter_table(name) as table:
            table.drop_column("changed_at")
