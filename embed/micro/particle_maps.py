"""What the network of particles says at each pixel."""

from __future__ import annotations

DEEP, INSIDE = 0, 1  # how deep in a particle, and whether in one
BOX = slice(2, 6)  # distance to the left, upper, right and lower side of the particle's box, hidden parts too
MAPS = 6
UNIT = 10.0  # [pixel] of those distances: about their size
SMALLEST, LARGEST = 5.0, 40.0  # [pixel] diameters that it knows; larger ones it sees in a smaller image
