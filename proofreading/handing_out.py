"""Which tasks a person gets: those worth most that suit, each under a lease.

Memory says which are worth most, the database who gets them (`proofreading.leases`): other servers may hand
out the same queue. What was taken from memory and not leased in the end goes back.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection

from agglomeration.database import Database
from proofreading import leases, queue_figures, task_rows
from proofreading.errors import ConflictError, LeaseError, UnknownError
from proofreading.leases import Lease
from proofreading.queue_memory import QueueMemory
from proofreading.tasks import TaskKind

# Tasks that one person has at the same time: nobody can take a queue away from the others.
MOST_HELD = 20
# Skipped tasks, and those of neurons that others look at: what is added where all else is handed out.
_WHAT_ELSE = ((False, False), (False, True), (True, True))


def hand_out(
    database: Database,
    memory: QueueMemory,
    person: str,
    n: int,
    kinds: Collection[TaskKind] | None,
    now: float,
    seconds: float,
    reviews: int = 1,
) -> list[Lease]:
    """Leases the tasks that are worth most; last those about which all who answer have, and not agreed.

    So are loose ends of which the person said where they go on, if that counts no more.

    Args:
      database: of the queue.
      memory: of the queue.
      person: who gets them.
      n: how many at most; nobody has more than `MOST_HELD` at the same time.
      kinds: only these; None = all.
      now: the time, seconds since the epoch.
      seconds: how long they are theirs.
      reviews: how many people have to agree.

    Raises:
      DatabaseError: the database cannot be written; nothing is handed out then.
    """
    taken: list[int] = []
    granted: list[Lease] = []
    lapsed: list[int] = []
    if reviews > 1:
        with database.reading() as connection:
            said = queue_figures.ends_joined_by(connection, person)
        lapsed = memory.lapsed(said, kinds)
    try:
        with database.writing() as connection:
            reap(connection, memory, now)
            n = min(n, MOST_HELD - leases.held_by(connection, person, now))
            for skipped_too, busy_too in _WHAT_ELSE:
                suits = memory.suits(person, skipped_too=skipped_too, busy_too=busy_too)
                while len(granted) < n and (entry := memory.agenda.take(suits, kinds)) is not None:
                    taken.append(entry.candidate.id)
                    lease = leases.grant(connection, entry.candidate.id, person, now, seconds)
                    granted += [] if lease is None else [lease]
            if len(granted) < n:
                people = queue_figures.reviewers(connection, now)
                again = memory.undecided(person, people, kinds) if len(people) >= reviews else []
                entries = memory.agenda.entries
                again += [each for each in lapsed if each in entries and entries[each].is_waiting]
                for number in [*dict.fromkeys(again)][: n - len(granted)]:
                    taken.append(number)
                    memory.agenda.withdraw(number)
                    lease = leases.grant(connection, number, person, now, seconds)
                    granted += [] if lease is None else [lease]
    except BaseException:
        for number in taken:
            memory.returned(number)
        raise
    for lease in granted:
        memory.handed_out(lease)
    memory.elsewhere |= set(taken) - {lease.task for lease in granted}
    return granted


def hand_out_one(
    database: Database, memory: QueueMemory, number: int, person: str, now: float, seconds: float
) -> Lease:
    """Leases a certain task.

    Args:
      database: of the queue.
      memory: of the queue.
      number: of the task.
      person: who gets it.
      now: the time, seconds since the epoch.
      seconds: how long it is theirs.

    Raises:
      ConflictError: it is settled, or has no question left.
      LeaseError: it is with somebody, or the person has `MOST_HELD` already.
      UnknownError: there is none of this number.
      DatabaseError: the database cannot be written.
    """
    with database.writing() as connection:
        reap(connection, memory, now)
        entry = memory.agenda.entries.get(number)
        if entry is None and task_rows.read_one(connection, number) is None:
            raise UnknownError(f"there is no task {number}")
        if entry is None or entry.is_stale:
            raise ConflictError(f"task {number} is decided, or has no question left; reload the history")
        if leases.held_by(connection, person, now) >= MOST_HELD:
            raise LeaseError(f"{MOST_HELD} tasks are with you already; answer one, or give it back")
        lease = leases.grant(connection, number, person, now, seconds)
        if lease is None:
            raise LeaseError(f"task {number} is with somebody; take the next one")
    memory.agenda.withdraw(number)
    memory.handed_out(lease)
    return lease


def reap(connection: Connection, memory: QueueMemory, now: float) -> None:
    """Returns tasks whose leases have ended, here or at another server of the same database.

    Args:
      connection: in a transaction that writes.
      memory: of the queue.
      now: the time, seconds since the epoch.
    """
    for number in leases.reap(connection, now):
        memory.returned(number)
    if not memory.elsewhere:
        return
    held = {lease.task for lease in leases.living(connection)}
    for number in sorted(memory.elsewhere - held):
        row = task_rows.read_one(connection, number)
        if row is None or row.state != "open":
            memory.closed(number)
        else:
            memory.returned(number)
        memory.elsewhere.discard(number)
