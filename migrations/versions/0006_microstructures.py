"""Regions, particles and phases move to Parquet parts: a database has millions of them.

Nothing filled the three tables until now.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
NUMBER = sa.Float(53)


def upgrade() -> None:
    """Take the tables away."""
    for table in ("segment", "phase_fraction", "particle"):
        op.drop_table(table)


def downgrade() -> None:
    """Make them again, empty."""
    found = (
        sa.Column("pk", KEY, primary_key=True),
        sa.Column("uid", sa.String(36), nullable=False, unique=True),
        sa.Column("run_pk", KEY, sa.ForeignKey("run.pk"), nullable=False, index=True),
        sa.Column("micrograph_pk", KEY, sa.ForeignKey("micrograph.pk"), nullable=False, index=True),
        sa.Column("frame", sa.Integer(), nullable=False),
    )
    places = ("x_px", "y_px", "x_nm", "y_nm", "area_nm2", "diameter_nm", "score")
    op.create_table("particle", *(one.copy() for one in found), *(sa.Column(name, NUMBER) for name in places))
    op.create_table(
        "phase_fraction",
        sa.Column("run_pk", KEY, sa.ForeignKey("run.pk"), primary_key=True),
        sa.Column("micrograph_pk", KEY, sa.ForeignKey("micrograph.pk"), primary_key=True),
        sa.Column("phase", sa.Text(), primary_key=True),
        sa.Column("fraction", NUMBER, nullable=False),
        sa.Column("sd", NUMBER),
    )
    op.create_table(
        "segment",
        *(one.copy() for one in found),
        sa.Column("object_pk", KEY, sa.ForeignKey("object.pk"), index=True),
        sa.Column("kind", sa.Text(), nullable=False, index=True),
        sa.Column("area_px", NUMBER),
        sa.Column("area_nm2", NUMBER),
    )
