"""A volume cut into overlapping boxes comes back whole, in whatever order boxes and overlaps are seen."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.reconciliation import (
    GlobalIds,
    OverlapPairs,
    agreeing,
    drop_small,
    global_ids,
    object_voxels,
    overlap_pairs,
    relabel,
)
from volumes import Box, VolumeError

Edges = list[tuple[int, int, np.ndarray]]


def cut(shape: tuple[int, int, int], edge: int, overlap: int) -> list[tuple[Box, Box]]:
    """Cores that tile a volume, and each grown by half an overlap on every side."""
    whole = Box.from_shape(shape)
    cores = [
        Box.from_shape((edge,) * 3, start).intersect(whole)
        for start in product(*(range(0, length, edge) for length in shape))
    ]
    return [(core, core.grow(overlap // 2).intersect(whole)) for core in cores]


def renumbered(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The same objects under other IDs."""
    kinds, index = np.unique(labels, return_inverse=True)
    ids = random.choice(np.arange(1, 1000), kinds.size, replace=False).astype(np.uint32)
    return np.where(kinds == 0, 0, ids)[index].reshape(labels.shape)


def links(boxes: list[Box], local: list[np.ndarray], min_share: float) -> Edges:
    edges = []
    for i, j in combinations(range(len(boxes)), 2):
        shared = boxes[i].intersect(boxes[j])
        if not shared.is_empty:
            parts = [local[n][shared.slices(boxes[n].start)] for n in (i, j)]
            edges.append((i, j, agreeing(overlap_pairs(*parts), min_share, 1)))
    return edges


def same_partition(first: np.ndarray, second: np.ndarray) -> bool:
    pairs = set(zip(first.ravel().tolist(), second.ravel().tolist(), strict=True))
    return len(pairs) == len({p for p, _ in pairs}) == len({q for _, q in pairs})


def slabs_of_objects(shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """Columns along z that also touch diagonally, with gaps: every object crosses boxes in one piece."""
    random = np.random.default_rng(seed)
    columns = random.permutation(np.arange(shape[1] * shape[2])).reshape(shape[1:])
    return np.broadcast_to(np.where(columns % 4 == 0, 0, columns), shape).astype(np.uint32)


@given(st.integers(0, 999), st.integers(4, 9), st.sampled_from([2, 4]))
def test_objects_cut_by_boxes_become_whole_again(seed: int, edge: int, overlap: int):
    random = np.random.default_rng(seed)
    truth = slabs_of_objects((21, 7, 8), seed)
    plan = cut(truth.shape, edge, overlap)
    boxes = [box for _, box in plan]
    local = [renumbered(truth[box.slices()], random) for box in boxes]
    ids = global_ids([object_voxels(labels)[0] for labels in local], links(boxes, local, 0.5))
    out = np.zeros(truth.shape, np.uint64)
    for n, (core, box) in enumerate(plan):
        out[core.slices()] = relabel(local[n][core.slices(box.start)], *ids.lookup(n))
    assert same_partition(out, truth)
    np.testing.assert_array_equal(out == 0, truth == 0)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[np.ndarray], Edges]:
    """Objects of a few subvolumes and links between them."""
    objects = [
        np.array(sorted(draw(st.sets(st.integers(1, 30), max_size=8))), np.uint64)
        for _ in range(draw(st.integers(1, 5)))
    ]
    edges = []
    for i, j in product(range(len(objects)), repeat=2):
        if i != j and objects[i].size and objects[j].size:
            chosen = draw(
                st.lists(st.tuples(st.sampled_from(objects[i]), st.sampled_from(objects[j])), max_size=2)
            )
            edges.append((i, j, np.array(chosen, np.uint64).reshape(-1, 2)))
    return objects, edges


@given(graphs(), st.randoms(use_true_random=False))
def test_the_order_and_direction_of_overlaps_do_not_matter(graph, random):
    objects, edges = graph
    expected = global_ids(objects, edges)
    shuffled = [
        (j, i, pairs[::-1, ::-1]) if random.random() < 0.5 else (i, j, pairs) for i, j, pairs in edges
    ]
    random.shuffle(shuffled)
    np.testing.assert_array_equal(global_ids(objects, iter(shuffled)).global_ids, expected.global_ids)


@given(graphs())
def test_linked_objects_are_one_and_numbered_by_their_smallest_member(graph):
    """Against a flood through the graph."""
    objects, edges = graph
    neighbours = defaultdict(set)
    for i, j, pairs in edges:
        for p, q in pairs.tolist():
            neighbours[i, p].add((j, q))
            neighbours[j, q].add((i, p))
    expected: dict[tuple[int, int], int] = {}
    number = 0
    for node in [(i, p) for i, ids in enumerate(objects) for p in ids.tolist()]:
        if node in expected:
            continue
        number += 1
        waiting = [node]
        while waiting:
            here = waiting.pop()
            if here not in expected:
                expected[here] = number
                waiting.extend(neighbours[here])
    found = global_ids(objects, edges)
    for i, ids in enumerate(objects):
        local, of_volume = found.lookup(i)
        np.testing.assert_array_equal(local, ids)
        assert of_volume.tolist() == [expected[i, p] for p in ids.tolist()]


def test_the_ids_do_not_depend_on_who_was_segmented_first():
    """Subvolumes are compared as they become ready; their positions in the plan count."""
    truth = slabs_of_objects((16, 5, 5), 3)
    boxes = [box for _, box in cut(truth.shape, 5, 2)]
    local = [renumbered(truth[box.slices()], np.random.default_rng(n)) for n, box in enumerate(boxes)]
    objects = [object_voxels(labels)[0] for labels in local]
    edges = links(boxes, local, 0.5)
    expected = global_ids(objects, edges)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(edges))
        found = global_ids(objects, (edges[n] for n in order))
        np.testing.assert_array_equal(found.global_ids, expected.global_ids)


@given(st.integers(0, 999))
def test_pairs_are_counted_as_a_counter_does(seed: int):
    random = np.random.default_rng(seed)
    first = random.integers(0, 4, (3, 4, 5)).astype(np.uint8)
    second = random.integers(0, 4, (3, 4, 5)).astype(np.int64)
    of_first, of_second = Counter(first.ravel().tolist()), Counter(second.ravel().tolist())
    both = Counter(zip(first.ravel().tolist(), second.ravel().tolist(), strict=True))
    expected = [(p, q, n, of_first[p], of_second[q]) for (p, q), n in sorted(both.items()) if p > 0 and q > 0]
    pairs = overlap_pairs(first, second)
    columns = (pairs.first_ids, pairs.second_ids, pairs.shared, pairs.first_voxels, pairs.second_voxels)
    assert [tuple(row) for row in np.stack(columns, axis=1).tolist()] == expected


@pytest.mark.parametrize(
    ("shared", "first", "second", "min_share", "min_voxels", "agrees"),
    [
        (10, 20, 20, 0.5, 10, True),
        (10, 21, 20, 0.5, 10, False),
        (10, 20, 21, 0.5, 10, False),
        (10, 20, 20, 0.5, 11, False),
        (55, 100, 55, 0.55, 1, True),
        (54, 100, 54, 0.55, 1, False),
        (10, 10, 10, 1.0, 1, True),
        (9, 10, 9, 1.0, 1, False),
    ],
)
def test_both_limits_are_inclusive_and_both_objects_count(
    shared, first, second, min_share, min_voxels, agrees
):
    pairs = OverlapPairs(*(np.array([value]) for value in (3, 4, shared, first, second)))
    assert agreeing(pairs, min_share, min_voxels).tolist() == ([[3, 4]] if agrees else [])


def test_at_half_an_object_is_joined_with_both_halves():
    first = np.array([[[1, 1, 1, 1, 2, 2]]])
    second = np.array([[[5, 5, 6, 6, 0, 9]]])
    assert agreeing(overlap_pairs(first, second), 0.5, 1).tolist() == [[1, 5], [1, 6], [2, 9]]
    assert agreeing(overlap_pairs(first, second), 0.51, 1).tolist() == []


def test_what_is_small_in_the_whole_volume_is_dropped():
    ids = GlobalIds(np.array([0, 2, 4]), np.array([1, 2, 1, 2], np.uint64), np.array([1, 2, 2, 3], np.uint64))
    kept = drop_small(ids, np.array([4, 3, 2, 1]), 4)
    assert kept.global_ids.tolist() == [1, 2, 2, 0]
    assert kept.lookup(1)[1].tolist() == [2, 0]


@pytest.mark.parametrize("scale", [1, 10**9], ids=["dense", "sparse"])
@pytest.mark.parametrize("dtype", ["uint64", "int64"])
def test_labels_are_replaced_in_views_too(scale: int, dtype: str):
    labels = (np.random.default_rng(0).integers(0, 9, (6, 7, 8)) * scale).astype(dtype)
    local = np.arange(1, 9, dtype=np.uint64) * np.uint64(scale)
    of_volume = np.arange(8, 0, -1).astype(np.uint64) << np.uint64(60)
    core = labels[1:-1, ::2, 2:7]
    found = relabel(core, local, of_volume)
    table = {0: 0, **dict(zip(local.tolist(), of_volume.tolist(), strict=True))}
    assert found.dtype == np.uint64
    assert found.ravel().tolist() == [table[label] for label in core.ravel().tolist()]


def test_nothing_is_no_error():
    ids = global_ids([np.zeros(0, np.uint64)] * 2, [(0, 1, np.zeros((0, 2), np.uint64))])
    assert ids.lookup(1)[0].size == 0
    assert not relabel(np.zeros((2, 2, 2), np.uint8), *ids.lookup(0)).any()
    assert drop_small(ids, np.zeros(0, np.int64), 5).global_ids.size == 0
    assert global_ids([], []).global_ids.size == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: relabel(np.full((1, 1, 1), 7), np.array([6, 8]), np.array([1, 2])),
            "object 7 has no global ID",
        ),
        (
            lambda: relabel(np.full((1, 1, 1), 10**12), np.array([6, 10**11]), np.array([1, 2])),
            "object 1000000000000 has no",
        ),
        (
            lambda: global_ids([np.array([1, 3]), np.array([2])], [(0, 1, np.array([[2, 2]]))]),
            "object 2 of subvolume 0 is linked but not among its objects",
        ),
        (lambda: global_ids([np.array([3, 1])], []), "do not ascend"),
        (lambda: global_ids([np.array([0, 1])], []), "do not ascend from above 0"),
        (lambda: overlap_pairs(np.ones((1, 1, 1), int), np.ones((1, 1, 2), int)), "do not cover the same"),
        (lambda: object_voxels(np.ones((1, 1, 1))), "labels are whole numbers"),
    ],
)
def test_what_does_not_fit_together_says_why(make, message: str):
    with pytest.raises(VolumeError, match=message):
        make()
