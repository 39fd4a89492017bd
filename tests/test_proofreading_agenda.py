"""The order of tasks against sorting them all anew, and what tasks add up to against adding all up."""

from __future__ import annotations

import random
from collections.abc import Iterable
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from test_proofreading_simulate import SECONDS, lengths

from proofreading.agenda import Agenda, Entry
from proofreading.ranked import Ranked
from proofreading.simulated_neurons import SimulatedNeurons
from proofreading.tasks import Candidate, TaskKind
from proofreading.timing import ExpectedSeconds
from proofreading.value import learn_beyond

STEPS = some.lists(some.tuples(some.integers(0, 9), some.none() | some.integers(0, 5)), max_size=300)


@given(STEPS)
def test_numbers_come_by_their_rank_whatever_they_had_before(steps: list[tuple[int, int | None]]) -> None:
    ranked, expected = Ranked(), dict[int, float]()
    for number, rank in steps:
        if rank is None:
            ranked.discard(number)
            expected.pop(number, None)
        else:
            ranked.put(number, rank)
            expected[number] = rank
        order = sorted(expected, key=lambda each: (-expected[each], each))
        first = ranked.first()
        assert first == ((expected[order[0]], order[0]) if order else None)
        assert list(ranked) == order


def test_outdated_places_do_not_pile_up() -> None:
    ranked = Ranked()
    for turn in range(10_000):
        ranked.put(turn % 3, turn)
    assert len(ranked._heap) < 100 and list(ranked) == [0, 2, 1]


def agenda_of(tasks: Iterable[Candidate], neurons: SimulatedNeurons) -> Agenda:
    beyond = learn_beyond(np.zeros(0), np.zeros(0), 300.0)
    nm = {number: 100.0 * number for number in range(1, 13)}
    agenda = Agenda(neurons, lengths(nm), ExpectedSeconds(SECONDS), beyond, min_probability=0.3)
    agenda.fill(tasks)
    return agenda


def some_tasks(rng: random.Random) -> list[Candidate]:
    pairs = [sorted(rng.sample(range(1, 13), 2)) for _ in range(25)]
    found = [
        Candidate(TaskKind.JOIN, (a, b), (1.0, 1.0, 1.0), rng.random())
        for a, b in sorted({(a, b) for a, b in pairs})
    ]
    ends = rng.sample(range(1, 13), 6)
    return [*found, *(Candidate(TaskKind.END, (each, 0), (1.0, 1.0, 1.0), 0.5) for each in ends)]


def suits(odd: bool, entry: Entry) -> bool:
    return not (odd and entry.candidate.id % 2)


@settings(max_examples=25, deadline=None)
@given(some.integers(0, 10**6))
def test_tasks_of_any_kinds_come_in_the_order_of_all_of_them(seed: int) -> None:
    rng = random.Random(seed)
    ids, none = np.arange(1, 13, dtype=np.uint64), np.zeros(0, np.uint64)
    neurons = SimulatedNeurons(ids, ids, none, none, np.zeros(0))
    agenda = agenda_of(some_tasks(rng), neurons)
    held: list[Entry] = []

    def rank(entry: Entry) -> tuple[bool, float, int]:
        seconds, each = agenda.seconds_of(entry.candidate.kind), entry.candidate
        rate = -each.probability if entry.is_improbable else -entry.value / seconds
        return entry.is_improbable, rate, each.id

    for _ in range(60):
        waiting = [
            each
            for each in agenda.entries.values()
            if not each.is_stale and each.candidate.id not in {one.candidate.id for one in held}
        ]
        kinds = rng.choice([None, [TaskKind.JOIN], [TaskKind.END], [TaskKind.MERGER], list(TaskKind)])
        odd = rng.random() < 0.3
        fitting = [
            each
            for each in waiting
            if (kinds is None or each.candidate.kind in kinds) and not (odd and each.candidate.id % 2)
        ]
        taken = agenda.take(partial(suits, odd), kinds)
        assert taken is min(fitting, key=rank, default=None)
        if taken is not None:
            held.append(taken)
        act = rng.random()
        if held and act < 0.3:
            agenda.offer(held.pop(rng.randrange(len(held))).candidate.id)
        elif held and act < 0.5:
            agenda.remove(held.pop().candidate.id)
        elif act < 0.6:
            a, b = rng.sample(range(1, 13), 2)
            if neurons.neuron_of(a) != neurons.neuron_of(b):
                agenda.refresh(neurons.merge(a, b))
        asked = [each for each in agenda.entries.values() if not each.is_stale]
        assert agenda.left_nm() == pytest.approx(sum(each.value for each in asked), abs=1e-3)
        for kind in TaskKind:
            mine = [each for each in asked if each.candidate.kind is kind]
            assert agenda.count(kind) == len(mine)
            order = sorted((-each.value, each.candidate.id) for each in mine)
            assert list(agenda.in_order(kind)) == [number for _, number in order]
        order = sorted((-each.value, each.candidate.id) for each in asked)
        assert list(agenda.in_order()) == [number for _, number in order]
        assert agenda.stale() == sorted(
            each.candidate.id for each in agenda.entries.values() if each.is_stale
        )


def test_a_kind_of_which_there_is_none_is_looked_for_among_none() -> None:
    ids, none = np.arange(1, 13, dtype=np.uint64), np.zeros(0, np.uint64)
    tasks = [each for each in some_tasks(random.Random(1)) if each.kind is TaskKind.JOIN]
    agenda = agenda_of(tasks, SimulatedNeurons(ids, ids, none, none, np.zeros(0)))

    def asked(entry: Entry) -> bool:
        raise AssertionError(f"{entry} was looked at")

    assert agenda.take(asked, [TaskKind.END]) is None
