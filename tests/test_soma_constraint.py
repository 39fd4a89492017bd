"""Merges in order of certainty that never join two cell bodies, and the components they make."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agglomeration import AgglomerationError, ConstrainedMerges, components, constrained_merges
from agglomeration.merge_graph import positions_of


def ids_of(*values: int) -> np.ndarray:
    return np.array(values, np.uint64)


def merged(ids: np.ndarray, merges: list[tuple[int, int, float]], somas: dict[int, int]) -> ConstrainedMerges:
    a, b, certainty = zip(*merges, strict=True)
    soma_of = np.array([somas.get(int(i), 0) for i in ids])
    return constrained_merges(ids, ids_of(*a), ids_of(*b), np.array(certainty), soma_of)


def test_components_are_named_by_their_smallest_member() -> None:
    ids = ids_of(3, 5, 8, 13, 21)
    assert components(ids, ids_of(13, 5), ids_of(8, 21)).tolist() == [3, 5, 8, 8, 5]


def test_components_without_merges_are_the_supervoxels() -> None:
    assert components(ids_of(2, 4), ids_of(), ids_of()).tolist() == [2, 4]


def test_a_merge_of_an_unknown_supervoxel_is_refused_by_name() -> None:
    with pytest.raises(AgglomerationError, match="supervoxel 7 stands in a merge"):
        components(ids_of(3, 5), ids_of(3), ids_of(7))


@pytest.mark.parametrize(
    "ids",
    [(7,), (0, 2**64 - 1), (1, 2, 3, 2**40, 2**40 + 1, 2**63), tuple(range(5, 5000, 3))],
    ids=["one", "ends of the range", "in two crowds", "evenly spread"],
)
def test_every_id_is_found_where_it_stands(ids: tuple[int, ...]) -> None:
    known = ids_of(*ids)
    order = np.random.default_rng(1).permutation(len(ids))
    assert positions_of(known, known[order]).tolist() == order.tolist()
    for i in {*(i + 1 for i in ids), 4} - {*ids, 2**64}:
        with pytest.raises(AgglomerationError, match=f"supervoxel {i} stands"):
            positions_of(known, ids_of(i))


def test_a_merge_without_any_supervoxels_is_refused() -> None:
    with pytest.raises(AgglomerationError, match="supervoxel 3 stands"):
        positions_of(ids_of(), ids_of(3))


def test_the_less_certain_of_two_ways_between_cell_bodies_is_refused() -> None:
    #   1* - 2 - 3 - 4*        certainties 0.99, 0.7, 0.9
    done = merged(ids_of(1, 2, 3, 4), [(1, 2, 0.99), (2, 3, 0.7), (3, 4, 0.9)], {1: 10, 4: 20})
    assert done.accepted.tolist() == [True, False, True]
    assert done.neurons.tolist() == [1, 1, 3, 3]
    assert done.somas.tolist() == [10, 10, 20, 20]
    assert done.refusals.merges.tolist() == [1]
    assert (done.refusals.soma_a.tolist(), done.refusals.soma_b.tolist()) == ([10], [20])
    # 3-4 is the weaker one of the two accepted merges on the way from 1 to 4.
    assert done.refusals.cuts.tolist() == [2]


def test_the_alternative_is_the_weakest_merge_on_a_long_way() -> None:
    #   1* - 2 - … - 9, 9 - 10*; the way from 1 to 9 is weakest at 4-5.
    chain = [(i, i + 1, 0.95 - 0.01 * (i == 4)) for i in range(1, 9)]
    done = merged(ids_of(*range(1, 11)), [*chain, (9, 10, 0.5)], {1: 1, 10: 2})
    assert done.refusals.merges.tolist() == [8]
    assert done.refusals.cuts.tolist() == [3]


def test_touching_cell_bodies_have_no_alternative_cut() -> None:
    done = merged(ids_of(1, 2), [(1, 2, 1.0)], {1: 1, 2: 2})
    assert done.accepted.tolist() == [False]
    assert done.refusals.cuts.tolist() == [-1]


def test_parts_of_one_cell_body_are_joined() -> None:
    done = merged(ids_of(1, 2, 3), [(1, 2, 0.9), (2, 3, 0.8)], {1: 5, 3: 5})
    assert done.accepted.all()
    assert done.somas.tolist() == [5, 5, 5]


def test_a_merge_within_a_neuron_is_accepted() -> None:
    done = merged(ids_of(1, 2, 3), [(1, 2, 0.9), (2, 3, 0.9), (1, 3, 0.1)], {1: 5})
    assert done.accepted.all()


def test_equal_certainties_go_by_ids() -> None:
    # 2 may go to either cell body; (1, 2) comes before (2, 3).
    done = merged(ids_of(1, 2, 3), [(2, 3, 0.9), (1, 2, 0.9)], {1: 1, 3: 2})
    assert done.accepted.tolist() == [False, True]


def test_a_certainty_that_is_no_number_is_refused() -> None:
    with pytest.raises(AgglomerationError, match="merge 1-2 has certainty nan"):
        merged(ids_of(1, 2), [(1, 2, float("nan"))], {})


def slow_merges(
    ids: list[int], merges: list[tuple[int, int, float]], somas: dict[int, int]
) -> tuple[set[tuple[int, int]], list[set[int]]]:
    """Sets of supervoxels, merged one after the other."""
    groups = [{i} for i in ids]
    accepted = set()
    for a, b, _ in sorted(merges, key=lambda m: (-m[2], m[0], m[1])):
        one, two = (next(g for g in groups if i in g) for i in (a, b))
        held = [{somas[i] for i in g if i in somas} for g in (one, two)]
        if one is not two and held[0] and held[1] and held[0] != held[1]:
            continue
        accepted.add((a, b))
        if one is not two:
            groups.remove(two)
            one |= two
    return accepted, groups


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[int], list[tuple[int, int, float]], dict[int, int]]:
    ids = sorted(draw(st.sets(st.integers(1, 60), min_size=2, max_size=14)))
    pairs = [(a, b) for i, a in enumerate(ids) for b in ids[i + 1 :]]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, min_size=1))
    merges = [(a, b, draw(st.sampled_from([0.2, 0.5, 0.8, 1.0]))) for a, b in chosen]
    somas = draw(st.dictionaries(st.sampled_from(ids), st.integers(1, 4), max_size=5))
    return ids, merges, somas


@settings(max_examples=200, deadline=None)
@given(graphs(), st.randoms(use_true_random=False))
def test_the_outcome_is_that_of_merging_sets_in_whatever_order_merges_come(graph, random) -> None:  # type: ignore[no-untyped-def]
    ids, merges, somas = graph
    accepted, groups = slow_merges(ids, merges, somas)
    random.shuffle(merges)
    done = merged(ids_of(*ids), merges, somas)
    assert {(a, b) for (a, b, _), kept in zip(merges, done.accepted, strict=True) if kept} == accepted
    neuron = {i: min(group) for group in groups for i in group}
    assert done.neurons.tolist() == [neuron[i] for i in ids]
    for group in groups:
        assert len({somas[i] for i in group if i in somas}) <= 1


def place(merge):  # type: ignore[no-untyped-def]
    """Where a merge stands in the order in which they are tried."""
    a, b, certainty = merge
    return -certainty, min(a, b), max(a, b)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(graphs())
def test_cutting_the_alternative_parts_the_cell_bodies(graph) -> None:  # type: ignore[no-untyped-def]
    ids, merges, somas = graph
    done = merged(ids_of(*ids), merges, somas)
    soma_of = {i: somas.get(i, 0) for i in ids}
    for refused, cut in zip(done.refusals.merges, done.refusals.cuts, strict=True):
        a, b, certainty = merges[refused]
        if cut < 0:
            assert soma_of[a] and soma_of[b] and soma_of[a] != soma_of[b]
        else:
            assert done.accepted[cut]
            assert merges[cut][2] >= certainty
            # Without it, and the weaker ones that join the same sides once more, the two bodies are apart.
            stronger = [merge for merge, kept in zip(merges, done.accepted, strict=True) if kept]
            stronger = [merge for merge in stronger if place(merge) < place(merges[cut])]
            _, groups = slow_merges(ids, stronger, {})
            group_of = {i: min(group) for group in groups for i in group}
            bodies = [i for i in ids if soma_of[i]]
            near = [{soma_of[i] for i in bodies if group_of[i] == group_of[end]} for end in (a, b)]
            assert not near[0] or not near[1]
