"""Values of a property by sample in one index: which samples fulfil a condition is read from it alone."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Put the wider index in the place of the one by property."""
    names = ["property_def_pk", "level", "sample_pk", "retired_at", "value"]
    op.create_index("ix_property_value_of_samples", "property_value", names)
    op.drop_index("ix_property_value_property_def_pk", "property_value")


def downgrade() -> None:
    """Put the old one back."""
    op.create_index("ix_property_value_property_def_pk", "property_value", ["property_def_pk"])
    op.drop_index("ix_property_value_of_samples", "property_value")
