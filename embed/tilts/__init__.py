"""Rotations of the octahedra of perovskites from annular bright-field images along [110]."""
