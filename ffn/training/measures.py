"""What a training shows of itself, over its last steps: loss, precision, recall, the share of moves taken."""

from __future__ import annotations

import math

import numpy as np

from ffn.training.engine import Counts

STEPS = 500  # that a figure is the mean of


class Measures:
    """The figures of the last `STEPS` steps, and the lowest loss that so many steps had so far."""

    def __init__(self) -> None:
        self._rows: list[list[float]] = []
        self._lowest = math.inf

    def add(self, counts: Counts, offered: int, taken: int) -> None:
        """Takes in a step.

        Args:
          counts: of its voxels.
          offered: moves that the field of view could have made before it.
          taken: moves that it made.
        """
        row = [counts.mean_loss, counts.hits, counts.found, counts.wanted, float(offered), float(taken)]
        self._rows = [*self._rows[1 - STEPS :], row]
        if len(self._rows) == STEPS:
            self._lowest = min(self._lowest, self._mean_loss())

    def figures(self) -> dict[str, float]:
        """Loss (mean of the steps), precision and recall of voxels, share of moves taken; none of nothing."""
        if not self._rows:
            return {}
        _, hits, found, wanted, offered, taken = np.sum(self._rows, axis=0).tolist()
        shares = {"precision": (hits, found), "recall": (hits, wanted), "moves_taken": (taken, offered)}
        return {
            "loss": round(self._mean_loss(), 5),
            **{name: round(part / whole, 4) for name, (part, whole) in shares.items() if whole},
        }

    def has_diverged(self, factor: float) -> bool:
        """Whether the mean loss is above the lowest one of as many steps, times the factor."""
        return len(self._rows) == STEPS and self._mean_loss() > factor * self._lowest

    def _mean_loss(self) -> float:
        return sum(row[0] for row in self._rows) / len(self._rows)

    def state(self) -> dict[str, np.ndarray]:
        """For `restore`."""
        return {"rows": np.array(self._rows).reshape(-1, 6), "lowest": np.array(self._lowest)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Inverse of `state`."""
        self._rows, self._lowest = state["rows"].tolist(), float(state["lowest"])
