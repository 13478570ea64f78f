"""Microstructures with exact truth: classes, instances and sizes of what was drawn, in nanometres.

A scene is drawn from objects that lie in nanometres, so that the same seed gives the same objects at every
pixel size; an instrument then turns it into an image.
"""
