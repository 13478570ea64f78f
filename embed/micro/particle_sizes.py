"""Sizes and shapes of particles that were found, with the parts that others hide."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from micdb.embed.micro.objects import Objects, measure
from micdb.embed.micro.particle_finder import Labels, Particles

Floats = npt.NDArray[np.float64]

_HIDDEN = 0.02  # share of a particle below which what is hidden is the error of its outline


def measured(found: Particles, step: tuple[float, float]) -> tuple[Objects, Floats]:
    """Return the objects, in the order of their labels, and the share of each that is seen ``(n,)``.

    Parameters
    ----------
    found
        Particles of an image.
    step
        Size of a pixel along y and x, in any unit; that of the lengths.
    """
    count = len(found.score)
    seen = np.bincount(found.labels.ravel(), minlength=count + 1)[1:]
    layers = whole(found)
    parts = [measure(layer, step) for layer in layers]
    label = np.concatenate([one.label for one in parts])
    order = np.argsort(label)
    columns = {
        field.name: np.concatenate([getattr(one, field.name) for one in parts])[order]
        for field in dataclasses.fields(Objects)
    }
    objects = Objects(**columns)
    return objects, seen / objects.area_px


def whole(found: Particles) -> list[Labels]:
    """Return label images ``(y, x)`` in which each particle shows once, whole.

    It has the pixels that show it, and those within its outline that show another one. Particles that share
    pixels lie in different images.
    """
    layers = [found.labels.copy()]
    boxes = ndimage.find_objects(found.labels)
    for index, place in enumerate(boxes):
        box, mask = found.outlines.mask(index, found.labels.shape)
        hidden = mask & (found.labels[box] > 0) & (found.labels[box] != index + 1)
        if hidden.sum() <= _HIDDEN * mask.sum():
            continue
        parts = ((place, found.labels[place] == index + 1), (box, hidden))
        layers[0][parts[0][0]][parts[0][1]] = 0
        free = [layer for layer in layers[1:] if not any(layer[at][here].any() for at, here in parts)]
        if not free:
            free = [np.zeros_like(found.labels)]
            layers += free
        for at, here in parts:
            free[0][at][here] = index + 1
    return layers
