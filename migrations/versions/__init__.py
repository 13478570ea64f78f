"""Revisions, oldest first; `micdb.catalog.schema.REVISIONS` lists them."""
