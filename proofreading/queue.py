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

from agglomeration.database import Database, DatabaseError
from agglomeration.runs import finished_run
from configs import ConfigView
from configs.errors import ReconstructionError
from proofreading import answers, leases, queue_figures, task_rows
from proofreading.accepting import carry_out
from proofreading.agenda import Agenda
from proofreading.answering import finish_answer, write_answer
from proofreading.answers import Answer
from proofreading.decided import learnt_beyond, read_decisions
from proofreading.edits import Edit, Kind
from proofreading.errors import ConflictError, ProofreadingError, UnknownError
from proofreading.leases import Lease
from proofreading.lengths import lengths_of
from proofreading.queue_memory import QueueMemory
from proofreading.state import ProofreadingState
from proofreading.task_sources import find_candidates
from proofreading.tasks import Candidate, Task, TaskKind, TaskState, Verdict
from proofreading.timing import ExpectedSeconds

Clock = Callable[[], float]
# Skipped tasks, and those of neurons that others look at: what is added where all else is handed out.
_WHAT_ELSE = ((False, False), (False, True), (True, True))


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
        rejected = queue_figures.rejected_pairs(connection)
    found = find_candidates(database, run, decisions, lengths, section, beyond, rejected)
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
        self._state, self._section, self._clock = state, section, clock
        self._memory = QueueMemory(state, agenda)
        self._lock = threading.RLock()
        self._changes: deque[tuple[Edit, tuple[int, ...]]] = deque()
        state.subscribe(lambda edit, changed: self._changes.append((edit, changed)))
        with self._database.writing() as connection:
            task_rows.write(connection, run, candidates)
        self._reconcile()
        with self._database.reading() as connection:
            self._memory.load(connection)
        self._changes.clear()

    @property
    def _database(self) -> Database:
        return self._state.database

    def next(self, person: str, n: int = 1, kinds: Collection[TaskKind] | None = None) -> list[LeasedTask]:
        """Hands out the tasks that are worth most; those the person skipped come last.

        As long as there are others, those of neurons that somebody else looks at stay behind: one of two
        answers about one neuron would have to be given again.

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
                    for skipped_too, busy_too in _WHAT_ELSE:
                        suits = self._memory.suits(person, kinds, skipped_too=skipped_too, busy_too=busy_too)
                        while len(granted) < n and (entry := self._memory.agenda.take(suits)) is not None:
                            taken.append(entry.candidate.id)
                            granted += self._grant(connection, entry.candidate.id, person)
            except BaseException:
                for number in taken:
                    self._memory.returned(number)
                raise
            for lease in granted:
                self._memory.handed_out(lease)
            self._memory.elsewhere |= set(taken) - {lease.task for lease in granted}
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
            self._memory.leases[task] = found
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
            self._memory.returned(task)

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
                reviews, now = self._section.reviews, self._clock()
                found = before or write_answer(connection, self._memory, given, reviews, now)
            if before is None and found.state == "counted":
                self._memory.answered(found, is_open=not self._is_settled(found.task))
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
            with self._database.reading() as connection:
                return self._memory.listed(connection, state, kind, limit)

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
            with self._database.reading() as connection:
                figures = queue_figures.figures(connection, person, self._now()[:10])
            return {**figures, **self._memory.progress()}

    def _carry_out(self, given: Answer) -> int:
        """Makes the edit of a pending answer; gives its number."""
        with self._database.reading() as connection:
            candidate = self._memory.candidate(connection, given.task)
        edit = finish_answer(self._state, candidate, given, carry_out)
        self._memory.answered(given, is_open=False)
        return edit

    def _grant(self, connection: Connection, task: int, person: str) -> list[Lease]:
        """The lease of a task, or none."""
        found = leases.grant(connection, task, person, self._clock(), self._section.lease_seconds)
        return [] if found is None else [found]

    def _reap(self, connection: Connection) -> None:
        """Returns tasks whose leases have ended, here or at another server of the same database."""
        for number in leases.reap(connection, self._clock()):
            self._memory.returned(number)
        if not self._memory.elsewhere:
            return
        held = {lease.task for lease in leases.living(connection)}
        for number in sorted(self._memory.elsewhere - held):
            row = task_rows.read_one(connection, number)
            if row is None or row.state != "open":
                self._memory.closed(number)
            else:
                self._memory.returned(number)
            self._memory.elsewhere.discard(number)

    def _catch_up(self) -> None:
        """Follows the edits that were made since."""
        while self._changes:
            edit, changed = self._changes.popleft()
            if edit.kind in (Kind.UNDO, Kind.REDO) and edit.target is not None:
                self._follow_undo(edit.target, undone=edit.kind is Kind.UNDO)
            self._memory.agenda.refresh(changed)

    def _follow_undo(self, edit: int, *, undone: bool) -> None:
        """Opens the tasks that an edit had settled again, or settles them again."""
        with self._database.writing() as connection:
            for row in task_rows.read_by_edit(connection, edit):
                if undone and row.state == "settled":
                    answers.reopen(connection, row.candidate.id)
                    self._memory.opened(row.candidate)
                elif not undone and row.state == "open":
                    answers.settle(connection, row.candidate.id, Verdict.ACCEPT, edit)
                    self._memory.closed(row.candidate.id)

    def _reconcile(self) -> None:
        """Does what a kill left undone: pending answers, and undos whose tasks were not opened."""
        with self._database.reading() as connection:
            left = answers.pending(connection)
            rows = [row for row in task_rows.read(connection) if row.edit is not None]
        for given in left:
            try:
                self._carry_out(given)
            except DatabaseError:
                raise
            except ReconstructionError:
                # It is void now, and its task is asked again.
                continue
        for row in rows:
            undone = self._state.edit(row.edit or 0).undone_by is not None
            if undone == (row.state == "settled"):
                self._follow_undo(row.edit or 0, undone=undone)

    def _is_settled(self, task: int) -> bool:
        with self._database.reading() as connection:
            row = task_rows.read_one(connection, task)
        return row is None or row.state != "open"

    def _views(self, numbers: list[int]) -> list[Task]:
        with self._database.reading() as connection:
            return self._memory.views(connection, numbers)

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), timezone.utc).isoformat(timespec="seconds")
