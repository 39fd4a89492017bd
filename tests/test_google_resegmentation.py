"""google/ffn's `ResegmentationRequest`: which files are written where, and what stands in them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from tiny_project import REQUEST, WIDE, lit_bars, write_checkpoint, write_volumes

from agglomeration.google_resegmentation import PointResult, run_resegmentation_request
from agglomeration.google_results import target_path
from configs import ConfigError, parse_resegmentation_request
from configs.errors import ReconstructionError
from configs.proto import google_ffn_pb2

SHAPE = (30, 34, 60)
PAIR = "points { id_a: 3 id_b: 5 point { x: 30 y: 8 z: 15 } }"
BESIDE = "points { id_a: 3 id_b: 7 point { x: 28 y: 16 z: 15 } }"
END = "points { id_a: 3 point { x: 31 y: 8 z: 15 } }"
# x, y, z: the box spans x 16 … 44, y 2 … 14 around the first point.
RADII = "radius { x: 14 y: 6 z: 12 } analysis_radius { x: 11 y: 5 z: 9 }"
MORE = "segment_recovery_fraction: 0.6 max_retry_iters: 3 exclusion_radius { x: 3 y: 2 z: 1 }"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("google")
    objects = np.zeros(SHAPE, np.uint64)
    # Two bars along x; the first is cut at x 30.
    objects[12:19, 5:12, :] = 3
    objects[12:19, 5:12, 30:] = 5
    objects[12:19, 19:26, :] = 7
    write_volumes(str(folder / "data.h5"), size_nm=(20, 10, 10), raw=lit_bars(objects), objects=objects)
    write_checkpoint(str(folder / "model.ckpt-7"), WIDE)
    return folder


@pytest.fixture(autouse=True)
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def request_of(*parts: str, folder: str, inference: str = "") -> str:
    one = REQUEST.replace("DEPTH", "1").replace("[5, 5, 5]", "[7, 7, 7]").replace("[2, 2, 2]", "[3, 3, 3]")
    whole = f'{one} init_segmentation {{ hdf5: "data.h5:objects" }} {inference}'
    body = " ".join(parts)
    return f'inference {{ {whole} }} {body} output_directory: "{folder}"'


def run(*parts: str, folder: str, inference: str = "") -> list[PointResult]:
    return run_resegmentation_request(request_of(*parts, folder=folder, inference=inference))


def message(path: Path, kind: str = "PairResegmentationResult"):
    text = path.with_suffix(".textproto").read_text()
    return text_format.Parse(text, getattr(google_ffn_pb2, kind)())


def test_a_pair_s_files_lie_and_read_as_google_ffn_s() -> None:
    (result,) = run(PAIR, RADII, MORE, folder="one")
    assert result.path == Path("one/3-5_at_30_8_15.npz") and not result.note
    with np.load(result.path, allow_pickle=False) as file:
        found = {name: file[name] for name in file.files}
    names = "probs raw_probs deletes histories start_points request counters corner_zyx is_shift settings"
    assert set(found) == set(names.split())
    assert found["probs"].shape == (2, 25, 13, 29) and found["probs"].dtype == np.uint8
    assert found["corner_zyx"].tolist() == [3, 2, 16]
    assert not found["is_shift"]
    # Both floods fill the bar but for its ends in the box; 128 stands for p 0.5.
    objects = np.zeros((25, 13, 29), bool)
    objects[9:16, 3:10] = True
    filled = found["probs"] >= 128
    assert (filled[:, objects].mean(axis=1) > 0.8).all() and not filled[:, ~objects].any()
    assert filled[:, 9:16, 3:10, 4:-4].all()
    # Starts are x, y, z in the box, each in its half. Sections are 20 nm: the third is as deep as any.
    starts = found["start_points"][:, -1]
    assert starts[0, 0] < 14 <= starts[1, 0] and starts[:, 1:].tolist() == [[6, 10], [6, 10]]
    assert found["histories"].shape == (*found["deletes"].shape, 3)
    request = google_ffn_pb2.ResegmentationRequest.FromString(found["request"].tobytes())
    assert (request.points[0].id_b, request.radius.x) == (5, 14)


def test_the_scores_of_a_pair_are_those_of_the_arrays() -> None:
    (result,) = run(PAIR, RADII, MORE, folder="one")
    found = message(result.path)
    assert (found.id_a, found.id_b, found.point.x, found.segmentation_radius.y) == (3, 5, 30, 6)
    with np.load(result.path) as file:
        probs, starts = file["probs"][:, 3:-3, 1:-1, 3:-3] >= 128, file["start_points"]
        histories, deletes = file["histories"], file["deletes"]
    scores = found.eval
    assert scores.radius.z == 9
    assert scores.iou == pytest.approx((probs[0] & probs[1]).sum() / (probs[0] | probs[1]).sum())
    # 7 x 7 voxels, 11 sections before x 30 and 12 from there.
    assert (scores.num_voxels_a, scores.num_voxels_b) == (49 * 11, 49 * 12)
    assert (scores.max_edt_a, scores.max_edt_b) == (40, 40)
    inside = np.all((histories >= [3, 1, 3]) & (histories <= [21, 11, 25]), axis=2)
    for i, one in enumerate((scores.from_a, scores.from_b)):
        assert one.num_voxels == probs[i].sum()
        assert one.origin.x == starts[i, -1, 0] + 16 and one.origin.z == starts[i, -1, 2] + 3
        assert one.deleted_voxels == deletes[i][inside[i]].sum()
        assert min(one.segment_a_consistency, one.segment_b_consistency) > 0.95


def test_neighbours_are_not_recovered_from_each_other() -> None:
    (result,) = run(BESIDE, "radius { x: 14 y: 14 z: 12 }", MORE, folder="beside")
    scores = message(result.path).eval
    assert scores.iou == 0 and scores.from_a.segment_b_consistency == 0
    assert scores.radius.x == 14


def test_an_early_end_leaves_the_second_flood_and_the_scores_out() -> None:
    wide = "radius { x: 14 y: 14 z: 12 }"
    (result,) = run(BESIDE, wide, MORE, "terminate_early: true", folder="early")
    assert not message(result.path).HasField("eval")
    with np.load(result.path) as file:
        assert file["probs"].shape[0] == 1 and (file["start_points"][1] == -1).all()


def test_an_end_point_says_what_its_flood_shares_with_whom() -> None:
    (result,) = run(END, RADII, MORE, folder="end")
    assert result.path == Path("end/3-0_at_31_8_15.npz")
    found = message(result.path, "EndpointResegmentationResult")
    assert (found.id, found.start.x, found.start.z) == (3, 31, 15)
    # The box spans x 17 … 45: 13 sections of object 3, 16 of object 5.
    assert sorted(found.overlaps) == [3, 5]
    assert (found.source.num_original, found.overlaps[5].num_original) == (49 * 13, 49 * 16)
    assert found.source.num_overlapping == found.overlaps[3].num_overlapping
    assert found.num_voxels == sum(each.num_overlapping for each in found.overlaps.values())
    assert found.overlaps[5].num_overlapping > 0.8 * 49 * 16


@pytest.mark.parametrize(("digits", "folders"), [(0, 0), (1, 0), (4, 1)])
def test_results_are_spread_by_the_hash_of_both_ids(digits: int, folders: int) -> None:
    request = parse_resegmentation_request(request_of(PAIR, RADII, f"subdir_digits: {digits}", folder="x"))
    path = target_path(request, request.points[0])
    expected = [hashlib.md5(b"35").hexdigest()[:digits]] * folders
    assert path == Path("x", *expected, "3-5_at_30_8_15.npz")


def test_results_do_not_depend_on_batches_and_are_kept_by_a_rerun() -> None:
    wide = "radius { x: 14 y: 8 z: 12 }"
    points = (PAIR, BESIDE.replace("y: 16", "y: 14"), END.replace("x: 31", "x: 33"))
    alone = [run(point, wide, MORE, folder="alone")[0] for point in points]
    batched = run(*points, wide, MORE, folder="batched", inference="batch_size: 2 concurrent_requests: 3")
    for one, other in zip(alone, batched, strict=True):
        assert one.path.name == other.path.name
        with np.load(one.path) as first, np.load(other.path) as second:
            for name in ("probs", "histories", "deletes", "start_points"):
                np.testing.assert_array_equal(first[name], second[name])
    before = {each.path: each.path.read_bytes() for each in batched}
    batched[1].path.unlink()
    again = run(*points, wide, MORE, folder="batched", inference="batch_size: 2 concurrent_requests: 3")
    assert [each.reused for each in again] == [True, False, True]
    assert {each.path: each.path.read_bytes() for each in again} == before


def test_a_result_of_other_settings_is_not_taken() -> None:
    run(PAIR, RADII, MORE, folder="other")
    with pytest.raises(
        ReconstructionError, match="was made with resegmentation.max_starts = 3, this run has 5"
    ):
        run(PAIR, RADII, MORE.replace("max_retry_iters: 3", "max_retry_iters: 5"), folder="other")


def test_points_without_room_or_object_are_left_out_with_a_note() -> None:
    points = (PAIR, PAIR.replace("x: 30", "x: 5"), PAIR.replace("id_b: 5", "id_b: 9"))
    results = run(*points, RADII, MORE, folder="left")
    assert [each.path.exists() for each in results] == [True, False, False]
    assert "point x 5, y 8, z 15 of 3-5 is left out: the box around it" in results[1].note
    assert "object 9 has no voxel in the box" in results[2].note


def test_what_cannot_run_is_refused() -> None:
    request = request_of(PAIR, RADII, folder="no").replace(
        'init_segmentation { hdf5: "data.h5:objects" }', ""
    )
    with pytest.raises(ConfigError, match="init_segmentation is missing"):
        run_resegmentation_request(request)
    with pytest.raises(ConfigError, match="resegmentation request"):
        run_resegmentation_request("points { id_a: 0 }")
    Path("request.pbtxt").write_text(request_of(PAIR, "radius { x: 2 y: 9 z: 9 }", folder="no"))
    with pytest.raises(ReconstructionError, match="smaller than the field of view"):
        run_resegmentation_request("request.pbtxt")
    assert not Path("no").exists()
