"""The agglomeration that edits are made on, and what was left out of it because of what people said.

An agglomeration is a base from when it is opened first. Merges that stand against what people had said
until then (`proofreading.respecting`) are left out of it for good, with the reason, and asked about as joins:
so the neurons follow from the base and the log alone, whatever is undone or taken back later. As long as no
task and no edit is of the new base its changes follow what people go on saying; it is another base then.

Bases count from 0. Versions of neurons count from the base (`FIRST_VERSION`), so that a decision on neurons
of another agglomeration is a decision on what has changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sql
from sqlalchemy import Connection

from agglomeration import tables as agglomeration
from agglomeration.database import Database, now
from agglomeration.merge_graph import components
from proofreading import tables
from proofreading.base_graph import AcceptedMerges, BaseGraph, base_graph, read_merges
from proofreading.edits import read_log
from proofreading.queue_tables import tasks
from proofreading.respecting import BaseChange, changes_by
from proofreading.said_before import PartAt, nowhere, said_before

# Versions of base n are n times this and the number of the last edit: exact in a browser for a million bases.
FIRST_VERSION = 2**32


@dataclass(frozen=True, eq=False)
class Base:
    """What edits start from; made by `open_base`.

    Attributes:
      number: from 0, in the order in which they were opened.
      run: of the agglomeration.
      graph: supervoxels and merges.
      changes: merges that people's answers left out or put in.
    """

    number: int
    run: int
    graph: BaseGraph
    changes: tuple[BaseChange, ...]


def open_base(database: Database, run: int, part_at: PartAt = nowhere) -> Base:
    """The base of a finished run.

    Args:
      database: the decisions, up to date.
      run: its number.
      part_at: of a supervoxel that was split.

    Raises:
      DatabaseError: the database cannot be read or written.
    """
    merges = read_merges(database, run)
    rows = read_log(database)
    with database.writing() as connection:
        digest = _digest(connection, run)
        found = connection.execute(
            sql.select(tables.bases).where(tables.bases.c.digest == digest)
        ).one_or_none()
        if found is None or not _is_in_use(connection, run):
            said = said_before(connection, rows, part_at)
            known = {end for pair in said.one or {} for end in pair}
            there = set(merges.ids[np.isin(merges.ids, np.array(list(known), np.uint64))].tolist())
            changes = changes_by(said, merges.id_a, merges.id_b, merges.certainty, there, merges.somas)
            before, number = None, _next_number(connection)
            if found is not None:
                before = int(found.number)
                is_same = found.run == run and _merges(_read(connection, before)) == _merges(changes)
                number = before if is_same else number
            values = {"number": number, "run": run, "digest": digest, "edit": len(rows), "at": now()}
            _write(connection, values, changes, before)
        else:
            number = int(found.number)
            changes = _read(connection, number)
    return Base(number, run, _changed(merges, changes), tuple(changes))


def _digest(connection: Connection, run: int) -> str:
    runs = agglomeration.runs.c
    return str(connection.execute(sql.select(runs.digest).where(runs.id == run)).scalar_one())


def _is_in_use(connection: Connection, run: int) -> bool:
    """Whether there are tasks of a run, or edits on it."""
    tasks_of = sql.select(sql.exists().where(tasks.c.run == run))
    edits_on = sql.select(sql.exists().where(tables.edits.c.run == run))
    return bool(connection.execute(tasks_of).scalar() or connection.execute(edits_on).scalar())


def _merges(changes: Sequence[BaseChange]) -> set[tuple[tuple[int, int], bool]]:
    """What changes do to the neurons, whatever their reasons."""
    return {(each.pair, each.joined) for each in changes}


def _next_number(connection: Connection) -> int:
    last = connection.execute(sql.select(sql.func.max(tables.bases.c.number))).scalar()
    return 0 if last is None else int(last) + 1


def _write(
    connection: Connection, values: dict[str, object], changes: Sequence[BaseChange], before: int | None
) -> None:
    """Writes a base in the place of what is known of its agglomeration, under the number `before`."""
    number = values["number"]
    connection.execute(sql.delete(tables.base_changes).where(tables.base_changes.c.base == before))
    connection.execute(sql.delete(tables.bases).where(tables.bases.c.number == before))
    connection.execute(tables.bases.insert().values(values))
    rows = [
        {"base": number, "id_a": a, "id_b": b, "joined": each.joined, "because": each.because}
        for each in changes
        for a, b in [each.pair]
    ]
    if rows:
        connection.execute(tables.base_changes.insert(), rows)


def _read(connection: Connection, number: int) -> list[BaseChange]:
    columns = tables.base_changes.c
    query = sql.select(columns.id_a, columns.id_b, columns.joined, columns.because)
    query = query.where(columns.base == number).order_by(columns.id_a, columns.id_b)
    return [BaseChange((int(a), int(b)), bool(c), why) for a, b, c, why in connection.execute(query)]


def _changed(merges: AcceptedMerges, changes: Sequence[BaseChange]) -> BaseGraph:
    """The graph without the merges that were left out, and with those that were put in."""
    left = ~rows_of(merges.id_a, merges.id_b, [each for each in changes if not each.joined])
    new = np.array([each.pair for each in changes if each.joined], np.uint64).reshape(-1, 2)
    return base_graph(
        merges.ids,
        merges.voxels,
        np.concatenate([merges.id_a[left], new[:, 0]]),
        np.concatenate([merges.id_b[left], new[:, 1]]),
        np.concatenate([merges.certainty[left], np.ones(len(new))]),
        merges.somas,
    )


def rows_of(id_a: np.ndarray, id_b: np.ndarray, changes: Sequence[BaseChange]) -> np.ndarray:
    """Which merges some changes are about.

    Args:
      id_a, id_b: (m,) uint64, the smaller one first.
      changes: of merges.

    Returns:
      (m,) bool.
    """
    found = np.zeros(len(id_a), bool)
    pairs = {each.pair for each in changes}
    firsts, seconds = (np.array([pair[i] for pair in pairs], np.uint64) for i in (0, 1))
    for row in np.flatnonzero(np.isin(id_a, firsts) & np.isin(id_b, seconds)).tolist():
        found[row] = (int(id_a[row]), int(id_b[row])) in pairs
    return found


def neurons_with(
    supervoxels: np.ndarray, id_a: np.ndarray, id_b: np.ndarray, changes: Sequence[BaseChange]
) -> np.ndarray:
    """The neurons of an agglomeration with changes.

    Args:
      supervoxels: (n,) uint64, ascending.
      id_a, id_b: (m,) uint64, the merges that hold.
      changes: of merges.

    Returns:
      (n,) uint64: the smallest supervoxel of each one's neuron.
    """
    new = np.array([each.pair for each in changes if each.joined], np.uint64).reshape(-1, 2)
    return components(supervoxels, np.append(id_a, new[:, 0]), np.append(id_b, new[:, 1]))
