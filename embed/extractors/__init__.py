"""Built-in extractors, one file for each."""
