"""The queue: order, leases, answers, agreement, conflicts, kills; on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sql
from proofreading_cases import agglomerated_in, scored_edges

from agglomeration import tables
from agglomeration.database import Database
from agglomeration.decisions import write_scored_edges
from agglomeration.merge_graph import components
from agglomeration.merging import apply_constraint
from agglomeration.runs import finish_run, finished_run, start_run
from configs import ConfigView
from configs.parsing import parse_text
from configs.proto import reconstruction_pb2
from proofreading import answers, edits, queue, task_rows
from proofreading.accepting import carry_out
from proofreading.agenda import Agenda
from proofreading.crossings import joined_crossings
from proofreading.decided import learnt_beyond, read_decisions
from proofreading.edits import Kind
from proofreading.errors import ConflictError, LeaseError, ProofreadingError, SomaError, UnknownError
from proofreading.lengths import Lengths
from proofreading.queue import TaskQueue
from proofreading.queue_results import LeasedTask, Outcome
from proofreading.queue_tables import answers as answer_rows
from proofreading.respecting import changes_by
from proofreading.said_before import Apart, SaidBefore
from proofreading.state import ProofreadingState
from proofreading.task_sources import find_candidates
from proofreading.tasks import Candidate, TaskKind, TaskState, Verdict
from proofreading.timing import ExpectedSeconds

VOXELS = {i: 10 * i for i in range(1, 10)}
# Neurons 1-2 with cell body 1, 5-6 with cell body 2, and 3, 4, 7, 8, 9. 2-5 is refused; the others are open.
EDGES = [
    *[(1, 2, 0.9), (2, 5, 0.6), (5, 6, 0.7)],
    *[(2, 3, 0.4), (3, 4, 0.3), (6, 7, 0.2), (7, 8, 0.45), (8, 9, 0.1)],
]
SOMAS = {1: 1, 6: 2}


class Clock:
    """A time that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with agglomerated_in(request.param, tmp_path, EDGES, VOXELS, SOMAS) as opened:
        yield opened


def settings(text: str = "") -> ConfigView:
    return ConfigView(parse_text(text, reconstruction_pb2.Proofreading, "settings"))


def lengths() -> Lengths:
    """Each supervoxel is a hundred times its ID long."""
    ids = np.array(sorted(VOXELS), np.uint64)
    return Lengths(ids, 100.0 * ids, np.zeros(0, np.uint64), np.zeros((0, 3)), joined_crossings([]))


def found(database: Database, text: str = "", state: ProofreadingState | None = None) -> list[Candidate]:
    run = finished_run(database)
    decisions = read_decisions(database, run, lengths(), state.base.changes if state else ())
    return find_candidates(database, run, decisions, lengths(), settings(text), learnt_beyond(decisions))


def opened(database: Database, clock: Any = time.time, text: str = "", **more: Any) -> TaskQueue:
    state = ProofreadingState(database, Path(str(database.engine.url.database)).parent)
    section = settings(text)
    decisions = read_decisions(database, finished_run(database), lengths(), state.base.changes)
    agenda = Agenda(state, lengths(), ExpectedSeconds.of(section), learnt_beyond(decisions))
    candidates = more.pop("candidates", None)
    if candidates is None:
        candidates = found(database, text, state)
    return TaskQueue(state, agenda, section, candidates, finished_run(database), clock)


def reply(
    tasks: TaskQueue, leased: LeasedTask, verdict: Verdict, person: str = "ada", **more: Any
) -> Outcome:
    key = more.pop("key", f"{leased.lease}")
    versions = more.pop("versions", leased.task.versions)
    return tasks.answer(leased.task.id, leased.lease, verdict, versions, key, person, **more)


def take(tasks: TaskQueue, pair: tuple[int, int], person: str = "ada") -> LeasedTask:
    """A certain task; the others go back."""
    held = tasks.next(person, 50)
    for each in held:
        if each.task.supervoxels != pair:
            tasks.release(each.task.id, each.lease)
    (wanted,) = (each for each in held if each.task.supervoxels == pair)
    return wanted


def test_tasks_come_by_their_worth_per_second(database: Database) -> None:
    tasks = opened(database)
    held = tasks.next("ada", 50)
    worth = [each.task.value / each.task.seconds for each in held]
    assert worth == sorted(worth, reverse=True)
    assert {each.task.kind for each in held} == {TaskKind.JOIN, TaskKind.REFUSED, TaskKind.MERGER}
    assert {each.task.supervoxels for each in held if each.task.kind is TaskKind.JOIN} == {
        *[(2, 3), (3, 4), (6, 7), (7, 8), (8, 9)]
    }
    joined = {each.task.supervoxels: each.task for each in held}[2, 3]
    assert joined.value == pytest.approx(joined.probability * 2 * (100 + 200) * 300 / 4500)


def test_an_accepted_join_makes_its_neighbours_worth_more(database: Database) -> None:
    tasks = opened(database)
    first = take(tasks, (7, 8))
    done = reply(tasks, first, Verdict.ACCEPT)
    assert done.settled and done.edit == 1
    assert done.gained_nm == pytest.approx(2 * 700 * 800 / 4500)
    assert done.task.state is TaskState.SETTLED
    after = take(tasks, (8, 9)).task
    assert after.value == pytest.approx(after.probability * 2 * 1500 * 900 / 4500)
    assert set(after.versions.values()) == {0, 1}


def test_kinds_can_be_chosen(database: Database) -> None:
    tasks = opened(database)
    held = tasks.next("ada", 50, [TaskKind.REFUSED])
    assert [each.task.kind for each in held] == [TaskKind.REFUSED]
    assert len(tasks.next("ada", 50)) > 3


def test_no_task_is_with_two_people(database: Database, clock: Clock) -> None:
    tasks = opened(database, clock)
    first = tasks.next("ada", 3)
    second = tasks.next("bo", 50)
    assert not {each.task.id for each in first} & {each.task.id for each in second}
    assert tasks.next("cy", 1) == []
    assert tasks.task(first[0].task.id).state is TaskState.LEASED


def test_people_are_kept_apart_as_long_as_there_are_neurons_for_all(database: Database) -> None:
    tasks = opened(database)
    (first,) = tasks.next("ada", 1, [TaskKind.JOIN])
    (second,) = tasks.next("bo", 1, [TaskKind.JOIN])
    assert not set(first.task.neurons) & set(second.task.neurons)
    rest = tasks.next("cy", 50, [TaskKind.JOIN])
    assert len(rest) == 3, "what is left is handed out all the same"
    assert all({*each.task.neurons} & {*first.task.neurons, *second.task.neurons} for each in rest)
    for each, person in ((first, "ada"), (second, "bo")):
        assert reply(tasks, each, Verdict.ACCEPT, person).settled


def test_a_lease_ends_unless_a_heartbeat_extends_it(database: Database, clock: Clock) -> None:
    tasks = opened(database, clock, "lease_seconds: 100")
    held = tasks.next("ada", 50)
    kept, lost = held[0], held[1]
    clock.now += 60
    assert tasks.heartbeat(kept.task.id, kept.lease) == clock.now + 100
    clock.now += 60
    theirs = tasks.next("bo", 50)
    assert {each.task.id for each in theirs} == {each.task.id for each in held} - {kept.task.id}
    for call in (
        lambda: tasks.heartbeat(lost.task.id, lost.lease),
        lambda: tasks.release(lost.task.id, lost.lease),
        lambda: reply(tasks, lost, Verdict.REJECT),
    ):
        with pytest.raises(LeaseError, match="not with you any more"):
            call()
    assert reply(tasks, kept, Verdict.REJECT).settled


def test_a_lease_is_its_persons_alone(database: Database) -> None:
    tasks = opened(database)
    (held,) = tasks.next("ada")
    with pytest.raises(LeaseError):
        reply(tasks, held, Verdict.REJECT, "bo")
    assert reply(tasks, held, Verdict.REJECT).settled


def test_leases_outlive_the_server(database: Database, clock: Clock) -> None:
    first = opened(database, clock)
    held = first.next("ada", 2)
    second = opened(database, clock)
    assert not {each.task.id for each in held} & {each.task.id for each in second.next("bo", 50)}
    assert reply(second, held[0], Verdict.REJECT).settled


def test_the_same_key_is_the_same_answer(database: Database) -> None:
    tasks = opened(database)
    held = take(tasks, (7, 8))
    first = reply(tasks, held, Verdict.ACCEPT, key="k")
    assert reply(tasks, held, Verdict.ACCEPT, key="k") == first
    assert tasks._state.last_edit == 1
    other = take(tasks, (8, 9))
    with pytest.raises(ProofreadingError, match="used for another answer"):
        reply(tasks, other, Verdict.ACCEPT, key="k")


def test_an_answer_to_neurons_that_changed_is_not_applied(database: Database) -> None:
    tasks = opened(database)
    held = take(tasks, (7, 8))
    tasks._state.merge(8, 9, person="bo", client_key="other")
    with pytest.raises(ConflictError, match="changed since"):
        reply(tasks, held, Verdict.ACCEPT, key="first")
    assert tasks._state.last_edit == 1
    fresh = tasks.task(held.task.id)
    assert fresh.versions != held.task.versions
    done = reply(tasks, held, Verdict.ACCEPT, key="second", versions=fresh.versions)
    assert done.settled and done.edit == 2


def test_a_rejected_task_is_settled_and_changes_nothing(database: Database) -> None:
    tasks = opened(database)
    done = reply(tasks, take(tasks, (7, 8)), Verdict.REJECT, comment="two membranes")
    assert (done.settled, done.edit, done.gained_nm) == (True, None, 0.0)
    assert tasks.task(done.task.id).comments == 1
    assert done.task.id not in {each.task.id for each in tasks.next("bo", 50)}


def test_who_does_not_know_is_not_asked_again(database: Database) -> None:
    tasks = opened(database)
    done = reply(tasks, take(tasks, (7, 8)), Verdict.UNKNOWN)
    assert not done.settled and done.shown_again
    assert done.task.id not in {each.task.id for each in tasks.next("ada", 50)}
    assert take(opened_again(tasks), (7, 8), "bo").task.id == done.task.id


def opened_again(tasks: TaskQueue) -> TaskQueue:
    """The queue after every lease has ended."""
    return opened(tasks._database, lambda: time.time() + 1e6)


def may_answer(database: Database, *names: str) -> None:
    people = sql.table("proofread_persons", *map(sql.column, ("name", "role", "added")))
    with database.writing() as connection:
        rows = [{"name": name, "role": "proofread", "added": ""} for name in names]
        connection.execute(people.insert(), [*rows, {"name": "visitor", "role": "read", "added": ""}])


def test_what_nobody_knows_is_asked_again_when_nothing_else_is_left(database: Database) -> None:
    ends = [Candidate(TaskKind.END, (i, 0), (1.0, 1.0, 1.0), 0.25) for i in (3, 7, 9)]
    tasks = opened(database, candidates=ends)
    may_answer(database, "ada", "bo", "root")
    (skipped,) = tasks.next("bo")
    reply(tasks, skipped, Verdict.SKIP, "bo")
    for _ in range(3):
        (held,) = tasks.next("ada")
        reply(tasks, held, Verdict.UNKNOWN)
    assert tasks.next("ada") == [], "bo can be asked"
    first = [each.task.id for each in tasks.next("bo", 2)]
    (third,) = tasks.next("bo", 5)
    reply(tasks, third, Verdict.UNKNOWN, "bo")
    (again,) = tasks.next("ada", 5)
    assert again.task.id == third.task.id not in first
    assert reply(tasks, again, Verdict.REJECT).settled
    for tasks_ in (tasks, opened(database, candidates=ends)):
        assert tasks_.next("ada", 5) == []


def test_two_who_do_not_agree_are_asked_again(database: Database) -> None:
    tasks = opened(database, text="reviews: 2", candidates=[Candidate(TaskKind.JOIN, (3, 4), TIP, 0.5)])
    may_answer(database, "ada", "bo")
    for person, verdict in (("ada", Verdict.ACCEPT), ("bo", Verdict.REJECT)):
        (held,) = tasks.next(person)
        assert tasks.next(person) == []
        assert not reply(tasks, held, verdict, person).settled
    tasks = opened(database, text="reviews: 2", candidates=[Candidate(TaskKind.JOIN, (3, 4), TIP, 0.5)])
    (again,) = tasks.next("ada")
    assert reply(tasks, again, Verdict.REJECT).settled


def test_one_person_alone_is_not_asked_again_for_a_second_review(database: Database) -> None:
    tasks = opened(database, text="reviews: 2", candidates=[Candidate(TaskKind.JOIN, (3, 4), TIP, 0.5)])
    may_answer(database, "ada")
    assert not reply(tasks, tasks.next("ada")[0], Verdict.ACCEPT).settled
    assert tasks.next("ada") == []
    assert [each.state for each in tasks.tasks(TaskState.ANSWERED)] == [TaskState.ANSWERED]


def test_who_is_not_at_work_is_not_waited_for(database: Database) -> None:
    ends = [Candidate(TaskKind.END, (3, 0), (1.0, 1.0, 1.0), 0.25)]
    tasks = opened(database, candidates=ends)
    may_answer(database, "ada", "bo", "root")
    for person in ("ada", "bo"):
        (held,) = tasks.next(person)
        reply(tasks, held, Verdict.UNKNOWN, person)
    (held,) = tasks.next("ada")
    reply(tasks, held, Verdict.UNKNOWN, key="again")
    much_later = opened(database, lambda: time.time() + 15 * 86400, candidates=ends)
    assert much_later.next("bo") == [], "nobody was at work these days"
    (held,) = much_later.next("root")
    reply(much_later, held, Verdict.UNKNOWN, "root")
    (held,) = much_later.next("root")


def test_who_said_of_another_neuron_where_a_loose_end_goes_on_is_asked_again(database: Database) -> None:
    candidate = Candidate(TaskKind.END, (3, 0), (1.0, 1.0, 1.0), 0.25)
    tasks = opened(database, text="reviews: 2", candidates=[candidate])
    may_answer(database, "ada", "bo", "cy")
    reply(tasks, tasks.next("cy")[0], Verdict.SKIP, "cy")
    assert not loose_end_of(tasks, "ada", 8).settled
    assert tasks.next("ada") == [], "it counts"
    tasks._state.merge(7, 8, person="bo", client_key="meanwhile")
    assert not loose_end_of(tasks, "bo", 8).settled
    assert tasks.next("bo") == []
    assert loose_end_of(tasks, "ada", 8).settled


def test_a_skipped_task_comes_last(database: Database) -> None:
    tasks = opened(database)
    (first,) = tasks.next("ada")
    assert not reply(tasks, first, Verdict.SKIP).settled
    order = [each.task.id for each in tasks.next("ada", 50)]
    assert order[-1] == first.task.id and len(order) > 3


def test_two_reviewers_have_to_agree(database: Database) -> None:
    tasks = opened(database, text="reviews: 2")
    first = reply(tasks, take(tasks, (7, 8), "ada"), Verdict.ACCEPT, "ada")
    assert not first.settled and first.edit is None and first.task.state is TaskState.ANSWERED
    assert (7, 8) not in {each.task.supervoxels for each in opened_again(tasks).next("ada", 50)}
    tasks = opened(database, lambda: time.time() + 3e6, "reviews: 2")
    second = reply(tasks, take(tasks, (7, 8), "bo"), Verdict.REJECT, "bo")
    assert not second.settled
    third = reply(tasks, take(tasks, (7, 8), "cy"), Verdict.ACCEPT, "cy")
    assert third.settled and third.edit == 1


def test_a_task_without_a_question_is_stale_until_the_edit_is_undone(database: Database) -> None:
    tasks = opened(database)
    held = take(tasks, (7, 8))
    tasks.release(held.task.id, held.lease)
    edit = tasks._state.merge(7, 8, person="bo", client_key="other")
    assert tasks.task(held.task.id).state is TaskState.STALE
    assert (7, 8) not in {each.task.supervoxels for each in tasks.next("ada", 50)}
    tasks._state.undo(edit.id, person="bo", client_key="undo")
    assert tasks.task(held.task.id).state is TaskState.OPEN
    assert take(tasks, (7, 8)).task.value > 0


def test_a_task_opens_again_when_its_edit_is_undone_and_closes_with_the_redo(database: Database) -> None:
    tasks = opened(database)
    done = reply(tasks, take(tasks, (7, 8)), Verdict.ACCEPT)
    assert done.edit is not None
    tasks._state.undo(done.edit, person="bo", client_key="undo")
    assert tasks.task(done.task.id).state is TaskState.OPEN
    assert opened(database).task(done.task.id).state is TaskState.OPEN
    tasks._state.redo(done.edit, person="bo", client_key="redo")
    assert tasks.task(done.task.id).state is TaskState.SETTLED
    tasks._state.undo(done.edit, person="bo", client_key="undo again")
    # The first queue did not hear of it before it was killed.
    again = opened(database)
    assert again.task(done.task.id).state is TaskState.OPEN
    assert reply(again, take(again, (7, 8)), Verdict.ACCEPT, key="again").settled


def test_a_merger_is_cut_where_it_was_proposed(database: Database) -> None:
    tasks = opened(database, text="min_length_nm: 0")
    held = take(tasks, (5, 6))
    assert held.task.kind is TaskKind.MERGER
    done = reply(tasks, held, Verdict.ACCEPT)
    assert done.settled and done.gained_nm == pytest.approx((500**2 + 600**2) / 4500)
    assert tasks._state.neuron_of(5) != tasks._state.neuron_of(6)


def cut_by_hand(tasks: TaskQueue, person: str = "ada", key: str = "by-hand") -> int:
    points = ([(5, (1.0, 1.0, 1.0))], [(6, (2.0, 2.0, 2.0))])
    return tasks._state.split(tasks._state.neuron_of(5), *points, person=person, client_key=key).id


def test_undoing_a_cut_by_hand_asks_its_task_again(database: Database) -> None:
    flagged = Candidate(TaskKind.MERGER, (5, 0), (1.0, 1.0, 1.0), 0.5, {"flag": "two_somas"})
    tasks = opened(database, candidates=[flagged])
    (held,) = tasks.next("ada")
    edit, versions = cut_by_hand(tasks), {5: 1}
    for wrong, words in ((edit, "only a task that is accepted"), (99, "there is no edit 99")):
        verdict = Verdict.REJECT if wrong == edit else Verdict.ACCEPT
        with pytest.raises(ProofreadingError, match=words):
            reply(tasks, held, verdict, key=f"wrong-{wrong}", edit=wrong, versions=versions)
    versions = tasks.task(held.task.id).versions
    done = reply(tasks, held, Verdict.ACCEPT, edit=edit, versions=versions)
    assert done.settled and done.edit == edit
    assert done.gained_nm == pytest.approx((500**2 + 600**2) / 4500)
    assert reply(tasks, held, Verdict.ACCEPT, edit=edit, versions=versions).edit == edit, "sent twice"
    tasks._state.undo(edit, person="ada", client_key="undo")
    assert tasks.task(flagged.id).state is TaskState.OPEN
    assert opened(database, candidates=[flagged]).task(flagged.id).state is TaskState.OPEN
    tasks._state.redo(edit, person="ada", client_key="redo")
    assert tasks.task(flagged.id).state is TaskState.SETTLED


def test_a_cut_of_somebody_else_or_none_gains_nothing(database: Database) -> None:
    flagged = Candidate(TaskKind.MERGER, (5, 0), (1.0, 1.0, 1.0), 0.5, {"flag": "two_somas"})
    tasks = opened(database, candidates=[flagged])
    (held,) = tasks.next("ada")
    edit = cut_by_hand(tasks, "bob")
    versions = tasks.task(held.task.id).versions
    with pytest.raises(ProofreadingError, match="no cut of yours"):
        reply(tasks, held, Verdict.ACCEPT, edit=edit, versions=versions)
    done = reply(tasks, held, Verdict.ACCEPT, versions=versions)
    assert done.settled and done.edit is None and done.gained_nm == 0


def test_an_accepted_refusal_cuts_and_then_joins(database: Database) -> None:
    """5 belongs to the neuron of cell body 1, not to that of cell body 2."""
    tasks = opened(database)
    held = take(tasks, (2, 5))
    assert held.task.evidence["cut"] == ["5", "6"]
    done = reply(tasks, held, Verdict.ACCEPT)
    assert done.settled and done.edit == 2
    state = tasks._state
    assert state.neuron_of(2) == state.neuron_of(5) != state.neuron_of(6)
    assert [each.kind for each in state.history()] == [Kind.MERGE, Kind.SPLIT]


def test_two_cell_bodies_are_joined_by_force_alone(database: Database) -> None:
    candidate = Candidate(TaskKind.JOIN, (1, 6), (1.0, 1.0, 1.0), 0.5)
    tasks = opened(database, candidates=[candidate])
    (held,) = tasks.next("ada")
    with pytest.raises(SomaError):
        reply(tasks, held, Verdict.ACCEPT, key="first")
    assert tasks.task(held.task.id).state is TaskState.LEASED
    assert reply(tasks, held, Verdict.ACCEPT, key="second", force=True).settled


def test_a_loose_end_is_joined_with_the_named_supervoxel(database: Database) -> None:
    candidate = Candidate(TaskKind.END, (3, 0), (1.0, 1.0, 1.0), 0.25)
    tasks = opened(database, candidates=[candidate])
    (held,) = tasks.next("ada")
    with pytest.raises(ProofreadingError, match="name it"):
        reply(tasks, held, Verdict.ACCEPT)
    with pytest.raises(ConflictError, match="have changed since"):
        reply(tasks, held, Verdict.ACCEPT, partner=9)
    done = reply(tasks, held, Verdict.ACCEPT, partner=9, versions={3: 0, 9: 0})
    assert done.settled and done.gained_nm == pytest.approx(2 * 300 * 900 / 4500)
    assert tasks._state.neuron_of(3) == tasks._state.neuron_of(9)


def loose_end_of(tasks: TaskQueue, person: str, partner: int) -> Outcome:
    """Has a person say that the only loose end goes on in a supervoxel."""
    (held,) = tasks.next(person)
    neuron = tasks._state.neuron_of(partner)
    versions = {**held.task.versions, neuron: tasks._state.version_of(neuron)}
    return reply(tasks, held, Verdict.ACCEPT, person, partner=partner, versions=versions)


def test_reviewers_agree_on_where_a_loose_end_goes_on(database: Database) -> None:
    candidate = Candidate(TaskKind.END, (3, 0), (1.0, 1.0, 1.0), 0.25)
    tasks = opened(database, text="reviews: 2", candidates=[candidate])
    assert not loose_end_of(tasks, "ada", 1).settled
    assert not loose_end_of(tasks, "bo", 9).settled, "another neuron"
    assert loose_end_of(tasks, "cy", 2).settled, "2 is in the neuron of 1"
    assert tasks._state.neuron_of(3) == tasks._state.neuron_of(1)


def test_a_vote_on_a_neuron_that_changed_is_none_for_a_loose_end(database: Database) -> None:
    candidate = Candidate(TaskKind.END, (3, 0), (1.0, 1.0, 1.0), 0.25)
    tasks = opened(database, text="reviews: 2", candidates=[candidate])
    assert not loose_end_of(tasks, "ada", 9).settled
    tasks._state.merge(8, 9, person="cy", client_key="meanwhile")
    assert not loose_end_of(tasks, "bo", 9).settled
    assert loose_end_of(tasks, "cy", 8).settled


TIP = (100.0, 100.0, 100.0)


def test_a_loose_end_at_which_people_joined_something_has_no_question_left(database: Database) -> None:
    ends = [Candidate(TaskKind.END, (3, 0), TIP, 0.25), Candidate(TaskKind.END, (3, 0), (900.0, 0, 0), 0.2)]
    tasks = opened(database, candidates=ends)
    state = tasks._state
    state.merge(8, 9, TIP, person="ada", client_key="of others")
    assert {tasks.task(each.id).state for each in ends} == {TaskState.OPEN}
    edit = state.merge(3, 7, (100.0, 100.0, 300.0), person="ada", client_key="near")
    assert [tasks.task(each.id).state for each in ends] == [TaskState.STALE, TaskState.OPEN]
    assert [each.task.id for each in tasks.next("ada", 5)] == [ends[1].id]
    state.undo(edit.id, person="ada", client_key="undo")
    assert tasks.task(ends[0].id).state is TaskState.OPEN
    state.redo(edit.id, person="ada", client_key="redo")
    assert opened(database, candidates=ends).task(ends[0].id).state is TaskState.STALE


def test_a_merge_of_another_supervoxel_of_its_neuron_leaves_a_loose_end_its_question(
    database: Database,
) -> None:
    tasks = opened(database, candidates=[end := Candidate(TaskKind.END, (1, 0), TIP, 0.25)])
    tasks._state.merge(2, 7, TIP, person="ada", client_key="beside")
    assert tasks.task(end.id).state is TaskState.OPEN
    tasks._state.merge(1, 8, TIP, person="ada", client_key="at it")
    assert tasks.task(end.id).state is TaskState.STALE


def test_a_no_can_be_taken_back(database: Database, clock: Clock) -> None:
    tasks = opened(database, clock)
    done = reply(tasks, take(tasks, (7, 8)), Verdict.REJECT, comment="two membranes")
    (given,) = tasks.past_answers()
    assert (given.task, given.verdict, given.can_be_withdrawn) == (done.task.id, Verdict.REJECT, True)
    clock.now += 60
    back = tasks.withdraw(given.id, "back", "ada", reason="slipped")
    assert back.task.state is TaskState.OPEN and back.answer == given.id
    assert tasks.withdraw(given.id, "back", "ada") == back, "the same key does nothing again"
    with pytest.raises(ConflictError, match="does not count"):
        tasks.withdraw(given.id, "another", "ada")
    (given,) = tasks.past_answers()
    assert (given.counts, given.withdrawn_by, given.can_be_withdrawn) == (False, "ada", False)
    assert given.withdrawn_at is not None and given.withdrawn_at > given.at
    assert tasks.progress("ada")["answered_by_me"] == 0
    for each in (tasks, opened(database, clock)):
        held = take(each, (7, 8))
        each.release(held.task.id, held.lease)
    held = tasks.lease(done.task.id, "ada")
    assert reply(tasks, held, Verdict.ACCEPT).settled
    assert [each.verdict for each in tasks.past_answers()] == [Verdict.ACCEPT, Verdict.REJECT]


def test_answers_of_others_are_taken_back_by_those_who_may(database: Database) -> None:
    tasks = opened(database)
    reply(tasks, take(tasks, (7, 8)), Verdict.REJECT)
    reply(tasks, take(tasks, (8, 9)), Verdict.REJECT)
    later, earlier = tasks.past_answers(person="ada")
    with pytest.raises(ProofreadingError, match="ada's"):
        tasks.withdraw(later.id, "back", "bo")
    assert tasks.withdraw(later.id, "back", "bo", of_others=True).person == "bo"
    with pytest.raises(ProofreadingError, match="used for another answer"):
        tasks.withdraw(earlier.id, "back", "bo", of_others=True)
    with pytest.raises(UnknownError):
        tasks.withdraw(99, "none", "bo", of_others=True)
    assert tasks.past_answers(before=later.id) == [earlier] == tasks.past_answers(task=earlier.task)


def test_an_answer_with_an_edit_is_taken_back_by_undoing_it(database: Database) -> None:
    tasks = opened(database)
    done = reply(tasks, take(tasks, (7, 8)), Verdict.ACCEPT)
    (given,) = tasks.past_answers()
    assert given.edit == done.edit and not given.can_be_withdrawn
    with pytest.raises(ConflictError, match="undo that edit"):
        tasks.withdraw(given.id, "back", "ada")
    with pytest.raises(ConflictError, match="is decided"):
        tasks.lease(done.task.id, "ada")


def test_one_of_two_reviewers_takes_back_what_they_said(database: Database) -> None:
    tasks = opened(database, text="reviews: 2")
    reply(tasks, take(tasks, (7, 8), "ada"), Verdict.REJECT, "ada")
    done = reply(tasks, take(tasks, (7, 8), "bo"), Verdict.REJECT, "bo")
    assert done.settled
    (theirs, _) = tasks.past_answers()
    assert tasks.withdraw(theirs.id, "back", "bo").task.state is TaskState.ANSWERED
    assert (7, 8) not in {each.task.supervoxels for each in opened_again(tasks).next("ada", 50)}
    again = tasks.lease(done.task.id, "bo")
    with pytest.raises(LeaseError, match="with somebody"):
        tasks.lease(done.task.id, "cy")
    assert reply(tasks, again, Verdict.REJECT, "bo").settled, "the other one's still counts"


def test_another_agglomeration_keeps_the_answers(database: Database) -> None:
    tasks = opened(database)
    accepted = reply(tasks, take(tasks, (7, 8)), Verdict.ACCEPT)
    rejected = reply(tasks, take(tasks, (8, 9)), Verdict.REJECT)
    every = found(database)
    fewer = [each for each in every if each.supervoxels != (3, 4)]
    gone = next(each for each in every if each.supervoxels == (3, 4))
    again = opened(database, candidates=fewer)
    assert again.task(accepted.task.id).state is TaskState.SETTLED
    assert again.task(rejected.task.id).state is TaskState.SETTLED
    assert again.task(gone.id).state is TaskState.RETIRED
    assert opened(database).task(gone.id).state is TaskState.OPEN


def agglomerated_again(database: Database, edges: list[tuple[int, int, float]]) -> None:
    """Another run of the agglomeration, whose rows take the place of those of the one before."""
    run = start_run(database, sha256(str(edges).encode()).hexdigest(), "", {})
    write_scored_edges(database, run, scored_edges(edges))
    with database.writing() as connection:
        before = connection.execute(sql.select(tables.somas)).mappings().all()
        for row in before:
            connection.execute(tables.somas.insert().values({**row, "run": run}))
    apply_constraint(database, run)
    finish_run(database, run)


# Joins 2 to 4 and 7 to 9, which the first one left open.
LATER = [(1, 2, 0.9), (5, 6, 0.7), (2, 3, 0.8), (3, 4, 0.7), (2, 4, 0.6), (7, 8, 0.9), (8, 9, 0.8)]


def test_another_agglomeration_does_not_overrule_a_no(database: Database) -> None:
    tasks = opened(database)
    answered = [reply(tasks, take(tasks, pair), Verdict.REJECT).task.id for pair in ((3, 4), (8, 9))]
    agglomerated_again(database, LATER)
    again = opened(database)
    neuron_of = again._state.neuron_of
    assert neuron_of(3) != neuron_of(4) and neuron_of(8) != neuron_of(9)
    assert neuron_of(2) == neuron_of(3) and neuron_of(7) == neuron_of(8)
    assert all(again.task(each).state is TaskState.SETTLED for each in answered)
    changes = {each.pair: (each.joined, each.because) for each in again._state.base.changes}
    assert changes == {
        (3, 4): (False, f"task {answered[0]}"),
        (2, 4): (False, f"task {answered[0]}"),
        (8, 9): (False, f"task {answered[1]}"),
    }
    (asked,) = (each for each in again.tasks() if each.supervoxels == (2, 4))
    assert asked.kind is TaskKind.JOIN and asked.state is TaskState.OPEN
    assert asked.evidence["left_out"] == f"task {answered[0]}"


def test_what_a_no_left_out_stays_so_until_people_say_otherwise(database: Database) -> None:
    tasks = opened(database)
    reply(tasks, take(tasks, (3, 4)), Verdict.REJECT)
    agglomerated_again(database, LATER)
    again = opened(database)
    before = again._state.neurons().neurons.tolist()
    (answer,) = again.past_answers()
    again.withdraw(answer.id, "taken-back", "ada")
    assert opened(database)._state.neurons().neurons.tolist() == before
    held = take(again, (3, 4))
    reply(again, held, Verdict.ACCEPT)
    assert again._state.neuron_of(3) == again._state.neuron_of(4)


def test_another_agglomeration_does_not_go_round_a_cut(database: Database) -> None:
    state = opened(database)._state
    point = (0.0, 0.0, 0.0)
    state.split(1, [(1, point)], [(2, point)], person="ada", client_key="cut")
    agglomerated_again(database, [(1, 2, 0.9), (1, 3, 0.8), (2, 3, 0.7), (5, 6, 0.7)])
    state = opened(database)._state
    assert state.neuron_of(1) == state.neuron_of(3) != state.neuron_of(2)
    assert [(each.pair, each.because) for each in state.base.changes] == [((2, 3), "edit 1")]


def test_a_no_holds_together_with_an_older_merge_of_people(database: Database) -> None:
    tasks = opened(database)
    tasks._state.merge(4, 9, person="ada", client_key="merge")
    reply(tasks, take(tasks, (3, 4)), Verdict.REJECT)
    agglomerated_again(database, [(1, 2, 0.9), (5, 6, 0.7), (3, 9, 0.8)])
    neuron_of = opened(database)._state.neuron_of
    assert neuron_of(4) == neuron_of(9) != neuron_of(3)


def test_a_merge_of_people_after_their_no_holds(database: Database) -> None:
    tasks = opened(database)
    reply(tasks, take(tasks, (3, 4)), Verdict.REJECT)
    tasks._state.merge(4, 9, person="ada", client_key="1")
    tasks._state.merge(3, 9, person="ada", client_key="2")
    agglomerated_again(database, LATER)
    neuron_of = opened(database)._state.neuron_of
    assert neuron_of(3) == neuron_of(4) == neuron_of(9)


def test_what_is_later_than_a_no_is_so_within_a_second(database: Database) -> None:
    tasks = opened(database, lambda: time.time() + 1)
    reply(tasks, take(tasks, (3, 4)), Verdict.REJECT)
    for number, (a, b) in enumerate([(4, 8), (3, 8)]):
        tasks._state.merge(a, b, person="ada", client_key=f"{number}")
    agglomerated_again(database, [(1, 2, 0.9), (5, 6, 0.7), (3, 9, 0.6), (8, 9, 0.7)])
    state = opened(database)._state
    assert state.base.changes == () and len({state.neuron_of(each) for each in (3, 4, 8, 9)}) == 1


def test_what_people_said_is_no_merger_stays_one(database: Database) -> None:
    tasks = opened(database)
    held = next(each for each in tasks.next("ada", 50) if each.task.kind is TaskKind.MERGER)
    pair = held.task.supervoxels
    reply(tasks, held, Verdict.REJECT)
    agglomerated_again(database, [(3, 4, 0.9)])
    neuron_of = opened(database)._state.neuron_of
    assert neuron_of(pair[0]) == neuron_of(pair[1])


def test_the_order_of_merges_does_not_matter_to_what_is_left_out() -> None:
    rng = random.Random(3)
    merges = [
        (a, b, round(rng.random(), 1)) for a in range(1, 12) for b in range(a + 1, 12) if rng.random() < 0.3
    ]
    said = SaidBefore(tuple(Apart(pair, 0, f"task {i}") for i, pair in enumerate([(1, 7), (2, 9), (4, 11)])))
    outcomes = set()
    for _ in range(10):
        rng.shuffle(merges)
        a, b, certainty = (np.array(column) for column in zip(*merges, strict=True))
        found = changes_by(said, a.astype(np.uint64), b.astype(np.uint64), certainty, (), {})
        outcomes.add(tuple((each.pair, each.because) for each in found))
        left = {each.pair for each in found}
        kept = np.array([pair[:2] for pair in merges if pair[:2] not in left], np.uint64)
        group = components(np.arange(1, 12, dtype=np.uint64), kept[:, 0], kept[:, 1])
        assert all(group[x - 1] != group[y - 1] for x, y in [(1, 7), (2, 9), (4, 11)])
        # None is left out in vain.
        for pair in left:
            more = np.append(kept, np.array([pair], np.uint64), axis=0)
            group = components(np.arange(1, 12, dtype=np.uint64), more[:, 0], more[:, 1])
            assert any(group[x - 1] == group[y - 1] for x, y in [(1, 7), (2, 9), (4, 11)])
    assert len(outcomes) == 1


def test_a_decision_on_another_agglomeration_is_one_on_what_has_changed(database: Database) -> None:
    tasks = opened(database)
    held = take(tasks, (7, 8))
    before = {7: tasks._state.version_of(7)}
    agglomerated_again(database, EDGES)
    again = opened(database)
    with pytest.raises(ConflictError, match="have changed since"):
        reply(again, held, Verdict.ACCEPT)
    with pytest.raises(ConflictError, match="was changed by an agglomeration"):
        again._state.merge(7, 8, person="ada", client_key="merge", expected=before)


def test_an_agglomeration_that_comes_back_is_another_one(database: Database) -> None:
    versions = []
    for edges in (EDGES, LATER, EDGES):
        agglomerated_again(database, edges)
        versions.append(opened(database)._state.version_of(1))
    assert len(set(versions)) == 3
    assert opened(database)._state.version_of(1) == versions[-1], "not by a restart"


def test_the_evidence_of_tasks_with_one_number_is_joined(database: Database) -> None:
    neuron = next(each for each in found(database) if each.kind is TaskKind.MERGER).supervoxels[0]
    run = finished_run(database)
    with database.writing() as connection:
        values = dict(run=run, kind="size_outlier", object=1, detail="twice", point_z_nm=1.0)
        connection.execute(tables.flags.insert().values(**values, point_y_nm=1.0, point_x_nm=1.0))
    with database.writing() as connection:
        connection.execute(sql.update(tables.edges).where(tables.edges.c.id_a == 1).values(probability=0.3))
    (suspected,) = (
        each for each in found(database) if each.kind is TaskKind.MERGER and 1 in each.supervoxels
    )
    assert neuron and suspected.probability == pytest.approx(0.7)
    assert suspected.evidence["flag"] == "size_outlier" and "certainty" in suspected.evidence


def test_a_neuron_that_two_doubtful_merges_hold_together_is_suspected(database: Database) -> None:
    ring = [(1, 2, 0.99), (1, 3, 0.5), (2, 4, 0.6), (3, 4, 0.99), (4, 7, 0.99)]
    agglomerated_again(database, ring)
    with database.writing() as connection:
        columns = tables.edges.c
        for a, b, certainty in ring:
            wanted = (columns.id_a == a) & (columns.id_b == b)
            connection.execute(sql.update(tables.edges).where(wanted).values(probability=certainty))
    (suspected,) = (
        each for each in found(database, "min_length_nm: 100") if each.evidence.get("merges") == 2
    )
    assert (suspected.kind, suspected.supervoxels) == (TaskKind.MERGER, (1, 3))
    assert suspected.probability == pytest.approx(0.2) and suspected.part_nm == pytest.approx(300)
    tasks = opened(database, candidates=[suspected])
    (held,) = tasks.next("ada")
    assert reply(tasks, held, Verdict.ACCEPT).settled
    neuron_of = tasks._state.neuron_of
    assert neuron_of(1) == neuron_of(2) != neuron_of(3) == neuron_of(4) == neuron_of(7)


def moving_towards(tasks: TaskQueue, held: LeasedTask, supervoxel: int) -> None:
    """Has a refused task cut 6 off 5, and join 2 with this one."""
    entry = tasks._memory.agenda.entries[held.task.id]
    away = dict(held.task.evidence) | {"side_b": [["5", [1, 1, 1]]], "side_a": [["6", [1, 1, 1]]]}
    entry.candidate = replace(entry.candidate, supervoxels=(2, supervoxel), evidence=away)


def test_where_a_merge_is_refused_the_cut_before_it_is_not_made(database: Database) -> None:
    tasks = opened(database)
    held = take(tasks, (2, 5))
    moving_towards(tasks, held, 6)
    before = tasks._state.neurons()
    with pytest.raises(SomaError):
        reply(tasks, held, Verdict.ACCEPT, versions=tasks.task(held.task.id).versions)
    state = tasks._state
    assert state.last_edit == 0 and state.history() == []
    assert np.array_equal(state.neurons().neurons, before.neurons)
    assert state.merge(7, 8, person="bo", client_key="next").id == 1, "the log goes on without a gap"
    again = opened(database)
    assert again.task(held.task.id).state is TaskState.LEASED and again._state.last_edit == 1
    with database.reading() as connection:
        assert answers.pending(connection) == []


def test_a_cut_and_merge_of_what_has_changed_is_not_made(database: Database) -> None:
    state = opened(database)._state
    cut = (5, [(5, (1.0, 1.0, 1.0))], [(6, (1.0, 1.0, 1.0))])
    with pytest.raises(ConflictError, match="in one neuron already"):
        state.cut_and_merge(cut, 1, 2, person="ada", client_key="merge fails")
    with pytest.raises(ConflictError, match="changed|no more"):
        state.cut_and_merge(cut, 2, 5, person="ada", client_key="was seen", expected={5: 7})
    assert state.last_edit == 0 and state.neuron_of(5) == state.neuron_of(6)
    done = state.cut_and_merge(cut, 2, 5, person="ada", client_key="works", expected={5: 0, 1: 0})
    assert done.id == 2 and state.neuron_of(5) == state.neuron_of(1) != state.neuron_of(6)
    assert state.cut_and_merge(cut, 2, 5, person="ada", client_key="works") == done


def test_a_refusal_whose_merge_was_undone_is_accepted_again(database: Database) -> None:
    tasks = opened(database)
    done = reply(tasks, take(tasks, (2, 5)), Verdict.ACCEPT)
    assert done.edit is not None
    tasks._state.undo(done.edit, person="bo", client_key="undo")
    again = reply(tasks, take(tasks, (2, 5)), Verdict.ACCEPT)
    assert again.settled and again.edit == 4, "the cut is there already"
    assert tasks._state.neuron_of(2) == tasks._state.neuron_of(5) != tasks._state.neuron_of(6)


_KILLED = """
import sys
from agglomeration.database import open_database
from proofreading import edit_log
from test_proofreading_queue import *
tasks = opened(open_database(sys.argv[1], create=False))
held, real, rows = take(tasks, (2, 5)), edit_log.append, []

def killed(connection, row):
    real(connection, row)
    rows.append(row.kind.value)
    print(*rows, flush=True)
    if len(rows) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

edit_log.append = killed
reply(tasks, held, Verdict.ACCEPT, key="k")
"""


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1, 2])
def test_a_kill_between_cut_and_merge_leaves_neither(database: Database, rows: int) -> None:
    child = python(_KILLED, database, str(rows))
    words, _ = child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert words.split() == ["split", "split", "merge"][: 2 * rows - 1]
    with database.reading() as connection:
        assert edits.last_number(connection) == 0
        (left,) = answers.pending(connection)
    tasks = opened(database)
    assert tasks.task(left.task).state is TaskState.SETTLED, "it was sent, and is carried out now"
    assert [each.kind for each in tasks._state.history()] == [Kind.MERGE, Kind.SPLIT]


def python(code: str, database: Database, *arguments: str) -> subprocess.Popen[str]:
    """A process that runs code which gets the place of a database, and these."""
    url = database.engine.url.render_as_string(hide_password=False)
    place = str(database.engine.url.database) if url.startswith("sqlite") else url
    return subprocess.Popen(
        [sys.executable, "-c", code, place, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
    )


def test_progress_tells_what_was_done(database: Database) -> None:
    tasks = opened(database)
    before = tasks.progress("ada")
    done = reply(tasks, take(tasks, (7, 8)), Verdict.ACCEPT, seconds=3.0)
    (skipped,) = tasks.next("ada")
    reply(tasks, skipped, Verdict.SKIP)
    after = tasks.progress("ada")
    assert after["open"] == before["open"] - 1 == sum(after["by_kind"].values())
    assert (after["answered_by_me"], after["answered_today"]) == (1, 1)
    assert after["gained_by_me_nm"] == after["gained_today_nm"] == pytest.approx(done.gained_nm)
    assert tasks.progress("bo")["answered_by_me"] == 0
    assert after["left_nm"] == pytest.approx(sum(each.value for each in tasks.tasks(limit=1000)))


def test_tasks_are_listed_by_state_and_kind(database: Database) -> None:
    tasks = opened(database)
    done = reply(tasks, take(tasks, (7, 8)), Verdict.ACCEPT)
    (held,) = tasks.next("ada", 1, [TaskKind.JOIN])
    assert [each.id for each in tasks.tasks(TaskState.SETTLED)] == [done.task.id]
    assert [each.id for each in tasks.tasks(TaskState.LEASED)] == [held.task.id]
    listed = tasks.tasks(TaskState.OPEN, TaskKind.JOIN)
    assert {each.kind for each in listed} == {TaskKind.JOIN}
    assert [each.value for each in listed] == sorted((each.value for each in listed), reverse=True)
    with pytest.raises(UnknownError):
        tasks.task(12345)


@pytest.mark.parametrize("moment", ["before the edit", "after the edit"])
def test_an_answer_that_a_kill_cut_short_is_carried_out_once(
    database: Database, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = opened(database)
    held = take(tasks, (2, 5))
    real = carry_out

    def killed(*arguments: Any) -> Any:
        if moment == "after the edit":
            real(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(queue, "carry_out", killed)
    with pytest.raises(KeyboardInterrupt):
        reply(tasks, held, Verdict.ACCEPT, key="k")
    monkeypatch.undo()
    again = opened(database)
    assert again.task(held.task.id).state is TaskState.SETTLED
    assert again._state.last_edit == 2
    assert reply(again, held, Verdict.ACCEPT, key="k").edit == 2
    with database.reading() as connection:
        assert answers.pending(connection) == []


def test_many_people_answer_every_task_once(database: Database) -> None:
    tasks = opened(database, text="reviews: 1")
    count = len(tasks.tasks(limit=1000))
    settled: list[int] = []

    def work(person: str) -> None:
        while held := tasks.next(person, 2):
            for each in held:
                try:
                    if reply(tasks, each, Verdict.REJECT, person).settled:
                        settled.append(each.task.id)
                except ConflictError:
                    tasks.release(each.task.id, each.lease)

    threads = [threading.Thread(target=work, args=(f"person {n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(settled) == len(set(settled)) == count


_WORKER = """
import sys
from agglomeration.database import open_database
from test_proofreading_queue import *
url, seed = sys.argv[1], int(sys.argv[2])
tasks = opened(open_database(url, create=False), lambda: time.time() + 1000 * seed, "min_length_nm: 0")
numbers = random.Random(seed)
print("ready", flush=True)
while held := tasks.next("ada", 2):
    for each in held:
        fresh = tasks.task(each.task.id)
        verdict = numbers.choice([Verdict.ACCEPT, Verdict.REJECT])
        try:
            done = reply(tasks, each, verdict, versions=fresh.versions)
            print("ack", each.lease, done.edit or 0, flush=True)
        except (ConflictError, SomaError):
            key, fresh = each.lease + "r", tasks.task(each.task.id)
            reply(tasks, each, Verdict.REJECT, key=key, versions=fresh.versions)
            print("ack", key, 0, flush=True)
print("end", flush=True)
"""


@pytest.mark.slow
def test_what_was_acknowledged_is_there_after_any_kill(database: Database) -> None:
    acknowledged: dict[str, int] = {}
    numbers, lines = random.Random(5), list[str]()
    for seed in range(20):
        child = python(_WORKER, database, str(seed))
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        lines = [child.stdout.readline() for _ in range(numbers.randrange(3))]
        time.sleep(numbers.uniform(0, 0.03))
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.read().splitlines()
        child.wait()
        acknowledged |= {line.split()[1]: int(line.split()[2]) for line in lines if line.startswith("ack ")}
        if any(line.startswith("end") for line in lines):
            break
    assert acknowledged
    tasks = opened(database, lambda: time.time() + 1e6)
    with database.reading() as connection:
        rows = {row.client_key: row for row in connection.execute(sql.select(answer_rows))}
    assert all(row.state != "pending" for row in rows.values())
    assert all((rows[key].edit or 0) == edit for key, edit in acknowledged.items())
    made = {each.id for each in tasks._state.history(limit=1000) if not each.client_key.endswith("cut")}
    counted = [row.edit for row in rows.values() if row.state == "counted" and row.edit]
    assert sorted(counted) == sorted(made)
    settled = [row.task for row in rows.values() if row.state == "counted"]
    assert len(settled) == len(set(settled))
    assert tasks.next("bo", 50) == [] or not any(line.startswith("end") for line in lines)


def test_nobody_takes_the_queue_away_from_the_others(database: Database, clock: Clock) -> None:
    ends = [Candidate(TaskKind.END, (8, 0), (float(z), 1.0, 1.0), 0.5) for z in range(60)]
    tasks = opened(database, clock, candidates=ends)
    held = [each for _ in range(4) for each in tasks.next("ada", 15)]
    assert len(held) == 20
    free = next(each.id for each in ends if each.id not in {one.task.id for one in held})
    with pytest.raises(LeaseError, match="20 tasks are with you already"):
        tasks.lease(free, "ada")
    assert len(tasks.next("bob", 50)) == 20
    tasks.release(held[0].task.id, held[0].lease)
    reply(tasks, held[1], Verdict.REJECT)
    assert len(tasks.next("ada", 15)) == 2
    clock.now += 1000
    assert len(tasks.next("ada", 50)) == 20, "leases that ended do not count"


def test_only_tasks_that_differ_are_written_when_a_queue_is_opened(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = opened(database)
    reply(tasks, take(tasks, (7, 8)), Verdict.REJECT)
    written: list[int] = []
    monkeypatch.setattr(task_rows, "replace_rows", lambda connection, table, rows: written.extend(rows["id"]))
    again = opened(database)
    assert written == [] and again.progress("ada") == tasks.progress("ada")
    known = found(database)
    changed = replace(known[0], part_nm=known[0].part_nm + 1)
    opened(database, candidates=[changed, *known[1:]])
    assert written == [changed.id]
