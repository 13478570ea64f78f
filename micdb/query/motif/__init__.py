"""The same arrangement of atoms anywhere: descriptors, alignment, search."""
