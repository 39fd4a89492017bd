"""Pairs and ends of a project flooded in pieces: what is read, what is written, what a rerun keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from tiny_project import WIDE, lit_bars, save_threshold_network, write_config, write_volumes

from agglomeration.candidate_pairs import CandidatePairs
from agglomeration.decision_points import find_decision_points
from agglomeration.end_table import EndTable
from agglomeration.errors import AgglomerationError
from agglomeration.pair_box import read_pair_box
from agglomeration.pair_pieces import describe, flood_ends, opened, resegmentation_config, score_pairs
from agglomeration.scoring import ScoreTable, conservative
from configs import ConfigError, ConfigView, load_config
from inference.flooding import PieceReport
from volumes import VolumeError
from volumes.box import Box
from volumes.phantom import PhantomSpec, make_phantom

SHAPE = (30, 30, 60)
BIG = 2**63 + 5
# Two bars along x; the first is cut at x 30, where its halves are `3` and `BIG`; beside it runs `7`.
RESEGMENTATION = "resegmentation { radius_nm: 140 analysis_radius_nm: 100 exclusion_radius_nm: 30 }"
SUPERVOXELS = 'supervoxels { spec: "data.h5:pieces" }'


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pieces = np.zeros(SHAPE, np.uint64)
    pieces[12:19, 5:12, :] = 3
    pieces[12:19, 5:12, 30:] = BIG
    pieces[12:19, 16:23, :] = 7
    write_volumes("data.h5", raw=lit_bars(pieces), pieces=pieces)
    save_threshold_network(architecture=WIDE)


def config_of(agglomeration: str = f"{SUPERVOXELS} {RESEGMENTATION}", **other: str) -> ConfigView:
    write_config(evaluation="", agglomeration=f"{{ {agglomeration} }}", **other)
    return load_config("c.textproto")


def pairs(*rows: tuple[int, int, tuple[int, int, int]]) -> CandidatePairs:
    a, b, points = zip(*rows, strict=True)
    counts = np.arange(1, len(rows) + 1)
    ids = [np.array(each, np.uint64) for each in (a, b)]
    return CandidatePairs(*ids, np.array(points), counts * 0.5, counts, counts * 10, counts * 20)


ONE = (3, BIG, (15, 8, 30))
OTHER = (3, 7, (15, 14, 20))
ACROSS = (7, BIG, (15, 14, 40))
PAIRS = pairs(ONE, OTHER, ACROSS)


def run(
    config: ConfigView, table: CandidatePairs = PAIRS, name: str = "0.npz"
) -> tuple[PieceReport, ScoreTable]:
    report = score_pairs(config, table, Path("scores") / name)
    return report, ScoreTable.load(Path("scores") / name)


def test_pairs_are_flooded_and_scored() -> None:
    config = config_of()
    report, table = run(config)
    assert conservative(table, config.agglomeration.conservative_rule).tolist() == [True, False, False]
    assert table["iou"][0] > 0.99 and table["b_from_a"].tolist()[1:] == [0, 0]
    assert table.id_b.tolist() == [BIG, 7, BIG] and table.points_zyx.tolist()[0] == [15, 8, 30]
    assert table["contact_faces"].tolist() == [1, 2, 3] and table["size_b"].tolist() == [20, 40, 60]
    assert table["direction_agreement"][0] > 0.95 and abs(table["direction_agreement"][1]) < 0.3
    assert report.counts == {"pairs": 3, "fovs": table["fovs"].sum()} and not report.reused


def test_a_pair_has_the_same_scores_in_any_piece_and_batch() -> None:
    _, together = run(config_of())
    config = config_of(inference="batch_size: 4")
    alone = [run(config, pairs(row), f"{i}-.npz")[1] for i, row in enumerate((ONE, OTHER, ACROSS))]
    facts = {"contact_faces", "distance_nm", "size_a", "size_b"}
    for name in set(together.columns) - facts:
        assert_array_equal(together[name], [table[name][0] for table in alone], name)


def test_a_finished_piece_is_kept_and_a_damaged_one_made_anew_and_named() -> None:
    config = config_of()
    run(config)
    path = Path("scores/0.npz")
    first = path.read_bytes()
    report, _ = run(config)
    assert report.reused and report.counts["fovs"] == 0
    path.write_bytes(first[:-9])
    report, _ = run(config)
    assert not report.reused
    assert report.note == "piece scores/0.npz is cut short or carries no digest; it is made anew"
    assert path.read_bytes() == first


@pytest.mark.parametrize("change", ["pairs", "settings", "objects", "follows", "batch"])
def test_a_piece_is_made_anew_when_something_it_follows_from_changes(change: str) -> None:
    config, table, follows = config_of(), PAIRS, ""
    run(config)
    if change == "pairs":
        table = pairs(ONE, OTHER)
    elif change == "settings":
        config = config_of(f"{SUPERVOXELS} {RESEGMENTATION[:-1]} max_starts: 1 }}")
    elif change == "objects":
        write_volumes("other.h5", pieces=np.where(lit_bars(np.ones(SHAPE)) > 0, 3, 0))
        with pytest.raises(AgglomerationError, match=f"supervoxel {BIG} is not in the box"):
            run(config_of(f'supervoxels {{ spec: "other.h5:pieces" }} {RESEGMENTATION}'))
        return
    elif change == "follows":
        follows = "another run"
    else:
        config = config_of(f"{SUPERVOXELS} {RESEGMENTATION[:-1]} pairs_per_piece: 5 }}")
    report = score_pairs(config, table, Path("scores/0.npz"), follows)
    assert report.reused == (change == "batch")


def test_a_piece_that_fails_leaves_nothing() -> None:
    with pytest.raises(AgglomerationError, match="supervoxel 8 is not in the box"):
        run(config_of(), pairs(ONE, (3, 8, (15, 14, 20))))
    assert not list(Path(".").rglob("*0.npz"))


def test_network_and_options_of_the_agglomeration_take_the_place_of_the_projects() -> None:
    save_threshold_network("other.ffn.h5", pad_value=0.25)
    plain = resegmentation_config(config_of()).inference
    assert [each.name for each in plain.passes] == ["resegmentation"]
    own = 'network { weights: "other.ffn.h5" } options { move_threshold: 0.7 }'
    volumes, _ = opened(config_of(f"{SUPERVOXELS} {RESEGMENTATION} {own}"))
    options = volumes.each.settings.options
    assert (options.pad_value, options.move_threshold, options.fov_zyx) == (0.25, 0.7, (5, 5, 5))
    assert describe(config_of()) != describe(config_of(f"{SUPERVOXELS} {RESEGMENTATION} {own}"))


def test_the_box_ends_with_the_volume() -> None:
    volumes, _ = opened(config_of())
    box = read_pair_box(volumes, 3, BIG, (15, 8, 30), (20, 10, 8))
    assert (box.origin_zyx, box.image.shape, box.point) == ((0, 0, 22), (30, 19, 17), (15, 8, 8))
    assert box.inner == Box.from_shape(box.image.shape)
    assert box.ids.tolist() == [3, 7, BIG] and (box.a, box.b) == (1, 3)
    assert box.labels.dtype == np.int32 and box.labels[15, 8].tolist() == [1] * 8 + [3] * 9


MIRROR = "edge_context: MIRROR"


def test_objects_are_flooded_up_to_the_volumes_faces_where_the_passes_do() -> None:
    volumes, _ = opened(config_of(inference=MIRROR))
    box = read_pair_box(volumes, 3, None, (15, 8, 2), (5, 5, 5))
    # Half a field of view is 3 voxels, beyond x 0 only; voxels there are those at the other side of it.
    assert (box.origin_zyx, box.image.shape, box.inner) == (
        (10, 3, -3),
        (11, 11, 11),
        Box((0, 0, 3), (11, 11, 11)),
    )
    np.testing.assert_array_equal(box.image[:, :, :3], box.image[:, :, 6:3:-1])
    np.testing.assert_array_equal(box.labels[:, :, :3], box.labels[:, :, 6:3:-1])


def test_what_lies_at_a_face_is_recovered_there() -> None:
    at_face = pairs((3, 7, (15, 8, 2)))
    _, short = run(config_of(), at_face, "a.npz")
    _, whole = run(config_of(inference=MIRROR), at_face, "b.npz")
    assert short["a_from_a"][0] <= whole["a_from_a"][0] and whole["a_from_a"][0] > 0.99


def test_masks_keep_fields_of_view_out() -> None:
    mask = 'movement { coordinate_expression { expression: "(x >= 26) & (x < 34)" } }'
    _, table = run(config_of(masks=f"{{ {mask} }}"))
    assert table["b_from_a"][0] == 0 and table["a_from_a"][0] > 0.5


def test_ends_go_on_in_other_objects() -> None:
    config = config_of()
    ids, points = np.array([3, 7], np.uint64), np.array([[15, 8, 29], [15, 19, 30]])
    report = flood_ends(config, ids, points, Path("ends.npz"))
    table = EndTable.load("ends.npz")
    assert table.ids.tolist() == [3, 7] and table.points_zyx.tolist() == points.tolist()
    assert table.ends.tolist() == [0, 0, 1] and table.others.tolist() == [3, BIG, 7]
    # 49 voxels a section; 15 and 14 sections of the box of 29 are those of the halves.
    assert table.original.tolist() == [49 * 15, 49 * 14, 49 * 29]
    assert (table.overlapping <= table.original).all() and table.overlapping[1] > 400
    assert table.shares.min() > 0.6 and report.counts == {"ends": 2, "fovs": table.fovs.sum()}
    assert flood_ends(config, ids, points, Path("ends.npz")).reused


def test_what_cannot_be_used_is_said() -> None:
    with pytest.raises(ConfigError, match="no supervoxels in 'out/supervoxels'"):
        opened(config_of(RESEGMENTATION))
    with pytest.raises(AgglomerationError, match="smaller than the field of view"):
        opened(config_of(f"{SUPERVOXELS} resegmentation {{ radius_nm: 20 }}"))
    write_volumes("coarse.h5", size_nm=(20, 20, 20), pieces=np.ones(SHAPE, np.uint64))
    with pytest.raises(VolumeError, match="give those of this image"):
        opened(config_of(f'supervoxels {{ spec: "coarse.h5:pieces" }} {RESEGMENTATION}'))
    with pytest.raises(AgglomerationError, match="lies outside of"):
        run(config_of(), pairs((3, 7, (30, 8, 2))))


@pytest.mark.slow
def test_the_shipped_network_joins_what_was_cut_and_nothing_else() -> None:
    phantom = make_phantom(PhantomSpec((80, 80, 80), (10.0, 10.0, 10.0), 7))
    # Every object is cut at x 40 into 2 n and 2 n + 1.
    labels = phantom.labels.astype(np.uint64) * np.uint64(2)
    labels[:, :, 40:] += labels[:, :, 40:] > 0
    write_volumes("phantom.h5", raw=phantom.raw, pieces=labels)
    found = find_decision_points(labels, (10.0, 10.0, 10.0), max_distance_nm=50)
    is_one = found.id_a // 2 == found.id_b // 2
    order = np.argsort(-found.contact_faces, kind="stable")
    rows = np.sort(np.concatenate([order[is_one[order]][:4], order[~is_one[order]][:4]]))
    sections = "resegmentation { radius_nm: 200 analysis_radius_nm: 140 terminate_early: true }"
    config = config_of(
        f'supervoxels {{ spec: "phantom.h5:pieces" }} {sections}',
        raw="phantom.h5:raw",
        network="builtin:phantom",
        inference="edge_context: MIRROR",
    )
    _, table = run(config, found.select(rows))
    accepted = conservative(table, config.agglomeration.conservative_rule)
    assert not accepted[~is_one[rows]].any()
    assert accepted[is_one[rows]].sum() >= 3
