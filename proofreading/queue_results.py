"""What the queue gives back: tasks under a lease, and what became of answers."""

from __future__ import annotations

from dataclasses import dataclass

from proofreading.tasks import Task


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


@dataclass(frozen=True)
class TakenBack:
    """An answer that counts no more.

    Attributes:
      answer: its number.
      task: as it is now.
      person: who took it back.
      at: when, UTC, ISO 8601.
    """

    answer: int
    task: Task
    person: str
    at: str
