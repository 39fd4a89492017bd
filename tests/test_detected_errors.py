"""Splits, mergers and omissions are found where they lie, with what they concern and what is at stake."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skeleton_cases import Case, lines, random_case

from evaluation import EvaluationError, _contacts
from evaluation.detected_errors import DetectedError, detect_errors, read_errors, write_errors
from evaluation.erl import erl_metrics, run_lengths
from volumes import Skeleton

SEEDS = st.integers(0, 2**32 - 1)


def errors_of(case: Case, **tolerance: float) -> list[DetectedError]:
    return detect_errors(case.skeletons, case.labels, **tolerance)


def test_a_faultless_segmentation_has_no_errors() -> None:
    assert errors_of(lines([1, 1, 1], [2, 2], [3])) == []


def test_a_split_lies_in_the_middle_of_its_edge_and_costs_the_smaller_side() -> None:
    assert errors_of(lines([5, 5, 5, 5, 3, 3, 3])) == [
        DetectedError("split", (0, 0, 35), (3, 5), (1,), 20, (20, 30)),
    ]


def test_edges_between_the_same_two_segments_are_one_split_in_the_longest_piece() -> None:
    # Segment 3 has a piece of one node and one of 10 nm, which the last edge leads to.
    assert errors_of(lines([5, 5, 5, 3, 5, 5, 3, 3])) == [
        DetectedError("split", (0, 0, 55), (3, 5), (1,), 10, (10, 30), 3),
    ]
    # Of equally long pieces that with the smallest position counts.
    assert errors_of(lines([5, 3, 5])) == [
        DetectedError("split", (0, 0, 5), (3, 5), (1,), 0, (0, 0), 2),
    ]


def test_a_merger_lies_between_the_closest_nodes_and_costs_the_lesser_of_both_paths() -> None:
    skeletons = {
        8: Skeleton([(0, 0, 0), (0, 0, 10), (0, 0, 40)], [(0, 1), (1, 2)]),
        4: Skeleton([(0, 30, 90), (0, 30, 14), (0, 70, 14)], [(0, 1), (1, 2)]),
    }
    merger, split = errors_of(Case(skeletons, {8: [1, 1, 1], 4: [9, 1, 1]}))
    assert merger == DetectedError("merger", (0, 15, 12), (1,), (4, 8), 40, (40, 40))
    assert split == DetectedError("split", (0, 30, 52), (1, 9), (4,), 0, (40, 0))
    (merger,) = errors_of(lines([1, 1, 1], [1, 1], apart_nm=20))
    assert (merger.point_nm[1], merger.length_nm, merger.lengths_nm) == (10, 10, (20, 10))


def test_a_row_of_skeletons_in_one_segment_is_merged_from_neighbour_to_neighbour() -> None:
    # Skeletons 1, 2, 3 and 4 lie 100 nm apart; the longest are the outer ones.
    found = errors_of(lines([1, 1, 1, 1], [1, 1], [1], [1, 1, 1, 1, 1]))
    assert [(error.skeletons, error.point_nm[:2], error.length_nm) for error in found] == [
        ((1, 2), (0, 50), 10),
        ((2, 3), (0, 150), 0),
        ((3, 4), (0, 250), 0),
    ]


def test_each_merger_says_whether_it_counts_under_the_tolerance() -> None:
    # Skeleton 2 lies between the others with fewer nodes and less path than both.
    case = lines([1, 1, 1, 1], [1, 1], [1, 1, 1])
    said = [(error.skeletons, error.point_nm[1], error.tolerant) for error in errors_of(case)]
    assert sorted(said) == [((1, 2), 50, True), ((2, 3), 150, True)]
    for tolerance in ({"tolerance_nodes": 2}, {"tolerance_nm": 20.0}):
        found = errors_of(case, **tolerance)
        assert [(error.skeletons, error.tolerant, error.lengths_nm) for error in found] == [
            ((1, 3), True, (30, 20)),
            ((1, 2), False, (30, 10)),
        ]
        assert [error.point_nm[1] for error in found] == [100, 50]
    assert [error.tolerant for error in errors_of(case, tolerance_nm=25)] == [False, False]


@given(seed=SEEDS)
def test_mergers_that_count_are_as_many_as_those_of_the_run_lengths(seed: int) -> None:
    case = random_case(np.random.default_rng(seed), skeletons=9)
    if not any(skeleton.length_nm for skeleton in case.skeletons.values()):
        return
    for tolerance in ({}, {"tolerance_nodes": 2}, {"tolerance_nm": 150.0}):
        mergers = [error for error in errors_of(case, **tolerance) if error.kind == "merger"]
        expected = run_lengths(case.skeletons, case.labels, **tolerance).mergers
        assert sum(error.tolerant for error in mergers) == expected
        assert len(mergers) == run_lengths(case.skeletons, case.labels).mergers
        assert all(error.length_nm == min(error.lengths_nm) for error in mergers)


@given(seed=SEEDS)
def test_the_mergers_of_a_segment_have_no_more_at_stake_than_the_path_in_it(seed: int) -> None:
    case = random_case(np.random.default_rng(seed), skeletons=9, segments=3)
    path_nm: Counter[int] = Counter()
    at_stake_nm: Counter[int] = Counter()
    for skeleton_id, skeleton in case.skeletons.items():
        ends = np.asarray(case.segments[skeleton_id])[skeleton.edges]
        for (first, second), edge_nm in zip(ends.tolist(), skeleton.edge_lengths_nm.tolist(), strict=True):
            path_nm[first] += edge_nm if first == second else 0
    for error in errors_of(case, tolerance_nm=100):
        if error.kind == "merger":
            at_stake_nm[error.segments[0]] += error.length_nm
    assert all(at_stake_nm[segment] <= path_nm[segment] + 1e-6 for segment in at_stake_nm)


def test_a_run_of_omitted_edges_is_one_record_at_its_middle() -> None:
    assert errors_of(lines([5, 5, 0, 0, 0, 5])) == [
        DetectedError("omission", (0, 0, 30), (5,), (1,), 40, count=4)
    ]


def test_a_split_across_a_gap_costs_the_smaller_side_beside_the_omission() -> None:
    assert errors_of(lines([7, 7, 7, 7, 0, 0, 0, 5, 5, 5])) == [
        DetectedError("omission", (0, 0, 50), (5, 7), (1,), 40, count=4),
        DetectedError("split", (0, 0, 50), (5, 7), (1,), 20, (20, 30), across_gap=True),
    ]


def test_gaps_between_the_same_two_segments_are_one_split_at_the_shortest() -> None:
    splits = [error for error in errors_of(lines([7, 7, 0, 0, 5, 0, 7, 5, 5])) if error.kind == "split"]
    assert splits == [
        DetectedError("split", (0, 0, 65), (5, 7), (1,), 10, (10, 10)),
        DetectedError("split", (0, 0, 50), (5, 7), (1,), 10, (10, 10), 2, across_gap=True),
    ]


def test_of_the_segments_around_a_gap_the_longest_is_split_from_each_other() -> None:
    # Arms along x, y and z from a fork in no segment: 20, 30 and 10 nm of segments 9, 8 and 7.
    nodes = [(0, 0, 0), (0, 0, 10), (0, 0, 30), (0, 10, 0), (0, 40, 0), (10, 0, 0), (20, 0, 0)]
    skeleton = Skeleton(nodes, [(0, 1), (1, 2), (0, 3), (3, 4), (0, 5), (5, 6)])
    omission, *splits = errors_of(Case({1: skeleton}, {1: [0, 9, 9, 8, 8, 7, 7]}))
    assert (omission.kind, omission.segments, omission.length_nm) == ("omission", (7, 8, 9), 30)
    assert [(each.segments, each.length_nm, each.lengths_nm) for each in splits] == [
        ((8, 9), 20, (30, 20)),
        ((7, 8), 10, (10, 30)),
    ]
    assert all(each.across_gap and each.point_nm == omission.point_nm for each in splits)


def test_omissions_at_an_end_between_islands_and_of_a_whole_skeleton() -> None:
    assert errors_of(lines([0, 0, 6, 0, 6], [0, 0, 0, 0])) == [
        DetectedError("omission", (0, 100, 15), (), (2,), 30, count=3),
        DetectedError("omission", (0, 0, 10), (6,), (1,), 20, count=2),
        DetectedError("omission", (0, 0, 30), (6,), (1,), 20, count=2),
    ]


def test_a_branched_omission_lies_halfway_along_its_longest_path() -> None:
    # From a fork at x = 0: 10 nm into segment 1, 30 nm into segment 2 and 90 nm into none.
    nodes = [(0, 0, 0), (0, 10, 0), (0, -30, 0), (0, 0, 40), (0, 0, 90)]
    case = Case({1: Skeleton(nodes, [(0, 1), (2, 0), (0, 3), (4, 3)])}, {1: [0, 1, 2, 0, 0]})
    assert errors_of(case) == [
        DetectedError("omission", (0, 0, 30), (1, 2), (1,), 130, count=4),
        DetectedError("split", (0, 0, 30), (1, 2), (1,), 0, (0, 0), across_gap=True),
    ]


def test_a_node_in_no_segment_without_edges_is_no_omission() -> None:
    assert errors_of(lines([0], [1, 1])) == []


@given(seed=SEEDS)
def test_records_agree_with_the_counted_figures(seed: int) -> None:
    case = random_case(np.random.default_rng(seed))
    if not any(skeleton.length_nm for skeleton in case.skeletons.values()):
        return
    figures, found = erl_metrics(case.skeletons, case.labels), errors_of(case)
    counts: Counter[str] = Counter()
    for error in found:
        counts["across" if error.across_gap else error.kind] += error.count
    names = {
        **{"split": "splits", "across": "splits_across_gaps"},
        **{"merger": "mergers", "omission": "omissions"},
    }
    assert {kind: counts[kind] for kind in names} == {kind: figures[name] for kind, name in names.items()}
    hidden = sum(max(len(error.segments) - 1, 0) for error in found if error.kind == "omission")
    assert hidden == figures["splits_across_gaps"]
    splits = [error for error in found if error.kind == "split"]
    pairs = [(error.skeletons, error.segments, error.across_gap) for error in splits]
    assert len(set(pairs)) == len(pairs)
    assert all(error.length_nm == min(error.lengths_nm) for error in splits)
    omitted = {error.point_nm: error.segments for error in found if error.kind == "omission"}
    for error in splits:
        assert not error.across_gap or set(error.segments) <= set(omitted[error.point_nm])
    omitted_nm = sum(
        skeleton.edge_lengths_nm[(case.segments[i][skeleton.edges] == 0).any(axis=1)].sum()
        for i, skeleton in case.skeletons.items()
    )
    assert sum(error.length_nm for error in found if error.kind == "omission") == pytest.approx(omitted_nm)


@given(seed=SEEDS)
def test_records_do_not_depend_on_the_order_of_skeletons_nodes_and_edges(seed: int) -> None:
    rng = np.random.default_rng(seed)
    case = random_case(rng)
    changed = Case({}, {})
    for skeleton_id, skeleton in reversed(case.skeletons.items()):
        number = rng.permutation(len(skeleton.nodes_nm))
        order = np.argsort(number)
        edges = rng.permutation(number[skeleton.edges])[:, ::-1]
        changed.skeletons[skeleton_id] = Skeleton(skeleton.nodes_nm[order], edges)
        changed.segments[skeleton_id] = case.segments[skeleton_id][order]
    for one, other in zip(errors_of(case), errors_of(changed), strict=True):
        assert (one.kind, one.segments, one.skeletons) == (other.kind, other.segments, other.skeletons)
        said = (one.count, one.tolerant, one.across_gap)
        assert said == (other.count, other.tolerant, other.across_gap)
        assert one.lengths_nm == pytest.approx(other.lengths_nm, abs=1e-6)
        assert one.point_nm == pytest.approx(other.point_nm, abs=1e-6)
        assert one.length_nm == pytest.approx(other.length_nm, abs=1e-6)


def slow_gaps(skeleton: Skeleton, row: np.ndarray) -> list[tuple[float, list[float]]]:
    """Length and middle of each gap, from the distances between all pairs of nodes of each."""
    edges = [edge for edge in skeleton.edges.tolist() if 0 in row[edge]]
    gaps: list[list[list[int]]] = []
    for edge in edges:
        joined = [gap for gap in gaps if any(row[end] == 0 and end in other for other in gap for end in edge)]
        gaps = [gap for gap in gaps if gap not in joined] + [
            [edge, *(other for gap in joined for other in gap)]
        ]
    return sorted((_length(skeleton, gap), _middle(skeleton, gap, row)) for gap in gaps)


def _length(skeleton: Skeleton, gap: list[list[int]]) -> float:
    return float(sum(np.linalg.norm(np.subtract(*skeleton.nodes_nm[edge])) for edge in gap))


def _middle(skeleton: Skeleton, gap: list[list[int]], row: np.ndarray) -> list[float]:
    stack = [(0.0, [node]) for edge in gap for node in edge]
    best = stack[0]
    while stack:
        done, path = stack.pop()
        best = max(best, (done, path), key=lambda each: each[0])
        if len(path) > 1 and row[path[-1]] != 0:
            continue
        for edge in gap:
            if path[-1] in edge and (len(path) < 2 or path[-2] not in edge):
                other = edge[0] if edge[1] == path[-1] else edge[1]
                stack.append((done + _length(skeleton, [edge]), [*path, other]))
    left = best[0] / 2
    for first, second in zip(best[1], best[1][1:], strict=False):
        step = _length(skeleton, [[first, second]])
        if left <= step:
            share = left / step if step else 0.0
            return ((1 - share) * skeleton.nodes_nm[first] + share * skeleton.nodes_nm[second]).tolist()
        left -= step
    return skeleton.nodes_nm[best[1][0]].tolist()


@given(seed=SEEDS)
def test_gaps_of_random_forests_equal_a_slow_search(seed: int) -> None:
    rng = np.random.default_rng(seed)
    case = random_case(rng, skeletons=1, nodes=14)
    ((skeleton_id, skeleton),) = case.skeletons.items()
    row = np.where(rng.random(len(skeleton.nodes_nm)) < 0.6, 0, case.segments[skeleton_id])
    found = errors_of(Case(case.skeletons, {skeleton_id: row}))
    gaps = sorted((error.length_nm, list(error.point_nm)) for error in found if error.kind == "omission")
    expected = slow_gaps(skeleton, row)
    assert [length for length, _ in gaps] == pytest.approx([length for length, _ in expected])
    for (_, one), (_, other) in zip(gaps, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-6)


@given(seed=SEEDS)
def test_contacts_join_all_sets_by_the_least_distances(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sets = [rng.normal(rng.normal(0, 9, 3), 1, (rng.integers(1, 6), 3)) for _ in range(rng.integers(2, 12))]
    distances = {
        (i, j): np.linalg.norm(one[:, None] - sets[j][None], axis=2).min()
        for i, one in enumerate(sets)
        for j in range(i + 1, len(sets))
    }
    joined = [{i} for i in range(len(sets))]
    expected = []
    for i, j in sorted(distances, key=distances.__getitem__):
        groups = [group for group in joined if i in group or j in group]
        if len(groups) == 2:
            joined = [group for group in joined if group not in groups] + [groups[0] | groups[1]]
            expected.append((i, j))
    found = _contacts.contacts(sets)
    assert [(contact.first, contact.second) for contact in found] == sorted(expected)
    for contact in found:
        apart = np.linalg.norm(contact.first_nm - contact.second_nm)
        assert apart == pytest.approx(distances[contact.first, contact.second])
        assert contact.first_nm in sets[contact.first] and contact.second_nm in sets[contact.second]


def test_sets_that_touch_or_coincide_are_joined_without_a_ring() -> None:
    points = np.zeros((3, 3))
    assert len(_contacts.contacts([points] * 9)) == 8
    corners = [np.array([corner]) for corner in ((0, 0, 0), (0, 0, 1.0), (0, 1.0, 0), (0, 1.0, 1.0))]
    assert len(_contacts.contacts(corners)) == 3


@pytest.mark.parametrize("apart", [True, False], ids=["two sets", "all sets"])
def test_many_points_at_one_position_are_one_point(apart: bool) -> None:
    # Sought one by one in each other, these took hours.
    heap = np.zeros((200_000, 3))
    if apart:
        (contact,) = _contacts.contacts([heap, heap + (0, 0, 5)])
        assert (contact.first_nm.tolist(), contact.second_nm.tolist()) == ([0, 0, 0], [0, 0, 5])
    else:
        singles = [np.zeros((1, 3)) for _ in range(3000)]
        assert len(_contacts.contacts([heap, *singles, heap + (0, 0, 5)])) == 3001


def test_sets_that_are_joined_already_get_no_contact() -> None:
    sets = [np.array([(0, 0, x)], float) for x in (0, 1, 10, 12)]
    found = _contacts.contacts(sets, [(0, 3)])
    assert [(contact.first, contact.second) for contact in found] == [(0, 1), (2, 3)]
    assert _contacts.contacts(sets[:2], [(0, 1)]) == []
    assert _contacts.contacts([]) == []


def test_of_huge_sets_the_closest_points_are_still_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_contacts, "MOST_POINTS", 20)
    rng = np.random.default_rng(4)
    sets = [rng.uniform(0, 10, (200, 3)) + (0, 0, 100 * i) for i in range(5)]
    found = _contacts.contacts(sets)
    assert [(contact.first, contact.second) for contact in found] == [(0, 1), (1, 2), (2, 3), (3, 4)]
    for contact in found:
        one, other = sets[contact.first], sets[contact.second]
        closest = np.linalg.norm(one[:, None] - other[None], axis=2).min()
        assert np.linalg.norm(contact.first_nm - contact.second_nm) == pytest.approx(closest)


def test_errors_survive_a_file_exactly(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    found = [error for _ in range(20) for error in errors_of(random_case(rng), tolerance_nodes=2)]
    assert {error.tolerant for error in found} == {error.across_gap for error in found} == {True, False}
    found.append(DetectedError("omission", (0.1, -1e-300, 1e9), (), (2**64 - 1,), 0.0))
    write_errors(tmp_path / "new" / "errors.jsonl", found)
    assert read_errors(tmp_path / "new" / "errors.jsonl") == found
    first = json.loads((tmp_path / "new" / "errors.jsonl").read_text().splitlines()[0])
    assert list(first) == [
        *("kind", "point_nm", "segments", "skeletons", "length_nm", "lengths_nm"),
        *("count", "tolerant", "across_gap"),
    ]
    assert all(type(each) is str for each in first["segments"] + first["skeletons"])
    write_errors(tmp_path / "none.jsonl", [])
    assert read_errors(tmp_path / "none.jsonl") == []


def test_files_from_before_there_were_counts_are_read(tmp_path: Path) -> None:
    (tmp_path / "old.jsonl").write_text(f"{{{OLD}}}\n")
    assert read_errors(tmp_path / "old.jsonl") == [DetectedError("split", (0, 0, 0), (1, 2), (1,), 1.0)]


OLD = '"kind": "split", "point_nm": [0, 0, 0], "segments": [1, 2], "skeletons": [1], "length_nm": 1'


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "3",
        '{"kind": "split"}',
        '{"kind": "slip", "point_nm": [0, 0, 0], "segments": [1, 2], "skeletons": [1], "length_nm": 1}',
        '{"kind": "split", "point_nm": [0, 0], "segments": [1, 2], "skeletons": [1], "length_nm": 1}',
        '{"kind": "split", "point_nm": [0, 0, NaN], "segments": [1, 2], "skeletons": [1], "length_nm": 1}',
        '{"kind": "split", "point_nm": [0, 0, 0], "segments": [1, 2.5], "skeletons": [1], "length_nm": 1}',
        f'{{{OLD}, "lengths_nm": [1, NaN]}}',
        f'{{{OLD}, "lengths_nm": 1}}',
        f'{{{OLD}, "count": 0}}',
        f'{{{OLD}, "tolerant": 1}}',
        f'{{{OLD}, "across_gap": 1}}',
    ],
    ids=[
        *(
            "no JSON",
            "number",
            "fields",
            "kind",
            "two axes",
            "NaN",
            "ID",
            "path",
            "paths",
            "count",
            "tolerant",
        ),
        "across",
    ],
)
def test_a_line_that_is_no_error_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "errors.jsonl"
    write_errors(path, errors_of(lines([1, 2])))
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(EvaluationError, match=r"errors.jsonl:2: not an object with kind \(split, merger"):
        read_errors(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="cannot read the errors.*run evaluate again"):
        read_errors(tmp_path / "none.jsonl")
