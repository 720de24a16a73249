"""Which track a training sample is of: a pure function of the seed and the sample's number."""

from __future__ import annotations

import numpy as np

from dualdiffusion.randomness import mix_seed


class EpochOrder:
    """Every epoch is a new permutation of the tracks, whatever the batch size or the number of workers."""

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self._epoch, self._permutation = -1, np.arange(0)

    def track_of(self, index: int) -> int:
        """The track of sample `index`, counted from the start of training."""
        epoch, position = divmod(index, self.count)
        if epoch != self._epoch:
            rng = np.random.default_rng(mix_seed(self.seed, "epoch", epoch))
            self._epoch, self._permutation = epoch, rng.permutation(self.count)
        return int(self._permutation[position])

    def crop_random(self, index: int) -> np.random.Generator:
        """The random numbers that choose the crop of sample `index`."""
        return np.random.default_rng(mix_seed(self.seed, "crop", index))
