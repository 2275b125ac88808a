"""Random numbers that a model draws, put back."""

from __future__ import annotations

import random

import numpy as np
import torch


class RandomState:
    """The state of torch's, NumPy's and Python's own generators, to go back to: by name, or at the end of a ``with``."""

    def __init__(self) -> None:
        self._python, self._numpy, self._torch = random.getstate(), np.random.get_state(), torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []

    def __enter__(self) -> RandomState:
        return self

    def __exit__(self, *_: object) -> None:
        self.restore()

    def restore(self) -> None:
        """Go back."""
        random.setstate(self._python)
        np.random.set_state(self._numpy)
        torch.set_rng_state(self._torch)
        if self._cuda:
            torch.cuda.set_rng_state_all(self._cuda)
