"""What became of neuron IDs: every ID that ever was a neuron's leads to those that are now.

An ID that no neuron has any more stands for the supervoxels that its neuron held last; its successors are
the neurons these are in now. A supervoxel that was split stands for its parts, and a part whose maker was
undone for the supervoxel it was made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from proofreading.edits import SupervoxelSplit
from proofreading.errors import UnknownError
from proofreading.graph import MergeGraph

# Splits of supervoxels with their numbers, by the supervoxel that is no more.
Splits: TypeAlias = Mapping[int, tuple[int, SupervoxelSplit]]


class Lineage:
    """Former neurons of a graph, noted edit by edit with `note`."""

    def __init__(self, graph: MergeGraph) -> None:
        self._graph = graph
        self._last_held: dict[int, np.ndarray] = {}

    def note(self, positions: np.ndarray, before: np.ndarray) -> None:
        """Notes the neurons that are no more.

        Args:
          positions: (k,) int64, supervoxels whose neuron has just changed.
          before: (k,) uint64, the neurons they were in.
        """
        for neuron in np.unique(before[before > 0]).tolist():
            if self._graph.members(neuron).size == 0:
                self._last_held[neuron] = positions[before == neuron]

    def resolve(self, neuron: int, splits: Splits) -> tuple[int, ...]:
        """The neurons of now that hold what a neuron held last.

        Args:
          neuron: its ID, now or once.
          splits: those of supervoxels that are not undone.

        Returns:
          IDs, ascending; the neuron itself as long as it is one.

        Raises:
          UnknownError: no neuron ever had this ID.
        """
        if self._graph.members(neuron).size:
            return (neuron,)
        if neuron not in self._last_held:
            raise UnknownError(f"there is no neuron {neuron} and never was; look for another ID")
        held = self._last_held[neuron]
        found = set(np.unique(self._graph.labels()[held]).tolist())
        if 0 in found:
            for position in held[self._graph.labels()[held] == 0].tolist():
                found |= self._heirs(position, splits)
        return tuple(sorted(found - {0}))

    def _heirs(self, position: int, splits: Splits) -> set[int]:
        """The neurons of a supervoxel's parts; of one whose maker is undone those of what it was made of."""
        graph, found = self._graph, set()
        origin = graph.made_of(position)
        while origin is not None and not graph.labels()[position] and not self._is_split(position, splits):
            position, origin = origin, graph.made_of(origin)
        todo = [position]
        while todo:
            at = todo.pop()
            found.add(int(graph.labels()[at]))
            if self._is_split(at, splits):
                _, split = splits[self._id(at)]
                todo += [graph.position(part.id) for part in split.parts]
        return found

    def _is_split(self, position: int, splits: Splits) -> bool:
        return self._id(position) in splits

    def _id(self, position: int) -> int:
        return int(self._graph.ids_of(np.array([position]))[0])
