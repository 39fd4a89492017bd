"""What a training shows of itself, over its last steps: loss, precision, recall, the share of moves taken.

A run that goes wrong is told by its loss. Soft targets have an entropy, below which no loss gets; what is
above it is the excess, which a good network brings near 0 and which therefore is compared. A network that
answers 1/2 everywhere has a loss of ln 2, whatever the targets: one that is above has learnt less than
nothing.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import entr

from ffn.training.engine import Counts

STEPS = 500  # that a figure is the mean of
WINDOW = 50  # over which a loss is compared with the lowest of as many steps
# A lower excess counts as this: the hard examples of a moment are many times of so little.
_LEAST = 0.02
_KNOWS_NOTHING = math.log(2)


class Measures:
    """The figures of the last `STEPS` steps, and the lowest loss that `WINDOW` steps had so far.

    Args:
      target_inside, target_outside: probabilities that are taught.
    """

    def __init__(self, target_inside: float = 1.0, target_outside: float = 0.0) -> None:
        self._inside, self._outside = (float(entr(p) + entr(1 - p)) for p in (target_inside, target_outside))
        self._rows: list[list[float]] = []
        self._lowest = self._lowest_excess = math.inf

    def add(self, counts: Counts, offered: int, taken: int) -> None:
        """Takes in a step.

        Args:
          counts: of its voxels.
          offered: moves that the field of view could have made before it.
          taken: moves that it made.
        """
        share = counts.wanted / max(counts.weight, 1.0)
        excess = counts.mean_loss - (share * self._inside + (1 - share) * self._outside)
        row = [
            counts.mean_loss,
            counts.hits,
            counts.found,
            counts.wanted,
            float(offered),
            float(taken),
            excess,
        ]
        self._rows = [*self._rows[1 - STEPS :], row]
        if len(self._rows) >= WINDOW:
            self._lowest = min(self._lowest, self._mean(0))
            self._lowest_excess = min(self._lowest_excess, self._mean(-1))

    def figures(self) -> dict[str, float]:
        """Loss (mean of the steps), precision and recall of voxels, share of moves taken; none of nothing."""
        if not self._rows:
            return {}
        _, hits, found, wanted, offered, taken, _ = np.sum(self._rows, axis=0).tolist()
        shares = {"precision": (hits, found), "recall": (hits, wanted), "moves_taken": (taken, offered)}
        return {
            "loss": round(self._mean(0, STEPS), 5),
            **{name: round(part / whole, 4) for name, (part, whole) in shares.items() if whole},
        }

    def divergence(self, factor: float) -> str:
        """Why the run has gone wrong, for a message; empty: it has not.

        Args:
          factor: how many times its lowest the excess of `WINDOW` steps may be.
        """
        if len(self._rows) < WINDOW:
            return ""
        loss, whole = self._mean(0), self._mean(0, STEPS)
        if self._mean(-1) > factor * max(self._lowest_excess, _LEAST):
            return f"loss {loss:.5f}, above divergence_factor times its lowest, {self._lowest:.5f}"
        if loss > 2 * _KNOWS_NOTHING > 2 * self._lowest:
            return f"loss {loss:.5f}, far above that of knowing nothing, 0.69315, after {self._lowest:.5f}"
        knew = self._lowest < (_KNOWS_NOTHING + self._lowest - self._lowest_excess) / 2
        if len(self._rows) == STEPS and whole > _KNOWS_NOTHING * (1 if knew else 2):
            return f"loss {whole:.5f} over {STEPS} steps, above that of knowing nothing, 0.69315"
        return ""

    def suspicion(self, factor: float) -> str:
        """Why this is no state to keep, for a message: the loss is far above its lowest; empty: it is not.

        Args:
          factor: as of `divergence`; its root is far.
        """
        if len(self._rows) < WINDOW:
            return ""
        above = self._mean(-1) > math.sqrt(factor) * max(self._lowest_excess, _LEAST)
        if above or self._mean(0) > 1.1 * _KNOWS_NOTHING > 1.1 * self._lowest:
            return f"loss {self._mean(0):.5f}, far above its lowest, {self._lowest:.5f}"
        return ""

    def _mean(self, column: int, steps: int = 0) -> float:
        rows = self._rows[-(steps or WINDOW) :]
        return sum(row[column] for row in rows) / len(rows)

    def state(self) -> dict[str, np.ndarray]:
        """For `restore`."""
        lowest = np.array([self._lowest, self._lowest_excess])
        return {"rows": np.array(self._rows).reshape(-1, 7), "lowest": lowest}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Inverse of `state`."""
        self._rows = state["rows"].tolist()
        self._lowest, self._lowest_excess = state["lowest"].tolist()
