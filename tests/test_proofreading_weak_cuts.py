"""Cuts of several doubtful merges, against all cuts of small graphs."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from proofreading import weak_cuts as module
from proofreading.weak_cuts import weak_cuts

RING = [(0, 1), (1, 2), (2, 3), (3, 0)]


def found(count: int, edges: list[tuple[int, int]], doubt: list[float], least: float = 0.01) -> list:  # type: ignore[type-arg]
    first, second = np.array(edges).T
    return list(weak_cuts(count, first, second, np.array(doubt), 10.0 ** np.arange(count), least))


def test_two_doubtful_merges_that_hold_a_neuron_together_are_a_cut() -> None:
    (cut,) = found(4, RING, [0.2, 0.0, 0.3, 0.0])
    assert cut.merges.tolist() == [2, 0] and cut.doubt == pytest.approx(0.06)
    # The first merge is 2-3, and 2 is with 1; of 0-1 the second one is.
    assert cut.is_first.tolist() == [True, False]
    assert (cut.first_nm, cut.second_nm) == (110.0, 1001.0)


def test_what_hangs_on_a_side_is_part_of_it() -> None:
    (cut,) = found(6, [*RING, (2, 4), (4, 5)], [0.2, 0.0, 0.3, 0.0, 0.4, 0.0])
    assert cut.merges.tolist() == [2, 0]
    assert (cut.first_nm, cut.second_nm) == (110_110.0, 1001.0)


def test_a_merge_that_alone_holds_a_neuron_together_is_no_cut_of_several() -> None:
    assert found(3, [(0, 1), (1, 2)], [0.5, 0.5]) == []


def test_cuts_of_little_doubt_are_left_out() -> None:
    assert found(4, RING, [0.2, 0.0, 0.04, 0.0]) == []
    assert found(4, RING, [0.2, 0.005, 0.2, 0.005])[0].merges.tolist() == [0, 2]


@pytest.mark.parametrize("seed", range(30))
def test_the_most_doubtful_cut_of_all_is_among_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(3, 8))
    ring = [(i, (i + 1) % count) for i in range(count)]
    more = [pair for pair in combinations(range(count), 2) if rng.random() < 0.2]
    edges = sorted({(min(pair), max(pair)) for pair in [*ring, *more]})
    doubt = rng.random(len(edges)).tolist()
    by_hand = max(
        float(
            np.prod(
                [q for q, pair in zip(doubt, edges, strict=True) if (pair[0] in side) != (pair[1] in side)]
            )
        )
        for size in range(1, count)
        for side in combinations(range(count), size)
    )
    cuts = found(count, edges, doubt, 1e-6)
    assert max(cut.doubt for cut in cuts) == pytest.approx(by_hand)
    lengths = 10.0 ** np.arange(count)
    for cut in cuts:
        assert cut.doubt == pytest.approx(np.prod([doubt[i] for i in cut.merges]))
        assert cut.first_nm + cut.second_nm == pytest.approx(lengths.sum())


def test_of_a_large_piece_the_most_doubtful_merges_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PLACES", 3)
    edges = [(i, (i + 1) % 8) for i in range(8)]
    cuts = found(8, edges, [0.1, 0.2, 0.1, 0.1, 0.4, 0.1, 0.1, 0.3])
    assert max((cut.doubt, cut.merges.tolist()) for cut in cuts) == (pytest.approx(0.12), [4, 7])
