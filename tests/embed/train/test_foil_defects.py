"""What `defect-seg` learns from: the same batch for a seed, and nothing of defects that cannot be seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from micdb.embed.micro.foil_maps import CHANNELS, KINDS, Calibration
from micdb.embed.simulate.microstructures.diffraction_contrast import Camera, Content, defect_image
from micdb.embed.simulate.microstructures.foil import Foil
from micdb.embed.simulate.microstructures.inclusions import Population
from micdb.embed.simulate.microstructures.view import View
from micdb.embed.train.foil_defects import BATCH, SIDE, batch, loss, seen

NONE = Population(0.0, 10.0)


def shown(counts, mottle=0.02, **content):
    """Return masks, and what is seen of them, of one kind of defect at a dose."""
    view, camera = View((96, 96), 1.0), Camera(counts=counts, mottle=mottle)
    empty = Content(lines=0.0, loops=NONE, precipitates=NONE, voids=NONE)
    made = defect_image(view, seed=1, content=replace(empty, **content), camera=camera)
    plain = defect_image(view, seed=1, content=empty, camera=camera).clean
    changes = np.zeros((len(KINDS), 96, 96), dtype=np.float32)
    changes[0 if "lines" in content else 3] = made.clean - plain
    return made.masks, seen(made, changes, plain, Foil().image_width)


@pytest.mark.parametrize(("kind", "content"), [
    (0, {"lines": 2e-4}), (3, {"voids": Population(1e-3, 12.0, 0.1, (0.3, 0.4))}),
])  # fmt: skip
def test_what_the_noise_or_the_mottle_hides_is_not_seen(kind, content):
    masks, clear = shown(1000.0, **content)
    assert clear[kind].sum() > 0.6 * masks[kind].sum() > 0
    assert not (clear & ~masks).any()
    assert shown(0.3, **content)[1].sum() == 0
    assert shown(1000.0, mottle=0.9, **content)[1].sum() < 0.1 * masks[kind].sum()


def test_a_defect_does_not_show_by_another_beside_it():
    made = defect_image(
        View((96, 96), 1.0), seed=1, content=Content(lines=2e-4), camera=Camera(counts=1000.0)
    )
    changes = np.zeros((len(KINDS), 96, 96), dtype=np.float32)
    changes[0] = made.clean
    assert not seen(made, changes, made.clean, 10.0)[1:].any()


def test_a_batch_is_that_of_its_seed():
    images, maps = batch(4)
    assert images.shape == (BATCH, CHANNELS, SIDE, SIDE)
    assert maps.shape == (BATCH, len(KINDS), SIDE, SIDE)
    assert set(np.unique(maps)) <= {-1.0, 0.0, 1.0}
    np.testing.assert_array_equal(images, batch(4)[0])


class Says(nn.Module):
    """Answers what it was given."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, image):
        return self.answer


def test_the_loss_asks_nothing_of_what_cannot_be_seen():
    maps = torch.zeros((1, len(KINDS), 8, 8))
    maps[:, :, :3], maps[:, :, 3:5] = 1.0, -1.0
    right = torch.where(maps > 0, 8.0, -8.0)
    images = torch.zeros((1, CHANNELS, 8, 8))
    best = loss(Says(right).eval(), (images, maps))
    assert best < 0.1 < loss(Says(-right).eval(), (images, maps))
    torch.testing.assert_close(loss(Says(torch.where(maps < 0, 8.0, right)).eval(), (images, maps)), best)


class Echo(nn.Module):
    """Answers the masks that are drawn in its image."""

    def forward(self, image):
        return image.repeat(1, len(KINDS), 1, 1)


def test_images_and_masks_are_turned_together():
    torch.manual_seed(0)
    maps = torch.zeros((1, len(KINDS), 8, 8))
    maps[:, :, :2, 3:] = 1.0
    image = torch.where(maps[:, :1] > 0, 8.0, -8.0)
    for _ in range(12):
        assert loss(Echo().train(), (image, maps)) < 0.1


def test_a_calibration_is_a_logistic():
    answers = np.zeros((len(KINDS), 2, 2), dtype=np.float32)
    assert Calibration()(answers).mean() == 0.5
    shifted = Calibration((2.0,) * 4, (1.0, 0.0, 0.0, 0.0))(answers + 0.5)
    np.testing.assert_allclose(shifted[0], 1 / (1 + np.exp(-2.0)), rtol=1e-5)
