"""Answers that were half-finished, cuts that answer several tasks, leases of tasks that are asked no more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sql
from proofreading_cases import agglomerated_in
from test_proofreading_queue import (
    EDGES,
    LATER,
    SOMAS,
    VOXELS,
    agglomerated_again,
    cut_by_hand,
    opened,
    reply,
    take,
)

from agglomeration.database import Database
from proofreading.queue_tables import answers as answer_rows
from proofreading.queue_tables import tasks as task_rows
from proofreading.state import ProofreadingState
from proofreading.tasks import Candidate, TaskKind, TaskState, Verdict


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with agglomerated_in(request.param, tmp_path, EDGES, VOXELS, SOMAS) as opened_database:
        yield opened_database


@pytest.mark.parametrize("person", ["ada", "bo"])
def test_an_answer_whose_edit_an_earlier_release_made_is_counted(database: Database, person: str) -> None:
    tasks = opened(database)
    done = reply(tasks, take(tasks, (3, 4)), Verdict.UNKNOWN)
    with database.writing() as connection:
        number = connection.execute(sql.select(answer_rows.c.id)).scalar_one()
        connection.execute(sql.update(answer_rows).values(state="pending", verdict="accept"))
    # Another person's edit may have this key by chance; it is not the answer's.
    made = tasks._state.merge(3, 4, person=person, client_key=f"answer-{number}", task=done.task.id)
    again = opened(database)
    settled = person == "ada"
    assert again.task(done.task.id).state is (TaskState.SETTLED if settled else TaskState.STALE)
    with database.reading() as connection:
        found = connection.execute(sql.select(answer_rows.c.state, answer_rows.c.edit)).one()
    assert tuple(found) == (("counted", made.id) if settled else ("void", None))
    assert again._state.last_edit == made.id, "nothing is done twice"


def test_a_cut_that_answers_several_tasks_gains_once(database: Database) -> None:
    flags = [Candidate(TaskKind.MERGER, (each, 0), (1.0, 1.0, 1.0), 0.5, {}) for each in (5, 6)]
    tasks = opened(database, candidates=flags)
    edit = cut_by_hand(tasks)
    gained = []
    for held in tasks.next("ada", 2):
        done = reply(tasks, held, Verdict.ACCEPT, edit=edit)
        assert done.settled and done.edit == edit
        gained.append(done.gained_nm)
    assert gained[0] > 0 and gained[1] == 0
    with database.reading() as connection:
        assert connection.execute(sql.select(sql.func.sum(answer_rows.c.gained_nm))).scalar() == gained[0]
    tasks._state.undo(edit, person="ada", client_key="undo")
    assert {tasks.task(each.id).state for each in flags} == {TaskState.OPEN}


def test_a_task_that_is_asked_no_more_is_with_nobody(database: Database) -> None:
    first, second = (Candidate(TaskKind.END, (each, 0), (1.0, 1.0, 1.0), 0.5) for each in (3, 4))
    assert len(opened(database, candidates=[first, second]).next("ada", 2)) == 2
    tasks = opened(database, candidates=[second])
    assert tasks.task(first.id).state is TaskState.RETIRED
    assert tasks.task(second.id).state is TaskState.LEASED
    (held,) = opened(database, candidates=[first, second]).next("bo", 2)
    assert held.task.id == first.id


def test_a_base_whose_changes_are_others_has_another_number(database: Database) -> None:
    """Versions that were seen on the neurons before do not hold for those after."""
    tasks = opened(database)
    for key, (a, b) in (("a", (3, 4)), ("b", (8, 9))):
        reply(tasks, take(tasks, (a, b)), Verdict.REJECT, key=key)
    agglomerated_again(database, LATER)
    numbers = []
    for taken_back in (None, None, "a"):
        if taken_back:
            with database.writing() as connection:
                of_key = answer_rows.c.client_key == taken_back
                connection.execute(sql.update(answer_rows).where(of_key).values(state="void"))
                task = sql.select(answer_rows.c.task).where(of_key).scalar_subquery()
                connection.execute(sql.update(task_rows).where(task_rows.c.id == task).values(state="open"))
        base = ProofreadingState(database, Path()).base
        numbers.append(base.number)
    assert numbers == [1, 1, 2]
    assert {each.pair for each in base.changes} == {(8, 9)}
