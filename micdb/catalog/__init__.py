"""The catalog: SQL tables, the engine that loses no update, and the schema's history."""
