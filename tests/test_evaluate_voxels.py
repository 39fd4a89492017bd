"""The commands evaluate classes and evaluate clefts: figures, tables, metrics.json, refusals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tiny_project import metrics, write_volumes

from commands import evaluate
from evaluation import average_precision, class_metrics, cleft_distances, confusion_matrix, contingency
from evaluation.instances import instance_metrics
from volumes import VolumeError
from volumes.opening import open_channel

SHAPE = (6, 20, 24)
SIZE_NM = (10.0, 10.0, 10.0)
BASE = ("--prediction", "v.h5:found", "--labels", "v.h5:true", "--output", "r/metrics.json")


@pytest.fixture
def volumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """True and predicted classes 0 to 2 with their scores, objects, and clefts, in one file."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(3)
    true = rng.integers(0, 3, SHAPE).astype(np.uint8)
    scores = rng.random((3, *SHAPE)).astype(np.float32) * 0.6
    scores += 0.4 * (np.arange(3)[:, None, None, None] == true)
    found = scores.argmax(axis=0).astype(np.uint8)
    objects, segments = np.zeros(SHAPE, np.uint32), np.zeros(SHAPE, np.uint32)
    objects[:, 1:9], objects[:, 11:19] = 4, 9
    segments[:, 1:9], segments[:, 11:19, :14], segments[:, 11:19, 14:] = 7, 8, 9
    clefts = {name: (rng.random(SHAPE) < 0.02).astype(np.uint8) for name in ("synapses", "true_synapses")}
    write_volumes("v.h5", true=true, found=found, objects=objects, segments=segments, **clefts)
    with h5py.File("v.h5", "r+") as file:
        for name, voxels in {"scores": scores, "two_scores": scores[:2], "one_score": scores[1]}.items():
            file[name] = voxels
            file[name].attrs["resolution"] = SIZE_NM
    return {
        "true": true,
        "found": found,
        "scores": scores,
        "objects": objects,
        "segments": segments,
        **clefts,
    }


def run(*arguments: str) -> int:
    return evaluate.run([*arguments])


def message(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def test_classes_are_compared_and_ranked(
    volumes: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["background", "axon", "dendrite"]
    assert run("classes", *BASE, "--scores", "v.h5:scores", "--classes", ",".join(names)) == 0
    figures = metrics("r")["classes"]
    expected = class_metrics(confusion_matrix(volumes["found"], volumes["true"], classes=3), names)
    assert {name: figures[name] for name in expected} == expected
    ranked = figures["average_precision_per_class"]
    exact = [average_precision(volumes["scores"][k], volumes["true"], positive=k) for k in range(3)]
    assert [ranked[name]["average_precision"] for name in names] == pytest.approx(exact, abs=1e-4)
    assert figures["average_precision"] == pytest.approx(np.mean(exact), abs=1e-4)  # type: ignore[arg-type]
    compared = figures["compared"]
    assert (compared["prediction"], compared["scores"]) == ("v.h5:found", "v.h5:scores")
    assert compared["box"] == {"start": [0, 0, 0], "stop": list(SHAPE)}
    table = capsys.readouterr().out
    for word in ("axon", "macro", "kappa", "AP", f"{figures['macro']['f1']:.3f}", "r/metrics.json"):
        assert word in table


def test_other_classes_take_the_place_of_those_before(volumes: dict[str, np.ndarray]) -> None:
    assert run("classes", *BASE, "--scores", "v.h5:scores", "--classes", "a,b,c") == 0
    assert run("classes", *BASE, "--name", "other", "--ignore", "0") == 0
    assert run("classes", *BASE, "--classes", "x,y,z") == 0
    assert set(metrics("r")) == {"classes", "other"}
    assert set(metrics("r")["classes"]["per_class"]) == {"x", "y", "z"}
    assert "average_precision" not in metrics("r")["classes"]
    assert set(metrics("r")["other"]["per_class"]) == {"1", "2"}


def test_a_channel_that_cannot_be_opened_is_not_a_missing_one(
    volumes: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def opener(spec: str, channel: int, **settings: Any) -> Any:
        if channel == 1:
            raise VolumeError("channel 1 is damaged; make it again")
        return open_channel(spec, channel, **settings)

    monkeypatch.setattr("volumes.opening.open_channel", opener)
    assert run("classes", *BASE, "--scores", "v.h5:scores") == 2
    assert "channel 1 is damaged" in message(capsys)


def test_scores_of_one_channel_are_those_of_class_one(
    volumes: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("classes", *BASE, "--scores", "v.h5:one_score") == 0
    note = "average precision is of that class alone, and not of class 2"
    assert note in message(capsys) and note in metrics("r")["classes"]["compared"]["notes"][0]
    figures = metrics("r")["classes"]
    exact = average_precision(volumes["scores"][1], volumes["true"])
    assert figures["average_precision"] == pytest.approx(exact, abs=1e-4)
    assert set(figures["average_precision_per_class"]) == {"1"}


def test_a_box_is_given_in_xyz(volumes: dict[str, np.ndarray]) -> None:
    box = "start { x: 4 y: 3 z: 1 } size { x: 10 y: 8 z: 2 }"
    assert run("classes", *BASE, "--box", box) == 0
    part = (slice(1, 3), slice(3, 11), slice(4, 14))
    expected = class_metrics(confusion_matrix(volumes["found"][part], volumes["true"][part]))
    assert metrics("r")["classes"]["kappa"] == expected["kappa"]
    assert metrics("r")["classes"]["compared"]["box"]["start"] == [1, 3, 4]


@pytest.mark.parametrize(("iou", "matched"), [(None, 2), ("0.6", 1)])
def test_objects_are_matched(
    volumes: dict[str, np.ndarray], iou: str | None, matched: int, capsys: pytest.CaptureFixture[str]
) -> None:
    # Segment 7 is object 4; of object 9, segment 8 has 14 of 24 voxels along x.
    arguments = ("--prediction", "v.h5:segments", "--labels", "v.h5:objects", "--output", "r/metrics.json")
    flags = () if iou is None else ("--iou", iou)
    assert run("classes", "--instances", *arguments, "--name", "objects", *flags) == 0
    figures = metrics("r")["objects"]
    assert figures["instances"]["n_matched"] == matched
    assert (figures["instances"]["precision"], figures["instances"]["recall"]) == (matched / 3, matched / 2)
    table = contingency(volumes["segments"], volumes["objects"])
    assert figures["instances"] == instance_metrics(table, float(iou or 0.5))
    assert figures["accuracy"] == 1 and figures["per_class"]["object"]["n_truth"] == 6 * 16 * 24
    assert "matched" in capsys.readouterr().out


def test_ignored_and_small_objects_do_not_count(volumes: dict[str, np.ndarray]) -> None:
    arguments = ("--prediction", "v.h5:segments", "--labels", "v.h5:objects", "--output", "r/metrics.json")
    assert run("classes", "--instances", *arguments, "--ignore", "4", "--min_voxels", "500") == 0
    figures = metrics("r")["classes"]
    assert (figures["instances"]["n_segments"], figures["instances"]["n_truth"]) == (1, 1)
    assert figures["n_voxels"] == 6 * 12 * 24


def test_clefts_are_measured(volumes: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--prediction", "v.h5:synapses", "--labels", "v.h5:true_synapses", "--threshold_nm", "30")
    assert run("clefts", *arguments, "--output", "r/metrics.json") == 0
    figures = metrics("r")["clefts"]
    expected = cleft_distances(volumes["synapses"], volumes["true_synapses"], SIZE_NM, threshold_nm=30)
    for name in ("adgt_nm", "adf_nm", "cremi_score_nm", "n_false_positive", "recall"):
        assert figures[name] == pytest.approx(expected[name])
    assert figures["compared"]["settings"] == {"ignore": None, "threshold_nm": 30, "cremi": []}
    table = capsys.readouterr().out
    assert f"CREMI score {figures['cremi_score_nm']:.3f} nm" in table and "found to true" in table


def test_files_of_cremi_are_told_by_a_flag(
    volumes: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    marked = np.where(volumes["true_synapses"], np.uint64(5), np.uint64(2**64 - 1))
    write_volumes("cremi.h5", clefts=marked)
    arguments = ("clefts", "--prediction", "v.h5:synapses", "--labels", "cremi.h5:clefts")
    assert run(*arguments) == 2
    assert "2^64 - 1, CREMI's mark for no cleft; say that the labels are CREMI's" in message(capsys)
    assert run(*arguments, "--cremi", "labels", "--output", "r/metrics.json") == 0
    expected = cleft_distances(volumes["synapses"], volumes["true_synapses"], SIZE_NM)
    assert metrics("r")["clefts"]["adf_nm"] == pytest.approx(expected["adf_nm"])


def test_without_an_output_nothing_is_written(
    volumes: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("classes", "--prediction", "v.h5:found", "--labels", "v.h5:true") == 0
    assert "macro" in capsys.readouterr().out and [p.name for p in Path().iterdir()] == ["v.h5"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("classes", "--labels", "v.h5:true"), "give --prediction and --labels"),
        (("clefts", "--prediction", "v.h5:found"), "give --prediction and --labels"),
        (("classes", *BASE, "--iou", "0.5"), "--iou is for objects; add --instances"),
        (("classes", *BASE, "--instances", "--classes", "a,b"), "--classes is for classes, not for objects"),
        (("classes", *BASE, "--instances", "--iou", "1.5"), "IoU threshold 1.5 is out of range"),
        (("classes", *BASE, "--classes", "a,b"), "holds 2, which is no class of 0 … 1"),
        (("classes", *BASE, "--scores", "v.h5:scores", "--classes", "a,b,c,d"), "do not name 3 classes"),
        (("classes", *BASE, "--scores", "v.h5:two_scores"), "class 2, but scores 'v.h5:two_scores' have 2 c"),
        (("classes", *BASE[:4], "--output", "r/figures.txt"), "end it in .json"),
        (("classes", *BASE, "--name", "a/b"), "names files"),
        (("classes", *BASE, "--voxel_size_nm", "1,2"), "is not three numbers"),
        (("classes", *BASE, "--voxel_size_nm", "1,2,3"), "says that its voxels have"),
        (("clefts", *BASE, "--cremi", "truth"), "neither labels nor prediction"),
        (("clefts", *BASE, "--threshold_nm", "-1"), "is no distance"),
        (("clefts", "--prediction", "v.h5:nothing", "--labels", "v.h5:true"), "nothing"),
        (("clefts", *BASE, "more"), "unexpected argument 'more'"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    volumes: dict[str, np.ndarray], arguments: tuple[str, ...], expected: str, capsys: pytest.CaptureFixture
) -> None:
    assert run(*arguments) == 2
    line = message(capsys)
    assert expected in line and line.count("\n") == 1
    assert not Path("r/metrics.json").exists()


def test_the_record_says_what_figures_follow_from(volumes: dict[str, np.ndarray]) -> None:
    assert run("classes", *BASE, "--classes", "a,b,c", "--scores", "v.h5:scores", "--ignore", "7") == 0
    figures = metrics("r")["classes"]
    compared = figures["compared"]
    assert compared.pop("versions")["numpy"] == np.__version__
    assert compared == {
        "figures": sorted(figures.keys() - {"compared"}),
        "prediction": "v.h5:found",
        "labels": "v.h5:true",
        "scores": "v.h5:scores",
        "box": {"start": [0, 0, 0], "stop": list(SHAPE)},
        "voxel_size_nm": list(SIZE_NM),
        "shares": {"prediction": 1, "labels": 1},
        "settings": {"ignore": 7, "classes": ["a", "b", "c"]},
        "notes": [],
    }


@pytest.mark.parametrize(
    ("found", "true", "note"),
    [
        (range(102, 117), range(1, 17), "15 are in the prediction and 16 in the labels, but 0 in both"),
        ([0, 1, 2, 3], [0, 3, 4, 5], "3 are in the prediction and 3 in the labels, but 1 in both"),
        (range(1, 71), range(1, 71), "there are 70 classes other than 0"),
        (range(64), range(65), ""),
        ([0, 1, 2], [0, 2, 3], ""),
        ([0], [0, 1, 2], ""),
    ],
)
def test_a_note_tells_of_classes_that_look_like_objects(
    volumes: dict[str, np.ndarray],
    found: Sequence[int],
    true: Sequence[int],
    note: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    voxels = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    write_volumes("ids.h5", a=np.array(found)[voxels % len(found)], b=np.array(true)[voxels % len(true)])
    pair = ("classes", "--prediction", "ids.h5:a", "--labels", "ids.h5:b", "--output", "r/metrics.json")
    assert run(*pair) == 0
    notes = metrics("r")["classes"]["compared"]["notes"]
    assert len(notes) == bool(note) and "".join(f"note: {each}\n" for each in notes) == message(capsys)
    assert all(note in each and "add --instances" in each for each in notes)
    assert run(*pair, "--classes", ",".join(f"c{n}" for n in range(256))) == 0 and not message(capsys)


def test_the_stage_of_a_segmentation_is_left_alone(
    volumes: dict[str, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    pair = ("--segmentation", "v.h5:segments", "--labels", "v.h5:objects", "--name", "last")
    assert evaluate.run([*pair, "--output", "r/metrics.json"]) == 0
    before = {path: path.read_bytes() for path in Path("r").rglob("*") if path.is_file()}
    capsys.readouterr()
    for name in ("classes", "clefts"):
        assert run(name, *BASE, "--name", "last") == 2
        assert "stage 'last' of r/metrics.json holds a comparison of a segmentation" in message(capsys)
    assert {path: path.read_bytes() for path in Path("r").rglob("*") if path.is_file()} == before
    assert run("classes", *BASE) == 0 and set(metrics("r")) == {"last", "classes"}


@pytest.mark.parametrize("arguments", [("classes",), ("classes", "--instances"), ("clefts",)])
def test_volumes_with_their_axes_turned_are_refused(
    volumes: dict[str, np.ndarray], arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    write_volumes("turned.h5", true=volumes["true"].T)
    turned = (*arguments, "--prediction", "v.h5:found", "--labels", "turned.h5:true")
    assert run(*turned) == 2
    assert "(6, 20, 24) and ground truth 'turned.h5:true' (24, 20, 6) (zyx)" in message(capsys)
    assert run(*turned, "--box", "start { x: 0 y: 0 z: 0 } size { x: 6 y: 20 z: 6 }") == 0


@pytest.mark.parametrize("name", ["classes", "clefts"])
def test_a_note_tells_of_volumes_that_meet_in_part(
    volumes: dict[str, np.ndarray], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_volumes("shifted.h5", (3, 0, 0), true=volumes["true"][:4])
    arguments = (name, *BASE[:2], "--labels", "shifted.h5:true", *BASE[4:])
    assert run(*arguments) == 0
    line = "only z 3:6, y 0:20, x 0:24 is compared, which both volumes hold: 50 % of the prediction and 75 %"
    assert line in message(capsys)
    compared = metrics("r")[name]["compared"]
    assert [note.startswith(line) for note in compared["notes"]] == [True]
    assert compared["shares"] == {"prediction": 0.5, "labels": 0.75}
    box = "start { x: 0 y: 0 z: 3 } size { x: 24 y: 20 z: 3 }"
    assert run(*arguments, "--box", box) == 0 and "only" not in message(capsys)


@pytest.mark.parametrize("name", ["classes", "clefts"])
def test_help_shows_what_a_subcommand_takes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(name, "--help") == 0
    shown: Any = capsys.readouterr().out
    assert f"evaluate {name} --prediction SPEC --labels SPEC" in shown and "--ignore" in shown
