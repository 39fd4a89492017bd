"""The neurons as edits make them: supervoxels joined by the agglomeration's merges and changed by people's.

Neurons are the connected components of the merges that are there. An edit marks pairs of supervoxels as
joined or parted; the last mark of a pair counts, and without any the agglomeration. What an edit did is a
`Step`, which can be taken back and done again exactly; work is that of the neurons it touches.

Pure and in memory. Supervoxels are positions (`proofreading.base_graph`); those that edits made come after
the agglomeration's. A supervoxel that is not there, because it was split or its maker is undone, is in
neuron 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from proofreading.base_graph import FIRST_NEW_ID, BaseGraph
from proofreading.edits import Merge, Pair, Part, Primary, Route, Split, SupervoxelSplit
from proofreading.errors import ProofreadingError, UnknownError
from proofreading.marks import Marks, Sayings
from proofreading.neuron_names import names_after

_NONE = np.zeros(0, np.int64)
# Each edit has so many numbers for supervoxels that it makes, and as many for neurons.
_NUMBERS = 2**19


@dataclass(frozen=True, eq=False)
class Step:
    """What an edit did.

    Attributes:
      edit: its number.
      positions: (k,) int64, supervoxels whose neuron changed.
      before, after: (k,) uint64, their neurons; 0 = the supervoxel is not there.
      freed: (f,) int64, supervoxels whose ID became free or taken.
      marks: what it says of pairs of positions, the smaller one first.
      neurons: all that it touched, as they were called before and after.
    """

    edit: int
    positions: np.ndarray
    before: np.ndarray
    after: np.ndarray
    freed: np.ndarray
    marks: Sayings
    neurons: frozenset[int]


def new_supervoxel(edit: int, index: int) -> int:
    """The ID of a supervoxel that an edit makes.

    Args:
      edit: its number.
      index: which of them, from 0.
    """
    return FIRST_NEW_ID + 2 * _NUMBERS * edit + index


class MergeGraph:
    """Supervoxels, merges and neurons; changed by `apply`, `take_back` and `again` alone.

    Attributes:
      base: the agglomeration.
    """

    def __init__(self, base: BaseGraph) -> None:
        self.base = base
        self._count = base.ids.size
        self._ids, self._voxels = base.ids.copy(), base.voxels.copy()
        self._neurons = base.neurons.copy()
        self._free = base.neurons != base.ids
        self._somas = dict(base.somas)
        self._has_soma = np.zeros(base.ids.size, bool)
        self._has_soma[list(base.somas)] = True
        self._added: dict[int, int] = {}
        self._made_of: dict[int, int] = {}
        self._marks = Marks()
        self._changed: dict[int, np.ndarray] = {}
        self._order = np.argsort(base.neurons, kind="stable")
        self._names, starts = np.unique(base.neurons[self._order], return_index=True)
        self._starts = np.append(starts, base.ids.size)

    def position(self, supervoxel: int) -> int:
        """Where a supervoxel stands, be it there now or not. Raises UnknownError: it never was."""
        found = self.find(supervoxel)
        if found is None:
            raise UnknownError(f"there is no supervoxel {supervoxel}; reload what you look at")
        return found

    def find(self, supervoxel: int) -> int | None:
        """Where a supervoxel stands, be it there now or not; None = it never was."""
        if 0 < supervoxel < FIRST_NEW_ID:
            at = int(np.searchsorted(self.base.ids, np.uint64(supervoxel)))
            if at < self.base.ids.size and int(self.base.ids[at]) == supervoxel:
                return at
        return self._added.get(supervoxel)

    def neuron_of(self, supervoxel: int) -> int:
        """The neuron of a supervoxel. Raises UnknownError: it is not there."""
        neuron = int(self._neurons[self.position(supervoxel)])
        if neuron == 0:
            raise UnknownError(f"supervoxel {supervoxel} is no more, or not yet; reload what you look at")
        return neuron

    def members(self, neuron: int) -> np.ndarray:
        """(k,) int64 positions, ascending; none where no neuron has this ID."""
        if neuron in self._changed:
            return self._changed[neuron]
        at = int(np.searchsorted(self._names, np.uint64(neuron)))
        if at == self._names.size or int(self._names[at]) != neuron:
            return _NONE
        return self._order[self._starts[at] : self._starts[at + 1]]

    def ids_of(self, positions: np.ndarray) -> np.ndarray:
        """(k,) uint64 IDs of supervoxels."""
        return self._ids[positions]

    def voxels_of(self, positions: np.ndarray) -> np.ndarray:
        """(k,) int64 voxels of supervoxels."""
        return self._voxels[positions]

    def somas_at(self, positions: np.ndarray) -> frozenset[int]:
        """The cell bodies in some supervoxels."""
        holders = positions[self._has_soma[positions]].tolist()
        return frozenset(body for holder in holders for body in self._somas[holder])

    def made_of(self, position: int) -> int | None:
        """The supervoxel that one was split from; None for those of the agglomeration."""
        return self._made_of.get(position)

    def labels(self) -> np.ndarray:
        """(all positions,) uint64, the neuron of each; 0 = not there. A view: copy it to keep it."""
        return self._neurons[: self._count]

    def edges_among(self, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The merges between some supervoxels.

        Args:
          members: (k,) int64, positions, ascending.

        Returns:
          (e, 2) int64, indices into `members`, and (e,) float64, certainties.
        """
        old = members[: np.searchsorted(members, self.base.ids.size)]
        ends, certainty = self.base.edges_among(old)
        marked = self._marks.among(members)
        if not marked:
            return ends, certainty
        pairs = np.searchsorted(members, np.array(list(marked), np.int64))
        key = ends[:, 0] * members.size + ends[:, 1]
        left = ~np.isin(key, pairs[:, 0] * members.size + pairs[:, 1])
        joined = np.array([value is not None for value in marked.values()])
        values = np.array([value for value in marked.values() if value is not None], np.float64)
        return np.concatenate([ends[left], pairs[joined]]), np.concatenate([certainty[left], values])

    def edges_at(self, position: int, *, known: bool = False) -> dict[int, float]:
        """The merges of one supervoxel: certainties by the position of the other; `known`: those that were
        parted, too, with what they had by the agglomeration, else 1."""
        is_old = position < self.base.ids.size
        edges = self.base.edges_of(position) if is_old else {}
        for other, certainty in self._marks.of(position).items():
            if certainty is not None:
                edges[other] = certainty
            elif known:
                edges.setdefault(other, 1.0)
            else:
                edges.pop(other, None)
        return edges

    def apply(self, edit: int, change: Primary) -> Step:
        """Does an edit, as the last of all that touch its neurons.

        Args:
          edit: its number.
          change: what it does.

        Raises:
          ProofreadingError: a supervoxel that it names is not there; nothing is changed.
        """
        if isinstance(change, Merge):
            step = self._joined(edit, _pair(self._there(change.a), self._there(change.b)))
        else:
            step = self._parted(edit, change)
        self.again(step)
        return step

    def take_back(self, step: Step) -> None:
        """Makes it as it was before a step; of all that touch its neurons it has to be the last."""
        self._marks.take(step.edit, step.marks)
        self._move(step.positions, step.before)
        self._free[step.freed] ^= True

    def again(self, step: Step) -> None:
        """Does what was taken back."""
        self._marks.put(step.edit, step.marks)
        self._move(step.positions, step.after)
        self._free[step.freed] ^= True

    def _joined(self, edit: int, pair: Pair) -> Step:
        """What a merge does: one of two neurons goes over into the other one."""
        neurons = sorted({int(self._neurons[end]) for end in pair})
        marks: Sayings = {pair: 1.0}
        if len(neurons) == 1:
            none = np.zeros(0, np.uint64)
            return Step(edit, _NONE, none, none, _NONE, marks, frozenset(neurons))
        sizes = [int(self._voxels[self.members(neuron)].sum()) for neuron in neurons]
        stays, goes = neurons if sizes[0] >= sizes[1] else neurons[::-1]
        moved, named = self.members(goes), self.find(goes)
        is_inside = named is not None and int(self._neurons[named]) in neurons
        return Step(
            edit,
            moved,
            np.full(moved.size, goes, np.uint64),
            np.full(moved.size, stays, np.uint64),
            np.array([named]) if is_inside else _NONE,
            marks,
            frozenset(neurons),
        )

    def _parted(self, edit: int, change: Split | SupervoxelSplit) -> Step:
        """What a split does: neurons fall into the components of the merges that are left."""
        gone, made = -1, _NONE
        if isinstance(change, SupervoxelSplit):
            gone = self._there(change.supervoxel)
            made = np.array([self._add(part, gone) for part in change.parts])
        marks = self._marks_of(change, gone, made.tolist())
        ends = {end for pair in marks for end in pair} - set(made.tolist()) | ({gone} - {-1})
        touched = sorted({int(self._neurons[end]) for end in ends} - {0})
        held = np.concatenate([_NONE, *(self.members(neuron) for neuron in touched)])
        members = np.sort(np.concatenate([held[held != gone], made]))
        before = self._neurons[members]
        before[np.isin(members, made)] = self._neurons[gone]
        names = names_after(
            self._ids[members],
            self._voxels[members],
            before,
            self._free[members],
            self._components(edit, marks, members),
            new_supervoxel(edit, _NUMBERS),
        )
        freed = members[names.free != self._free[members]]
        positions, after = members, names.neurons
        if gone >= 0:
            positions, after = np.append(positions, gone), np.append(after, np.uint64(0))
        is_other = self._neurons[positions] != after
        positions, after = positions[is_other], after[is_other]
        neurons = frozenset({*touched, *np.unique(names.neurons).tolist()})
        return Step(edit, positions, self._neurons[positions], after, freed, marks, neurons)

    def _components(self, edit: int, marks: Sayings, members: np.ndarray) -> np.ndarray:
        """(k,) int64: the component of each supervoxel, were the marks there."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        self._marks.put(edit, marks)
        ends, _ = self.edges_among(members)
        self._marks.take(edit, marks)
        first, second = ends.T
        shape = (members.size, members.size)
        joined = coo_array((np.ones(first.size, np.int8), (first, second)), shape=shape)
        return connected_components(joined, directed=False)[1].astype(np.int64)

    def _there(self, supervoxel: int) -> int:
        try:
            self.neuron_of(supervoxel)
        except UnknownError as error:
            raise ProofreadingError(f"supervoxel {supervoxel} is not there") from error
        return self.position(supervoxel)

    def _add(self, part: Part, origin: int) -> int:
        """A place for a supervoxel that an edit makes; it is not there yet."""
        at = self._added.setdefault(part.id, self._count)
        if at == self._count:
            self._count += 1
            if at == self._ids.size:
                self._make_room()
        self._ids[at], self._voxels[at], self._made_of[at] = part.id, part.voxels, origin
        self._somas[at], self._has_soma[at] = part.somas, bool(part.somas)
        return at

    def _make_room(self) -> None:
        room = max(1024, self._count // 16)
        self._ids = np.append(self._ids, np.zeros(room, np.uint64))
        self._voxels = np.append(self._voxels, np.zeros(room, np.int64))
        self._neurons = np.append(self._neurons, np.zeros(room, np.uint64))
        self._free = np.append(self._free, np.ones(room, bool))
        self._has_soma = np.append(self._has_soma, np.zeros(room, bool))

    def _marks_of(self, change: Split | SupervoxelSplit, gone: int, made: Sequence[int]) -> Sayings:
        marks: Sayings = {}
        new: dict[int, int] = {}
        if isinstance(change, SupervoxelSplit):
            marks = dict(self._rerouted(change, gone, made))
            new = dict(zip((part.id for part in change.parts), made, strict=True))
        for pair in change.removed:
            a, b = (new[end] if end in new else self._there(end) for end in pair)
            marks[_pair(a, b)] = None
        return marks

    def _rerouted(
        self, change: SupervoxelSplit, gone: int, made: Sequence[int]
    ) -> Iterator[tuple[Pair, float | None]]:
        larger = int(change.parts[1].voxels > change.parts[0].voxels)
        routes: dict[int, list[Route]] = {}
        for route in change.routes:
            position = self.find(route.other)
            if position is not None:
                routes.setdefault(position, []).append(route)
        for other, certainty in self.edges_at(gone).items():
            yield _pair(gone, other), None
            known = routes.get(other, [Route(0, larger, certainty)])
            for route in known:
                yield _pair(made[route.part], other), route.certainty

    def _move(self, positions: np.ndarray, neurons: np.ndarray) -> None:
        """Gives supervoxels to other neurons."""
        before = self._neurons[positions]
        self._neurons[positions] = neurons
        for name in np.unique(before[before > 0]).tolist():
            members = self.members(name)
            self._changed[name] = members[self._neurons[members] == np.uint64(name)]
        for name in np.unique(neurons[neurons > 0]).tolist():
            members, new = self.members(name), np.sort(positions[neurons == np.uint64(name)])
            self._changed[name] = np.insert(members, np.searchsorted(members, new), new)


def _pair(a: int, b: int) -> Pair:
    return (a, b) if a < b else (b, a)
