"""Lattices of images and of atom positions: basis, Bravais type, strain, phases and their boundaries.

Arrays in, arrays out. Directions are those of the image: x to the right, y down.
"""
