"""The queue: tasks are handed out by their worth, answered, and settled.

Tasks, leases and answers are rows of the database and survive a kill at any moment; what a task is worth
follows from the neurons and is kept in memory (`proofreading.agenda`). An answer counts only if its neurons
are as the person saw them; otherwise nothing is done, and the task is to be looked at again.

One process serves a queue; methods may be called from several threads. Times come from a clock that is handed
in, seconds since the epoch.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from configs import ConfigView
from proofreading import answers, leases, task_rows, withdrawing
from proofreading.accepting import carry_out
from proofreading.agenda import Agenda
from proofreading.answering import finish_answer, write_answer
from proofreading.answers import Answer
from proofreading.errors import ConflictError, ProofreadingError, UnknownError
from proofreading.following import reconcile
from proofreading.handing_out import hand_out, hand_out_one
from proofreading.queue_results import LeasedTask, Outcome, TakenBack
from proofreading.queue_views import Clock, QueueViews
from proofreading.state import ProofreadingState
from proofreading.tasks import Candidate, TaskKind, TaskState, Verdict
from proofreading.withdrawing import Withdrawal


class TaskQueue(QueueViews):
    """The tasks of a project; made by `proofreading.queue_opening`.

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
        super().__init__(state, agenda, clock)
        self._section = section
        with self._database.writing() as connection:
            task_rows.write(connection, run, candidates)
        reconcile(state, self._memory, self._carry_out)
        with self._database.reading() as connection:
            self._memory.load(connection)
        self._changes.clear()

    def next(self, person: str, n: int = 1, kinds: Collection[TaskKind] | None = None) -> list[LeasedTask]:
        """Hands out the tasks that are worth most; those the person skipped come last.

        As long as there are others, those of neurons that somebody else looks at stay behind: one of two
        answers about one neuron would have to be given again.

        Args:
          person: who; nobody is asked twice about what they answered, unless all who are at work have, and
            nothing else is left.
          n: how many at most.
          kinds: only these; None = all.

        Raises:
          DatabaseError: the database cannot be written.
        """
        with self._lock:
            self._catch_up()
            asked = (person, n, kinds, *self._lease_times(), self._section.reviews)
            granted = hand_out(self._database, self._memory, *asked)
            tasks = self._views([lease.task for lease in granted])
            return [
                LeasedTask(task, lease.lease, lease.until) for task, lease in zip(tasks, granted, strict=True)
            ]

    def lease(self, task: int, person: str) -> LeasedTask:
        """Hands out a certain task.

        Args:
          task: its number.
          person: who.

        Raises:
          ConflictError: it is settled, or has no question left.
          LeaseError: it is with somebody.
          UnknownError: there is none of this number.
        """
        with self._lock:
            self._catch_up()
            granted = hand_out_one(self._database, self._memory, task, person, *self._lease_times())
            (view,) = self._views([task])
            return LeasedTask(view, granted.lease, granted.until)

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
        edit: int | None = None,
    ) -> Outcome:
        """Takes an answer, and carries it out when enough people agree.

        Args:
          task: its number.
          lease: the word.
          verdict: accept and reject decide; unknown asks another person; skip asks later.
          versions: of the task's neurons, and that of `partner`, as the person saw them.
          client_key: chosen by the client; the same one again is the same answer.
          person: who.
          seconds: from showing the task to the answer.
          comment: may be empty.
          force: join two cell bodies if it has to be.
          partner: the supervoxel with which an accepted loose end is joined.
          edit: by which the person has cut by hand what an accepted task is about; undone, it asks again.

        Raises:
          LeaseError: the task is not with this person (any more).
          ConflictError: its neurons have changed since; nothing was done, the lease goes on.
          SomaError: it would join two cell bodies; nothing was done, the lease goes on.
          ProofreadingError: an answer that makes no sense; nothing was done.
          UnknownError: there is no such edit.
        """
        with self._lock:
            self._catch_up()
            given = Answer(
                *(0, client_key, task, lease, person, self._now(), verdict, dict(versions)),
                *(partner, force, seconds, comment, "counted", edit, 0.0),
            )
            # The neurons stay as they were seen until the answer is written.
            with self._state.held(), self._database.writing() as connection:
                before = answers.find(connection, client_key)
                cut = None if edit is None else self._state.edit(edit)
                reviews, now = self._section.reviews, self._clock()
                found = before or write_answer(connection, self._memory, given, reviews, now, cut)
            if before is None and found.state == "counted":
                self._memory.answered(found, is_open=not self._is_settled(found.task))
            if _said(found) != _said(given):
                raise ConflictError(f"key '{client_key}' was used for another answer; choose a new one")
            if found.state == "void":
                raise ConflictError(f"task {task} was not as it had been seen; look at it again")
            made = self._carry_out(found) if found.state == "pending" else found.edit
            self._catch_up()
            (view,) = self._views([task])
            settled = view.state is TaskState.SETTLED
            return Outcome(view, made, settled, not settled, found.gained_nm)

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

    def withdraw(
        self, answer: int, client_key: str, person: str, *, of_others: bool = False, reason: str = ""
    ) -> TakenBack:
        """Takes back an answer that changed no neuron; a task that it settled is asked again.

        Args:
          answer: its number.
          client_key: chosen by the client; the same one again does nothing again.
          person: who.
          of_others: they may also take back what others answered.
          reason: why, in the person's words.

        Raises:
          ConflictError: it counts no more, or is taken back by undoing an edit.
          ProofreadingError: it is another person's, or a task that was skipped.
          UnknownError: there is no such answer.
        """
        with self._lock:
            self._catch_up()
            wanted = Withdrawal(answer, client_key, person, self._now(), reason)
            with self._database.writing() as connection:
                done = withdrawing.find(connection, client_key)
                if done is None:
                    given = withdrawing.withdraw(connection, wanted, of_others=of_others)
                    opened = task_rows.read_one(connection, given.task)
                    others = {each.person for each in answers.of_task(connection, given.task)}
                else:
                    given, opened, others = answers.require(connection, done.answer), None, set()
            if done is not None and (done.answer, done.person) != (answer, person):
                raise ProofreadingError(f"key '{client_key}' was used for another answer; choose a new one")
            if opened is not None and opened.state == "open":
                self._memory.withdrawn(opened.candidate, others)
            (view,) = self._views([given.task])
            return TakenBack(answer, view, person, (done or wanted).at)

    def _carry_out(self, given: Answer) -> int:
        """Makes the edit of a pending answer; gives its number."""
        with self._database.reading() as connection:
            candidate = self._memory.candidate(connection, given.task)
        edit = finish_answer(self._state, candidate, given, carry_out)
        self._memory.answered(given, is_open=False)
        return edit

    def _lease_times(self) -> tuple[float, float]:
        """The time, and how long a lease lasts."""
        return self._clock(), self._section.lease_seconds

    def _is_settled(self, task: int) -> bool:
        with self._database.reading() as connection:
            row = task_rows.read_one(connection, task)
        return row is None or row.state != "open"


def _said(given: Answer) -> tuple[object, ...]:
    """What makes an answer another one."""
    return given.task, given.person, given.verdict, given.partner, given.forced
