"""What the network of particles says at each pixel."""

from __future__ import annotations

from micdb.embed.micro.outlines import RAYS

DEEP, INSIDE = 0, 1  # how deep in a particle, and whether in one
OFFSET, RADII = slice(2, 4), slice(4, 4 + RAYS)  # way from the centre x, y; to the edge, less that way
MAPS = 4 + RAYS
UNIT = 10.0  # [pixel] of offsets and radii: about their size
