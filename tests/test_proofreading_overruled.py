"""Merges that people made after they had said that two supervoxels are apart stand."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from proofreading.overruled import overruled
from proofreading.respecting import BaseChange, changes_by
from proofreading.said_before import Apart, SaidBefore

NODES = st.integers(1, 7)
PAIRS = st.tuples(NODES, NODES).filter(lambda pair: pair[0] < pair[1])


def ways(pairs: set[tuple[int, int]], a: int, b: int) -> Iterator[list[tuple[int, int]]]:
    """All ways from one node to another that come nowhere twice."""
    if a == b:
        yield []
        return
    left = {pair for pair in pairs if a not in pair}
    for pair in pairs - left:
        for way in ways(left, sum(pair) - a, b):
            yield [pair, *way]


@given(st.lists(st.tuples(PAIRS, st.integers(0, 3)), max_size=10), st.lists(PAIRS, min_size=1, max_size=3))
def test_a_saying_is_overruled_by_a_later_merge_on_a_way_between_its_nodes(
    merges: list[tuple[tuple[int, int], int]], sayings: list[tuple[int, int]]
) -> None:
    latest = {pair: max(number for other, number in merges if other == pair) for pair, _ in merges}
    expected = [any(latest[pair] > 1 for way in ways(set(latest), a, b) for pair in way) for a, b in sayings]
    rows = [(a, b, number) for (a, b), number in merges]
    assert overruled(rows, [(a, b, 1) for a, b in sayings]) == expected


def changes(merges: dict[tuple[int, int], float], said: SaidBefore) -> list[BaseChange]:
    pairs = np.array(list(merges), np.uint64).reshape(-1, 2)
    return changes_by(said, pairs[:, 0], pairs[:, 1], np.array(list(merges.values())), (), {})


CERTAINTY = st.floats(0.5, 0.99)
MERGES = st.dictionaries(PAIRS, CERTAINTY, max_size=8)


@given(MERGES, MERGES, PAIRS, st.lists(PAIRS, max_size=3), st.lists(PAIRS, max_size=3))
def test_what_later_merges_brought_together_stays_so_in_an_agglomeration_that_has_more(
    before: dict[tuple[int, int], float],
    more: dict[tuple[int, int], float],
    apart: tuple[int, int],
    older: list[tuple[int, int]],
    later: list[tuple[int, int]],
) -> None:
    by_people = dict(enumerate([*older, *later], start=1))
    said = SaidBefore((Apart(apart, len(older), "edit 0"),), {}, by_people)
    first = set(before) - {each.pair for each in changes(before, said)}
    was_one, is_one = (any(ways(first | set(some), *apart)) for some in (older, [*older, *later]))
    if is_one and not was_one:
        assert changes({**before, **more}, said) == []


def test_an_agglomeration_that_agrees_with_a_later_merge_parts_nothing() -> None:
    said = SaidBefore((Apart((3, 4), 0, "task 1"),), {}, {1: (4, 9)})
    assert changes({(3, 9): 0.6, (4, 9): 0.9}, said) == []
    assert changes({(3, 9): 0.6}, said) == []
    elsewhere = SaidBefore((Apart((3, 4), 0, "task 1"),), {}, {1: (4, 8)})
    assert changes({(3, 9): 0.6, (4, 9): 0.9}, elsewhere) == [BaseChange((3, 9), False, "task 1")]
