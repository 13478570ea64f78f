"""Atom columns: where they are by a network, how exactly by a joint fit, and what they are by brightness."""
