"""What the tables of the queue add up to: who did how much, who was asked what, how long answers took."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import sqlalchemy as sql
from sqlalchemy import Connection

from proofreading.answers import Answer, of_task
from proofreading.leases import living
from proofreading.queue_tables import answers, comments, tasks
from proofreading.tasks import TaskKind, Verdict

_LATEST = 1000
_AT_ONCE = 500
# Who has not been at work for longer is not waited for.
_RECENT_DAYS = 14


class Given(NamedTuple):
    """The answers there are, as far as handing out tasks needs them.

    Attributes:
      answered: who answered about each task that is open (skipping does not count), the task that was
        answered last at the end.
      skipped: the open tasks whose latest answer of a person was to skip them.
      seconds: of the latest answers, the first one first.
    """

    answered: dict[int, set[str]]
    skipped: dict[str, set[int]]
    seconds: list[tuple[TaskKind, float]]


def given(connection: Connection) -> Given:
    """Reads what was answered.

    Args:
      connection: to read from.
    """
    columns = answers.c
    found = Given({}, {}, [])
    query = sql.select(columns.task, columns.person, columns.verdict).join_from(answers, tasks)
    query = query.where(tasks.c.state == "open", columns.state == "counted").order_by(columns.id)
    for task, person, verdict in connection.execute(query).all():
        if verdict == Verdict.SKIP.value:
            found.skipped.setdefault(person, set()).add(task)
        else:
            found.answered[task] = found.answered.pop(task, set()) | {person}
    timed = sql.select(tasks.c.kind, columns.seconds).join_from(answers, tasks)
    timed = timed.where(columns.seconds.is_not(None), columns.verdict != Verdict.SKIP.value)
    latest = connection.execute(timed.order_by(columns.id.desc()).limit(_LATEST)).all()
    found.seconds.extend((TaskKind(kind), duration) for kind, duration in reversed(latest))
    return found


def reviewers(connection: Connection, now: float) -> set[str]:
    """The names of those who may answer and do: who answered or held a task in the last `_RECENT_DAYS` days.

    Args:
      connection: to read from.
      now: the time, seconds since the epoch.
    """
    people = sql.table("proofread_persons", sql.column("name"), sql.column("role"))
    may = sql.select(people.c.name).where(people.c.role.in_(["proofread", "admin"]))
    since = datetime.fromtimestamp(now, timezone.utc) - timedelta(days=_RECENT_DAYS)
    answered = sql.select(answers.c.person).where(answers.c.at >= since.isoformat(timespec="seconds"))
    found = {*connection.execute(answered.distinct()).scalars()}
    return {*connection.execute(may).scalars()} & (found | {each.person for each in living(connection)})


def ends_joined_by(connection: Connection, person: str) -> list[Answer]:
    """What a person answered last about each open loose end, if that was where it goes on; the oldest first.

    Such an answer is for the neurons as they were (`proofreading.answering`).

    Args:
      connection: to read from.
      person: who.
    """
    given = sql.select(answers.c.task).join_from(answers, tasks).where(answers.c.person == person)
    given = given.where(tasks.c.state == "open", tasks.c.kind == TaskKind.END.value)
    given = given.where(answers.c.state == "counted", answers.c.partner.is_not(None)).distinct()
    latest = []
    for task in connection.execute(given).scalars().all():
        mine = [each for each in of_task(connection, int(task)) if each.person == person]
        latest.append(mine[-1])
    return sorted((each for each in latest if each.partner is not None), key=lambda each: each.id)


def figures(connection: Connection, person: str, day: str) -> dict[str, Any]:
    """How much was done.

    Args:
      connection: to read from.
      person: who asks.
      day: of today, UTC, ISO 8601.

    Returns:
      `answered_by_me`, `answered_today`, `gained_by_me_nm`, `gained_today_nm`; skipping counts for nothing.
    """
    columns = answers.c
    counts = sql.select(sql.func.count(), sql.func.coalesce(sql.func.sum(columns.gained_nm), 0.0))
    counts = counts.where(columns.state == "counted", columns.verdict != Verdict.SKIP.value)
    mine = connection.execute(counts.where(columns.person == person)).one()
    today = connection.execute(counts.where(columns.at >= day)).one()
    return {
        "answered_by_me": int(mine[0]),
        "answered_today": int(today[0]),
        "gained_by_me_nm": float(mine[1]),
        "gained_today_nm": float(today[1]),
    }


def ends_that_went_on(connection: Connection) -> tuple[int, int]:
    """How many loose ends were found to go on, and how many to end.

    Args:
      connection: to read from.
    """
    ends = sql.select(tasks.c.verdict, sql.func.count()).where(
        tasks.c.kind == TaskKind.END.value, tasks.c.state == "settled"
    )
    counts = {verdict: count for verdict, count in connection.execute(ends.group_by(tasks.c.verdict))}
    return int(counts.get(Verdict.ACCEPT.value, 0)), int(counts.get(Verdict.REJECT.value, 0))


def comments_of(connection: Connection, numbers: Sequence[int]) -> dict[int, int]:
    """How many comments there are on tasks; those without any are left out.

    Args:
      connection: to read from.
      numbers: of the tasks.
    """
    found: dict[int, int] = {}
    for start in range(0, len(numbers), _AT_ONCE):
        wanted = comments.c.task.in_(numbers[start : start + _AT_ONCE])
        query = sql.select(comments.c.task, sql.func.count()).where(wanted).group_by(comments.c.task)
        found |= {int(task): int(count) for task, count in connection.execute(query)}
    return found
