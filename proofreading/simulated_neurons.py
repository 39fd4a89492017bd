"""Neurons in memory that can be joined and cut, without a log or a database: what a simulation works on.

A neuron is named by one of its supervoxels or by a new number. A cut is the cheapest one by the certainty of
merges, as with real edits (`proofreading.min_cut`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np

from agglomeration.neurons import NeuronMap
from proofreading.errors import UnknownError
from proofreading.min_cut import minimum_cut, weight_of
from proofreading.state import NeuronEdges

FIRST_NEW_ID = 1 << 62


class SimulatedNeurons:
    """Neurons that change.

    Args:
      supervoxels: (n,) uint64.
      neurons: (n,) uint64.
      id_a, id_b: (m,) uint64, the merges inside neurons.
      certainty: (m,) float64.
    """

    def __init__(
        self,
        supervoxels: np.ndarray,
        neurons: np.ndarray,
        id_a: np.ndarray,
        id_b: np.ndarray,
        certainty: np.ndarray,
    ) -> None:
        self._neuron = dict(zip(supervoxels.tolist(), neurons.tolist(), strict=True))
        self._partners: dict[int, dict[int, float]] = {each: {} for each in self._neuron}
        self.members: dict[int, set[int]] = {}
        for supervoxel, neuron in self._neuron.items():
            self.members.setdefault(neuron, set()).add(supervoxel)
        for a, b, weight in zip(id_a.tolist(), id_b.tolist(), certainty.tolist(), strict=True):
            self._partners[a][b] = self._partners[b][a] = weight
        self._next = FIRST_NEW_ID
        self._split_into: dict[int, int] = {}

    def neurons(self) -> NeuronMap:
        """The neuron of every supervoxel."""
        ids = np.array(sorted(self._neuron), np.uint64)
        return NeuronMap(ids, np.array([self._neuron[each] for each in ids.tolist()], np.uint64))

    def shares_of(self, supervoxels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Supervoxels as they are, and 1 for each: parts have no voxels here."""
        return np.asarray(supervoxels, np.uint64), np.ones(len(supervoxels))

    def now_at(self, supervoxel: int, point_nm: Sequence[float]) -> int:
        """The supervoxel itself: where parts lie is not known here."""
        return supervoxel

    def is_joined_near(self, supervoxel: int, point_nm: Sequence[float]) -> bool:
        """Never: the merges here have no places."""
        return False

    def neurons_of_whole(self, supervoxels: Iterable[int]) -> NeuronMap:
        """The neuron of supervoxels as they were at first; of one that was split, that of its main part.

        Args:
          supervoxels: IDs, of those that there were at first.
        """
        ids = sorted(supervoxels)
        now = [self._main_part(each) for each in ids]
        neurons = [self._neuron[each] for each in now]
        return NeuronMap(np.array(ids, np.uint64), np.array(neurons, np.uint64))

    def neuron_of(self, supervoxel: int) -> int:
        """The neuron of a supervoxel. Raises UnknownError: there is none of this ID (any more)."""
        if supervoxel not in self._neuron:
            raise UnknownError(f"there is no supervoxel {supervoxel}")
        return self._neuron[supervoxel]

    def supervoxels_of(self, neuron: int) -> np.ndarray:
        """(n,) uint64, ascending. Raises UnknownError: no neuron has this ID."""
        if neuron not in self.members:
            raise UnknownError(f"there is no neuron {neuron}")
        return np.array(sorted(self.members[neuron]), np.uint64)

    def edges_of(self, neuron: int) -> NeuronEdges:
        """The merges inside a neuron."""
        rows = [
            (a, b, weight)
            for a in sorted(self.members[neuron])
            for b, weight in self._partners[a].items()
            if a < b
        ]
        a, b, weights = zip(*rows, strict=True) if rows else ((), (), ())
        return NeuronEdges(np.array(a, np.uint64), np.array(b, np.uint64), np.array(weights, np.float64))

    def merge(self, a: int, b: int) -> tuple[int, ...]:
        """Joins the neurons of two supervoxels; gives the neurons that changed."""
        keeps, goes = self._neuron[a], self._neuron[b]
        self._partners[a][b] = self._partners[b][a] = 1.0
        if keeps == goes:
            return ()
        if len(self.members[keeps]) < len(self.members[goes]):
            keeps, goes = goes, keeps
        moved = self.members.pop(goes)
        self.members[keeps] |= moved
        self._neuron |= dict.fromkeys(moved, keeps)
        return keeps, goes

    def sides(self, first: Iterable[int], second: Iterable[int]) -> tuple[set[int], set[int]]:
        """The parts into which the cheapest cut parts the neuron of two sets of its supervoxels."""
        sources, sinks = sorted(set(first)), sorted(set(second))
        members = self.supervoxels_of(self._neuron[sources[0]])
        edges = self.edges_of(self._neuron[sources[0]])
        ends = np.stack([np.searchsorted(members, edges.id_a), np.searchsorted(members, edges.id_b)], axis=1)
        at = [np.searchsorted(members, np.array(each, np.uint64)) for each in (sources, sinks)]
        found = minimum_cut(members.size, ends, weight_of(edges.certainty), *at)
        on_first = set(members[found.side].tolist())
        return on_first, set(members.tolist()) - on_first

    def cut(self, first: Collection[int], second: Collection[int]) -> tuple[int, ...]:
        """Takes all merges between two parts of a neuron away; gives the neurons that changed."""
        neuron = self._neuron[next(iter(first))]
        smaller, larger = sorted((set(first), set(second)), key=len)
        for each in smaller:
            for other in [other for other in self._partners[each] if other in larger]:
                del self._partners[each][other], self._partners[other][each]
        new = self.new_id()
        self.members[neuron] = larger
        self.members[new] = smaller
        self._neuron |= dict.fromkeys(smaller, new)
        return neuron, new

    def part(self, supervoxel: int, parts: dict[int, Collection[int]]) -> tuple[int, ...]:
        """Puts parts in the place of a supervoxel, each with some of its partners; the parts are apart.

        Args:
          supervoxel: the one that is split.
          parts: partners of each part, by its ID; the first one is the main part.

        Returns:
          The neurons that changed.
        """
        neuron = self._neuron.pop(supervoxel)
        before = self._partners.pop(supervoxel)
        self._split_into[supervoxel] = next(iter(parts))
        rest = self.members.pop(neuron) - {supervoxel}
        for part, others in parts.items():
            self._partners[part] = {other: before[other] for other in others}
            for other in others:
                self._partners[other][part] = before[other]
        for other in before:
            del self._partners[other][supervoxel]
        left, changed = rest | set(parts), [neuron]
        while left:
            reached = self._reached(next(iter(left)))
            left -= reached
            name = self.new_id()
            self.members[name] = reached
            self._neuron |= dict.fromkeys(reached, name)
            changed.append(name)
        return tuple(changed)

    def partners(self, supervoxel: int) -> list[int]:
        """The supervoxels that one is merged with, ascending."""
        return sorted(self._partners[supervoxel])

    def new_id(self) -> int:
        """A number that no supervoxel and no neuron has."""
        self._next += 1
        return self._next - 1

    def _main_part(self, supervoxel: int) -> int:
        while supervoxel in self._split_into:
            supervoxel = self._split_into[supervoxel]
        return supervoxel

    def _reached(self, start: int) -> set[int]:
        found, waiting = {start}, [start]
        while waiting:
            for other in self._partners[waiting.pop()]:
                if other not in found:
                    found.add(other)
                    waiting.append(other)
        return found
