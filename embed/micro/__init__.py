"""Microstructures: phases, particles and defects of micrographs that show no atoms."""
