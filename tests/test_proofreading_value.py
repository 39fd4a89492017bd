"""What answers are worth and how long they take: cases by hand, and bridges against what they are by name."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofreading.bridges import bridge_sides
from proofreading.tasks import TaskKind, task_id
from proofreading.timing import ExpectedSeconds
from proofreading.value import (
    cut_value,
    exchange_value,
    join_value,
    learn_beyond,
    refusal_probability,
)


def run_length(lengths: list[float], total: float) -> float:
    return sum(length**2 for length in lengths) / total


def test_a_join_is_worth_what_it_adds_to_the_expected_run_length() -> None:
    total = 1000.0
    gain = run_length([300 + 200, 500], total) - run_length([300, 200, 500], total)
    assert join_value(1.0, 300.0, 200.0, total) == pytest.approx(gain)
    assert join_value(0.25, 300.0, 200.0, total) == pytest.approx(gain / 4)


def test_a_cut_is_worth_what_a_merged_neuron_did_not_count() -> None:
    assert cut_value(1.0, 300.0, 200.0, 1000.0) == pytest.approx(run_length([300, 200], 1000))


def test_an_exchange_is_a_cut_and_a_join() -> None:
    """B with 600 nm is merged, 150 of them belong to A, which has 250."""
    before = run_length([250], 1000)
    after = run_length([250 + 150, 600 - 150], 1000)
    assert exchange_value(1.0, 150.0, 600.0, 250.0, 1000.0) == pytest.approx(after - before)


def test_of_a_refused_merge_and_its_alternative_one_is_wrong() -> None:
    assert refusal_probability(0.9, 0.9) == pytest.approx(0.5)
    assert refusal_probability(0.99, 0.9) == pytest.approx(0.99 * 0.1 / (0.99 * 0.1 + 0.9 * 0.01))
    assert refusal_probability(1.0, 1.0) == 0.5


def test_what_lies_beyond_an_end_follows_the_length_of_the_object() -> None:
    here = np.concatenate([np.full(20, 100.0), np.full(20, 1000.0)])
    beyond = np.concatenate([np.full(20, 50.0), np.full(20, 400.0)])
    learnt = learn_beyond(here, beyond, 7.0)
    assert learnt.expected_nm(90.0) == 50.0
    assert learnt.expected_nm(2000.0) == 400.0
    assert learnt.goes_on == 0.25
    assert learn_beyond(here, beyond, 7.0, went_on=6, ended=2).goes_on == pytest.approx(7 / 12)


def test_without_merges_the_mean_length_of_all_lies_beyond() -> None:
    assert learn_beyond(np.zeros(0), np.zeros(0), 7.0).expected_nm(100.0) == 7.0


def test_the_median_of_answers_takes_over_from_the_settings() -> None:
    seconds = ExpectedSeconds({TaskKind.JOIN: 8.0, TaskKind.MERGER: 30.0})
    assert seconds.of_kind(TaskKind.JOIN) == 8.0
    for each in (2.0, 2.0, 2.0, 2.0, 5000.0):
        seconds.learn(TaskKind.JOIN, each)
    assert seconds.of_kind(TaskKind.JOIN) == pytest.approx((2.0 + 8.0) / 2)
    assert seconds.of_kind(TaskKind.MERGER) == 30.0


def test_tasks_keep_their_numbers() -> None:
    assert task_id(TaskKind.JOIN, (3, 7), (1.0, 2.0, 3.0)) == task_id(TaskKind.JOIN, (3, 7), (9.0, 9.0, 9.0))
    assert task_id(TaskKind.JOIN, (3, 7), (0, 0, 0)) != task_id(TaskKind.MERGER, (3, 7), (0, 0, 0))
    assert task_id(TaskKind.END, (3, 0), (10, 0, 0)) != task_id(TaskKind.END, (3, 0), (20, 0, 0))
    assert 0 < task_id(TaskKind.END, (2**63 - 1, 0), (0, 0, 0)) < 2**62


def test_a_chain_with_a_ring_has_the_bridges_of_the_chain() -> None:
    """0 - 1 - 2 - 3 with a ring 3 - 4 - 5 - 3, and 6 alone."""
    first, second = np.array([1, 1, 2, 3, 4, 5]), np.array([0, 2, 3, 4, 5, 3])
    lengths = np.array([1.0, 2, 4, 8, 16, 32, 64])
    is_bridge, first_nm, second_nm = bridge_sides(7, first, second, lengths)
    assert is_bridge.tolist() == [True, True, True, False, False, False]
    assert first_nm.tolist() == [62, 3, 7, 0, 0, 0]
    assert second_nm.tolist() == [1, 60, 56, 0, 0, 0]


@given(st.integers(2, 9), st.data())
def test_a_bridge_is_a_merge_without_which_its_ends_are_apart(count: int, data: st.DataObject) -> None:
    pairs = [(i, j) for i in range(count) for j in range(i)]
    chosen = data.draw(st.lists(st.sampled_from(pairs), unique=True, max_size=12))
    first = np.array([i for i, _ in chosen], np.int64)
    second = np.array([j for _, j in chosen], np.int64)
    lengths = 2.0 ** np.arange(count)
    is_bridge, first_nm, second_nm = bridge_sides(count, first, second, lengths)
    for row, (i, j) in enumerate(chosen):
        rest = [pair for pair in chosen if pair != (i, j)]
        here, there = reached(i, rest), reached(j, rest)
        assert is_bridge[row] == (j not in here)
        if is_bridge[row]:
            assert first_nm[row] == sum(lengths[k] for k in here)
            assert second_nm[row] == sum(lengths[k] for k in there)


def reached(start: int, pairs: list[tuple[int, int]]) -> set[int]:
    found = {start}
    for _ in pairs:
        found |= {b for a, b in pairs if a in found} | {a for a, b in pairs if b in found}
    return found
