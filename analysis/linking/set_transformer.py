"""Many images, one sample: a small network that reads all images of a sample at once, in any order.

The network is `micdb.embed.nets.set_network.SetNetwork`. Every image of a sample gets the same answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from micdb.extras import require

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_STEPS, _RATE, _DECAY = 150, 3e-3, 1e-2
_MOST = 64  # images of a sample that are read at once; of more, these many are drawn with the seed
_HIDDEN = 0.3  # chance that an image is hidden in a step: sets differ in size, and one image must not decide


class SetTransformer:
    """A regressor on sets of rows.

    Parameters
    ----------
    seed
        Of the first weights, and of what is hidden.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.weights: dict[str, NDArray[np.float32]] = {}
        self.middle, self.spread = 0.0, 1.0

    def fit(self, x: Floats, y: Floats, bags: Ints) -> SetTransformer:
        """Learn the mean target of the rows of each bag.

        Parameters
        ----------
        x
            Standardised features ``(n, p)``.
        y
            Target ``(n,)``.
        bags
            Sample of each row ``(n,)``.
        """
        torch = require("torch")
        from micdb.embed.nets.set_network import SetNetwork

        self.middle, self.spread = float(y.mean()), float(y.std()) or 1.0
        sets, there, rows = _padded(x, bags, self.seed)
        target = np.array([y[one].mean() for one in rows])
        wanted = torch.tensor((target - self.middle) / self.spread, dtype=torch.float32)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            network = SetNetwork(x.shape[1])
            optimiser = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
            rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, _STEPS)
            for _ in range(_STEPS):
                hidden = (torch.rand(there.shape) < _HIDDEN) & there
                seen = there & ~hidden
                seen[~seen.any(dim=1)] = there[~seen.any(dim=1)]
                loss = torch.nn.functional.huber_loss(network(sets, seen), wanted)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                rates.step()
        self.weights = {name: value.detach().numpy() for name, value in network.state_dict().items()}
        return self

    def predict(self, x: Floats, bags: Ints) -> Floats:
        """Return the target of each row's bag ``(n,)``."""
        torch = require("torch")
        from micdb.embed.nets.set_network import SetNetwork

        network = SetNetwork(x.shape[1])
        network.load_state_dict({name: torch.from_numpy(value) for name, value in self.weights.items()})
        network.eval()
        sets, there, rows = _padded(x, bags, self.seed)
        with torch.inference_mode():
            said = network(sets, there).numpy().astype(np.float64)
        made = np.empty(len(x))
        for value, one in zip(said, rows, strict=True):
            made[one] = self.middle + self.spread * value
        return made


def _padded(x: Floats, bags: Ints, seed: int) -> tuple[Tensor, Tensor, list[Ints]]:
    """Return sets ``(bags, most, p)``, which of their rows are there, and the rows of each bag."""
    torch = require("torch")
    rows = [np.flatnonzero(bags == one) for one in np.unique(bags)]
    rng = np.random.default_rng(seed)
    read = [one if len(one) <= _MOST else np.sort(rng.choice(one, _MOST, replace=False)) for one in rows]
    most = max(map(len, read))
    sets, there = np.zeros((len(rows), most, x.shape[1]), np.float32), np.zeros((len(rows), most), bool)
    for number, one in enumerate(read):
        sets[number, : len(one)], there[number, : len(one)] = x[one], True
    return torch.from_numpy(sets), torch.from_numpy(there), rows
