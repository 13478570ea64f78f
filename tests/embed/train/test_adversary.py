"""The adversary of `super-resolve`: it learns to tell, and belongs to one network."""

from __future__ import annotations

import numpy as np
import torch

from micdb.embed.nets import weights
from micdb.embed.train.adversary import Adversary, begun
from micdb.embed.train.restore import answer, drawn

ARGUMENTS = weights.card("super-resolve").network


def stripes(count=4, side=64):
    """Return images ``(count, 1, side, side)``, 0 and 1."""
    y, x = np.mgrid[:side, :side]
    turn = np.linspace(0, 3, count)[:, None, None]
    return torch.from_numpy(np.float32(np.sin(0.5 * (x * np.cos(turn) + y * np.sin(turn))) > 0)[:, None])


def test_training_goes_on_from_the_plain_weights():
    shipped = weights.unet("super-resolve").state_dict()
    for name, value in begun(**ARGUMENTS).state_dict().items():
        torch.testing.assert_close(value, shipped[name])


def test_it_learns_to_tell_true_images_from_made_ones():
    torch.manual_seed(0)
    adversary, network, images = Adversary(), begun(**ARGUMENTS).eval(), stripes()
    for _ in range(15):
        adversary(network, (images,))
    with torch.no_grad():
        data, truth = drawn(images.numpy())
        true, made = (adversary.critic(one, data).mean() for one in (truth, answer(network, data)))
    assert true > made + 0.05


def test_the_network_is_taught_against_it_and_another_gets_another():
    torch.manual_seed(0)
    adversary, network, images = Adversary(), begun(**ARGUMENTS), stripes(2)
    adversary(network, (images,)).backward()
    critic = adversary.critic
    assert network.head.weight.grad.abs().sum() > 0
    adversary(network, (images,))
    assert adversary.critic is critic
    adversary(begun(**ARGUMENTS), (images,))
    assert adversary.critic is not critic
