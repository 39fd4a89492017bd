"""Which voxel the next example is centred on: a class, all alike, then a volume that has it, then a voxel.

A class is drawn over all volumes together, so that one that is rare in each of them is still one class.
Classes of very few voxels are put together with the next: drawn as often as the others, the few would be seen
over and over, and learnt by heart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ffn.training.training_volume import TrainingVolume
from volumes.box import Zyx


class CentreDraw:
    """Volumes to draw centres from.

    Attributes:
      volumes: as given.
      counts: (classes,) int64, voxels of each class in all volumes together.
      groups: classes that are drawn as one, ascending; classes without a voxel are in none.

    Args:
      volumes: with centres of the same classes.
      weights: how often each is drawn, in proportion, among volumes that are made up alike of the classes; of
        a class, a volume is drawn by its weight times the share of its centres that the class has.
      min_class_voxels: a class with fewer voxels is drawn together with the next.
    """

    def __init__(
        self, volumes: Sequence[TrainingVolume], weights: Sequence[float], min_class_voxels: int = 1
    ) -> None:
        self.volumes = volumes
        self._counts = np.stack([volume.centres.counts for volume in volumes])
        self.counts: np.ndarray = self._counts.sum(axis=0)
        self.groups = class_groups(self.counts, min_class_voxels)
        shares = self._counts / self._counts.sum(axis=1, keepdims=True) * np.asarray(weights, float)[:, None]
        # Of each group, over its (volume, class) pairs.
        self._chances = [_up_to_one(shares[:, group].ravel()) for group in self.groups]

    def draw(self, rng: np.random.Generator) -> tuple[TrainingVolume, Zyx]:
        """A volume and a voxel (z, y, x) of it.

        Args:
          rng: advanced by three draws.
        """
        number = int(rng.integers(len(self.groups)))
        group = self.groups[number]
        pair = int(np.searchsorted(self._chances[number], rng.random(), side="right"))
        which, of_class = pair // len(group), group[pair % len(group)]
        voxel = int(rng.integers(self._counts[which, of_class]))
        return self.volumes[which], self.volumes[which].centres.voxel(of_class, voxel)

    def describe(self) -> str:
        """A line with the voxels of each class, and which classes are drawn as one."""
        joined = [f"{group[0]}-{group[-1]}" for group in self.groups if len(group) > 1]
        together = f"; classes {', '.join(joined)} are drawn as one" if joined else ""
        return f"centres by class, from thin to enclosed: {self.counts.tolist()}{together}"


def class_groups(counts: np.ndarray, min_voxels: int) -> list[list[int]]:
    """Neighbouring classes put together until each group has enough voxels.

    Args:
      counts: (classes,) voxels of each.
      min_voxels: that a group has at least, unless all classes together have fewer.

    Returns:
      Classes of each group, both ascending; those without a voxel are left out.
    """
    groups: list[list[int]] = []
    there = 0
    for of_class in np.flatnonzero(counts).tolist():
        if not groups or there >= min_voxels:
            groups.append([])
            there = 0
        groups[-1].append(of_class)
        there += int(counts[of_class])
    if len(groups) > 1 and there < min_voxels:
        last = groups.pop()
        groups[-1] += last
    return groups


def _up_to_one(shares: np.ndarray) -> np.ndarray:
    sums = np.cumsum(shares)
    # The last pair that has voxels ends at exactly 1, whatever was rounded.
    return np.where(sums >= sums[-1], 1.0, sums / sums[-1])
