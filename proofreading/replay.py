"""Replaying the log: edits one after the other, and what undoing one in the middle means.

The neurons, and what they are called, are those of all edits that are not undone, in the order of their
numbers, whatever else was done and undone meanwhile. So an edit that is undone is taken out of its place in
the middle, and one that is done again goes back there: later edits that touched the same neurons, or neurons
of such, are taken back first and done again afterwards; no others are looked at.

That is impossible where a later edit needs a supervoxel that is not there without the edit, or one that the
edit splits: it is refused, and says which edit is to be undone first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np

from proofreading.edits import Change, Merge, Primary, SupervoxelSplit, Toggle, named_by
from proofreading.errors import ConflictError, ProofreadingError, UnknownError
from proofreading.graph import MergeGraph, Step


@dataclass(frozen=True, eq=False)
class Effect:
    """What a row of the log changed in all.

    Attributes:
      number: of the row.
      positions: (k,) int64, supervoxels whose neuron changed.
      before, after: (k,) uint64, their neurons; 0 = not there.
      neurons_before, neurons_after: IDs, ascending, of all neurons that it touched.
    """

    number: int
    positions: np.ndarray
    before: np.ndarray
    after: np.ndarray
    neurons_before: tuple[int, ...]
    neurons_after: tuple[int, ...]


class Replay:
    """A graph and the edits in it that are not undone; `do` changes, then `keep` or `drop` them together.

    Attributes:
      graph: the neurons.
      active: edits that are not undone: what they did, by number.
      splits: splits of supervoxels among them, with their numbers, by the supervoxel that is no more.
    """

    def __init__(self, graph: MergeGraph) -> None:
        self.graph = graph
        self.active: dict[int, Step] = {}
        self.splits: dict[int, tuple[int, SupervoxelSplit]] = {}
        self._changes: dict[int, Primary] = {}
        self._touching: dict[int, set[int]] = {}
        self._inverse: list[Callable[[], object]] = []
        self._moved: list[tuple[np.ndarray, np.ndarray]] = []

    def do(self, number: int, change: Change) -> Effect:
        """Does a change as row `number` of the log, the one after all others.

        Args:
          number: of the row.
          change: what it does.

        Raises:
          ProofreadingError: it cannot be done; nothing is changed then.
        """
        before, self._moved = len(self._inverse), []
        try:
            if isinstance(change, Toggle):
                named = self._toggle(change)
            else:
                self._changes[number] = change
                self._inverse.append(partial(self._changes.pop, number))
                self._apply(number)
                named = named_by(change)
        except ProofreadingError:
            self._drop_to(before)
            raise
        return self._effect(number, named)

    def keep(self) -> None:
        """Holds on to all that was done."""
        self._inverse = []

    def drop(self) -> None:
        """Takes back what was done since the last `keep`."""
        self._drop_to(0)

    def _drop_to(self, count: int) -> None:
        while len(self._inverse) > count:
            self._inverse.pop()()

    def target(self, number: int) -> Primary:
        """What an edit does that can be undone. Raises UnknownError."""
        if number not in self._changes:
            raise UnknownError(f"there is no edit {number} that could be undone or done again")
        return self._changes[number]

    def _toggle(self, toggle: Toggle) -> tuple[int, ...]:
        number = toggle.target
        change = self.target(number)
        if (number in self.active) == toggle.active:
            found = "is not undone" if toggle.active else "is undone already"
            raise ConflictError(f"edit {number} {found}; reload the history")
        later = self._later(number, self._neurons_now(number, change))
        for each in reversed(later):
            self._take_back(each)
        if toggle.active:
            self._apply(number)
        else:
            self._take_back(number)
        for each in later:
            self._apply_again(each, toggle)
        return named_by(change)

    def _neurons_now(self, number: int, change: Primary) -> set[int]:
        """Neurons from which an edit's place in the middle is reached."""
        if number in self.active:
            return set(self.active[number].neurons)
        labels, found = self.graph.labels(), set[int]()
        for supervoxel in _all_named(change):
            place = self.graph.find(supervoxel)
            found |= set() if place is None else {int(labels[place])} - {0}
            if supervoxel in self.splits:
                found |= self.active[self.splits[supervoxel][0]].neurons
        return found

    def _later(self, number: int, neurons: set[int]) -> list[int]:
        """Later edits that touched any of these neurons, or neurons of such edits; ascending."""
        found, todo, seen = set[int](), list(neurons), set(neurons)
        while todo:
            for edit in self._touching.get(todo.pop(), ()):
                if edit > number and edit not in found:
                    found.add(edit)
                    new = self.active[edit].neurons - seen
                    seen |= new
                    todo += new
        return sorted(found)

    def _apply(self, number: int) -> None:
        change = self._changes[number]
        try:
            step = self.graph.apply(number, change)
        except ProofreadingError as error:
            raise ProofreadingError(
                f"edit {number} cannot be done: {error}; undo the edit that split it, or redo the one that "
                "made it"
            ) from error
        self._moved.append((step.positions, step.before))
        self._inverse.append(partial(self.graph.take_back, step))
        self._put(step)
        self._inverse.append(partial(self._put_away, step))

    def _apply_again(self, number: int, toggle: Toggle) -> None:
        try:
            self._apply(number)
        except ProofreadingError as error:
            doing = "done again" if toggle.active else "undone"
            raise ProofreadingError(
                f"edit {toggle.target} cannot be {doing}: edit {number} came after it and needs what it "
                f"changes ({error.__cause__}); undo edit {number} first"
            ) from error

    def _take_back(self, number: int) -> None:
        step = self.active[number]
        self._put_away(step)
        self._inverse.append(partial(self._put, step))
        self.graph.take_back(step)
        self._moved.append((step.positions, step.after))
        self._inverse.append(partial(self.graph.again, step))

    def _put(self, step: Step) -> None:
        self.active[step.edit] = step
        for neuron in step.neurons:
            self._touching.setdefault(neuron, set()).add(step.edit)
        change = self._changes[step.edit]
        if isinstance(change, SupervoxelSplit):
            self.splits[change.supervoxel] = (step.edit, change)

    def _put_away(self, step: Step) -> None:
        del self.active[step.edit]
        for neuron in step.neurons:
            self._touching[neuron].discard(step.edit)
        change = self._changes[step.edit]
        if isinstance(change, SupervoxelSplit):
            del self.splits[change.supervoxel]

    def _effect(self, number: int, named: Iterable[int]) -> Effect:
        """Compares the neurons with those before the first move."""
        none = (np.zeros(0, np.int64), np.zeros(0, np.uint64))
        parts = list(zip(none, *self._moved, strict=True))
        positions, first = np.unique(np.concatenate(parts[0]), return_index=True)
        before, after = np.concatenate(parts[1])[first], self.graph.labels()[positions]
        changed = before != after
        positions, before, after = positions[changed], before[changed], after[changed]
        places = [place for each in named if (place := self.graph.find(each)) is not None]
        still = set(self.graph.labels()[places].tolist())
        old, new = set(np.unique(before).tolist()), set(np.unique(after).tolist())
        stayed = {neuron for neuron in old | new | still if self._has_others(neuron, after)}
        ended = {neuron for neuron in old if self.graph.members(neuron).size}
        return Effect(
            number,
            positions,
            before,
            after,
            tuple(sorted((old | stayed) - {0})),
            tuple(sorted((new | ended | stayed) - {0})),
        )

    def _has_others(self, neuron: int, after: np.ndarray) -> bool:
        """Whether a neuron has supervoxels that did not change."""
        return self.graph.members(neuron).size > int(np.count_nonzero(after == np.uint64(neuron)))


def _all_named(change: Primary) -> set[int]:
    """Every supervoxel that has to be there for an edit."""
    if isinstance(change, Merge):
        return {change.a, change.b}
    found = {end for pair in change.removed for end in pair}
    if isinstance(change, SupervoxelSplit):
        found = (found - {part.id for part in change.parts}) | {change.supervoxel}
    return found
