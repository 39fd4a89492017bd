"""Expected run length equals hand-computed cases, its definition on random forests, and its symmetries."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skeleton_cases import Case, figures_by, line, lines, random_case, slow_figures

from evaluation import EvaluationError
from evaluation.erl import erl_metrics, neuron_table, run_lengths
from evaluation.node_labels import look_up_nodes, node_labels_of
from evaluation.teasar import skeletonise
from volumes import Skeleton, open_volume

SEEDS = st.integers(0, 2**32 - 1)


def measurable(seed: int) -> Case:
    """A random case with some path."""
    rng = np.random.default_rng(seed)
    while True:
        case = random_case(rng)
        if any(skeleton.length_nm for skeleton in case.skeletons.values()):
            return case


# A line of 4 edges is 40 nm long; where nothing else is said two of them make L = 80 and max ERL = 40 nm.
CASES: dict[str, tuple[Case, dict[str, Any]]] = {
    "perfect": (
        lines([1, 1, 1, 1, 1], [2, 2, 2, 2, 2]),
        {"erl_nm": 40, "max_erl_nm": 40, "nerl": 1, "splits": 0, "mergers": 0, "omissions": 0},
    ),
    # Runs of 10 and 20 nm; the 10 nm between them are lost: (100 + 400 + 1600) / 80.
    "one split": (
        lines([1, 1, 3, 3, 3], [2, 2, 2, 2, 2]),
        {"erl_nm": 26.25, "max_erl_nm": 40, "splits": 1, "mergers": 0, "omissions": 0},
    ),
    # Segment 1 holds three nodes of skeleton 1 and two of skeleton 2; left: 10 nm and 20 nm.
    "one merger": (
        lines([1, 1, 1, 3, 3], [1, 1, 2, 2, 2]),
        {"erl_nm": (100 + 400) / 80, "splits": 2, "mergers": 1, "omissions": 0},
    ),
    "two neurons in one supervoxel": (
        lines([7, 7, 7, 7, 7], [7, 7, 7, 7, 7]),
        {"erl_nm": 0, "nerl": 0, "splits": 0, "mergers": 1, "omissions": 0},
    ),
    "three neurons in one supervoxel": (lines([7, 7], [7, 7], [7, 7]), {"erl_nm": 0, "mergers": 2}),
    "a merger by one stray node": (
        lines([1, 1, 1, 1, 1], [1, 2, 2, 2, 2]),
        {"erl_nm": 900 / 80, "splits": 1, "mergers": 1},
    ),
    "omission": (
        lines([1, 1, 0, 1, 1], [2, 2, 2, 2, 2]),
        {"erl_nm": (20**2 + 1600) / 80, "splits": 0, "mergers": 0, "omissions": 2},
    ),
    "nothing segmented": (lines([0, 0, 0], [0, 0]), {"erl_nm": 0, "nerl": 0, "omissions": 3, "mergers": 0}),
    "skeletons of one node": (lines([1], [2, 2, 2], [3]), {"erl_nm": 20, "nerl": 1, "skeletons": 3}),
    "isolated nodes": (
        Case({5: Skeleton([(0, 0, 0), (0, 0, 10), (9, 9, 9)], [(0, 1)])}, {5: [4, 4, 8]}),
        {"erl_nm": 10, "nerl": 1, "splits": 0, "omissions": 0},
    ),
    # Both parts of the forest lie in one segment and are one run of 30 nm.
    "a forest": (
        Case(
            {1: Skeleton([(0, 0, 0), (0, 0, 10), (0, 50, 0), (0, 50, 20)], [(0, 1), (3, 2)])},
            {1: [4, 4, 4, 4]},
        ),
        {"erl_nm": 30, "nerl": 1},
    ),
    # A branch of length 0 into another segment is a split that costs nothing.
    "an edge of length 0": (
        Case({1: Skeleton([(0, 0, 0), (0, 0, 10), (0, 0, 10)], [(0, 1), (1, 2)])}, {1: [4, 4, 5]}),
        {"erl_nm": 10, "nerl": 1, "splits": 1},
    ),
    # Of unequal lengths the longer counts more: (40^2 + 10^2) / 50.
    "unequal skeletons": (lines([1, 1, 1, 1, 1], [2, 2]), {"erl_nm": 34, "max_erl_nm": 34, "nerl": 1}),
    # A segment found on one skeleton in two places is one run of l = 10 + 10 nm.
    "a run in two places": (lines([1, 1, 2, 1, 1]), {"erl_nm": 400 / 40, "splits": 2, "mergers": 0}),
}


@pytest.mark.parametrize(("case", "expected"), CASES.values(), ids=CASES)
def test_hand_computed_cases(case: Case, expected: dict[str, Any]) -> None:
    figures = erl_metrics(case.skeletons, case.labels)
    assert {name: figures[name] for name in expected} == pytest.approx(expected)


def test_a_faultless_segmentation_has_a_normalised_erl_of_exactly_1() -> None:
    rng = np.random.default_rng(2)
    skeletons = {i: Skeleton(rng.normal(0, 99, (7, 3)), [(j, j + 1) for j in range(6)]) for i in range(1, 40)}
    labels = node_labels_of({i: [i] * 7 for i in skeletons})
    assert run_lengths(skeletons, labels).nerl == 1


@pytest.mark.slow
def test_a_thousand_random_forests_have_the_erl_of_the_definition() -> None:
    rng = np.random.default_rng(11)
    tolerances = [{}, {"tolerance_nodes": 2}, {"tolerance_nm": 150.0}]
    measured = mergers = 0
    while measured < 1000:
        case = random_case(rng)
        for tolerance in tolerances if measured % 10 == 0 else tolerances[:1]:
            expected = slow_figures(case, **tolerance)
            if expected["erl_nm"] is None:
                with pytest.raises(EvaluationError, match="no path"):
                    run_lengths(case.skeletons, case.labels)
                continue
            found = run_lengths(case.skeletons, case.labels, **tolerance)
            assert found.erl_nm == pytest.approx(expected["erl_nm"], rel=1e-12)
            assert found.max_erl_nm == pytest.approx(expected["max_erl_nm"], rel=1e-12)
            assert found.merging_segments.tolist() == expected["merging_segments"]
            assert found.mergers == expected["mergers"]
            if not tolerance:
                figures = erl_metrics(case.skeletons, case.labels)
                assert [figures[name] for name in ("splits", "omissions", "mergers")] == [
                    expected[name] for name in ("splits", "omissions", "mergers")
                ]
            mergers += found.mergers
        measured += 1
    assert mergers > 500


def test_the_tolerant_variants_forgive_small_mergers_in_full() -> None:
    # Segment 1 has 4 nodes and 30 nm on skeleton 1, 2 nodes and 10 nm on skeleton 2.
    case = lines([1, 1, 1, 1, 3], [1, 1, 2, 2, 2])
    strict, forgiven = 400 / 80, (900 + 100 + 400) / 80
    for nodes, expected in ((0, strict), (1, strict), (2, forgiven), (3, forgiven)):
        assert figures_by(case, tolerance_nodes=nodes)["erl_nm"] == pytest.approx(expected)
    for path_nm, expected in ((0, strict), (10, strict), (10.1, forgiven), (100, forgiven)):
        assert figures_by(case, tolerance_nm=path_nm)["erl_nm"] == pytest.approx(expected)
    figures = erl_metrics(case.skeletons, case.labels, tolerance_nodes=(1, 2), tolerance_nm=12.5)
    assert {name: value for name, value in figures.items() if "tolerant" in name} == pytest.approx(
        {
            "erl_tolerant_1_nodes_nm": strict,
            "nerl_tolerant_1_nodes": strict / 40,
            "erl_tolerant_2_nodes_nm": forgiven,
            "nerl_tolerant_2_nodes": forgiven / 40,
            "erl_tolerant_12.5_nm": forgiven,
            "nerl_tolerant_12.5_nm": forgiven / 40,
        }
    )


def test_errors_are_counted_per_millimetre_of_path() -> None:
    case = lines([1, 1, 1, 3, 3], [1, 1, 0, 2, 2])
    figures = erl_metrics(case.skeletons, replace(case.labels, outside=3))
    assert figures["path_length_mm"] == pytest.approx(80e-6)
    assert figures["splits_per_mm"] == pytest.approx(1 / 80e-6)
    assert figures["mergers_per_mm"] == pytest.approx(1 / 80e-6)
    assert figures["nodes_outside"] == 3


def test_a_tolerance_of_0_nm_is_the_strict_figure_and_not_given_twice() -> None:
    case = lines([1, 1, 1], [1, 2, 2])
    assert [name for name in erl_metrics(case.skeletons, case.labels, tolerance_nm=0) if "tol" in name] == []
    (row, _) = neuron_table(case.skeletons, case.labels, tolerance_nm=0)
    assert [name for name in row if "tolerant" in name] == []
    for figures in (erl_metrics, neuron_table):
        with pytest.raises(EvaluationError, match="at least 0"):
            figures(case.skeletons, case.labels, tolerance_nm=-1)


# What is in no segment lies between so many segments, less one.
GAPS: dict[str, tuple[Case, int]] = {
    "one segment": (lines([1, 1, 0, 1, 1]), 0),
    "two segments": (lines([1, 1, 0, 2, 2]), 1),
    "an end": (lines([0, 0, 1, 1]), 0),
    "nothing else": (lines([0, 0, 0]), 0),
    "two gaps": (lines([1, 0, 2, 0, 0, 1]), 2),
    "two skeletons": (lines([1, 0, 2], [3, 0, 3], [4, 0, 5]), 2),
    "beside a split": (lines([1, 2, 0, 3, 3]), 1),
    "a fork": (
        Case(
            {1: Skeleton([(0, 0, 0), (0, 0, 9), (0, 9, 0), (9, 0, 0)], [(0, 1), (0, 2), (0, 3)])},
            {1: [0, 1, 2, 3]},
        ),
        2,
    ),
}


@pytest.mark.parametrize(("case", "expected"), GAPS.values(), ids=GAPS)
def test_a_gap_between_segments_is_no_way_out_of_a_split(case: Case, expected: int) -> None:
    figures = erl_metrics(case.skeletons, case.labels)
    assert figures["splits_across_gaps"] == expected
    together = (figures["splits"] + expected) / figures["path_length_mm"]
    assert figures["splits_with_gaps_per_mm"] == pytest.approx(together)
    rows = neuron_table(case.skeletons, case.labels)
    assert sum(row["splits_across_gaps"] for row in rows) == expected


def test_leaving_a_plane_out_changes_nothing_but_the_kind_of_split() -> None:
    cut, gap = (lines([1, 1, 1, middle, 2, 2, 2]) for middle in (1, 0))
    cut, gap = (erl_metrics(case.skeletons, case.labels) for case in (cut, gap))
    assert (cut["splits"], gap["splits"]) == (1, 0)
    assert cut["splits_with_gaps_per_mm"] == gap["splits_with_gaps_per_mm"]


def test_leaving_out_a_stray_bit_amid_a_segment_leaves_out_its_splits() -> None:
    stray, gap = (lines([1, 1, middle, 1, 1]) for middle in (2, 0))
    stray, gap = (erl_metrics(case.skeletons, case.labels) for case in (stray, gap))
    assert stray["splits_with_gaps_per_mm"] == pytest.approx(2 / 40e-6)
    assert gap["splits_with_gaps_per_mm"] == 0


def test_every_neuron_has_its_row() -> None:
    case = lines([1, 1, 1, 3, 3], [1, 0, 4, 2, 2], [6])
    assert neuron_table(case.skeletons, case.labels, tolerance_nm=15) == [
        {
            "id": 1,
            "length_nm": 40,
            "erl_nm": 100 / 40,
            "nerl": 100 / 1600,
            "erl_tolerant_nm": (400 + 100) / 40,
            "nerl_tolerant": 500 / 1600,
            "splits": 1,
            "splits_across_gaps": 0,
            "mergers": 1,
            "omissions": 0,
            "segments": 2,
            "largest_segment": 1,
            "largest_share": 0.5,
            "coverage": 1,
        },
        {
            "id": 2,
            "length_nm": 40,
            "erl_nm": 100 / 40,
            "nerl": 100 / 1600,
            "erl_tolerant_nm": 100 / 40,
            "nerl_tolerant": 100 / 1600,
            "splits": 1,
            "splits_across_gaps": 1,
            "mergers": 1,
            "omissions": 2,
            "segments": 3,
            "largest_segment": 2,
            "largest_share": 0.25,
            "coverage": 0.5,
        },
        {
            "id": 3,
            "length_nm": 0,
            "erl_nm": 0,
            "nerl": 0,
            "erl_tolerant_nm": 0,
            "nerl_tolerant": 0,
            "splits": 0,
            "splits_across_gaps": 0,
            "mergers": 0,
            "omissions": 0,
            "segments": 1,
            "largest_segment": 6,
            "largest_share": 0,
            "coverage": 0,
        },
    ]


@pytest.mark.parametrize(
    ("row", "largest"),
    [([5, 5, 4, 4], 4), ([5, 5, 9, 4, 4, 4], 4), ([5, 0, 4, 0, 4], 4), ([0, 0], 0)],
    ids=["smallest ID", "path", "nodes", "none"],
)
def test_the_largest_segment_has_most_path_then_most_nodes_then_the_smallest_id(
    row: list, largest: int
) -> None:
    case = lines(row)
    assert neuron_table(case.skeletons, case.labels)[0]["largest_segment"] == largest


@given(seed=SEEDS)
def test_the_rows_of_the_neurons_add_up_to_the_whole(seed: int) -> None:
    case = measurable(seed)
    figures, rows = erl_metrics(case.skeletons, case.labels), neuron_table(case.skeletons, case.labels)
    for column, name in (("erl_nm", "erl_nm"), ("erl_tolerant_nm", "erl_tolerant_100_nm")):
        weighted = sum(row["length_nm"] * row[column] for row in rows)
        assert weighted / (figures["path_length_mm"] * 1e6) == pytest.approx(figures[name])
    for name in ("splits", "splits_across_gaps", "omissions"):
        assert sum(row[name] for row in rows) == figures[name]
    assert [row["id"] for row in rows] == sorted(case.skeletons)


@given(seed=SEEDS)
def test_names_directions_numbers_and_places_change_no_figure(seed: int) -> None:
    case = measurable(seed)
    rng = np.random.default_rng(seed)
    original = erl_metrics(case.skeletons, case.labels, tolerance_nodes=(1, 3))
    name_of = {segment: rng.integers(1, 2**63) for row in case.segments.values() for segment in row.tolist()}
    name_of[0] = 0
    changed = Case({}, {})
    for skeleton_id, skeleton in reversed(case.skeletons.items()):
        number = rng.permutation(len(skeleton.nodes_nm))
        nodes_nm, row = np.empty_like(skeleton.nodes_nm), np.zeros(number.size, np.uint64)
        nodes_nm[number] = skeleton.nodes_nm + (1e4, -50, 7)
        row[number] = [name_of[segment] for segment in case.segments[skeleton_id].tolist()]
        edges = rng.permutation(number[skeleton.edges])[:, ::-1]
        changed.skeletons[2000 - skeleton_id] = Skeleton(nodes_nm, edges)
        changed.segments[2000 - skeleton_id] = row
    assert erl_metrics(changed.skeletons, changed.labels, tolerance_nodes=(1, 3)) == pytest.approx(original)


@given(seed=SEEDS)
def test_cutting_edges_inside_a_segment_changes_no_run(seed: int) -> None:
    case = measurable(seed)
    cut = Case({}, {})
    for skeleton_id, skeleton in case.skeletons.items():
        nodes, edges, row = skeleton.nodes_nm.tolist(), [], list(case.segments[skeleton_id])
        for first, second in skeleton.edges.tolist():
            if row[first] != row[second]:
                edges.append((first, second))
                continue
            edges += [(first, len(nodes)), (len(nodes), second)]
            nodes.append((0.3 * skeleton.nodes_nm[first] + 0.7 * skeleton.nodes_nm[second]).tolist())
            row.append(row[first])
        cut.skeletons[skeleton_id] = Skeleton(nodes, edges)
        cut.segments[skeleton_id] = np.array(row, np.uint64)
    for tolerance in ({}, {"tolerance_nm": 120.0}):
        assert figures_by(cut, **tolerance) == pytest.approx(figures_by(case, **tolerance))


@given(seed=SEEDS)
def test_cutting_a_segment_in_two_never_lengthens_forgiven_runs(seed: int) -> None:
    case = measurable(seed)
    rng = np.random.default_rng(seed)
    everything = {"tolerance_nodes": 1000}
    halves = {
        i: np.where((row > 0) & (rng.random(len(row)) < 0.5), row + np.uint64(1), row)
        for i, row in case.segments.items()
    }
    cut = figures_by(Case(case.skeletons, halves), **everything)["erl_nm"]
    assert cut <= figures_by(case, **everything)["erl_nm"] * (1 + 1e-12)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (Case({}, {}), "no skeletons"),
        (lines([1], [2]), "the 2 skeletons have no path"),
        (Case({3: line(2)}, {3: [1]}), "skeleton 3 has 2 nodes, but 1 node labels.*again"),
        (Case({3: line(2)}, {4: [1, 1]}), "skeleton 3 has 2 nodes, but 0 node labels"),
        (Case({3: line(2)}, {3: [1, 1], 4: [1]}), "skeleton 4 has 0 nodes, but 1 node labels"),
    ],
    ids=["none", "no path", "fewer labels", "other skeleton", "one more"],
)
def test_what_has_no_run_length_is_refused(case: Case, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        erl_metrics(case.skeletons, case.labels)


@pytest.mark.parametrize("tolerance", [{"tolerance_nodes": -1}, {"tolerance_nm": -0.5}])
def test_a_tolerance_below_0_is_refused(tolerance: dict[str, Any]) -> None:
    case = lines([1, 1])
    with pytest.raises(EvaluationError, match="at least 0"):
        run_lengths(case.skeletons, case.labels, **tolerance)


@pytest.mark.slow
def test_the_published_segmentation_of_real_tissue_has_the_run_length_measured_before(
    shared_data: Path,
) -> None:
    pytest.importorskip("kimimaro")
    data = shared_data / "data"
    with h5py.File(data / "fib25_training2_dev.h5") as file:
        skeletons = skeletonise(file["labels"][:], (10, 10, 10))
    with open_volume(f"{data / 'fib25_training2_dev.h5'}:labels") as truth:
        assert run_lengths(skeletons, look_up_nodes(truth, skeletons)).nerl == 1
    published = f"{data / 'fib25_training2_google_ffn_dev.h5'}:segmentation"
    with open_volume(published, voxel_size_nm=(10, 10, 10)) as segmentation:
        node_labels = look_up_nodes(segmentation, skeletons)
    figures = erl_metrics(skeletons, node_labels, tolerance_nm=100)
    assert (figures["skeletons"], figures["nodes_outside"]) == (156, 0)
    assert figures["path_length_mm"] == pytest.approx(0.2499, abs=1e-4)
    assert figures["nerl"] == pytest.approx(0.03896, abs=2e-5)
    assert figures["nerl_tolerant_100_nm"] == pytest.approx(0.40966, abs=2e-5)
    assert (figures["splits"], figures["mergers"]) == (164, 110)
