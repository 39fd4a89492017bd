"""Exponential moving average of the weights: the network that is kept."""

from __future__ import annotations

import numpy as np

EVERY = 4  # steps between two looks at the weights


class Averages:
    """The averaged weights, followed every `EVERY` steps.

    The decay ramps up from the start, so that the first, random weights do not count for long. Source of the
    ramp: TensorFlow's ExponentialMovingAverage with `num_updates`.

    Args:
      weights: those the run starts from.
      decay: per step; 0: the average is the last weights.
    """

    def __init__(self, weights: list[np.ndarray], decay: float) -> None:
        self._values, self._decay = [weight.copy() for weight in weights], decay

    def is_due(self, step: int) -> bool:
        """Whether weights are looked at after so many steps."""
        return self._decay > 0 and step % EVERY == 0

    def follow(self, weights: list[np.ndarray], step: int) -> None:
        """Takes the weights after `step` steps into the average, in place."""
        decay = min(self._decay, (1 + step) / (10 + step)) ** EVERY
        for average, weight in zip(self._values, weights, strict=True):
            average *= decay
            average += (1 - decay) * weight

    def values(self, weights: list[np.ndarray]) -> list[np.ndarray]:
        """The averages, given the weights now."""
        return self._values if self._decay > 0 else weights

    def state(self) -> list[np.ndarray]:
        """For `restore`."""
        return self._values

    def restore(self, values: list[np.ndarray]) -> None:
        """Inverse of `state`."""
        self._values = values
