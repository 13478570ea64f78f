"""The big tables: rows in Parquet parts, asked by an in-process DuckDB."""
