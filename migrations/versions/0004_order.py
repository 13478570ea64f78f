"""Indexes for what people sort by: the newest images, and those with the largest roll-up.

Both hold what the question needs beside its order, so that a count of the images, or of those above a
limit, reads the index alone. A third has the few images that are deleted.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the indexes."""
    op.create_index("ix_micrograph_created_at", "micrograph", ["created_at", "deleted_at"])
    deleted = sa.text("deleted_at IS NOT NULL")
    op.create_index(
        "ix_micrograph_deleted_at",
        "micrograph",
        ["deleted_at"],
        sqlite_where=deleted,
        postgresql_where=deleted,
    )
    op.create_index("ix_rollup_name", "rollup", ["run_pk", "name", "value"])


def downgrade() -> None:
    """Take them away."""
    op.drop_index("ix_rollup_name", "rollup")
    op.drop_index("ix_micrograph_deleted_at", "micrograph")
    op.drop_index("ix_micrograph_created_at", "micrograph")
