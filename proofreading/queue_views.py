"""What a queue shows: tasks as they are now, what was answered, and how far the work is.

It follows the edits that were made since it was last asked (`proofreading.following`).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from agglomeration.database import Database
from proofreading import answers, queue_figures, task_rows
from proofreading.agenda import Agenda
from proofreading.answer_history import PastAnswer, past_answers
from proofreading.edits import Edit
from proofreading.errors import UnknownError
from proofreading.following import follow
from proofreading.queue_memory import QueueMemory
from proofreading.state import ProofreadingState
from proofreading.tasks import Task, TaskKind, TaskState

Clock = Callable[[], float]


class QueueViews:
    """The tasks of a project to look at; `proofreading.queue.TaskQueue` also hands them out.

    Args:
      state: of the neurons.
      agenda: over this state, empty.
      clock: the time, seconds since the epoch.
    """

    def __init__(self, state: ProofreadingState, agenda: Agenda, clock: Clock) -> None:
        self._state, self._clock = state, clock
        self._memory = QueueMemory(state, agenda)
        self._lock = threading.RLock()
        self._changes: deque[tuple[Edit, tuple[int, ...]]] = deque()
        state.subscribe(lambda edit, changed: self._changes.append((edit, changed)))

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

    def past_answers(
        self,
        before: int | None = None,
        limit: int = 50,
        task: int | None = None,
        person: str | None = None,
    ) -> list[PastAnswer]:
        """What was answered, the latest first; see `proofreading.answer_history`."""
        with self._database.reading() as connection:
            return past_answers(connection, before, limit, task, person)

    def comments(self, task: int) -> list[dict[str, str]]:
        """What was written about a task; see `proofreading.answers.comments_on`. Raises UnknownError."""
        with self._database.reading() as connection:
            if task_rows.read_one(connection, task) is None:
                raise UnknownError(f"there is no task {task}")
            return answers.comments_on(connection, task)

    @property
    def _database(self) -> Database:
        return self._state.database

    def _catch_up(self) -> None:
        """Follows the edits that were made since."""
        while self._changes:
            follow(self._database, self._memory, *self._changes.popleft())

    def _views(self, numbers: list[int]) -> list[Task]:
        with self._database.reading() as connection:
            return self._memory.views(connection, numbers)

    def _now(self) -> str:
        return datetime.fromtimestamp(self._clock(), timezone.utc).isoformat(timespec="seconds")
