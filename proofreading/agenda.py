"""The order of tasks, in memory: which one is worth most now, as lengths and neurons change.

Every task that waits stands among those of its kind by its rank (`proofreading.ranked`). A change of neurons
gives the tasks of these neurons new values and new places. So handing out a task costs the logarithm of their
number, whatever kind is wanted, and an edit what its own neurons' tasks cost. What all tasks add up to is
kept up to date with each of them, in whole numbers, so that no rounding is left behind.

A task is stale while its question makes no sense: the two of a join are one neuron, or the two of a cut are
apart, or a supervoxel is not there, or people joined something at a loose end. That follows from the neurons
alone, so a task is stale no longer once an edit was undone. A task about a supervoxel that was split is about
the part at its point (`proofreading.routing`).

Knows nothing of people, leases or databases: see `proofreading.queue`, and `proofreading.simulate`, which
works through it as it is.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from agglomeration.neurons import NeuronMap
from proofreading.bridges import bridge_sides
from proofreading.errors import UnknownError
from proofreading.lengths import Lengths
from proofreading.ranked import Ranked
from proofreading.routing import routed
from proofreading.state import NeuronEdges
from proofreading.tasks import Candidate, Point, TaskKind
from proofreading.timing import ExpectedSeconds
from proofreading.value import Beyond, cut_value, exchange_value, join_value

# Values are added up in these, as whole numbers.
_UNITS_PER_NM = 2**20


class Neurons(Protocol):
    """What the order of tasks has to know of neurons; see `proofreading.state.ProofreadingState`."""

    def neurons(self) -> NeuronMap: ...
    def neuron_of(self, supervoxel: int) -> int: ...
    def supervoxels_of(self, neuron: int) -> np.ndarray: ...
    def edges_of(self, neuron: int) -> NeuronEdges: ...
    def shares_of(self, supervoxels: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...
    def now_at(self, supervoxel: int, point_nm: Point) -> int: ...
    def is_joined_near(self, supervoxel: int, point_nm: Point) -> bool: ...


@dataclass
class Entry:
    """A task and what it is worth now.

    Attributes:
      candidate: what is asked.
      now: the same, with parts in the place of supervoxels that were split.
      neurons: of its supervoxels now; 0 = there is none.
      lengths_nm: of these.
      part_nm: as in the candidate, kept up to date for cuts.
      value: expected gain of run length, nm.
      is_stale: there is no question left.
      is_improbable: accepting is hardly right, so that it comes after all that are not.
      is_waiting: it may be handed out.
    """

    candidate: Candidate
    neurons: tuple[int, int] = (0, 0)
    lengths_nm: tuple[float, float] = (0.0, 0.0)
    part_nm: float = 0.0
    value: float = 0.0
    is_stale: bool = False
    is_improbable: bool = False
    is_waiting: bool = True
    now: Candidate = field(init=False)

    def __post_init__(self) -> None:
        self.now = self.candidate


# The rank of a task from itself and the seconds it is expected to take; the highest comes first.
Rank = Callable[[Entry, float], float]


def by_value(entry: Entry, seconds: float) -> float:
    """Gain of run length per second, then what is improbable, by probability: the order that people work in.

    The product of two lengths spans many orders of magnitude, a small probability is known to one at best: by
    value alone all pairs of the longest neurons would come before joins that are nearly certain.

    Args:
      entry: the task.
      seconds: that an answer is expected to take.
    """
    return entry.candidate.probability - 1 if entry.is_improbable else entry.value / seconds


class Agenda:
    """All tasks of a project in their order. Not for several threads at once.

    Args:
      neurons: as they are now; asked again about those that `refresh` names.
      lengths: of supervoxels; a part of one that was split has the share of its length that it has of its
        voxels, and one that is not among them is as long as the mean.
      seconds: that answers take.
      beyond: what lies beyond loose ends.
      rank: of a task; the highest comes first, equal ones by number.
      min_probability: joins of less are improbable.
    """

    def __init__(
        self,
        neurons: Neurons,
        lengths: Lengths,
        seconds: ExpectedSeconds,
        beyond: Beyond,
        rank: Rank = by_value,
        min_probability: float = 0.0,
    ) -> None:
        self.entries: dict[int, Entry] = {}
        self.total_nm = lengths.total_nm
        self.beyond = beyond
        self._neurons, self._lengths, self._seconds, self._rank = neurons, lengths, seconds, rank
        self._min_probability = min_probability
        self._clear()
        self._of_neuron: dict[int, set[int]] = {}
        self._length_of: dict[int, float] = {}
        self._mean_nm = float(lengths.nm.mean()) if lengths.nm.size else 0.0

    def fill(self, candidates: Iterable[Candidate], waiting: Callable[[int], bool] = lambda _: True) -> None:
        """Puts tasks in the place of all that are there.

        Args:
          candidates: the tasks.
          waiting: whether the task of a number may be handed out.
        """
        self.entries = {
            each.id: Entry(each, part_nm=each.part_nm, is_waiting=waiting(each.id)) for each in candidates
        }
        self._clear()
        self._of_neuron = {}
        found = self._neurons.neurons()
        names, which = np.unique(found.neurons, return_inverse=True)
        sums = np.bincount(which, weights=self._of(found.supervoxels), minlength=names.size)
        self._length_of = dict(zip(names.tolist(), sums.tolist(), strict=True))
        for number in self.entries:
            self._place(number)

    def refresh(self, neurons: Iterable[int]) -> None:
        """Gives the tasks of neurons that changed their new values.

        Args:
          neurons: as they were called before the change, and after it.
        """
        concerned = set[int]()
        for neuron in neurons:
            self._length_of.pop(neuron, None)
            concerned |= self._of_neuron.pop(neuron, set())
        self._update_cuts(concerned)
        for number in sorted(concerned):
            self._place(number)

    def take(
        self, suits: Callable[[Entry], bool] = lambda _: True, kinds: Collection[TaskKind] | None = None
    ) -> Entry | None:
        """The task of the highest rank that suits, which then no longer waits; None where there is none.

        Args:
          suits: whether it may be this one.
          kinds: only these; None = all.
        """
        heaps = [self._waiting[kind] for kind in TaskKind if kinds is None or kind in kinds]
        passed: list[tuple[float, int, Ranked]] = []
        found = None
        while found is None:
            tops = [(-first[0], first[1], heap) for heap in heaps if (first := heap.first()) is not None]
            if not tops:
                break
            rank, number, heap = min(tops, key=lambda top: top[:2])
            heap.discard(number)
            if suits(self.entries[number]):
                found = self.entries[number]
            else:
                passed.append((-rank, number, heap))
        for rank, number, heap in passed:
            heap.put(number, rank)
        if found is not None:
            self.withdraw(found.candidate.id)
        return found

    def in_order(self, kind: TaskKind | None = None) -> Iterator[int]:
        """Tasks that have a question, those worth most first; nothing may change meanwhile.

        Args:
          kind: only these; None = all.
        """
        heaps = [heap for each, heap in self._valued.items() if kind in (None, each)]
        return heapq.merge(*heaps, key=lambda number: (-self.entries[number].value, number))

    def stale(self, kind: TaskKind | None = None) -> list[int]:
        """Tasks without a question, ascending.

        Args:
          kind: only these; None = all.
        """
        return sorted(number for number in self._stale if kind in (None, self.entries[number].candidate.kind))

    def add(self, candidate: Candidate) -> None:
        """Puts one task more among those that wait.

        Args:
          candidate: the task.
        """
        self.entries[candidate.id] = Entry(candidate, part_nm=candidate.part_nm)
        self._place(candidate.id)

    def remove(self, number: int) -> None:
        """Leaves a task out from now on; one that is not there stays away."""
        entry = self.entries.pop(number, None)
        if entry is None:
            return
        self._uncount(number, entry.candidate.kind)
        self._waiting[entry.candidate.kind].discard(number)
        for neuron in entry.neurons:
            self._of_neuron.get(neuron, set()).discard(number)

    def withdraw(self, number: int) -> None:
        """Keeps a task from being handed out."""
        entry = self.entries[number]
        entry.is_waiting = False
        self._waiting[entry.candidate.kind].discard(number)

    def offer(self, number: int) -> None:
        """Lets a task be handed out (again)."""
        self.entries[number].is_waiting = True
        self._push(number)

    def left_nm(self) -> float:
        """The value of all tasks together."""
        return self._left / _UNITS_PER_NM

    def count(self, kind: TaskKind) -> int:
        """How many tasks of a kind have a question."""
        return self._counts[kind]

    def seconds_of(self, kind: TaskKind) -> float:
        """What an answer is expected to take."""
        return self._seconds.of_kind(kind)

    def learn(self, kind: TaskKind, seconds: float) -> None:
        """Takes into account what an answer took; it shows in the ranks that are made from now on."""
        self._seconds.learn(kind, seconds)

    def appraised(self, candidate: Candidate) -> Entry:
        """A task that is not among these, as it is now.

        Args:
          candidate: the task.
        """
        entry = Entry(candidate, part_nm=candidate.part_nm, is_waiting=False)
        self._appraise(entry)
        return entry

    def gain_of(self, number: int, partner: int | None = None) -> float:
        """What accepting a task adds to the run length if that is right, nm.

        Args:
          number: of the task.
          partner: the supervoxel with which a loose end is joined.
        """
        entry = self.entries[number]
        if entry.candidate.kind is TaskKind.END and partner is not None:
            beyond_nm = self.length_of(self._neuron_of(partner))
            return join_value(1.0, entry.lengths_nm[0], beyond_nm, self.total_nm)
        return self._value(replace(entry, candidate=replace(entry.candidate, probability=1.0)))

    def gain_of_cut(self, neurons: Iterable[int]) -> float:
        """What a cut added to the run length if it is right, nm.

        Args:
          neurons: that came of it.
        """
        first, *rest = sorted((self.length_of(neuron) for neuron in neurons), reverse=True)
        return cut_value(1.0, first, sum(rest), self.total_nm)

    def length_of(self, neuron: int) -> float:
        """Of a neuron as it is now, nm; 0 where there is none."""
        if neuron not in self._length_of:
            try:
                members = self._neurons.supervoxels_of(neuron)
            except UnknownError:
                return 0.0
            self._length_of[neuron] = float(self._of(members).sum())
        return self._length_of[neuron]

    def _of(self, supervoxels: np.ndarray) -> np.ndarray:
        origins, shares = self._neurons.shares_of(supervoxels)
        return self._lengths.of(origins, otherwise=self._mean_nm) * shares

    def _place(self, number: int) -> None:
        """Looks up a task's neurons, values it, and gives it its place."""
        entry = self.entries[number]
        self._uncount(number, entry.candidate.kind)
        self._appraise(entry)
        self._count(number, entry)
        for neuron in filter(None, entry.neurons):
            self._of_neuron.setdefault(neuron, set()).add(number)
        self._push(number)

    def _appraise(self, entry: Entry) -> None:
        entry.now = routed(entry.candidate, self._neurons.now_at)
        first, second = entry.now.supervoxels
        entry.neurons = self._neuron_of(first), self._neuron_of(second)
        entry.lengths_nm = self.length_of(entry.neurons[0]), self.length_of(entry.neurons[1])
        entry.is_stale = _is_stale(entry) or self._is_answered(entry)
        each = entry.candidate
        entry.is_improbable = each.kind is TaskKind.JOIN and each.probability < self._min_probability
        entry.value = 0.0 if entry.is_stale else self._value(entry)

    def _is_answered(self, entry: Entry) -> bool:
        """Whether edits answered a task about one supervoxel: a loose end was joined, or its sides parted."""
        now = entry.now
        if now.kind is TaskKind.END:
            return self._neurons.is_joined_near(now.supervoxels[0], now.point_nm)
        if now is entry.candidate or now.supervoxels[1] or "side_a" not in now.evidence:
            return False
        a, b = (
            {self._neuron_of(int(each)) for each, _ in now.evidence[side]} for side in ("side_a", "side_b")
        )
        return a.isdisjoint(b)

    def _push(self, number: int) -> None:
        entry = self.entries[number]
        waiting = self._waiting[entry.candidate.kind]
        if entry.is_waiting and not entry.is_stale:
            waiting.put(number, self._rank(entry, self._seconds.of_kind(entry.candidate.kind)))
        else:
            waiting.discard(number)

    def _clear(self) -> None:
        """Forgets places, counts and sums."""
        self._waiting = {kind: Ranked() for kind in TaskKind}
        self._valued = {kind: Ranked() for kind in TaskKind}
        self._counts = dict.fromkeys(TaskKind, 0)
        # The value of each task that has a question, in parts of a nm.
        self._parts: dict[int, int] = {}
        self._left = 0
        self._stale = set[int]()

    def _count(self, number: int, entry: Entry) -> None:
        if entry.is_stale:
            self._stale.add(number)
            return
        kind = entry.candidate.kind
        self._counts[kind] += 1
        self._parts[number] = round(entry.value * _UNITS_PER_NM)
        self._left += self._parts[number]
        self._valued[kind].put(number, entry.value)

    def _uncount(self, number: int, kind: TaskKind) -> None:
        self._stale.discard(number)
        if number in self._parts:
            self._left -= self._parts.pop(number)
            self._counts[kind] -= 1
            self._valued[kind].discard(number)

    def _neuron_of(self, supervoxel: int) -> int:
        if supervoxel == 0:
            return 0
        try:
            return self._neurons.neuron_of(supervoxel)
        except UnknownError:
            return 0

    def _value(self, entry: Entry) -> float:
        each, (first_nm, second_nm), total = entry.candidate, entry.lengths_nm, self.total_nm
        if each.kind is TaskKind.JOIN or (each.kind is TaskKind.REFUSED and "loses" not in each.evidence):
            return join_value(each.probability, first_nm, second_nm, total)
        if each.kind is TaskKind.REFUSED:
            losing, gaining = first_nm, second_nm
            if each.evidence["loses"] != str(each.supervoxels[0]):
                losing, gaining = gaining, losing
            return exchange_value(each.probability, min(entry.part_nm, losing), losing, gaining, total)
        if each.kind is TaskKind.MERGER:
            part = min(entry.part_nm, first_nm)
            return cut_value(each.probability, part, first_nm - part, total)
        return join_value(self.beyond.goes_on, first_nm, self.beyond.expected_nm(first_nm), total)

    def _update_cuts(self, numbers: Iterable[int]) -> None:
        """The lengths on both sides of cuts, as long as these still part a neuron."""
        by_neuron: dict[int, list[Entry]] = {}
        for number in numbers:
            entry = self.entries[number]
            if entry.candidate.kind is TaskKind.MERGER and entry.candidate.supervoxels[1]:
                entry.now = routed(entry.candidate, self._neurons.now_at)
                by_neuron.setdefault(self._neuron_of(entry.now.supervoxels[0]), []).append(entry)
        for neuron, entries in by_neuron.items():
            if neuron:
                sides = self._sides(neuron)
                for entry in entries:
                    entry.part_nm = sides.get(entry.now.supervoxels, entry.part_nm)

    def _sides(self, neuron: int) -> Mapping[tuple[int, int], float]:
        """For each merge that alone holds a neuron together the length on its first side."""
        members, edges = self._neurons.supervoxels_of(neuron), self._neurons.edges_of(neuron)
        first, second = np.searchsorted(members, edges.id_a), np.searchsorted(members, edges.id_b)
        is_bridge, first_nm, _ = bridge_sides(members.size, first, second, self._of(members))
        pairs = zip(edges.id_a[is_bridge].tolist(), edges.id_b[is_bridge].tolist(), strict=True)
        return dict(zip(pairs, first_nm[is_bridge].tolist(), strict=True))


def _is_stale(entry: Entry) -> bool:
    """Whether a task's question makes no sense (any more)."""
    (first, second), each = entry.neurons, entry.candidate
    if first == 0 or (each.supervoxels[1] != 0 and second == 0):
        return True
    if each.kind is TaskKind.MERGER:
        return each.supervoxels[1] != 0 and first != second
    return each.kind is not TaskKind.END and first == second
