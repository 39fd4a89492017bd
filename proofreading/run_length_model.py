"""The strict expected run length of neurons that change, kept up to date edit by edit.

A neuron with nodes of one true skeleton alone adds the square of its path on it, any other neuron nothing
(`evaluation.erl`). Its path is that of edges within its supervoxels and between them. So an edit changes the
terms of the neurons that it touches, and no others.

Inputs: true skeletons and the supervoxels of their nodes. Outputs: shares of the largest expected run length.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np

from evaluation import NodeLabels
from volumes import Skeleton


class RunLengthModel:
    """What supervoxels have of true skeletons.

    Args:
      skeletons: true ones by ID.
      nodes: the supervoxels of their nodes.
    """

    def __init__(self, skeletons: Mapping[int, Skeleton], nodes: NodeLabels) -> None:
        self.nodes_of: dict[int, dict[int, int]] = {}
        self._links: dict[int, dict[tuple[int, int], float]] = {}
        self.total_squares = 0.0
        for i, skeleton_id in enumerate(nodes.ids):
            skeleton = skeletons[skeleton_id]
            segments = nodes.segments[nodes.starts[i] : nodes.starts[i + 1]]
            found, counts = np.unique(segments, return_counts=True)
            for segment, count in zip(found.tolist(), counts.tolist(), strict=True):
                if segment:
                    self.nodes_of.setdefault(segment, {})[skeleton_id] = count
            self._add_links(skeleton_id, segments[skeleton.edges], skeleton.edge_lengths_nm)
            self.total_squares += float(skeleton.edge_lengths_nm.sum()) ** 2

    def squares(self, members: Collection[int]) -> float:
        """The term of a neuron, nm^2.

        Args:
          members: its supervoxels.
        """
        on = {skeleton for each in members for skeleton in self.nodes_of.get(each, ())}
        if len(on) != 1:
            return 0.0
        (skeleton,) = on
        return self.path(members, skeleton) ** 2

    def path(self, members: Collection[int], skeleton: int) -> float:
        """The path of a skeleton that lies in a neuron, nm.

        Args:
          members: its supervoxels; a set.
          skeleton: its ID.
        """
        path = 0.0
        for each in members:
            for (of, other), length in self._links.get(each, {}).items():
                if of == skeleton and (other == each or (other > each and other in members)):
                    path += length
        return path

    def nerl(self, neurons: Iterable[Collection[int]]) -> float:
        """The normalised expected run length.

        Args:
          neurons: the supervoxels of each.
        """
        return sum(self.squares(members) for members in neurons) / self.total_squares

    def part(self, supervoxel: int, parts: Mapping[int, Collection[int]]) -> None:
        """Puts parts in the place of a supervoxel, each with all that it has of some skeletons.

        Args:
          supervoxel: the one that is split.
          parts: the skeletons of each part, by its ID.
        """
        part_of = {skeleton: part for part, those in parts.items() for skeleton in those}
        for skeleton, count in self.nodes_of.pop(supervoxel, {}).items():
            self.nodes_of.setdefault(part_of[skeleton], {})[skeleton] = count
        for (skeleton, other), length in self._links.pop(supervoxel, {}).items():
            part = part_of[skeleton]
            if other == supervoxel:
                self._link(skeleton, part, part, length)
            else:
                del self._links[other][skeleton, supervoxel]
                self._link(skeleton, part, other, length)

    def _add_links(self, skeleton: int, ends: np.ndarray, lengths_nm: np.ndarray) -> None:
        """Adds up the edges between each two supervoxels."""
        low, high = ends.min(axis=1, initial=2**63), ends.max(axis=1, initial=0)
        kept = low > 0
        pairs, which = np.unique(np.stack([low[kept], high[kept]], 1), axis=0, return_inverse=True)
        sums = np.bincount(which.ravel(), weights=lengths_nm[kept], minlength=len(pairs))
        for (first, second), length in zip(pairs.tolist(), sums.tolist(), strict=True):
            self._link(skeleton, first, second, length)

    def _link(self, skeleton: int, first: int, second: int, length: float) -> None:
        for here, there in {(first, second), (second, first)}:
            links = self._links.setdefault(here, {})
            links[skeleton, there] = links.get((skeleton, there), 0.0) + length
