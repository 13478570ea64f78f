"""Database revisions: one Alembic history for SQLite and PostgreSQL."""
