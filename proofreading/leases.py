"""Whose task it is at the moment: rows of the table `leases`.

A lease is a secret word that its holder shows with every heartbeat and with the answer. It ends at a time
that a heartbeat puts off. The database itself keeps a task from having two, so several servers may hand out
the same queue.

Times are seconds since the epoch. All functions are part of the caller's transaction.
"""

from __future__ import annotations

import secrets
from typing import NamedTuple

import sqlalchemy as sql
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

from proofreading.errors import LeaseError
from proofreading.queue_tables import answers, leases, tasks


class Lease(NamedTuple):
    """A task that is with a person.

    Attributes:
      task: its number.
      lease: the word.
      person: who.
      until: when it ends, seconds since the epoch.
    """

    task: int
    lease: str
    person: str
    until: float


def grant(connection: Connection, task: int, person: str, now: float, seconds: float) -> Lease | None:
    """Gives a task to a person; None where it is with somebody, is settled, or has an answer not carried out.

    Args:
      connection: in a transaction that writes.
      task: its number.
      person: who.
      now: the time.
      seconds: how long it is theirs.
    """
    found = Lease(task, secrets.token_hex(16), person, now + seconds)
    state = connection.execute(sql.select(tasks.c.state).where(tasks.c.id == task).with_for_update()).scalar()
    unfinished = sql.exists().where(answers.c.task == task, answers.c.state == "pending")
    if state != "open" or connection.execute(sql.select(unfinished)).scalar():
        return None
    insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(leases)
    values = found._asdict()
    statement = insert.values(values).on_conflict_do_update(
        index_elements=["task"],
        set_={name: value for name, value in values.items() if name != "task"},
        where=leases.c.until <= now,
    )
    granted = connection.execute(statement.returning(leases.c.task)).first()
    return None if granted is None else found


def require(connection: Connection, task: int, lease: str, now: float) -> Lease:
    """The lease of a task, if it is this one and has not ended.

    Args:
      connection: in a transaction.
      task: its number.
      lease: the word.
      now: the time.

    Raises:
      LeaseError: it has ended, or somebody else has the task.
    """
    row = connection.execute(
        sql.select(leases).where(leases.c.task == task, leases.c.lease == lease)
    ).one_or_none()
    if row is None or row.until <= now:
        raise LeaseError(f"task {task} is not with you any more; take the next one")
    return Lease(*row)


def extend(connection: Connection, task: int, lease: str, now: float, seconds: float) -> Lease:
    """Puts the end of a lease off.

    Args:
      connection: in a transaction that writes.
      task: its number.
      lease: the word.
      now: the time.
      seconds: how long from now it is theirs.

    Raises:
      LeaseError: it has ended, or somebody else has the task.
    """
    found = require(connection, task, lease, now)._replace(until=now + seconds)
    connection.execute(sql.update(leases).where(leases.c.lease == lease).values(until=found.until))
    return found


def end(connection: Connection, lease: str) -> None:
    """Ends a lease; one that is no more stays away.

    Args:
      connection: in a transaction that writes.
      lease: the word.
    """
    connection.execute(sql.delete(leases).where(leases.c.lease == lease))


def held_by(connection: Connection, person: str, now: float) -> int:
    """How many tasks are with a person.

    Args:
      connection: in a transaction that writes.
      person: who.
      now: the time.
    """
    held = sql.select(sql.func.count()).where(leases.c.person == person, leases.c.until > now)
    return int(connection.execute(held).scalar_one())


def reap(connection: Connection, now: float) -> list[int]:
    """Takes away the leases that have ended.

    Args:
      connection: in a transaction that writes.
      now: the time.

    Returns:
      Their tasks.
    """
    ended = sql.delete(leases).where(leases.c.until <= now).returning(leases.c.task)
    return [int(task) for task in connection.execute(ended).scalars()]


def living(connection: Connection) -> list[Lease]:
    """All leases there are, in the order of their tasks.

    Args:
      connection: to read from.
    """
    return [Lease(*row) for row in connection.execute(sql.select(leases).order_by(leases.c.task))]
