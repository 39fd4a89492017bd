"""Scores by hand from given masks, the table they go into, the conservative rule, and pieces of work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agglomeration.directions import direction_agreement, end_direction
from agglomeration.errors import AgglomerationError
from agglomeration.pair_box import PairBox
from agglomeration.resegmentation import ObjectFlood, PairFloods
from agglomeration.scoring import (
    FEATURES,
    SCORES,
    PairScores,
    ScoreTable,
    conservative,
    max_depth_nm,
    score_pair,
)
from configs.proto import reconstruction_pb2
from configs.views import ConfigView
from jobs.pieces import CorruptPieceError, save_npz
from volumes.box import Box

SIZE_NM = (20.0, 10.0, 10.0)


def flood(mask: np.ndarray, visited=(), deleted=()) -> ObjectFlood:
    logits = np.where(mask, 0.0, -0.1).astype(np.float32)
    logits[0, 0, 0] = np.nan
    steps = np.array(visited, np.int64).reshape(-1, 3)
    return ObjectFlood(
        (0, 0, 0), logits, steps, np.array(deleted, np.int64), True, 1.0, ((0, 0, 0),), len(steps)
    )


def scored(from_a: ObjectFlood | None, from_b: ObjectFlood | None, labels: np.ndarray, **box) -> PairScores:
    analysis = Box((1, 1, 1), tuple(n - 1 for n in labels.shape))
    ids = np.array([4, 9], np.uint64)
    whole = Box.from_shape(labels.shape)
    pair = PairBox(labels, labels, 1, 2, (3, 3, 6), SIZE_NM, whole, ids, **box)
    facts = {"contact_faces": 12, "distance_nm": 30.5, "size_a": 1000, "size_b": 2000}
    return score_pair(PairFloods(from_a, from_b, analysis, 7), pair, **facts)


def bar(*x: int, shape: tuple[int, int, int] = (7, 7, 13)) -> np.ndarray:
    """A bar of 3 x 3 voxels along x."""
    mask = np.zeros(shape, bool)
    mask[2:5, 2:5, slice(*x)] = True
    return mask


LABELS = (bar(0, 6) * 1 + bar(7, 13) * 2).astype(np.int32)


def test_scores_by_hand() -> None:
    # In the analysis box (x 1 … 11) A has 5 sections of 9 voxels, B too. From A: x 1 … 8; from B: x 4 … 11.
    scores = scored(
        flood(bar(0, 9), [(3, 3, 3), (3, 3, 11), (3, 3, 12)], [4, 2, 100]),
        flood(bar(4, 13), [(0, 3, 3), (1, 1, 1)], [50, 9]),
        LABELS,
    )
    assert scores.iou == 5 / 11
    assert (scores.a_from_a, scores.b_from_a) == (1, 2 / 5)
    assert (scores.a_from_b, scores.b_from_b) == (2 / 5, 1)
    # Steps at x 12 and z 0 are not centred in the analysis box.
    assert (scores.deleted_from_a, scores.deleted_from_b) == (6 / 72, 9 / 72)
    assert (scores.voxels_a, scores.voxels_b) == (45, 45)
    # 2 voxels to the side at 10 nm; 2 sections at 20 nm are farther.
    assert (scores.max_depth_a_nm, scores.flood_depth_b_nm) == (20, 20)
    assert (scores.contact_faces, scores.distance_nm, scores.size_a, scores.size_b) == (12, 30.5, 1000, 2000)
    assert scores.fovs == 7
    # Along x 5 voxels of 10 nm, (25 / 12) * 100 nm²; along z 3 of 20 nm, (9 / 12) * 400 nm², which is more.
    assert scores.direction_agreement == pytest.approx((25 / 36) ** 2)


def test_the_depth_is_measured_inside_the_box_with_the_voxels_edges() -> None:
    mask = np.zeros((9, 9, 9), bool)
    mask[3:6, 2:7, 2:7] = True
    assert max_depth_nm(mask, (20, 10, 10)) == 30
    assert max_depth_nm(mask, (5, 10, 10)) == 10
    assert max_depth_nm(np.zeros((2, 2, 2), bool), (1, 1, 1)) == 0


def test_a_flood_that_was_not_made_has_recovered_nothing() -> None:
    scores = scored(flood(bar(0, 13)), None, LABELS)
    assert (scores.iou, scores.a_from_b, scores.b_from_b) == (0, 0, 0)
    assert (scores.a_from_a, scores.b_from_a) == (1, 1)
    assert (scores.deleted_from_a, scores.deleted_from_b) == (0, 1)
    assert scores.flood_depth_b_nm == 0
    nothing = scored(None, None, LABELS)
    assert (nothing.iou, nothing.deleted_from_a) == (0, 1)


def test_scores_are_plain_numbers() -> None:
    scores = scored(flood(bar(0, 13)), flood(bar(0, 13)), LABELS)
    assert {type(value) for value in scores.to_dict().values()} == {int, float}
    assert set(FEATURES) == set(scores.to_dict()) - {"fovs"}


def agreement(first: np.ndarray, second: np.ndarray, point, size_nm=(10, 10, 10), radius_nm=1000) -> float:
    return direction_agreement(first, second, np.array(point), size_nm, radius_nm)


def rod(shape, axis: int, start: int, stop: int, at: tuple[int, int]) -> np.ndarray:
    """A rod of 3 x 3 voxels along an axis."""
    mask = np.zeros(shape, bool)
    where = [slice(n - 1, n + 2) for n in at]
    where.insert(axis, slice(start, stop))
    mask[tuple(where)] = True
    return mask


def test_what_goes_on_straight_agrees_and_what_turns_does_not() -> None:
    shape = (40, 40, 40)
    one = rod(shape, 2, 0, 20, (20, 20))
    assert agreement(one, rod(shape, 2, 20, 40, (20, 20)), (20, 20, 20)) == pytest.approx(1, abs=0.02)
    # At a right angle, and back the way it came.
    assert agreement(one, rod(shape, 1, 20, 40, (20, 20)), (20, 20, 20)) == pytest.approx(0, abs=0.1)
    back = rod(shape, 2, 0, 20, (20, 23))
    assert agreement(one, back, (20, 21, 20)) == pytest.approx(-1, abs=0.05)


def test_rods_that_touch_in_passing_have_no_direction_there() -> None:
    shape = (40, 40, 41)
    first, second = rod(shape, 2, 0, 41, (20, 18)), rod(shape, 2, 0, 41, (20, 21))
    assert abs(agreement(first, second, (20, 20, 20))) < 0.02


def test_directions_are_those_in_space_and_near_the_point() -> None:
    diagonal = np.zeros((30, 30, 30), bool)
    diagonal[np.arange(15), 15, np.arange(15) + 15] = True
    # One section of 40 nm for each voxel of 10 nm; a branch far away does not count.
    diagonal[29, :, :] = True
    found = end_direction(diagonal, np.array([0, 15, 15]), (40, 10, 10), 500)
    np.testing.assert_allclose(found, [-4 / 17**0.5, 0, -1 / 17**0.5], atol=0.02)


def test_an_object_without_voxels_near_has_no_direction() -> None:
    mask = np.zeros((5, 5, 5), bool)
    assert end_direction(mask, np.zeros(3), (1, 1, 1), 10).tolist() == [0, 0, 0]
    mask[2, 2, 2] = True
    assert end_direction(mask, np.array([2, 2, 2]), (1, 1, 1), 10).tolist() == [0, 0, 0]
    assert end_direction(mask, np.array([2, 2, 4]), (1, 1, 1), 10).tolist() == [0, 0, 1]


def rule(**fields: float) -> ConfigView:
    message = reconstruction_pb2.ReconstructionConfig(name="t", output_dir="o")
    section = ConfigView(message).replace(agglomeration={"conservative_rule": fields}).agglomeration
    return section.conservative_rule


GOOD = PairScores(
    iou=0.81,
    a_from_a=0.61,
    a_from_b=0.61,
    b_from_a=0.61,
    b_from_b=0.61,
    deleted_from_a=0.019,
    deleted_from_b=0.9,
    **dict.fromkeys(SCORES[7:], 1),
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"iou": 0.8}, False),
        *(({name: 0.6}, False) for name in SCORES[1:5]),
        ({"deleted_from_a": 0.02}, False),
        ({"deleted_from_a": 0.5, "deleted_from_b": 0.01}, True),
    ],
)
def test_the_conservative_rule_has_strict_limits(change: dict[str, float], expected: bool) -> None:
    assert bool(conservative(replace(GOOD, **change), rule())) is expected


def test_the_rule_takes_its_limits_from_the_config_and_tables_too() -> None:
    table = ScoreTable.of(*keys(2), [GOOD, replace(GOOD, iou=0.5)])
    assert conservative(table, rule()).tolist() == [True, False]
    assert conservative(table, rule(min_iou=0.4)).tolist() == [True, True]
    assert conservative(table, rule(min_share=0.7)).tolist() == [False, False]
    assert conservative(table, rule(max_deleted_share=0.01)).tolist() == [False, False]


def keys(count: int, first: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ids = np.arange(first, first + count, dtype=np.uint64)
    return ids, ids + np.uint64(2**63), np.stack([ids] * 3, axis=1).astype(np.int64)


def same(first: ScoreTable, second: ScoreTable) -> bool:
    mine, theirs = first.to_arrays(), second.to_arrays()
    return mine.keys() == theirs.keys() and all(
        mine[name].dtype == theirs[name].dtype and np.array_equal(mine[name], theirs[name]) for name in mine
    )


def test_a_table_comes_back_from_its_file(tmp_path: Path) -> None:
    table = ScoreTable.of(*keys(3), [GOOD, replace(GOOD, iou=0.1), replace(GOOD, size_a=2**40)])
    table.save(tmp_path / "scores.npz")
    loaded = ScoreTable.load(tmp_path / "scores.npz")
    assert same(loaded, table)
    assert loaded.row(2) == replace(GOOD, size_a=2**40)
    assert loaded["size_a"].dtype == np.int64 and loaded.id_b.dtype == np.uint64
    assert loaded.features().shape == (3, len(FEATURES))


def test_a_damaged_or_other_file_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "scores.npz"
    save_npz(path, {"id_a": np.zeros(1)})
    with pytest.raises(AgglomerationError, match="lacks .*iou"):
        ScoreTable.load(path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(CorruptPieceError):
        ScoreTable.load(path)


def test_tables_are_joined_and_sorted_whatever_their_order() -> None:
    first, second = ScoreTable.of(*keys(2), [GOOD] * 2), ScoreTable.of(*keys(2, 3), [GOOD] * 2)
    whole = ScoreTable.of(*keys(4), [GOOD] * 4)
    assert same(ScoreTable.concatenate([first, second]), whole)
    assert same(ScoreTable.concatenate([second, first]).sorted(), whole)
    assert len(ScoreTable.concatenate([])) == 0
    assert same(whole.select(whole.id_a > 2), second)
