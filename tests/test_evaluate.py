"""The command evaluate: of volumes named one by one, and of a project's stages; files, settings, refusals."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tiny_project
from tiny_project import CUT, make_bars, metrics, write_volumes

from commands import evaluate
from configs import load_config
from evaluation import evaluate as compare
from evaluation import evaluation_settings
from evaluation.detected_errors import read_errors
from evaluation.overlap import overlap_metrics
from evaluation.true_skeletons import Keep, TrueSkeletons, inside, true_skeletons
from inference.freshness import state_of_volume
from inference.inputs import open_inputs
from inference.stage_volumes import as_it_ran, finished_stages
from inference.workspace import open_workspace
from volumes import Box, Skeleton, create_volume, open_volume, read_skeletons, write_swc

# Whole projects are run.
pytestmark = pytest.mark.slow

SHAPE = (12, 24, 120)
BASE = ("--segmentation", "v.h5:split", "--labels", "v.h5:truth", "--output", "r/metrics.json")
PASSES = 'passes { name: "forward" } passes { name: "reversed" seed_order: REVERSED }'


def straight(y: float, length: int = 100, first: float = 5.0) -> Skeleton:
    """A line of nodes along x, 10 nm apart, in the middle of a tube."""
    nodes = [(55.0, y, first + 10 * i) for i in range(length + 1)]
    return Skeleton(np.array(nodes), np.array([(i, i + 1) for i in range(length)]))


@pytest.fixture
def tubes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Two tubes along x, true and as other segmentations have them, with their centre lines as SWC files."""
    monkeypatch.chdir(tmp_path)
    truth = np.zeros(SHAPE, np.uint32)
    truth[:, 1:11], truth[:, 13:23] = 4, 9
    split = truth.astype(np.uint64)
    split[:, 1:11, 60:] = 44
    merged = (truth > 0).astype(np.uint8)
    write_volumes("v.h5", truth=truth, split=split, merged=merged, raw=truth.astype(np.uint8) * 20)
    Path("skeletons").mkdir()
    write_swc("skeletons/4.swc", straight(65.0))
    write_swc("skeletons/9.swc", straight(185.0))
    return truth


def run(*arguments: str) -> int:
    return evaluate.run([*arguments])


def stage(name: str = "segmentation", folder: str = "r") -> dict[str, Any]:
    return metrics(folder)[name]


def column(path: str, name: str) -> list[str]:
    return [row[name] for row in csv.DictReader(Path(path).read_text().splitlines())]


def message(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def test_a_segmentation_is_compared_with_labels_and_skeletons(
    tubes: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*BASE, "--skeletons", "skeletons/*.swc", "--raw", "v.h5:raw") == 0
    figures = stage()
    split = tubes.astype(np.uint64)
    split[:, 1:11, 60:] = 44
    expected = overlap_metrics(split, tubes)
    segmented = expected.pop("segmented_only")
    assert {name: figures[name] for name in expected} == pytest.approx(expected)
    assert figures["segmented_only"] == pytest.approx(segmented)
    # Nodes lie at x 5 … 1005 nm, so that 59 edges lie before the cut at x 600 nm, and 40 behind it.
    assert figures["erl_nm"] == pytest.approx((590**2 + 400**2 + 1000**2) / 2000)
    assert figures["max_erl_nm"] == pytest.approx(1000)
    assert (figures["splits"], figures["mergers"], figures["omissions"]) == (1, 0, 0)
    (error,) = read_errors("r/errors-segmentation.jsonl")
    assert (error.kind, error.segments, error.skeletons) == ("split", (4, 44), (4,))
    assert error.point_nm == (55.0, 65.0, 600.0)
    assert column("r/neurons-segmentation.csv", "id") == ["4", "9"]
    assert column("r/objects-segmentation.csv", "best_segment") == ["4", "9"]
    page = Path("r/report.html").read_text()
    assert page.count("data:image/png") >= 9 and "v.h5:split" in page
    table = capsys.readouterr().out
    assert "VOI split" in table and "0.755" not in table and f"{figures['nerl']:.3f}" in table
    assert "unsegmented voxels are one object" in table and "r/report.html" in table


def test_skeletons_alone_serve_as_ground_truth(tubes: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (
        "--segmentation",
        "v.h5:merged",
        "--skeletons",
        "skeletons/*.swc",
        "--output",
        "r/metrics.json",
    )
    assert run(*arguments) == 0
    assert "voi_split" not in stage()
    assert (stage()["nerl"], stage()["mergers"]) == (0, 1)
    assert not Path("r/objects-segmentation.csv").exists()
    assert "VOI" not in capsys.readouterr().out


def test_skeletons_are_made_from_labels_that_have_none(tubes: np.ndarray) -> None:
    pytest.importorskip("kimimaro")
    assert run(*BASE) == 0
    assert stage()["skeletons"] == 2
    assert 0.5 < stage()["nerl"] < 1


def test_without_an_output_only_the_table_is_printed(
    tubes: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(Path().rglob("*"))
    assert run(*BASE[:4], "--skeletons", "skeletons/*.swc") == 0
    assert set(Path().rglob("*")) == before
    assert "nERL" in capsys.readouterr().out


def test_stages_of_other_names_stay_in_the_file(tubes: np.ndarray) -> None:
    arguments = ("--skeletons", "skeletons/*.swc")
    assert run(*BASE, *arguments, "--name", "one") == 0
    assert (
        run(
            *BASE, *arguments, "--name", "two", "--box", "start { x: 0 y: 0 z: 0 } size { x: 50 y: 24 z: 12 }"
        )
        == 0
    )
    assert stage("one")["nerl"] < stage("two")["nerl"] == 1


def test_a_box_cuts_volumes_and_skeletons(tubes: np.ndarray) -> None:
    box = "start { x: 60 y: 0 z: 0 } size { x: 60 y: 24 z: 12 }"
    assert run(*BASE, "--skeletons", "skeletons/*.swc", "--box", box) == 0
    assert stage()["voi_split"] == 0
    assert stage()["nodes_outside"] == 0
    assert stage()["max_erl_nm"] == pytest.approx(405)


def test_edges_longer_than_the_box_keep_their_path_inside(tubes: np.ndarray) -> None:
    """Which the cut of the segmentation at x 600 nm splits in two."""
    write_swc(
        "long.swc", Skeleton(np.array([(55.0, 65.0, -900.0), (55.0, 65.0, 1500.0)]), np.array([(0, 1)]))
    )
    arguments = ("--segmentation", "v.h5:split", "--skeletons", "long.swc", "--output", "r/metrics.json")
    box = "start { x: 30 y: 0 z: 0 } size { x: 60 y: 24 z: 12 }"
    assert run(*arguments, "--box", box, "--settings", "skeleton_edge_nm: 10") == 0
    assert stage()["path_length_mm"] == pytest.approx(600e-6)
    # Nodes lie 10 nm apart, one of them a millionth of a voxel inside x 300 nm.
    assert stage()["nerl"] == pytest.approx((300**2 + 290**2) / 600**2, rel=1e-6)
    assert (stage()["splits"], stage()["omissions"]) == (1, 0)


SETTINGS = {
    "tolerances of nodes": ("merger_tolerance_nodes: [3]", "nerl_tolerant_3_nodes", "nerl_tolerant_2_nodes"),
    "tolerance of path": ("merger_tolerance_nm: 250", "nerl_tolerant_250_nm", "nerl_tolerant_100_nm"),
    "boundaries": ("boundary_tolerance_nm: 15", "boundary_tolerant_15_nm", "boundary_tolerant_0_nm"),
}


@pytest.mark.parametrize(("settings", "there", "missing"), SETTINGS.values(), ids=SETTINGS)
def test_settings_take_effect(tubes: np.ndarray, settings: str, there: str, missing: str) -> None:
    assert run(*BASE, "--skeletons", "skeletons/*.swc", "--settings", settings) == 0
    assert there in stage() and missing not in stage()
    assert settings.partition(":")[0] in Path("r/report.html").read_text()


def test_edges_of_skeletons_are_cut_as_asked(tubes: np.ndarray) -> None:
    whole = ("--segmentation", "v.h5:split", "--skeletons", "long.swc", "--output", "r/metrics.json")
    write_swc("long.swc", Skeleton(np.array([(55.0, 65.0, 5.0), (55.0, 65.0, 1005.0)]), np.array([(0, 1)])))
    assert run(*whole) == 0
    assert (stage()["nerl"], stage()["splits"]) == (0, 1)
    assert run(*whole, "--settings", "skeleton_edge_nm: 10") == 0
    assert stage()["nerl"] == pytest.approx((590**2 + 400**2) / 1000**2)


def test_a_report_can_be_left_out_and_the_table_count_otherwise(
    tubes: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("--settings", "report: false background: LEFT_OUT")
    assert run(*BASE, "--skeletons", "skeletons/*.swc", *settings) == 0
    assert not Path("r/report.html").exists()
    out = capsys.readouterr().out
    assert "segmented voxels only" in out and "report.html" not in out


def test_labels_without_a_large_object_are_noted(
    tubes: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("kimimaro")
    assert run(*BASE, "--settings", "skeletonisation { min_voxels: 1000000 }") == 0
    assert "min_voxels" in message(capsys)
    assert "nerl" not in stage() and "voi_split" in stage()


def test_without_a_maker_of_skeletons_labels_give_overlap_figures(
    tubes: np.ndarray, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("evaluation.true_skeletons.find_spec", lambda _: None)
    assert run(*BASE) == 0
    assert "kimimaro" in message(capsys)
    assert "nerl" not in stage() and "voi_split" in stage()


def test_nodes_outside_the_segmentation_are_counted_and_said(
    tubes: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    write_swc("skeletons/9.swc", straight(185.0, 150))
    assert run(*BASE, "--skeletons", "skeletons/*.swc") == 0
    assert stage()["nodes_outside"] == 31
    assert "31 nodes" in message(capsys)
    assert "31 nodes" in Path("r/report.html").read_text()


def test_a_comparison_leaves_nothing_of_the_one_before(tubes: np.ndarray) -> None:
    Path("r").mkdir()
    Path("r/metrics.json").write_text('{"stages": {"segmentation": {"fovs": 7}, "other": {"nerl": 0.5}}}')
    settings = ("--settings", "boundary_tolerance_nm: 15 merger_tolerance_nodes: [5]")
    assert run(*BASE, "--skeletons", "skeletons/*.swc", *settings) == 0
    assert {"boundary_tolerant_15_nm", "erl_tolerant_5_nodes_nm", "voi_split"} < stage().keys()
    skeletons_only = (*BASE[:2], "--skeletons", "skeletons/*.swc", *BASE[4:])
    assert run(*skeletons_only, "--settings", "report: false") == 0
    assert stage()["fovs"] == 7 and stage("other") == {"nerl": 0.5}
    assert stage().keys() - {"fovs", "compared"} == set(stage()["compared"]["figures"])
    assert "nerl_tolerant_2_nodes" in stage()
    assert not {"boundary_tolerant_15_nm", "erl_tolerant_5_nodes_nm", "voi_split"} & stage().keys()
    files = {path.name for path in Path("r").glob("[!.]*")}
    assert files == {"metrics.json", "neurons-segmentation.csv", "errors-segmentation.jsonl"}


def test_figures_say_what_they_follow_from(tubes: np.ndarray) -> None:
    pytest.importorskip("kimimaro")
    box = "start { x: 60 y: 0 z: 0 } size { x: 60 y: 24 z: 12 }"
    assert run(*BASE, "--box", box, "--settings", "skeletonisation { const_nm: 50 }") == 0
    compared = stage()["compared"]
    assert (compared["segmentation"], compared["labels"]) == ("v.h5:split", "v.h5:truth")
    assert compared["box"] == {"start": [0, 0, 60], "stop": [12, 24, 120]}
    assert compared["voxel_size_nm"] == [10, 10, 10]
    assert compared["shares"] == {"segmentation": 0.5, "labels": 0.5}
    assert compared["settings"]["merger_tolerance_nodes"] == [2, 10]
    made = compared["skeletons_made_with"]
    assert (made["scale"], made["const_nm"], made["pdrf_scale"], made["pdrf_exponent"]) == (3, 50, 5000, 16)
    assert compared["versions"]["kimimaro"] == made["kimimaro"]
    page = Path("r/report.html").read_text()
    assert "pdrf_scale 5000" in page and "merger_tolerance_nm: 100" in page


def test_figures_say_which_files_they_are_of(tubes: np.ndarray) -> None:
    arguments = (*BASE, "--skeletons", "skeletons/*.swc", "--raw", "v.h5:raw", "--settings", "report: false")
    write_volumes("other.h5", split=tubes)
    arguments = ("--segmentation", "other.h5:split", *arguments[2:])
    assert run(*arguments) == 0
    first = stage()["compared"]
    assert first["image"] == "v.h5:raw" and first["states"].keys() == {"segmentation", "labels", "image"}
    assert run(*arguments) == 0
    assert stage()["compared"] == first
    with h5py.File("other.h5", "r+") as file:
        file["split"][0, 0, 0] = 77
    assert run(*arguments) == 0
    states = stage()["compared"]["states"]
    assert states["labels"] == first["states"]["labels"]
    assert states["segmentation"] != first["states"]["segmentation"]


def test_skeletons_of_labels_are_made_once(tubes: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kimimaro")
    assert run(*BASE) == 0
    first = stage()
    kept = f"precomputed://r/{first['compared']['skeletons']}"
    assert list(read_skeletons(kept)) == [4, 9]

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("made again")

    with monkeypatch.context() as patch:
        patch.setattr("evaluation.teasar.skeletonise_volume", refuse)
        assert run(*BASE) == 0
        assert stage() == first
        assert run(*BASE[:2], "--skeletons", kept, *BASE[4:]) == 0
        assert stage()["erl_nm"] == first["erl_nm"]
    assert run(*BASE, "--settings", "skeletonisation { min_voxels: 500 }") == 0
    with h5py.File("v.h5", "r+") as file:
        file["truth"][0, 0, 0] = 77
    assert run(*BASE) == 0
    assert len(list(Path("r/skeletons").glob("*.json"))) == 3


def test_damaged_skeletons_are_made_again(tubes: np.ndarray) -> None:
    pytest.importorskip("kimimaro")
    assert run(*BASE) == 0
    first = stage()
    (kept,) = (path for path in Path("r/skeletons").iterdir() if path.is_dir())
    assert (
        json.loads(kept.with_suffix(".json").read_text())["digest"] == first["compared"]["skeletons_digest"]
    )
    whole = (kept / "4").read_bytes()
    # Half of it; and another position, which nothing but the digest shows.
    other = bytearray(whole)
    other[10] ^= 64
    for damaged in (whole[:50], bytes(other)):
        (kept / "4").write_bytes(damaged)
        assert run(*BASE) == 0
        (note,) = (again := stage())["compared"].pop("notes")
        assert "made again" in note
        assert again["erl_nm"] == first["erl_nm"] and (kept / "4").read_bytes() == whole
    kept.with_suffix(".json").write_text("{}")
    assert run(*BASE) == 0
    assert "made again" in stage()["compared"]["notes"][0]
    assert run(*BASE) == 0
    assert stage() == first


def test_objects_that_were_made_coarser_are_counted(tubes: np.ndarray) -> None:
    pytest.importorskip("kimimaro")
    assert run(*BASE) == 0
    exact = stage()["compared"]
    assert exact["skeletons_made_with"]["coarsened_objects"] == 0 and exact["notes"] == []
    assert "max_voxels" not in exact["skeletons_made_with"]
    # 20 000 voxels of 50 bytes hold the tubes one by one, and the skeletons that are there serve.
    assert run(*BASE, "--memory_gb", "0.001") == 0
    assert stage()["compared"]["skeletons"] == exact["skeletons"]
    with open_volume("v.h5:truth") as labels, open_volume("v.h5:split") as split:
        settings = evaluation_settings("skeletonisation { const_nm: 50 }")
        found = compare(split, labels=labels, settings=settings, memory_gb=0.0002, tell=lambda _: None)
    assert "2 objects" in found.notes[0] and "coarser" in found.notes[0]
    settings_flag = ("--settings", "skeletonisation { const_nm: 50 }")
    assert run(*BASE, *settings_flag) == 0
    assert stage()["compared"]["skeletons_made_with"]["coarsened_objects"] == 0


def test_coarser_skeletons_are_kept_for_their_budget_only(tubes: np.ndarray, tmp_path: Path) -> None:
    pytest.importorskip("kimimaro")
    keep, told = Keep(tmp_path / "kept", ["labels"]), list[str]()

    def made(memory_gb: float) -> TrueSkeletons:
        with open_volume("v.h5:truth") as labels:
            return true_skeletons(
                labels,
                labels.bounds,
                labels.voxel_size_nm,
                evaluation_settings(),
                clip=False,
                memory_gb=memory_gb,
                keep=keep,
                tell=told.append,
            )

    coarse = made(0.0002)
    assert (coarse.made_with["coarsened_objects"], coarse.made_with["max_voxels"]) == (2, 4000)
    again = made(0.0002)
    assert (again.source, again.digest) == (coarse.source, coarse.digest)
    assert again.made_with == coarse.made_with and [("coarser" in line) for line in told] == [True, True]
    exact = made(2)
    assert exact.source != coarse.source and exact.made_with["coarsened_objects"] == 0
    assert made(0.0002).source == exact.source and len(told) == 2


@pytest.mark.parametrize("spec", ["zarr://z", "s.h5:labels"])
def test_the_state_of_a_volume_shows_that_voxels_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str
) -> None:
    monkeypatch.chdir(tmp_path)
    box = Box.from_shape((8, 8, 8))
    states = []
    for value in (1, 2):
        if value == 1:
            volume = create_volume(spec, bounds=box, dtype=np.uint32, voxel_size_nm=(10, 10, 10))
        else:
            volume = open_volume(spec, mode="r+")
        with volume:
            volume.write(box, np.full(box.shape, value, np.uint32))
        states += [state_of_volume(spec), state_of_volume(spec)]
    assert states[0] == states[1] != states[2] == states[3]
    assert state_of_volume("precomputed://gs://bucket/labels") == []


def test_a_part_that_is_compared_is_said(tubes: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    write_volumes("part.h5", start_zyx=(0, 0, 60), labels=tubes[:, :, :60])
    arguments = (*BASE[:2], "--labels", "part.h5:labels", *BASE[4:], "--skeletons", "skeletons/*.swc")
    assert run(*arguments) == 0
    assert "50 % of the segmentation and 100 % of the labels" in message(capsys)
    compared = stage()["compared"]
    assert "50 % of the segmentation" in compared["notes"][0] and compared["skeletons_cut_to_box"]
    assert stage()["path_length_mm"] == pytest.approx(2 * 405e-6)
    with open_volume("v.h5:split") as segmentation, open_volume("part.h5:labels") as labels:
        lines = read_skeletons("skeletons/*.swc")
        found = compare(segmentation, labels=labels, skeletons=lines, tell=lambda _: None)
    assert found.metrics["erl_nm"] == stage()["erl_nm"]


@pytest.mark.parametrize("unit", ["skeleton_unit_nm: 1000", ""], ids=["said", "unsaid"])
def test_skeletons_of_another_unit(tubes: np.ndarray, capsys: pytest.CaptureFixture[str], unit: str) -> None:
    rows = "".join(f"{i + 1} 0 {0.005 + 0.01 * i} 0.065 0.055 0 {i or -1}\n" for i in range(101))
    Path("micro.swc").write_text(rows)
    arguments = (*BASE[:2], "--skeletons", "micro.swc", *BASE[4:])
    assert run(*arguments, "--settings", unit) == 0
    assert ("skeleton_unit_nm" in message(capsys)) == (not unit)
    assert stage()["path_length_mm"] == pytest.approx(1e-3 if unit else 1e-6)


DOUBTFUL = {
    "micrometres, far apart": (0.001, 500, 2, "hundredth"),
    "voxels": (0.1, 10, 100, "whole numbers"),
    "short edges": (1, 0.9, 9, "tenth of a voxel"),
    "nanometres": (1, 10, 100, ""),
}


@pytest.mark.parametrize(("unit", "step", "count", "words"), DOUBTFUL.values(), ids=DOUBTFUL)
@pytest.mark.parametrize("said", ["", "# unit: nm\n"], ids=["unsaid", "said"])
def test_a_doubtful_unit_is_noted(
    tubes: np.ndarray,
    capsys: pytest.CaptureFixture[str],
    unit: float,
    step: float,
    count: int,
    words: str,
    said: str,
) -> None:
    """Of lines along x in volumes of 10 nm; one long edge at the end keeps short ones from being small."""
    along = [step * i for i in range(count)] + [1000.0]
    for number, y in ((4, 60), (9, 180)):
        nodes = ((unit * x, unit * y, unit * 50) for x in along)
        rows = (f"{i + 1} 0 {x:.6g} {y:.6g} {z:.6g} 0 {i or -1}" for i, (x, y, z) in enumerate(nodes))
        Path(f"skeletons/{number}.swc").write_text(said + "\n".join(rows))
    assert run(*BASE, "--skeletons", "skeletons/*.swc", "--settings", "report: false") == 0
    noted = [line for line in message(capsys).splitlines() if "skeleton_unit_nm" in line]
    assert len(noted) == (1 if words and not said else 0)
    assert all(words in line for line in noted)


def test_long_edges_are_noted(tubes: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    write_swc("long.swc", Skeleton(np.array([(55.0, 65.0, 5.0), (55.0, 65.0, 1005.0)]), np.array([(0, 1)])))
    arguments = (*BASE[:2], "--skeletons", "long.swc", *BASE[4:])
    assert run(*arguments) == 0
    assert "1 edges" in (noted := message(capsys)) and "skeleton_edge_nm" in noted
    assert run(*arguments, "--settings", "skeleton_edge_nm: 40") == 0
    assert "skeleton_edge_nm" not in message(capsys)


def test_a_voxel_size_serves_volumes_that_state_none(
    tubes: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File("bare.h5", "w") as file:
        file["labels"] = tubes
    bare = (*BASE[:2], "--labels", "bare.h5:labels", "--skeletons", "skeletons/*.swc", *BASE[4:])
    assert run(*bare) == 2
    assert "--voxel_size_nm z,y,x" in message(capsys)
    assert run(*bare, "--voxel_size_nm", "10,10,10") == 0
    assert run(*bare, "--voxel_size_nm", "10,10,8") == 2
    assert "'v.h5:split' says that its voxels have (10.0, 10.0, 10.0) nm" in message(capsys)


def test_the_whole_comparison_from_python(tubes: np.ndarray) -> None:
    with open_volume("v.h5:split") as segmentation, open_volume("v.h5:truth") as labels:
        lines = {4: straight(65.0), 9: straight(185.0)}
        found = compare(segmentation, labels=labels, skeletons=lines)
        half = compare(segmentation, skeletons=lines, box=Box((0, 0, 60), SHAPE))
    assert run(*BASE, "--skeletons", "skeletons/*.swc") == 0
    figures = {name: value for name, value in stage().items() if name != "compared"}
    assert found.metrics == figures and found.errors == read_errors("r/errors-segmentation.jsonl")
    assert half.metrics["nerl"] == 1 and "voi_split" not in half.metrics


def test_notes_become_warnings_and_are_in_the_result(tubes: np.ndarray) -> None:
    lines = {4: straight(65.0), 9: straight(185.0, 150)}
    with open_volume("v.h5:split") as segmentation:
        with pytest.warns(UserWarning, match="31 nodes"):
            found = compare(segmentation, skeletons=lines, memory_gb=0.1)
        told: list[str] = []
        compare(segmentation, skeletons=lines, tell=told.append)
    assert told == list(found.notes) and len(told) == 1


def test_the_example_of_the_documentation_runs(tubes: np.ndarray, repository: Path) -> None:
    pytest.importorskip("kimimaro")
    write_volumes("a.h5", segmentation=tubes)
    write_volumes("truth.h5", labels=tubes)
    text = (repository / "docs/evaluation.md").read_text()
    example = text.partition("```python\n")[2].partition("```")[0]
    done = subprocess.run(
        [sys.executable, "-c", example],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(repository), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1.0 ")


# Not `getrusage`: what that gives begins with the size of the process that starts this one.
PEAK = """
import sys
from commands.evaluate import run
assert run(sys.argv[1:]) == 0
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.slow
def test_memory_keeps_to_its_budget_on_a_volume_twice_as_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    pytest.importorskip("kimimaro")
    monkeypatch.chdir(tmp_path)
    peaks = []
    for edge in (48, 235):
        labels = np.zeros((edge,) * 3, np.uint64)
        labels[8:20, 8:20], labels[8:20, 28:40, 10:] = 3, 5
        labels[-12:, -12:] = 6
        labels[:, -30:-16, -12:] = 2**40
        for name in ("truth", "found"):
            place, box = f"{edge}.h5:{name}", Box.from_shape(labels.shape)
            with create_volume(place, bounds=box, dtype=labels.dtype, voxel_size_nm=[20] * 3) as volume:
                volume.write(volume.bounds, labels)
        arguments = ("--segmentation", f"{edge}.h5:found", "--labels", f"{edge}.h5:truth")
        arguments = (*arguments, "--memory_gb", "0.05", "--output", f"{edge}/metrics.json")
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={"PYTHONPATH": str(repository), "PATH": "/usr/bin:/bin"},
        )
        assert done.returncode == 0, done.stderr
        assert stage(folder=str(edge))["nerl"] == 1
        peaks.append(int(done.stdout.splitlines()[-1]) * 1024)
    assert labels.nbytes > 2 * 0.05e9
    assert peaks[1] - peaks[0] < 0.05e9


REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "nothing": ((), "--config"),
    "no truth": (("--segmentation", "v.h5:split"), "--labels or --skeletons"),
    "both ways": (("--config", "c", "--labels", "v.h5:truth"), "beside --config"),
    "missing file": (("--segmentation", "no.h5:x", "--labels", "v.h5:truth"), "no.h5"),
    "missing skeletons": ((*BASE, "--skeletons", "none/*.swc"), "none"),
    "float labels": (("--segmentation", "v.h5:split", "--labels", "odd.h5:floats"), "float"),
    "other voxel size": (("--segmentation", "v.h5:split", "--labels", "coarse.h5:labels"), "nm"),
    "elsewhere": (("--segmentation", "v.h5:split", "--labels", "far.h5:labels"), "share no voxel"),
    "image of another size": ((*BASE, "--raw", "coarse.h5:labels"), "image"),
    "box outside": ((*BASE, "--box", "start { x: 0 y: 0 z: 0 } size { x: 999 y: 2 z: 2 }"), "x 0:999"),
    "empty box": ((*BASE, "--box", "start { x: 0 y: 0 z: 0 } size { x: 0 y: 2 z: 2 }"), "size"),
    "skeletons outside": ((*BASE, "--skeletons", "away.swc"), "none of the"),
    "skeletons outside the box": (
        (*BASE, "--skeletons", "away.swc", "--box", "start { x: 0 y: 0 z: 0 } size { x: 9 y: 9 z: 9 }"),
        "no node",
    ),
    "empty skeleton": ((*BASE, "--skeletons", "empty.swc"), "empty.swc"),
    "nothing labelled": (("--segmentation", "v.h5:split", "--labels", "odd.h5:zeros"), "no labelled voxel"),
    "unknown setting": ((*BASE, "--settings", "skelletons: 3"), "skelletons"),
    "voxel size in words": ((*BASE, "--voxel_size_nm", "ten,10,10"), "--voxel_size_nm"),
    "damaged metrics": ((*BASE[:4], "--output", "bad.json"), "bad.json"),
    "output is a folder": ((*BASE[:4], "--output", "skeletons"), "skeletons"),
    "output is the report": ((*BASE[:4], "--output", "r/report.html"), "end it in .json"),
    "axes in another order": (("--segmentation", "v.h5:split", "--labels", "turned.h5:labels"), "transpose"),
    "endless edges": (
        (*BASE, "--skeletons", "skeletons/*.swc", "--settings", "skeleton_edge_nm: 1e-9"),
        "raise evaluation.skeleton_edge_nm",
    ),
    "another voxel size": ((*BASE, "--voxel_size_nm", "10,10,12"), "leave the flag out"),
    "name of a folder": ((*BASE, "--name", "../x"), "--name"),
    "memory beside a config": (("--config", "c", "--memory_gb", "1"), "beside --config"),
    "unknown config": (("--config", "none.textproto"), "none.textproto"),
    "argument": (("v.h5",), "v.h5"),
}


@pytest.mark.parametrize(("arguments", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_compared_is_said_in_one_line(
    tubes: np.ndarray, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    write_volumes("odd.h5", floats=tubes.astype(np.float32), zeros=np.zeros_like(tubes))
    write_volumes("coarse.h5", size_nm=(20, 20, 20), labels=tubes)
    write_volumes("turned.h5", labels=tubes.T)
    write_volumes("far.h5", start_zyx=(500, 0, 0), labels=tubes)
    write_swc("away.swc", straight(1e6))
    Path("empty.swc").write_text("# unit: nm\n")
    Path("bad.json").write_text("{")
    assert run(*arguments) == 2
    (error,) = (line for line in message(capsys).splitlines() if not line.startswith("note: "))
    assert error.startswith("error: ")
    assert words in error
    assert not Path("r").exists()


def test_a_skeleton_is_cut_to_what_lies_in_a_box() -> None:
    line = straight(65.0, 4)
    radii = Skeleton(line.nodes_nm, line.edges, np.arange(5.0))
    found = inside({3: radii, 5: straight(9000.0)}, Box((0, 0, 1), (10, 10, 4)), (10, 10, 10))
    assert list(found) == [3]
    assert found[3].nodes_nm[:, 2].tolist() == pytest.approx([15, 25, 35, 10, 40])
    assert found[3].edges.tolist() == [[3, 0], [0, 1], [1, 2], [2, 4]]
    assert found[3].radii_nm is not None and found[3].radii_nm.tolist() == pytest.approx([1, 2, 3, 0.5, 3.5])


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished project of two passes and their consensus, cut into eight subvolumes."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_bars(inference=f"{PASSES} {CUT}")
        assert tiny_project.run("--config", "c.textproto") == 0
    return folder


def test_all_stages_of_a_project_get_their_figures(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    before = metrics()
    assert run("--config", "c.textproto") == 0
    after = metrics()
    assert list(after) == ["forward", "reversed", "consensus"]
    for name, figures in before.items():
        segmented = figures.pop("segmented_only")
        assert {key: after[name][key] for key in figures} == pytest.approx(figures)
        assert after[name]["segmented_only"] == pytest.approx(segmented)
        assert after[name]["nerl"] > 0.9
    assert json.loads(Path("out/metrics.json").read_text())["config"] == "config.textproto"
    files = {path.name for path in Path("out").glob("*.*")}
    assert {
        "errors-consensus.jsonl",
        "errors-forward.jsonl",
        "neurons-consensus.csv",
        "neurons-reversed.csv",
        "report.html",
    } <= files
    assert "weights: &#34;net.ffn.h5&#34;" in Path("out/report.html").read_text()
    assert capsys.readouterr().out.splitlines()[1].startswith("forward")
    assert {each["compared"]["segmentation"] for each in after.values()} == {
        f"out, stage {name}" for name in after
    }
    assert tiny_project.run("--config", "c.textproto") == 0
    assert metrics() == after, "a rerun of the same project keeps the figures and what they follow from"
    assert run("--config", "c.textproto", "--name", "mine") == 2
    assert "--name mine" in message(capsys)


def test_no_network_library_is_loaded(project: Path, repository: Path) -> None:
    program = (
        "import sys\nfrom commands.evaluate import run\n"
        "light = {'numpy', 'h5py', 'matplotlib', 'jinja2', 'numba'} & set(sys.modules)\n"
        "assert run(['--config', 'c.textproto']) == 0\n"
        "print(light, {'tensorflow', 'keras', 'jax', 'torch'} & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(repository), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set() set()"


def test_a_stage_is_read_as_a_volume(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    stages = finished_stages(open_workspace(as_it_ran(load_config("c.textproto"))))
    assert [each.stage for each in stages] == ["forward", "reversed", "consensus"]
    written = tiny_project.supervoxels()
    assert np.array_equal(stages[-1].read(), written)
    box = Box((10, 3, 20), (30, 33, 41))
    assert np.array_equal(stages[-1].read(box), written[box.slices()])


def test_a_segmentation_named_in_the_config_takes_the_place_of_the_stages(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    text = Path("c.textproto").read_text().replace('output_dir: "out"', 'output_dir: "other"')
    named = 'labels { spec: "data.h5:labels" } segmentation { spec: "data.h5:labels" }'
    Path("named.textproto").write_text(text.replace('labels { spec: "data.h5:labels" }', named))
    assert run("--config", "named.textproto", "--name", "mine") == 0
    assert list(metrics("other")) == ["mine"]
    assert metrics("other")["mine"]["nerl"] == 1


def test_a_project_of_other_settings_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    text = Path("c.textproto").read_text().replace("min_segment_size: 10", "min_segment_size: 11")
    Path("changed.textproto").write_text(text)
    assert run("--config", "changed.textproto") == 2
    assert "min_segment_size" in message(capsys)


def test_a_project_without_a_finished_stage_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_bars()
    assert run("--config", "c.textproto") == 2
    assert "no finished stage" in message(capsys)
    assert not Path("out").exists()


def test_a_phantom_brings_its_own_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shape = "shape { z: 24 y: 24 x: 24 }"
    tiny_project.write_config(raw="", phantom=f"{{ {shape} }}", evaluation="")
    text = Path("c.textproto").read_text().replace('raw { spec: "" }\n', "")
    Path("c.textproto").write_text(text)
    config = load_config("c.textproto")
    inputs = open_inputs(config)
    assert inputs.labels is not None
    named = text + f'\nevaluation {{ segmentation {{ spec: "{inputs.labels.spec}" }} }}\n'
    Path("c.textproto").write_text(named)
    assert run("--config", "c.textproto") == 0
    assert stage(folder="out")["arand"] == 0


@pytest.mark.slow
def test_the_published_segmentation_of_fib25_has_the_figures_measured_independently(
    shared_data: Path, tmp_path: Path
) -> None:
    data = shared_data / "data"
    arguments = (
        "--segmentation",
        f"{data}/fib25_training2_google_ffn_dev.h5:segmentation",
        "--labels",
        f"{data}/fib25_training2_dev.h5:labels",
        "--settings",
        "skeletonisation { min_voxels: 1000000000 }",
        "--output",
        str(tmp_path / "metrics.json"),
    )
    assert run(*arguments) == 0
    figures = stage(folder=str(tmp_path))
    names = ("voi_split", "voi_merge", "arand")
    assert [round(figures[name], 3) for name in names] == [0.812, 0.785, 0.172]
    assert [round(figures["segmented_only"][name], 3) for name in names] == [0.538, 0.239, 0.083]
