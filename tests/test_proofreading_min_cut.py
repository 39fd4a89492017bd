"""The minimum cut: by hand, against SciPy's flow and against every cut there is."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_flow

from proofreading.errors import ProofreadingError
from proofreading.min_cut import minimum_cut, weight_of


def cheapest(n: int, edges: np.ndarray, weights: np.ndarray, sources: list[int], sinks: list[int]) -> float:
    """The cost of the best of all ways to put every node on a side."""
    costs = []
    for bits in product((False, True), repeat=n):
        side = np.array(bits)
        if side[sources].all() and not side[sinks].any():
            costs.append(weights[side[edges[:, 0]] != side[edges[:, 1]]].sum())
    return float(min(costs))


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, np.ndarray, np.ndarray, list[int], list[int]]:
    n = draw(st.integers(2, 8))
    node = st.integers(0, n - 1)
    edges = draw(st.lists(st.tuples(node, node), max_size=16))
    weights = draw(st.lists(st.floats(0.01, 14), min_size=len(edges), max_size=len(edges)))
    order = draw(st.permutations(range(n)))
    sources = draw(st.integers(1, n - 1))
    sinks = draw(st.integers(1, n - sources))
    ends = order[:sources], order[sources : sources + sinks]
    return n, np.array(edges, np.int64).reshape(-1, 2), np.array(weights), *map(list, ends)  # type: ignore[return-value]


@given(graphs())
def test_no_other_cut_is_cheaper(graph: tuple[int, np.ndarray, np.ndarray, list[int], list[int]]) -> None:
    n, edges, weights, sources, sinks = graph
    cut = minimum_cut(n, edges, weights, np.array(sources), np.array(sinks))
    assert cut.side[sources].all() and not cut.side[sinks].any()
    assert np.array_equal(cut.edges, cut.side[edges[:, 0]] != cut.side[edges[:, 1]])
    assert cut.cost == pytest.approx(weights[cut.edges].sum())
    assert cut.cost == pytest.approx(cheapest(n, edges, weights, sources, sinks), rel=1e-9)


def test_a_larger_cut_costs_what_flows() -> None:
    rng = np.random.default_rng(5)
    n = 400
    edges = np.stack([np.arange(1, n), np.maximum(0, np.arange(1, n) - rng.integers(1, 9, n - 1))], axis=1)
    edges = np.concatenate([edges, rng.integers(0, n, (900, 2))])
    edges = edges[edges[:, 0] != edges[:, 1]]
    weights = rng.integers(1, 1000, len(edges))
    both = np.concatenate([edges, edges[:, ::-1]])
    flow = coo_array((np.tile(weights, 2).astype(np.int32), (both[:, 0], both[:, 1])), shape=(n, n)).tocsr()
    for a, b in ((0, n - 1), (17, 230), (301, 12)):
        cut = minimum_cut(n, edges, weights.astype(float), np.array([a]), np.array([b]))
        assert cut.cost == maximum_flow(flow, a, b).flow_value


def test_the_weakest_link_of_a_chain_is_cut() -> None:
    chain = np.array([[0, 1], [1, 2], [2, 3], [3, 4]])
    certainty = np.array([0.9, 0.6, 0.95, 0.8])
    cut = minimum_cut(5, chain, weight_of(certainty), np.array([0]), np.array([4]))
    assert cut.edges.tolist() == [False, True, False, False]
    assert cut.side.tolist() == [True, True, False, False, False]
    assert cut.cost == pytest.approx(-np.log(0.4))


def test_two_probably_wrong_merges_are_cut_rather_than_one_that_is_certain() -> None:
    edges = np.array([[0, 1], [1, 3], [0, 2], [2, 3]])
    certainty = np.array([0.99, 0.5, 0.5, 0.99])
    cut = minimum_cut(4, edges, weight_of(certainty), np.array([0]), np.array([3]))
    assert cut.edges.tolist() == [False, True, True, False]


def test_of_equal_cuts_the_one_nearest_the_first_side_is_taken() -> None:
    chain = np.array([[0, 1], [1, 2], [2, 3]])
    cut = minimum_cut(4, chain, np.ones(3), np.array([0]), np.array([3]))
    assert cut.edges.tolist() == [True, False, False]


def test_several_points_of_a_side_stay_together_though_other_ways_are_cheaper() -> None:
    star = np.array([[0, 1], [0, 2], [0, 3]])
    cut = minimum_cut(4, star, np.array([5.0, 5.0, 1.0]), np.array([1, 2]), np.array([0, 3]))
    assert cut.edges.tolist() == [True, True, False]


def test_weights_grow_with_certainty_and_are_never_free_or_endless() -> None:
    weights = weight_of(np.array([np.nan, 0.0, 0.5, 0.99, 1.0]))
    assert np.all(np.diff(weights[1:]) > 0) and weights[0] == weights[1] > 0
    assert np.isfinite(weights).all()


@pytest.mark.parametrize(
    ("sources", "sinks", "message"),
    [([], [1], "at least one point"), ([0], [], "at least one point"), ([0, 1], [1], "on both sides")],
)
def test_sides_that_cannot_be_parted_are_refused(sources: list[int], sinks: list[int], message: str) -> None:
    with pytest.raises(ProofreadingError, match=message):
        minimum_cut(2, np.array([[0, 1]]), np.ones(1), np.array(sources), np.array(sinks))
