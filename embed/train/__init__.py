"""Recipes that train the shipped weights on simulated truth, and the one loop they share."""
