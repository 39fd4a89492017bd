"""What a queue keeps in memory of its tasks: their order, who has them, who was asked, and how they look now.

All of it follows from the tables and from the neurons, and is made anew when the queue is opened. Not for
several threads at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import islice
from typing import Any

from sqlalchemy import Connection

from proofreading import queue_figures, task_rows
from proofreading.agenda import Agenda, Entry
from proofreading.answers import Answer
from proofreading.errors import UnknownError
from proofreading.leases import Lease, living
from proofreading.state import ProofreadingState
from proofreading.tasks import Candidate, Task, TaskKind, TaskState, Verdict


class QueueMemory:
    """The tasks of a queue.

    Args:
      state: of the neurons.
      agenda: over this state.

    Attributes:
      agenda: the tasks that are not settled.
      leases: of tasks that are with somebody.
      elsewhere: tasks that the database did not give out, though nobody was known to have them.
    """

    def __init__(self, state: ProofreadingState, agenda: Agenda) -> None:
        self.agenda = agenda
        self.leases: dict[int, Lease] = {}
        self.elsewhere: set[int] = set()
        self._answered: dict[int, set[str]] = {}
        self._skipped: dict[str, set[int]] = {}
        self._state = state

    def load(self, connection: Connection) -> None:
        """Reads everything anew.

        Args:
          connection: to read from.
        """
        self.leases = {lease.task: lease for lease in living(connection)}
        self.elsewhere = set()
        given = queue_figures.given(connection)
        self._answered, self._skipped = given.answered, given.skipped
        for kind, seconds in given.seconds:
            self.agenda.learn(kind, seconds)
        rows = task_rows.read(connection, "open")
        self.agenda.fill((row.candidate for row in rows), lambda number: number not in self.leases)

    def suits(self, person: str, *, skipped_too: bool, busy_too: bool) -> Callable[[Entry], bool]:
        """Whether a task may be handed to a person.

        Args:
          person: who.
          skipped_too: also those that this person skipped.
          busy_too: also those of neurons that others look at, whose answers may change them.
        """
        skipped = set() if skipped_too else self._skipped.get(person, set())
        busy = set() if busy_too else self._busy(person)

        def suits(entry: Entry) -> bool:
            # First, since in a crowd most are passed over for this.
            if not busy.isdisjoint(entry.neurons):
                return False
            number = entry.candidate.id
            return number not in skipped and person not in self._answered.get(number, ())

        return suits

    def undecided(self, person: str, people: set[str], kinds: Collection[TaskKind] | None) -> list[int]:
        """Tasks that wait though all who answer have, those that were answered longest ago first.

        Args:
          person: who is to be asked again.
          people: all who answer.
          kinds: only these; None = all.
        """
        found = []
        for number, answered in self._answered.items() if person in people else ():
            entry = self.agenda.entries.get(number)
            if entry is None or not people <= answered or entry.is_stale or not entry.is_waiting:
                continue
            if kinds is None or entry.candidate.kind in kinds:
                found.append(number)
        return found

    def lapsed(self, given: Collection[Answer], kinds: Collection[TaskKind] | None) -> list[int]:
        """Loose ends of which a person said where they go on, of neurons that have changed since.

        Args:
          given: what the person said.
          kinds: only these; None = all.
        """
        found = []
        for each in given if kinds is None or TaskKind.END in kinds else ():
            entry = self.agenda.entries.get(each.task)
            if entry is None or entry.is_stale or not entry.is_waiting:
                continue
            if self.versions(entry, each.partner) != each.versions:
                found.append(each.task)
        return found

    def handed_out(self, lease: Lease) -> None:
        """A task is with somebody from now on."""
        self.leases[lease.task] = lease
        self._skipped.get(lease.person, set()).discard(lease.task)

    def returned(self, number: int) -> None:
        """A task is with nobody any more."""
        self.leases.pop(number, None)
        if number in self.agenda.entries:
            self.agenda.offer(number)

    def closed(self, number: int) -> None:
        """A task is settled, or retired."""
        self.leases.pop(number, None)
        self._answered.pop(number, None)
        self.agenda.remove(number)

    def opened(self, candidate: Candidate) -> None:
        """A settled task is asked again, and nobody has answered it."""
        self._answered.pop(candidate.id, None)
        self.agenda.add(candidate)

    def withdrawn(self, candidate: Candidate, others: set[str]) -> None:
        """An answer to a task that is open now was taken back.

        Args:
          candidate: of the task.
          others: whose answers about it still count.
        """
        self._answered[candidate.id] = set(others)
        if candidate.id not in self.agenda.entries:
            self.agenda.add(candidate)

    def answered(self, given: Answer, *, is_open: bool) -> None:
        """Somebody has answered a task, which is with nobody any more.

        Args:
          given: the answer.
          is_open: the task is to be asked again.
        """
        entry = self.agenda.entries.get(given.task)
        if entry is not None and given.seconds is not None and given.verdict is not Verdict.SKIP:
            self.agenda.learn(entry.candidate.kind, given.seconds)
        if not is_open:
            self.closed(given.task)
            return
        if given.verdict is Verdict.SKIP:
            self._skipped.setdefault(given.person, set()).add(given.task)
        else:
            # The latest come last.
            self._answered[given.task] = self._answered.pop(given.task, set()) | {given.person}
        self.returned(given.task)

    def neuron_of(self, supervoxel: int | None) -> int:
        """The neuron of a supervoxel now; 0 where there is none."""
        try:
            return self._state.neuron_of(supervoxel) if supervoxel else 0
        except UnknownError:
            return 0

    def versions(self, entry: Entry, partner: int | None = None) -> dict[int, int]:
        """Of a task's neurons; one that has just gone is left out.

        Args:
          entry: the task.
          partner: the supervoxel in which a loose end goes on; its neuron counts as well.
        """
        found = {}
        for neuron in filter(None, (*entry.neurons, self.neuron_of(partner))):
            try:
                found[neuron] = self._state.version_of(neuron)
            except UnknownError:
                continue
        return found

    def candidate(self, connection: Connection, number: int) -> Candidate:
        """What a task asks. Raises UnknownError: there is none of this number."""
        if number in self.agenda.entries:
            return self.agenda.entries[number].candidate
        row = task_rows.read_one(connection, number)
        if row is None:
            raise UnknownError(f"there is no task {number}")
        return row.candidate

    def listed(
        self, connection: Connection, state: TaskState | None, kind: TaskKind | None, limit: int
    ) -> list[Task]:
        """Tasks, those worth most first, then those that are settled or retired.

        Args:
          connection: to read from.
          state: only these; None = all.
          kind: only these; None = all.
          limit: how many at most.
        """
        numbers = list(islice(self._in_order(state, kind), limit))
        closed = {TaskState.SETTLED, TaskState.RETIRED} & ({state} if state else {*TaskState})
        if closed and len(numbers) < limit:
            rows = task_rows.read(connection, *(each.value for each in closed))
            numbers += [row.candidate.id for row in rows if kind in (None, row.candidate.kind)]
        return self.views(connection, numbers[:limit])

    def views(self, connection: Connection, numbers: list[int]) -> list[Task]:
        """Tasks as they are now. Raises UnknownError: there is none of a number."""
        commented = queue_figures.comments_of(connection, numbers)
        found = []
        for number in numbers:
            entry = self.agenda.entries.get(number)
            if entry is not None:
                state = self._state_of(number)
            else:
                row = task_rows.read_one(connection, number)
                if row is None:
                    raise UnknownError(f"there is no task {number}")
                entry, state = self.agenda.appraised(row.candidate), TaskState(row.state)
                entry.value = 0.0
            found.append(self._view(entry, state, commented.get(number, 0)))
        return found

    def progress(self) -> Mapping[str, Any]:
        """How much there is to do: `open`, `left_nm` (the value of all open tasks), `by_kind`."""
        by_kind = {kind.value: self.agenda.count(kind) for kind in TaskKind}
        return {"open": sum(by_kind.values()), "left_nm": self.agenda.left_nm(), "by_kind": by_kind}

    def _in_order(self, state: TaskState | None, kind: TaskKind | None) -> Iterator[int]:
        """Tasks that are not closed, those worth most first."""
        entries = self.agenda.entries
        if state in (TaskState.LEASED, TaskState.ANSWERED):
            some = self.leases if state is TaskState.LEASED else self._answered
            wanted = (number for number in some if number in entries and self._state_of(number) is state)
            of_kind = (number for number in wanted if kind in (None, entries[number].candidate.kind))
            yield from sorted(of_kind, key=lambda number: (-entries[number].value, number))
            return
        if state in (None, TaskState.OPEN):
            for number in self.agenda.in_order(kind):
                if state is None or self._state_of(number) is state:
                    yield number
        if state in (None, TaskState.STALE):
            yield from self.agenda.stale(kind)

    def _busy(self, person: str) -> set[int]:
        """The neurons of tasks that are with others."""
        theirs = (lease.task for lease in self.leases.values() if lease.person != person)
        entries = (self.agenda.entries[number] for number in theirs if number in self.agenda.entries)
        return {neuron for entry in entries for neuron in entry.neurons if neuron}

    def _state_of(self, number: int) -> TaskState:
        """Of a task in the agenda."""
        if self.agenda.entries[number].is_stale:
            return TaskState.STALE
        if number in self.leases:
            return TaskState.LEASED
        return TaskState.ANSWERED if self._answered.get(number) else TaskState.OPEN

    def _view(self, entry: Entry, state: TaskState, comments: int) -> Task:
        each = entry.now
        return Task(
            *(
                entry.candidate.id,
                each.kind,
                each.supervoxels,
                each.point_nm,
                each.probability,
                each.evidence,
            ),
            *(entry.neurons, self.versions(entry), entry.value, self.agenda.seconds_of(each.kind)),
            *(state, comments),
        )
