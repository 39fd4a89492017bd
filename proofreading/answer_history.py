"""Who answered what, the latest first: answers with their tasks, and who took them back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql
from sqlalchemy import Connection

from proofreading.queue_tables import answers, tasks, withdrawals
from proofreading.tasks import TaskKind, Verdict


@dataclass(frozen=True)
class PastAnswer:
    """An answer as the history shows it.

    Attributes:
      id: its number, from 1.
      at: when, UTC, ISO 8601.
      person: who.
      task, kind, supervoxels: what was asked; the second supervoxel is 0 where there is one.
      verdict: what was answered.
      edit: what that did to the neurons; None = nothing.
      comment: in the person's words; may be empty.
      counts: it was not taken back, nor made void by an undone edit or a conflict.
      withdrawn_by, withdrawn_at: who took it back, and when; None = nobody did.
      can_be_withdrawn: it counts, and is taken back by itself: not by undoing an edit, of which the task says
        that it settled it.
    """

    id: int
    at: str
    person: str
    task: int
    kind: TaskKind
    supervoxels: tuple[int, int]
    verdict: Verdict
    edit: int | None
    comment: str
    counts: bool
    withdrawn_by: str | None
    withdrawn_at: str | None
    can_be_withdrawn: bool


def past_answers(
    connection: Connection,
    before: int | None = None,
    limit: int = 50,
    task: int | None = None,
    person: str | None = None,
) -> list[PastAnswer]:
    """The latest answers first, without those that only skipped a task.

    Args:
      connection: to read from.
      before: only those numbered below it.
      limit: so many at most.
      task: only those about it.
      person: only theirs.
    """
    given, asked, back = answers.c, tasks.c, withdrawals.c
    settled_by = sql.case((asked.state == "settled", asked.edit))
    query: sql.Select[Any] = sql.select(
        *(given.id, given.at, given.person, given.task, given.verdict, given.edit),
        *(given.comment, given.state, asked.kind, asked.supervoxel_a, asked.supervoxel_b),
        *(asked.verdict.label("settled_as"), settled_by.label("settled_by")),
        *(back.person.label("withdrawn_by"), back.at.label("withdrawn_at")),
    )
    query = query.join_from(answers, tasks).outerjoin(withdrawals, back.answer == given.id)
    query = query.where(given.verdict != Verdict.SKIP.value, given.state != "pending")
    for column, wanted in ((given.task, task), (given.person, person)):
        if wanted is not None:
            query = query.where(column == wanted)
    if before is not None:
        query = query.where(given.id < before)
    rows = connection.execute(query.order_by(given.id.desc()).limit(limit)).all()
    return [_past_answer(row) for row in rows]


def is_named(connection: Connection, edit: int, person: str) -> bool:
    """Whether an answer that counts names an edit as what it did.

    Args:
      connection: to read from.
      edit: its number.
      person: who made it; nobody else's answers can name it.
    """
    given = answers.c
    named = (given.person == person) & (given.state == "counted") & (given.edit == edit)
    return bool(connection.execute(sql.select(sql.exists().where(named))).scalar())


def _past_answer(row: sql.Row[Any]) -> PastAnswer:
    values = row._mapping
    counts = values["state"] == "counted"
    by_edit = values["edit"] or (values["settled_by"] if values["settled_as"] == values["verdict"] else None)
    return PastAnswer(
        id=int(values["id"]),
        at=values["at"],
        person=values["person"],
        task=int(values["task"]),
        kind=TaskKind(values["kind"]),
        supervoxels=(int(values["supervoxel_a"]), int(values["supervoxel_b"])),
        verdict=Verdict(values["verdict"]),
        edit=values["edit"],
        comment=values["comment"],
        counts=counts,
        withdrawn_by=values["withdrawn_by"],
        withdrawn_at=values["withdrawn_at"],
        can_be_withdrawn=counts and by_edit is None,
    )
