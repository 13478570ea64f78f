"""Out again: stored micrographs to other programs' objects and files."""
