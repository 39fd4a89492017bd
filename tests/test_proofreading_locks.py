"""Answers and edits at the same time: nobody waits for somebody who waits for them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from proofreading_cases import agglomerated_in
from test_proofreading_queue import EDGES, SOMAS, VOXELS, opened, reply, take

from agglomeration.database import Database
from proofreading.errors import ProofreadingError
from proofreading.queue import TaskQueue
from proofreading.tasks import TaskKind, TaskState, Verdict

# Far below the time for which SQLite waits for its turn.
LONGEST_S = 5.0


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with agglomerated_in(request.param, tmp_path, EDGES, VOXELS, SOMAS) as opened_database:
        yield opened_database


def edit_something(tasks: TaskQueue, draw: random.Random, person: str) -> None:
    """A merge, a split or an undo by hand."""
    state = tasks._state
    told: dict[str, Any] = {"person": person, "client_key": uuid4().hex}
    what = draw.choice(["merge", "split", "undo"])
    a, b = draw.sample(sorted(VOXELS), 2)
    if what == "merge":
        state.merge(a, b, force=True, **told)
    elif what == "split":
        ends = [[(each, (10.0 * each, 0.0, 0.0))] for each in (a, b)]
        state.split(state.neuron_of(a), *ends, **told)
    elif last := state.last_edit:
        state.undo(draw.randint(1, last), force=True, **told)


def answer_something(tasks: TaskQueue, draw: random.Random, person: str) -> None:
    for held in tasks.next(person, 1):
        end = held.task.kind is TaskKind.END
        some = [Verdict.REJECT, Verdict.UNKNOWN, *([] if end else [Verdict.ACCEPT])]
        reply(tasks, held, draw.choice(some), person, force=True)


def test_answers_and_edits_at_the_same_time_do_not_wait_for_each_other(database: Database) -> None:
    tasks = opened(database)
    longest, failed = [0.0], list[BaseException]()
    end = time.monotonic() + 2

    def work(step: Callable[[TaskQueue, random.Random, str], None], seed: int) -> None:
        draw, person = random.Random(seed), f"person {seed}"
        while time.monotonic() < end and not failed:
            began = time.monotonic()
            try:
                step(tasks, draw, person)
            except ProofreadingError:
                pass
            except BaseException as error:
                failed.append(error)
            longest.append(time.monotonic() - began)

    steps = [edit_something, edit_something, answer_something, answer_something]
    threads = [threading.Thread(target=work, args=(step, seed)) for seed, step in enumerate(steps)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert max(longest) < LONGEST_S
    assert tasks._state.last_edit > 0


def test_the_lock_of_the_neurons_is_not_taken_in_a_transaction(database: Database) -> None:
    state = opened(database)._state
    with database.writing(), pytest.raises(RuntimeError, match="before a transaction"):
        state.neuron_of(1)
    with state.held(), database.writing():
        assert state.neuron_of(2) == 1
    with database.reading():
        assert state.neuron_of(2) == 1


def test_undoing_an_edit_opens_its_task_with_the_neurons_as_they_are(database: Database) -> None:
    tasks = opened(database)
    done = reply(tasks, take(tasks, (3, 4)), Verdict.ACCEPT)
    tasks._state.undo(done.edit or 0, person="ada", client_key="u")
    assert tasks.task(done.task.id).state is TaskState.OPEN
    tasks._state.redo(done.edit or 0, person="ada", client_key="r")
    assert tasks.task(done.task.id).state is TaskState.SETTLED
