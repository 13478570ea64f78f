"""Point and line defects of atomic-resolution images: departures from the local lattice, and their names."""
