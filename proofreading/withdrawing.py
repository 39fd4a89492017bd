"""Taking an answer back: the row of the table `withdrawals`, and what becomes of the task.

An answer that changed neurons is taken back by undoing its edit (`proofreading.state`). One that changed
none, such as a "no", is taken back here: it stays in the table of answers and counts no more, a row says who
took it back and when, and a task that it had settled is asked again. Answers of other people about the task
go on counting. The same client key again does nothing again.

All functions are part of the caller's transaction.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sql
from sqlalchemy import Connection

from proofreading import answers, task_rows
from proofreading.answers import Answer
from proofreading.errors import ConflictError, ProofreadingError
from proofreading.queue_tables import withdrawals
from proofreading.tasks import Verdict


@dataclass(frozen=True)
class Withdrawal:
    """A row of the table.

    Attributes:
      answer: number of the answer that was taken back.
      client_key: under which that was sent.
      person: who took it back.
      at: when, UTC, ISO 8601.
      reason: why, in the person's words; may be empty.
    """

    answer: int
    client_key: str
    person: str
    at: str
    reason: str


def find(connection: Connection, client_key: str) -> Withdrawal | None:
    """The withdrawal of a client key; None where there is none.

    Args:
      connection: to read from.
      client_key: of the withdrawal.
    """
    query = sql.select(withdrawals).where(withdrawals.c.client_key == client_key)
    row = connection.execute(query).one_or_none()
    return None if row is None else Withdrawal(**row._mapping)


def withdraw(connection: Connection, wanted: Withdrawal, *, of_others: bool) -> Answer:
    """Takes an answer back, and opens its task if that was settled by it.

    Args:
      connection: in a transaction that writes.
      wanted: what is to be done.
      of_others: the person may also take back what others answered.

    Returns:
      The answer as it was.

    Raises:
      ConflictError: it counts no more, or is taken back by undoing an edit.
      ProofreadingError: it is another person's, or a task that was skipped.
      UnknownError: there is no such answer.
    """
    number = answers.require(connection, wanted.answer).task
    task = task_rows.read_one(connection, number, for_update=True)
    # Read only now: it may have been taken back while the task was waited for.
    given = answers.require(connection, wanted.answer)
    if given.person != wanted.person and not of_others:
        raise ProofreadingError(f"answer {given.id} is {given.person}'s; they or an admin can take it back")
    if given.verdict is Verdict.SKIP:
        raise ProofreadingError("a task that was skipped comes again by itself; nothing is taken back")
    if given.state != "counted":
        raise ConflictError(f"answer {given.id} does not count (any more); reload the history")
    is_settled = task is not None and task.state == "settled" and task.verdict is given.verdict
    edit = given.edit or (task.edit if task is not None and is_settled else None)
    if edit is not None:
        raise ConflictError(f"answer {given.id} was carried out by edit {edit}; undo that edit instead")
    connection.execute(withdrawals.insert().values(vars(wanted)))
    answers.void(connection, given)
    if is_settled:
        answers.open_again(connection, given.task)
    return given
