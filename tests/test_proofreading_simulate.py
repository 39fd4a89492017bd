"""Simulated proofreading: run lengths kept up to date against those measured anew, the oracle, the orders."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agglomeration import NeuronMap
from agglomeration.decisions import ScoredEdges
from agglomeration.tables import AcceptedBy, State
from evaluation import erl_metrics
from evaluation.node_labels import node_labels_of
from proofreading.agenda import Agenda
from proofreading.crossings import find_crossings, joined_crossings
from proofreading.decided import Decisions, assumed_probability, fewest_pairs
from proofreading.errors import ProofreadingError
from proofreading.lengths import Lengths, filled_in
from proofreading.oracle import Oracle, Truth
from proofreading.simulate import ORDERS, Simulated, figures, neurons_after, simulate
from proofreading.simulated_neurons import SimulatedNeurons
from proofreading.simulated_project import JSON, PLOT, write_simulation
from proofreading.tasks import Candidate, TaskKind, Verdict
from proofreading.timing import ExpectedSeconds
from proofreading.value import learn_beyond
from volumes import Skeleton

SECONDS = {TaskKind.JOIN: 8.0, TaskKind.REFUSED: 30.0, TaskKind.MERGER: 30.0, TaskKind.END: 15.0}
NOWHERE = (0.0, 0.0, 0.0)


def straight(length: int, y: float) -> Skeleton:
    """A line of nodes 100 nm apart."""
    nodes = np.array([[0.0, y, 100.0 * i] for i in range(length)])
    return Skeleton(nodes, np.array([[i, i + 1] for i in range(length - 1)]))


def truth(*segments: list[int]) -> Truth:
    """Lines whose nodes lie in these supervoxels, numbered from 1."""
    skeletons = {i + 1: straight(len(each), 1000.0 * i) for i, each in enumerate(segments)}
    nodes = node_labels_of({i + 1: each for i, each in enumerate(segments)})
    return Truth(skeletons, nodes)


def lengths(nm: dict[int, float], tips: tuple[int, ...] = ()) -> Lengths:
    ids = np.array(sorted(nm), np.uint64)
    values = np.array([nm[each] for each in sorted(nm)])
    return Lengths(ids, values, np.array(tips, np.uint64), np.zeros((len(tips), 3)), joined_crossings([]))


def decisions(nm: dict[int, float], edges: list[tuple[int, int, float, State]]) -> Decisions:
    """Supervoxels, and the pairs between them."""
    ids = np.array(sorted(nm), np.uint64)
    a, b = (np.array([edge[i] for edge in edges], np.uint64) for i in (0, 1))
    certainty = np.array([edge[2] for edge in edges])
    state = np.array([edge[3] for edge in edges], np.int8)
    neurons = ids.copy()
    for first, second, _, kept in edges:
        if kept is State.ACCEPTED:
            old, new = (neurons[np.searchsorted(ids, each)] for each in (second, first))
            neurons[neurons == old] = new
    accepted = np.where(state == State.ACCEPTED, AcceptedBy.RULE, AcceptedBy.NOTHING).astype(np.int8)
    rows = ScoredEdges(a, b, np.zeros((len(edges), 3)), {}, certainty, certainty, accepted, state)
    none = np.zeros(0)
    values = np.array([nm[each] for each in sorted(nm)])
    return Decisions(rows, certainty, ids, neurons, values, none.astype(np.int64), none, none)


def join(a: int, b: int, probability: float) -> Candidate:
    return Candidate(TaskKind.JOIN, (a, b), NOWHERE, probability)


def project() -> Simulated:
    """Cells 1 (pieces 1, 2, 3), 2 (4, 5) and 3 (6); 3 and 6 were joined wrongly."""
    cells = truth([1] * 10 + [2] * 5 + [3] * 4, [4] * 9 + [5] * 3, [6] * 8)
    nm = {1: 900.0, 2: 400.0, 3: 300.0, 4: 800.0, 5: 200.0, 6: 700.0}
    tasks = [join(1, 2, 0.5), join(2, 3, 0.4), join(4, 5, 0.9), join(1, 4, 0.1), join(5, 6, 0.2)]
    sides = {"side_a": [["3", [0, 0, 0]]], "side_b": [["6", [0, 0, 0]]]}
    tasks.append(Candidate(TaskKind.MERGER, (3, 6), NOWHERE, 0.3, sides, 300.0))
    tasks.append(Candidate(TaskKind.END, (5, 0), (0.0, 1000.0, 1100.0), 0.25))
    pairs = [(each.supervoxels[0], each.supervoxels[1], 0.3, State.OPEN) for each in tasks[:5]]
    found = decisions(nm, [*pairs, (3, 6, 0.7, State.ACCEPTED)])
    beyond = learn_beyond(np.zeros(0), np.zeros(0), 300.0)
    return Simulated(found, tasks, lengths(nm), beyond, cells, SECONDS)


@given(
    st.lists(st.lists(st.integers(0, 6), min_size=2, max_size=12), min_size=1, max_size=4),
    st.lists(st.integers(1, 3), min_size=6, max_size=6),
)
def test_run_lengths_of_neurons_are_those_measured_anew(
    segments: list[list[int]], neurons: list[int]
) -> None:
    cells = truth(*segments)
    model = cells.model()
    members = {name: {i + 1 for i, each in enumerate(neurons) if each == name} for name in neurons}
    relabelled = [[0 if each == 0 else neurons[each - 1] for each in line] for line in segments]
    measured = erl_metrics(cells.skeletons, node_labels_of(dict(enumerate(relabelled, start=1))))
    assert model.nerl(members.values()) == pytest.approx(measured["nerl"])


def test_a_supervoxel_that_is_parted_has_the_run_lengths_of_its_parts() -> None:
    cells = truth([1, 1, 1, 2, 2], [1, 1, 3, 3])
    model = cells.model()
    assert model.squares({1, 2}) == 0
    model.part(1, {10: [1], 11: [2]})
    parted = truth([10, 10, 10, 2, 2], [11, 11, 3, 3]).model()
    for members in ({10}, {11}, {10, 2}, {11, 3}, {2, 3}):
        assert model.squares(members) == parted.squares(members)


def test_the_oracle_answers_by_the_true_skeletons() -> None:
    about = project()
    neurons = SimulatedNeurons(
        about.decisions.supervoxels,
        about.decisions.neurons,
        *(np.array([each], np.uint64) for each in (3, 6)),
        np.array([0.7]),
    )
    oracle = Oracle(about.truth, about.truth.model())
    said = {each.supervoxels: oracle.answer(each, neurons) for each in about.candidates}
    accepted = {pair for pair, each in said.items() if each.verdict is Verdict.ACCEPT}
    assert accepted == {(1, 2), (2, 3), (4, 5), (3, 6), (5, 0)}
    assert said[5, 0].partner == 4
    wrong = Oracle(about.truth, about.truth.model(), wrong=1.0)
    assert wrong.answer(about.candidates[0], neurons).verdict is Verdict.REJECT
    assert wrong.answer(about.candidates[3], neurons).verdict is Verdict.ACCEPT


def test_the_oracle_does_not_know_whether_to_join_a_merger() -> None:
    cells = truth([1, 1, 2, 2], [2, 2, 3, 3])
    oracle = Oracle(cells, cells.model())
    ids = np.array([1, 2, 3], np.uint64)
    neurons = SimulatedNeurons(ids, ids, *(np.zeros(0, np.uint64),) * 2, np.zeros(0))
    assert oracle.answer(join(1, 2, 0.5), neurons).verdict is Verdict.UNKNOWN
    merger = Candidate(TaskKind.MERGER, (2, 0), NOWHERE, 0.5)
    assert oracle.answer(merger, neurons).verdict is Verdict.ACCEPT


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_ends_in_the_same_neurons(order: str) -> None:
    about = project()
    curve = simulate(about, order)
    # All is right but the gap between pieces, in no supervoxel of which a node lies.
    assert curve.nerl[-1] == pytest.approx(1.0)
    assert curve.nerl[0] == pytest.approx((900**2 + 400**2 + 800**2 + 200**2) / (1800**2 + 1100**2 + 700**2))
    spent = sum(SECONDS[TaskKind(kind)] for kind in curve.kinds)
    assert curve.hours[-1] == pytest.approx(spent / 3600)


def test_the_greedy_order_is_the_best_and_ours_is_near_it_where_probabilities_are_right() -> None:
    about = project()
    right = {(1, 2), (2, 3), (4, 5), (3, 6), (5, 0)}
    sure = [replace(each, probability=float(each.supervoxels in right)) for each in about.candidates]
    curves = {order: simulate(replace(about, candidates=sure), order) for order in ORDERS}
    orders = figures(curves)["orders"]
    assert orders["greedy"]["area_hours"] == max(each["area_hours"] for each in orders.values())
    assert orders["greedy"]["area_by_greedy"] == 1.0
    assert orders["value"]["area_hours"] > orders["random"]["area_hours"]
    assert {*curves["value"].verdicts[:4]} == {"accept"}
    assert simulate(about, "random", seed=2).kinds != simulate(about, "random", seed=3).kinds


def test_neurons_can_be_had_after_a_part_of_the_decisions() -> None:
    def parts(found: NeuronMap) -> set[frozenset[int]]:
        names = found.neurons.tolist()
        return {
            frozenset(sv for sv, name in zip(found.supervoxels.tolist(), names, strict=True) if name == each)
            for each in names
        }

    about = project()
    none, some, all_ = (parts(each) for each in neurons_after(about, [0.0, 0.2, 1.0]))
    assert none == {frozenset([1]), frozenset([2]), frozenset([3, 6]), frozenset([4]), frozenset([5])}
    assert all_ == {frozenset([1, 2, 3]), frozenset([4, 5]), frozenset([6])}
    # Two of seven decisions: the join and the cut that are worth most, or joins.
    assert some not in (none, all_)
    with pytest.raises(ProofreadingError, match="not all 0 to 1"):
        neurons_after(about, [1.5])


def test_a_supervoxel_that_was_split_counts_with_its_main_part() -> None:
    ids = np.array([1, 2, 3], np.uint64)
    held = (np.array([1, 2], np.uint64), np.array([2, 3], np.uint64), np.array([0.9, 0.9]))
    neurons = SimulatedNeurons(ids, np.array([1, 1, 1], np.uint64), *held)
    main, other = neurons.new_id(), neurons.new_id()
    neurons.part(2, {main: [1], other: [3]})
    whole = neurons.neurons_of_whole([1, 2, 3])
    assert whole.supervoxels.tolist() == [1, 2, 3]
    assert whole.neurons[0] == whole.neurons[1] != whole.neurons[2]


def test_the_area_under_a_curve_is_its_mean() -> None:
    about = project()
    long, short = simulate(about, "value"), simulate(about, "value", most=2)
    found = figures({"value": long, "score": short})["orders"]
    assert found["value"]["area"] == pytest.approx(long.nerl.mean())
    rest = np.full(long.nerl.size - 3, short.nerl[-1])
    assert found["score"]["area"] == pytest.approx(np.concatenate([short.nerl, rest]).mean())
    assert found["score"]["decisions"] == 2


def test_wrong_answers_cost_run_length() -> None:
    about = project()
    assert simulate(about, "value", wrong=1.0).nerl[-1] < simulate(about, "value").nerl[-1]
    with pytest.raises(ProofreadingError, match="give 0 to 1"):
        simulate(about, "value", wrong=2)
    with pytest.raises(ProofreadingError, match="choose one of"):
        simulate(about, "best")


def test_curves_are_written_as_figures_and_plot(tmp_path: Path) -> None:
    curves = {order: simulate(project(), order) for order in ("value", "greedy")}
    write_simulation(tmp_path, figures(curves), curves)
    read = json.loads((tmp_path / JSON).read_text())
    assert read["curves"]["value"]["nerl"] == pytest.approx(curves["value"].nerl.tolist(), abs=1e-6)
    assert (tmp_path / PLOT).read_bytes().startswith(b"\x89PNG")


@settings(max_examples=30)
@given(st.randoms(use_true_random=False))
def test_the_agenda_hands_out_what_is_worth_most_at_that_moment(numbers: object) -> None:
    """Against a second agenda that is filled anew after every change."""
    draw = np.random.default_rng(numbers.getrandbits(32))  # type: ignore[attr-defined]
    nm = {i: float(draw.integers(1, 100)) for i in range(1, 9)}
    pairs = [(i, j) for i in range(1, 9) for j in range(i + 1, 9) if draw.random() < 0.6]
    tasks = [join(*pair, float(draw.uniform(0.01, 1))) for pair in pairs]
    ids = np.array(sorted(nm), np.uint64)
    neurons = SimulatedNeurons(ids, ids, *(np.zeros(0, np.uint64),) * 2, np.zeros(0))
    beyond = learn_beyond(np.zeros(0), np.zeros(0), 1.0)
    agenda = Agenda(neurons, lengths(nm), ExpectedSeconds(SECONDS), beyond)
    agenda.fill(tasks)
    left = {each.id: each for each in tasks}
    while (entry := agenda.take()) is not None:
        fresh = Agenda(neurons, lengths(nm), ExpectedSeconds(SECONDS), beyond)
        fresh.fill(left.values())
        best = fresh.take()
        assert best is not None and best.value == pytest.approx(entry.value)
        number = entry.candidate.id
        agenda.remove(number)
        del left[number]
        if draw.random() < 0.4:
            agenda.refresh(neurons.merge(*entry.candidate.supervoxels))
    assert all(
        neurons.neuron_of(a) == neurons.neuron_of(b) for a, b in (t.supervoxels for t in left.values())
    )


def test_improbable_joins_come_last_and_by_probability() -> None:
    nm = {1: 1.0, 2: 1.0, 3: 1000.0, 4: 1000.0, 5: 500.0}
    ids = np.array(sorted(nm), np.uint64)
    neurons = SimulatedNeurons(ids, ids, *(np.zeros(0, np.uint64),) * 2, np.zeros(0))
    beyond = learn_beyond(np.zeros(0), np.zeros(0), 1.0)
    agenda = Agenda(neurons, lengths(nm), ExpectedSeconds(SECONDS), beyond, min_probability=0.05)
    agenda.fill([join(1, 2, 0.05), join(3, 4, 0.01), join(4, 5, 0.02), join(3, 5, 0.5)])
    taken = [entry.candidate.supervoxels for entry in iter(agenda.take, None)]
    assert taken == [(3, 5), (1, 2), (4, 5), (3, 4)]


def test_the_sides_of_a_cut_grow_with_their_neurons() -> None:
    nm = {1: 10.0, 2: 20.0, 3: 40.0}
    ids = np.array([1, 2, 3], np.uint64)
    held = (np.array([1], np.uint64), np.array([2], np.uint64), np.array([0.7]))
    neurons = SimulatedNeurons(ids, np.array([1, 1, 3], np.uint64), *held)
    agenda = Agenda(
        neurons, lengths(nm), ExpectedSeconds(SECONDS), learn_beyond(np.zeros(0), np.zeros(0), 1.0)
    )
    merger = Candidate(TaskKind.MERGER, (1, 2), NOWHERE, 1.0, {}, 10.0)
    agenda.fill([merger])
    assert agenda.entries[merger.id].value == pytest.approx((10**2 + 20**2) / 70)
    agenda.refresh(neurons.merge(2, 3))
    assert agenda.entries[merger.id].value == pytest.approx((10**2 + 60**2) / 70)
    agenda.refresh(neurons.cut({1}, {2, 3}))
    assert agenda.entries[merger.id].is_stale


def test_lengths_without_a_skeleton_follow_those_with_one() -> None:
    nm = filled_in(np.array([80.0, np.nan, 160.0]), np.array([100.0, 50.0, 200.0]))
    assert nm.tolist() == [80.0, 40.0, 160.0]
    assert filled_in(np.array([np.nan]), np.array([10.0])).tolist() == [8.0]


def test_lengths_are_read_again_only_if_they_follow_from_the_same(tmp_path: Path) -> None:
    kept = lengths({1: 3.0, 5: 4.0}, tips=(5,))
    kept.save(tmp_path / "lengths.npz", "this")
    read = Lengths.load(tmp_path / "lengths.npz", "this")
    assert read is not None
    assert read.of(np.array([5, 1, 7], np.uint64)).tolist() == [4.0, 3.0, 0.0]
    assert Lengths.load(tmp_path / "lengths.npz", "that") is None
    assert Lengths.load(tmp_path / "none.npz", "this") is None


def test_two_straight_paths_that_cross_are_found_and_a_branch_is_not() -> None:
    steps = np.arange(-10, 11) * 50.0
    zero = np.zeros(steps.size)
    along_x, along_y = (np.stack(axes, axis=1) for axes in ((zero, zero, steps), (zero, steps, zero)))
    nodes = np.concatenate([along_x, np.delete(along_y, 10, axis=0)])
    chain = [[i, i + 1] for i in range(20)]
    other = [[21 + i, 22 + i] for i in range(19) if i != 9]
    cross = Skeleton(nodes, np.array([*chain, *other, [30, 10], [10, 31]]))
    found = find_crossings(7, cross)
    assert found.crossing_of.tolist() == [7]
    assert found.straightness[0] == pytest.approx(1.0)
    assert found.shares[0] == pytest.approx(0.5)
    arms = found.arms_nm[0]
    assert np.allclose(arms[0] + arms[1], 0) and np.allclose(arms[2] + arms[3], 0)
    branch = Skeleton(nodes[:31], np.array([*chain, *[each for each in other if each[1] < 31], [30, 10]]))
    assert find_crossings(7, branch).crossing_of.size == 0


def test_pairs_without_a_probability_are_ordered_by_what_is_known_of_them() -> None:
    none, ids = np.zeros(4), np.arange(1, 5, dtype=np.uint64)
    evidence = {
        "b_from_a": np.array([0.9, 0.0, 0.0, np.nan]),
        "joined_in_passes": np.array([0.0, 1.0, 0.0, 0.0]),
        "contact_faces": np.array([50.0, 50.0, 50.0, 5000.0]),
    }
    state, reason = np.full(4, State.OPEN, np.int8), np.zeros(4, np.int8)
    edges = ScoredEdges(ids, ids + 10, np.zeros((4, 3)), evidence, none, none, reason, state)
    found = assumed_probability(edges)
    assert min(found[:2]) > found[2] > found[3] > 0
    assert fewest_pairs(edges).tolist() == [1, 1, 1, 1]
