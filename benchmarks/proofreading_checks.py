"""Whether a database holds exactly what a server acknowledged (`benchmarks.proofreading_clients`).

Nothing here uses the code that it judges, but for reading rows: neurons are components of the agglomeration's
merges, plus those that people were told they had made, minus those that the rows of acknowledged splits name.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import sqlalchemy as sql
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from agglomeration import tables
from agglomeration.database import Database
from agglomeration.runs import read_supervoxel_ids
from benchmarks.proofreading_clients import Acknowledged, Held, Journal
from proofreading.edits import Merge, Split, read_log
from proofreading.handing_out import MOST_HELD
from proofreading.queue import TaskQueue
from proofreading.queue_tables import answers, tasks
from proofreading.state import ProofreadingState

_DECIDING = ("accept", "reject")
# Clocks are those of one machine, but their last digits are not compared.
_TOGETHER_S = 0.01


def findings(database: Database, journal: Journal) -> list[str]:
    """All that is in the database and was not acknowledged, or the other way round; empty = nothing is.

    Args:
        database: of a project in which no answer is under way.
        journal: of all clients.
    """
    return [
        *journal.wrong,
        *_wrong_answers(database, journal.answers),
        *_wrong_tasks(database, journal.answers),
        *_wrong_edits(database, journal.answers),
        *_held_twice(journal.held),
    ]


def wrong_neurons(state: ProofreadingState, journal: Journal) -> list[str]:
    """Whether the neurons of a state follow from what was acknowledged; empty = they do.

    Args:
        state: opened after the server's end.
        journal: of all clients.
    """
    ids, expected = expected_neurons(state.database, journal.answers)
    found = state.neurons()
    if not np.array_equal(found.supervoxels, ids):
        return ["the supervoxels are other ones"]
    pairs = len(np.unique(np.stack([found.neurons.astype(np.int64), expected], axis=1), axis=0))
    counts = len(np.unique(found.neurons)), len(np.unique(expected))
    if (pairs, pairs) == counts:
        return []
    return [f"{counts[0]} neurons where {counts[1]} were acknowledged, {pairs} in both"]


def lost_tasks(queue: TaskQueue, journal: Journal, database: Database) -> list[str]:
    """Whether each task that is open can be had; empty = all can, and no other.

    Args:
        queue: opened after the server's end, with a clock at which all leases have ended; all its tasks are
            handed out by this.
        journal: of all clients.
        database: of the project.
    """
    ids, neurons = expected_neurons(database, journal.answers)
    neuron_of = dict(zip(ids.tolist(), neurons.tolist(), strict=True))
    with database.reading() as connection:
        rows = connection.execute(sql.select(tasks).where(tasks.c.state == "open")).all()
    expected = set()
    for row in rows:
        is_one = neuron_of[row.supervoxel_a] == neuron_of.get(row.supervoxel_b)
        if row.supervoxel_b == 0 or is_one == (row.kind == "merger"):
            expected.add(int(row.id))
    had = set[int]()
    for person in range(len(rows) + 1):
        # Nobody has more than a few at the same time.
        taken = {each.task.id for each in queue.next(f"nobody {person}", MOST_HELD)}
        had |= taken
        if not taken:
            break
    return [
        *(f"open task {task} cannot be had" for task in sorted(expected - had)),
        *(f"task {task} can be had and is no question" for task in sorted(had - expected)),
    ]


def expected_neurons(database: Database, given: list[Acknowledged]) -> tuple[np.ndarray, np.ndarray]:
    """The supervoxels, (n,) uint64 ascending, and numbers of their neurons, (n,) int64, as acknowledged.

    Args:
        database: for the agglomeration, and for what splits took away.
        given: answers, acknowledged or refused.
    """
    ids, edges = read_supervoxel_ids(database), tables.edges.c
    with database.reading() as connection:
        accepted = sql.select(edges.id_a, edges.id_b).where(edges.state == "accepted")
        joined = {(int(a), int(b)) for a, b in connection.execute(accepted)}
    log = {row.id: row for row in read_log(database)}
    of_edit = {each.edit: each for each in given if each.edit is not None}
    told = {each.task for each in of_edit.values()}
    for number, row in sorted(log.items()):
        if isinstance(row.change, Split) and row.task in told:
            joined -= set(row.change.removed)
        elif number in of_edit and isinstance(row.change, Merge):
            joined.add(of_edit[number].supervoxels)
    first, second = np.searchsorted(ids, np.array(sorted(joined), np.uint64)).T
    graph = coo_array((np.ones(first.size, np.int8), (first, second)), shape=(ids.size, ids.size))
    return ids, connected_components(graph, directed=False)[1].astype(np.int64)


def _wrong_answers(database: Database, given: list[Acknowledged]) -> Iterator[str]:
    """Each key has one row, which says what its person was told."""
    with database.reading() as connection:
        rows = {row.client_key: row for row in connection.execute(sql.select(answers))}
    last = {each.key: each for each in given}
    for key in sorted(last.keys() | rows.keys()):
        each, row = last.get(key), rows.get(key)
        if each is None:
            yield f"answer {key} is there and nobody was told"
        elif row is None:
            if each.status == 200:
                yield f"answer {key} was acknowledged and is not there"
        elif each.status == 200:
            found = (row.task, row.lease, row.person, row.verdict, row.edit, row.state)
            if found != (each.task, each.lease, each.person, each.verdict, each.edit, "counted"):
                yield f"answer {key} was acknowledged as {each} and is {found}"
        elif row.state != "void":
            yield f"answer {key} was refused ({each.status}) and is {row.state}"


def _wrong_tasks(database: Database, given: list[Acknowledged]) -> Iterator[str]:
    """What was decided is settled, by one answer under one lease, and nothing else is."""
    with database.reading() as connection:
        states = {int(row.id): row.state for row in connection.execute(sql.select(tasks))}
        query = sql.select(answers.c.task, answers.c.lease).where(
            answers.c.state == "counted", answers.c.verdict.in_(_DECIDING)
        )
        deciding = Counter(int(task) for task, _ in connection.execute(query))
    settled = {each.task for each in given if each.settled}
    for task, count in deciding.items():
        if count != 1:
            yield f"task {task} was decided {count} times"
    for task in sorted(settled | {task for task, state in states.items() if state == "settled"}):
        if states.get(task) != "settled" or task not in settled:
            yield f"task {task} is {states.get(task)}; settled for its person: {task in settled}"


def _wrong_edits(database: Database, given: list[Acknowledged]) -> Iterator[str]:
    """Each edit is of an acknowledged answer, and the other way round; a refused merge may take two."""
    log = {row.id: row for row in read_log(database)}
    of_edit = {each.edit: each for each in given if each.edit is not None}
    by_task = {each.task: each for each in of_edit.values()}
    for number, each in sorted(of_edit.items()):
        row: Any = log.get(number or 0)
        if row is None or (row.task, row.person) != (each.task, each.person):
            yield f"edit {number} was acknowledged to {each.person} for task {each.task} and is {row}"
    for number, row in log.items():
        of_task = by_task.get(row.task or 0)
        is_cut = isinstance(row.change, Split) and of_task is not None and of_task.kind == "refused"
        if number not in of_edit and not is_cut:
            yield f"edit {number} ({row.kind.value}, task {row.task}) is there and nobody was told"


def _held_twice(held: list[Held]) -> Iterator[str]:
    """No task was with two people at once."""
    by_task: dict[int, list[Held]] = defaultdict(list)
    for each in held:
        by_task[each.task].append(each)
    for task, times in by_task.items():
        times.sort(key=lambda each: each.since)
        for one, other in zip(times, times[1:], strict=False):
            if one.lease != other.lease and other.since < one.until - _TOGETHER_S:
                yield f"task {task} was with two people for {one.until - other.since:.2f} s"
