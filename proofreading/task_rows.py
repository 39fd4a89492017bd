"""Tasks as rows of the table `tasks`, and how those of another agglomeration take their place.

A task that was settled stays so, whatever is found later: it is the answer of a person. One that is found no
more is retired, is with nobody from then on, and opens again if it is found again. All functions are part of
the caller's transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sql
from sqlalchemy import Connection

from agglomeration.rows import replace_rows
from agglomeration.tables import POINT_NM
from proofreading.queue_tables import leases, tasks
from proofreading.tasks import Candidate, TaskKind, Verdict


@dataclass(frozen=True)
class TaskRow:
    """A row of the table.

    Attributes:
      candidate: what is asked.
      state: open, settled or retired.
      verdict: of a settled one.
      edit: what settled it; kept when that was undone.
    """

    candidate: Candidate
    state: str
    verdict: Verdict | None
    edit: int | None


def write(connection: Connection, run: int, candidates: Iterable[Candidate]) -> None:
    """Puts the tasks of a run in the place of those of the run before; writes only those that differ.

    Args:
      connection: in a transaction that writes.
      run: its number.
      candidates: all that were found.
    """
    kept = {row.id: row for row in connection.execute(sql.select(tasks))}
    rows: dict[str, list[object]] = {column.name: [] for column in tasks.columns}
    for each in candidates:
        before = kept.pop(each.id, None)
        state, verdict, edit = ("open", None, None) if before is None else before[-3:]
        settled = state == "settled"
        values = {
            "id": each.id,
            "kind": each.kind.value,
            "supervoxel_a": each.supervoxels[0],
            "supervoxel_b": each.supervoxels[1],
            **dict(zip(POINT_NM, each.point_nm, strict=True)),
            "probability": each.probability,
            "evidence": json.dumps(each.evidence),
            "part_nm": each.part_nm,
            "run": run,
            "state": "settled" if settled else "open",
            "verdict": verdict if settled else None,
            "edit": edit,
        }
        # Most are as they were, whenever a server starts.
        if before is None or tuple(before) != tuple(values.values()):
            for name, value in values.items():
                rows[name].append(value)
    replace_rows(connection, tasks, rows)
    gone = [number for number, row in kept.items() if row.state == "open"]
    for start in range(0, len(gone), 500):
        part = tasks.c.id.in_(gone[start : start + 500])
        connection.execute(sql.update(tasks).where(part).values(state="retired"))
        connection.execute(sql.delete(leases).where(leases.c.task.in_(gone[start : start + 500])))


def read(connection: Connection, *states: str) -> list[TaskRow]:
    """Tasks in the order of their numbers.

    Args:
      connection: to read from.
      *states: which; none = all.
    """
    query = sql.select(tasks).order_by(tasks.c.id)
    if states:
        query = query.where(tasks.c.state.in_(states))
    return [_row(row) for row in connection.execute(query)]


def read_one(connection: Connection, number: int, *, for_update: bool = False) -> TaskRow | None:
    """A task; None where there is none of this number.

    Args:
      connection: to read from.
      number: of the task.
      for_update: keep others from changing it until the transaction ends.
    """
    query = sql.select(tasks).where(tasks.c.id == number)
    row = connection.execute(query.with_for_update() if for_update else query).one_or_none()
    return None if row is None else _row(row)


def read_by_edit(connection: Connection, edit: int) -> list[TaskRow]:
    """The tasks that an edit settled.

    Args:
      connection: to read from.
      edit: its number.
    """
    return [_row(row) for row in connection.execute(sql.select(tasks).where(tasks.c.edit == edit))]


def latest_run(connection: Connection) -> int | None:
    """The run that the tasks are of; None = there are no tasks.

    Args:
      connection: to read from.
    """
    return connection.execute(sql.select(sql.func.max(tasks.c.run))).scalar()


def _row(row: sql.Row[tuple[object, ...]]) -> TaskRow:
    values = row._mapping
    z, y, x = (float(values[name]) for name in POINT_NM)
    candidate = Candidate(
        TaskKind(values["kind"]),
        (int(values["supervoxel_a"]), int(values["supervoxel_b"])),
        (z, y, x),
        float(values["probability"]),
        json.loads(values["evidence"]),
        float(values["part_nm"]),
    )
    verdict = None if values["verdict"] is None else Verdict(values["verdict"])
    return TaskRow(candidate, values["state"], verdict, values["edit"])
