"""What people answered: rows of the table `answers`, and what they come to.

An answer that changes no neuron is counted at once. One that does is written as pending, then the edit is
made under a client key of its own, then it is counted with the edit's number. A kill in between leaves a
pending row; whoever opens the queue next carries it out, and the edit's key keeps it from being made twice.

The same client key again is the same answer. All functions are part of the caller's transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlalchemy as sql
from sqlalchemy import Connection

from proofreading.errors import UnknownError
from proofreading.queue_tables import answers, comments, leases, tasks
from proofreading.tables import edits
from proofreading.tasks import Verdict

_LAST_EDIT = sql.select(sql.func.coalesce(sql.func.max(edits.c.id), 0))


@dataclass(frozen=True)
class Answer:
    """A row of the table.

    Attributes:
      id: its number.
      client_key: under which it was sent.
      task: its number.
      lease: the word under which the task was with the person.
      person: who.
      at: when, UTC, ISO 8601.
      verdict: what.
      versions: of the neurons, as the person saw them.
      partner: the supervoxel with which a loose end is joined.
      forced: join two cell bodies if it has to be.
      seconds: from showing the task to the answer; None = not known.
      comment: in the person's words; may be empty.
      state: pending, counted or void.
      edit: what it did to the neurons.
      gained_nm: run length it added, if it is right.
    """

    id: int
    client_key: str
    task: int
    lease: str
    person: str
    at: str
    verdict: Verdict
    versions: Mapping[int, int]
    partner: int | None
    forced: bool
    seconds: float | None
    comment: str
    state: str
    edit: int | None
    gained_nm: float


def find(connection: Connection, client_key: str) -> Answer | None:
    """The answer of a client key; None where there is none.

    Args:
      connection: to read from.
      client_key: of the answer.
    """
    row = connection.execute(sql.select(answers).where(answers.c.client_key == client_key)).one_or_none()
    return None if row is None else _answer(row)


def require(connection: Connection, number: int) -> Answer:
    """The answer of a number.

    Args:
      connection: to read from.
      number: of the answer.

    Raises:
      UnknownError: there is none.
    """
    row = connection.execute(sql.select(answers).where(answers.c.id == number)).one_or_none()
    if row is None:
        raise UnknownError(f"there is no answer {number}")
    return _answer(row)


def add(connection: Connection, answer: Answer) -> Answer:
    """Writes an answer, and its comment beside those of the task.

    Args:
      connection: in a transaction that writes.
      answer: its `id` does not count.

    Returns:
      The answer with its number.
    """
    values = {**vars(answer), "verdict": answer.verdict.value}
    del values["id"]
    values["versions"] = json.dumps({str(neuron): version for neuron, version in answer.versions.items()})
    values["after_edit"] = connection.execute(_LAST_EDIT).scalar_one()
    added = connection.execute(answers.insert().values(values))
    if answer.comment:
        comment(connection, answer.task, answer.person, answer.at, answer.comment)
    return Answer(**{**vars(answer), "id": int(added.inserted_primary_key[0])})  # type: ignore[index]


def comment(connection: Connection, task: int, person: str, at: str, words: str) -> None:
    """Writes a comment on a task.

    Args:
      connection: in a transaction that writes.
      task: its number.
      person: who.
      at: when, UTC, ISO 8601.
      words: not empty.
    """
    connection.execute(comments.insert().values(task=task, person=person, at=at, words=words))


def comments_on(connection: Connection, task: int) -> list[dict[str, str]]:
    """What was written about a task, the first one first: `person`, `at` (UTC, ISO 8601), `words`.

    Args:
      connection: to read from.
      task: its number.
    """
    columns = comments.c.person, comments.c.at, comments.c.words
    query = sql.select(*columns).where(comments.c.task == task).order_by(comments.c.id)
    return [dict(row._mapping) for row in connection.execute(query)]


def count(connection: Connection, answer: Answer, edit: int | None) -> None:
    """Counts a pending answer.

    Args:
      connection: in a transaction that writes.
      answer: pending.
      edit: what it did to the neurons.
    """
    counted = sql.update(answers).where(answers.c.id == answer.id)
    connection.execute(counted.values(state="counted", edit=edit))


def void(connection: Connection, answer: Answer) -> None:
    """Has an answer count for nothing: it could not be carried out, or was taken back.

    Args:
      connection: in a transaction that writes.
      answer: pending or counted.
    """
    connection.execute(sql.update(answers).where(answers.c.id == answer.id).values(state="void"))


def settle(connection: Connection, task: int, verdict: Verdict, edit: int | None) -> None:
    """Settles a task.

    Args:
      connection: in a transaction that writes.
      task: its number.
      verdict: accept or reject.
      edit: what that did to the neurons.
    """
    settled = sql.update(tasks).where(tasks.c.id == task)
    connection.execute(settled.values(state="settled", verdict=verdict.value, edit=edit))
    connection.execute(sql.delete(leases).where(leases.c.task == task))


def reopen(connection: Connection, task: int) -> None:
    """Asks a settled task again, since what it did was undone; earlier answers do not count.

    Args:
      connection: in a transaction that writes.
      task: its number.
    """
    open_again(connection, task)
    given = (answers.c.task == task) & (answers.c.state == "counted")
    connection.execute(sql.update(answers).where(given).values(state="void"))


def open_again(connection: Connection, task: int) -> None:
    """Asks a settled task again, since an answer was taken back; the others about it go on counting.

    Args:
      connection: in a transaction that writes.
      task: its number.
    """
    connection.execute(sql.update(tasks).where(tasks.c.id == task).values(state="open", verdict=None))


def of_task(connection: Connection, task: int) -> list[Answer]:
    """The answers about a task that count, the first one first.

    Args:
      connection: to read from.
      task: its number.
    """
    given = sql.select(answers).where(answers.c.task == task, answers.c.state == "counted")
    return [_answer(row) for row in connection.execute(given.order_by(answers.c.id))]


def pending(connection: Connection) -> list[Answer]:
    """Answers that were not carried out, the first one first.

    Args:
      connection: to read from.
    """
    query = sql.select(answers).where(answers.c.state == "pending").order_by(answers.c.id)
    return [_answer(row) for row in connection.execute(query)]


def agreeing(given: Iterable[Answer], verdict: Verdict, besides: str = "") -> int:
    """How many people gave an answer.

    Args:
      given: answers about one task.
      verdict: which.
      besides: a person who does not count.
    """
    return len({each.person for each in given if each.verdict is verdict} - {besides})


def _answer(row: sql.Row[tuple[object, ...]]) -> Answer:
    values = dict(row._mapping)
    del values["after_edit"]
    versions = {int(neuron): int(version) for neuron, version in json.loads(values["versions"]).items()}
    return Answer(**{**values, "verdict": Verdict(values["verdict"]), "versions": versions})
