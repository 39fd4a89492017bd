"""The queue: tasks are handed out by their worth, answered, and settled.

Tasks, leases and answers are rows of the database and survive a kill at any moment; what a task is worth
follows from the neurons and is kept in memory (`proofreading.agenda`). An answer counts only if its neurons
are as the person saw them; otherwise nothing is done, and the task is to be looked at again.

One process serves a queue; methods may be called from several threads. Times come from a clock that is handed
in, seconds since the epoch.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import Connection

from agglomeration.database import Database
from agglomeration.runs import finished_run
from configs import ConfigView
from proofreading import answers, leases, queue_figures, task_rows
from proofreading.accepting import carry_out, changes_neurons, require_partner
from proofreading.agenda import Agenda, Entry
from proofreading.answers import Answer
from proofreading.decided import learnt_beyond, read_decisions
from proofreading.edits import Edit, Kind
from proofreading.errors import ConflictError, LeaseError, ProofreadingError, SomaError, UnknownError
from proofreading.leases import Lease
from proofreading.lengths import lengths_of
from proofreading.state import ProofreadingState
from proofreading.task_sources import find_candidates
from proofreading.tasks import Candidate, Task, TaskKind, TaskState, Verdict
from proofreading.timing import ExpectedSeconds

Clock = Callable[[], float]
_DECIDING = (Verdict.ACCEPT, Verdict.REJECT)


@dataclass(frozen=True)
class LeasedTask:
    """A task that is with a person.

    Attributes:
      task: as it is now.
      lease: the word that goes with heartbeat and answer.
      until: when it ends, seconds since the epoch.
    """

    task: Task
    lease: str
    until: float


@dataclass(frozen=True)
class Outcome:
    """What an answer came to.

    Attributes:
      task: as it is now.
      edit: number of the edit that it made; None = it changed no neuron.
      settled: the task is decided.
      shown_again: it goes to another person, or to this one later.
      gained_nm: run length added, if the answer is right.
    """

    task: Task
    edit: int | None
    settled: bool
    shown_again: bool
    gained_nm: float


def open_queue(config: ConfigView, state: ProofreadingState, clock: Clock = time.time) -> TaskQueue:
    """The queue of a project, brought up to date with the agglomeration that counts.

    Lengths of supervoxels are measured where that was not done before.

    Args:
      config: of the project, with `agglomeration`.
      state: of its neurons.
      clock: the time, seconds since the epoch.

    Raises:
      ReconstructionError: there is no finished agglomeration, or voxels or database cannot be used.
    """
    database, section = state.database, config.proofreading
    lengths, run = lengths_of(config, database), finished_run(database)
    decisions = read_decisions(database, run, lengths)
    with database.reading() as connection:
        beyond = learnt_beyond(decisions, *queue_figures.ends_that_went_on(connection))
    found = find_candidates(database, run, decisions, lengths, section, beyond)
    agenda = Agenda(state, lengths, ExpectedSeconds.of(section), beyond)
    return TaskQueue(state, agenda, section, found, run, clock)


class TaskQueue:
    """The tasks of a project; made by `open_queue`.

    Args:
      state: of the neurons.
      agenda: over this state, empty.
      section: the config's `proofreading`.
      candidates: all tasks of the agglomeration that counts.
      run: its number.
      clock: the time, seconds since the epoch.
    """

    def __init__(
        self,
        state: ProofreadingState,
        agenda: Agenda,
        section: ConfigView,
        candidates: Collection[Candidate],
        run: int,
        clock: Clock = time.time,
    ) -> None:
        self._state, self._agenda, self._section, self._clock = state, agenda, section, clock
        self._lock = threading.RLock()
        self._changes: deque[tuple[Edit, tuple[int, ...]]] = deque()
        self._leases: dict[int, Lease] = {}
        self._elsewhere: set[int] = set()
        self._answered: dict[int, set[str]] = {}
        self._skipped: dict[str, set[int]] = {}
        state.subscribe(lambda edit, changed: self._changes.append((edit, changed)))
        with self._database.writing() as connection:
            task_rows.write(connection, run, candidates)
        self._reconcile()
        self._load()

    @property
    def _database(self) -> Database:
        return self._state.database

    def next(self, person: str, n: int = 1, kinds: Collection[TaskKind] | None = None) -> list[LeasedTask]:
        """Hands out the tasks that are worth most; those the person skipped come last.

        Args:
          person: who; nobody is asked twice about what they answered.
          n: how many at most.
          kinds: only these; None = all.

        Raises:
          DatabaseError: the database cannot be written.
        """
        with self._lock:
            self._catch_up()
            taken: list[int] = []
            granted: list[Lease] = []
            try:
                with self._database.writing() as connection:
                    self._reap(connection)
                    for skipped_too in (False, True):
                        self._take(connection, person, n, kinds, skipped_too, taken, granted)
            except BaseException:
                for number in taken:
                    self._agenda.offer(number)
                raise
            self._elsewhere |= set(taken) - {lease.task for lease in granted}
            self._leases |= {lease.task: lease for lease in granted}
            for lease in granted:
                self._skipped.get(person, set()).discard(lease.task)
            tasks = self._views([lease.task for lease in granted])
            return [
                LeasedTask(task, lease.lease, lease.until) for task, lease in zip(tasks, granted, strict=True)
            ]

    def heartbeat(self, task: int, lease: str) -> float:
        """Puts the end of a lease off.

        Args:
          task: its number.
          lease: the word.

        Returns:
          The new end, seconds since the epoch.

        Raises:
          LeaseError: it has ended.
        """
        with self._lock:
            with self._database.writing() as connection:
                seconds = self._section.lease_seconds
                found = leases.extend(connection, task, lease, self._clock(), seconds)
            self._leases[task] = found
            return found.until

    def release(self, task: int, lease: str) -> None:
        """Gives a task back unanswered.

        Args:
          task: its number.
          lease: the word.

        Raises:
          LeaseError: it has ended.
        """
        with self._lock:
            with self._database.writing() as connection:
                leases.require(connection, task, lease, self._clock())
                leases.end(connection, lease)
            self._return(task)

    def answer(
        self,
        task: int,
        lease: str,
        verdict: Verdict,
        versions: Mapping[int, int],
        client_key: str,
        person: str,
        *,
        seconds: float | None = None,
        comment: str = "",
        force: bool = False,
        partner: int | None = None,
    ) -> Outcome:
        """Takes an answer, and carries it out when enough people agree.

        Args:
          task: its number.
          lease: the word.
          verdict: accept and reject decide; unknown asks another person; skip asks later.
          versions: of the task's neurons, as the person saw them.
          client_key: chosen by the client; the same one again is the same answer.
          person: who.
          seconds: from showing the task to the answer.
          comment: may be empty.
          force: join two cell bodies if it has to be.
          partner: the supervoxel with which an accepted loose end is joined.

        Raises:
          LeaseError: the task is not with this person (any more).
          ConflictError: its neurons have changed since; nothing was done, the lease goes on.
          SomaError: it would join two cell bodies; nothing was done, the lease goes on.
          ProofreadingError: an answer that makes no sense; nothing was done.
        """
        with self._lock:
            self._catch_up()
            given = Answer(
                *(0, client_key, task, lease, person, self._now(), verdict, dict(versions)),
                *(partner, force, seconds, comment, "counted", None, 0.0),
            )
            with self._database.writing() as connection:
                before = answers.find(connection, client_key)
                found = before or self._write_answer(connection, given)
            if before is None and found.state == "counted":
                self._follow_answer(found)
            if (found.task, found.person) != (task, person):
                raise ProofreadingError(f"key '{client_key}' was used for another answer; choose a new one")
            if found.state == "void":
                raise ConflictError(f"task {task} was not as it had been seen; look at it again")
            edit = self._carry_out(found) if found.state == "pending" else found.edit
            self._catch_up()
            (view,) = self._views([task])
            settled = view.state is TaskState.SETTLED
            return Outcome(view, edit, settled, not settled, found.gained_nm)

    def comment(self, task: int, person: str, words: str) -> None:
        """Writes a comment on a task, whoever has it.

        Args:
          task: its number.
          person: who.
          words: not empty.

        Raises:
          UnknownError: there is no such task.
        """
        with self._database.writing() as connection:
            if task_rows.read_one(connection, task) is None:
                raise UnknownError(f"there is no task {task}")
            answers.comment(connection, task, person, self._now(), words)

    def task(self, number: int) -> Task:
        """A task as it is now.

        Args:
          number: of the task.

        Raises:
          UnknownError: there is none of this number.
        """
        with self._lock:
            self._catch_up()
            return self._views([number])[0]

    def tasks(
        self, state: TaskState | None = None, kind: TaskKind | None = None, limit: int = 100
    ) -> list[Task]:
        """Tasks, those worth most first.

        Args:
          state: only these; None = all.
          kind: only these; None = all.
          limit: how many at most.
        """
        with self._lock:
            self._catch_up()
            entries = [
                (-entry.value, number)
                for number, entry in self._agenda.entries.items()
                if kind in (None, entry.candidate.kind) and state in (None, self._state_of(number))
            ]
            numbers = [number for _, number in sorted(entries)[:limit]]
            closed = {TaskState.SETTLED, TaskState.RETIRED} & ({state} if state else {*TaskState})
            with self._database.reading() as connection:
                rows = task_rows.read(connection, *(each.value for each in closed)) if closed else []
            numbers += [row.candidate.id for row in rows if kind in (None, row.candidate.kind)]
            return self._views(numbers[:limit])

    def progress(self, person: str) -> dict[str, Any]:
        """How far the work is.

        Args:
          person: who asks.

        Returns:
          `open`, `answered_by_me`, `answered_today` (by all, in UTC), `gained_by_me_nm`, `gained_today_nm`,
          `left_nm` (the value of all open tasks), `by_kind` (open tasks).
        """
        with self._lock:
            self._catch_up()
            by_kind = {kind.value: 0 for kind in TaskKind}
            for entry in self._agenda.entries.values():
                by_kind[entry.candidate.kind.value] += not entry.is_stale
            with self._database.reading() as connection:
                figures = queue_figures.figures(connection, person, self._now()[:10])
            return {
                "open": sum(by_kind.values()),
                **figures,
                "left_nm": self._agenda.left_nm(),
                "by_kind": by_kind,
            }

    def _write_answer(self, connection: Connection, given: Answer) -> Answer:
        """Checks an answer and writes it; settles its task unless that takes an edit."""
        row = task_rows.read_one(connection, given.task, for_update=True)
        held = leases.require(connection, given.task, given.lease, self._clock())
        entry = self._agenda.entries.get(given.task)
        if held.person != given.person or row is None or entry is None:
            raise LeaseError(f"task {given.task} is not with you any more; take the next one")
        require_partner(entry.candidate, given.verdict, given.partner)
        if given.verdict in _DECIDING and (entry.is_stale or self._versions(entry) != given.versions):
            raise ConflictError(f"the neurons of task {given.task} have changed since; look at it again")
        before = answers.of_task(connection, given.task)
        enough = answers.agreeing(before, given.verdict, given.person) + 1 >= self._section.reviews
        decides = given.verdict in _DECIDING and enough
        values = dict(vars(given))
        if decides and given.verdict is Verdict.ACCEPT:
            values["gained_nm"] = self._agenda.gain_of(given.task, given.partner)
        if decides and changes_neurons(entry.candidate, given.verdict):
            return answers.add(connection, Answer(**{**values, "state": "pending"}))
        written = answers.add(connection, Answer(**values))
        if decides:
            answers.settle(connection, given.task, given.verdict, None)
        else:
            leases.end(connection, given.lease)
        return written

    def _follow_answer(self, given: Answer) -> None:
        """Notes in memory what was written of an answer."""
        self._leases.pop(given.task, None)
        if given.task not in self._agenda.entries:
            return
        if given.seconds is not None and given.verdict is not Verdict.SKIP:
            self._agenda.learn(self._agenda.entries[given.task].candidate.kind, given.seconds)
        with self._database.reading() as connection:
            row = task_rows.read_one(connection, given.task)
        if row is None or row.state != "open":
            self._agenda.remove(given.task)
            self._answered.pop(given.task, None)
            return
        if given.verdict is Verdict.SKIP:
            self._skipped.setdefault(given.person, set()).add(given.task)
        else:
            self._answered.setdefault(given.task, set()).add(given.person)
        self._agenda.offer(given.task)

    def _carry_out(self, given: Answer) -> int:
        """Makes the edit of a pending answer, and counts it."""
        candidate = self._candidate(given.task)
        try:
            edit = carry_out(self._state, candidate, given)
        except (ConflictError, SomaError, UnknownError) as error:
            with self._database.writing() as connection:
                answers.void(connection, given)
            if isinstance(error, UnknownError):
                raise ConflictError(f"task {given.task} is about what is no more: {error}") from error
            raise
        with self._database.writing() as connection:
            answers.count(connection, given, edit.id)
            answers.settle(connection, given.task, given.verdict, edit.id)
        self._follow_answer(given)
        return edit.id

    def _take(
        self,
        connection: Connection,
        person: str,
        n: int,
        kinds: Collection[TaskKind] | None,
        skipped_too: bool,
        taken: list[int],
        granted: list[Lease],
    ) -> None:
        """Takes tasks from the agenda and leases them, until there are enough."""
        skipped = () if skipped_too else self._skipped.get(person, ())

        def suits(entry: Entry) -> bool:
            number = entry.candidate.id
            wanted = kinds is None or entry.candidate.kind in kinds
            return wanted and number not in skipped and person not in self._answered.get(number, ())

        while len(granted) < n:
            entry = self._agenda.take(suits)
            if entry is None:
                return
            taken.append(entry.candidate.id)
            seconds = self._section.lease_seconds
            found = leases.grant(connection, entry.candidate.id, person, self._clock(), seconds)
            if found is not None:
                granted.append(found)

    def _reap(self, connection: Connection) -> None:
        """Returns tasks whose leases have ended, here or at another server of the same database."""
        for number in leases.reap(connection, self._clock()):
            self._return(number)
        if not self._elsewhere:
            return
        held = {lease.task for lease in leases.living(connection)}
        for number in sorted(self._elsewhere - held):
            row = task_rows.read_one(connection, number)
            if row is None or row.state != "open":
                self._agenda.remove(number)
            else:
                self._return(number)
            self._elsewhere.discard(number)

    def _return(self, number: int) -> None:
        self._leases.pop(number, None)
        if number in self._agenda.entries:
            self._agenda.offer(number)

    def _catch_up(self) -> None:
        """Follows the edits that were made since."""
        while self._changes:
            edit, changed = self._changes.popleft()
            if edit.kind in (Kind.UNDO, Kind.REDO) and edit.target is not None:
                self._follow_undo(edit.target, undone=edit.kind is Kind.UNDO)
            self._agenda.refresh(changed)

    def _follow_undo(self, edit: int, *, undone: bool) -> None:
        """Opens the tasks that an edit had settled again, or settles them again."""
        with self._database.writing() as connection:
            for row in task_rows.read_by_edit(connection, edit):
                number = row.candidate.id
                if undone and row.state == "settled":
                    answers.reopen(connection, number)
                    self._answered.pop(number, None)
                    self._agenda.add(row.candidate)
                elif not undone and row.state == "open":
                    answers.settle(connection, number, Verdict.ACCEPT, edit)
                    self._agenda.remove(number)

    def _reconcile(self) -> None:
        """Does what a kill left undone: pending answers, and undos whose tasks were not opened."""
        with self._database.reading() as connection:
            left = answers.pending(connection)
            rows = [row for row in task_rows.read(connection) if row.edit is not None]
        for given in left:
            try:
                self._carry_out(given)
            except (ConflictError, SomaError):
                continue
        for row in rows:
            undone = self._state.edit(row.edit or 0).undone_by is not None
            if undone == (row.state == "settled"):
                self._follow_undo(row.edit or 0, undone=undone)

    def _load(self) -> None:
        """Fills the memory from the tables."""
        with self._database.reading() as connection:
            rows = task_rows.read(connection, "open")
            held = leases.living(connection)
            given = queue_figures.given(connection)
        self._leases = {lease.task: lease for lease in held}
        self._answered, self._skipped = given.answered, given.skipped
        for kind, seconds in given.seconds:
            self._agenda.learn(kind, seconds)
        self._agenda.fill((row.candidate for row in rows), lambda number: number not in self._leases)
        self._changes.clear()

    def _candidate(self, number: int) -> Candidate:
        entry = self._agenda.entries.get(number)
        if entry is not None:
            return entry.candidate
        with self._database.reading() as connection:
            row = task_rows.read_one(connection, number)
        if row is None:
            raise UnknownError(f"there is no task {number}")
        return row.candidate

    def _versions(self, entry: Entry) -> dict[int, int]:
        return {neuron: self._state.version_of(neuron) for neuron in entry.neurons if neuron}

    def _state_of(self, number: int) -> TaskState:
        """Of a task in the agenda."""
        if self._agenda.entries[number].is_stale:
            return TaskState.STALE
        if number in self._leases:
            return TaskState.LEASED
        return TaskState.ANSWERED if self._answered.get(number) else TaskState.OPEN

    def _views(self, numbers: list[int]) -> list[Task]:
        """Tasks as they are now. Raises UnknownError: there is none of a number."""
        with self._database.reading() as connection:
            commented = queue_figures.comments_of(connection, numbers)
            closed = {
                number: task_rows.read_one(connection, number)
                for number in numbers
                if number not in self._agenda.entries
            }
        found = []
        for number in numbers:
            entry = self._agenda.entries.get(number)
            row = closed.get(number)
            if entry is not None:
                state = self._state_of(number)
            elif row is not None:
                entry, state = self._agenda.appraised(row.candidate), TaskState(row.state)
                entry.value = 0.0
            else:
                raise UnknownError(f"there is no task {number}")
            found.append(self._view(entry, state, commented.get(number, 0)))
        return found

    def _view(self, entry: Entry, state: TaskState, comments: int) -> Task:
        each = entry.candidate
        return Task(
            *(each.id, each.kind, each.supervoxels, each.point_nm, each.probability, each.evidence),
            *(entry.neurons, self._versions(entry), entry.value, self._agenda.seconds_of(each.kind)),
            *(state, comments),
        )

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), timezone.utc).isoformat(timespec="seconds")
