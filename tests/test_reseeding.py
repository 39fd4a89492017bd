"""Reseeding: new objects where voxels are empty, in a copy of a project that left some of its bars out."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tiny_project import CUT, bars, contents, make_bars, metrics, run, supervoxels, write_config

from inference import checkpoints
from inference.reconciliation import GlobalIds, shifted
from inference.reseeding_job import seeds_in
from inference.reseeding_pieces import new_objects
from inference.reseeding_points import final_outcomes, labels_at, read_seed_points
from inference.results import SubvolumeResult
from volumes import Box, VolumeError, open_volume
from volumes.arrays import ArrayVolume

# Whole projects are run.
pytestmark = pytest.mark.slow

FORWARD = 'passes { name: "forward" }'
COARSE = 'passes { name: "coarse" voxel_size_nm { z: 20 y: 20 x: 20 } seed_policy: "PolicyMaxPeaks" }'
SETTINGS = f"{CUT} batch_size: 2"
# No seed there: of the bars, seven along x and y stay empty and eight are filled.
LEFT_OUT = '{ seeds { coordinate_expression { expression: "(z >= 11) & (x < 38)" } } }'
FIRST = "out/reseeded/reseed-1"
# In bars that were left out: across the cut of x, and in the middle of one subvolume.
ACROSS, INSIDE = (30, 5, 24), (30, 16, 10)
FILLED = (6, 5, 10)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose first run left bars out; its config no longer does. Not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_bars(inference=FORWARD + SETTINGS, masks=LEFT_OUT)
        assert run("--config", "c.textproto") == 0
        write_config(inference=FORWARD + SETTINGS)
    return folder


@pytest.fixture(scope="module")
def reseeded(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same after a reseeding of everything. Not to be changed."""
    folder = tmp_path_factory.mktemp("reseeded") / "project"
    shutil.copytree(finished, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert reseed() == 0
    return folder


def entered(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(folder, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def place(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project; the working directory."""
    return entered(finished, tmp_path, monkeypatch)


@pytest.fixture
def place_after(reseeded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project after its reseeding; the working directory."""
    return entered(reseeded, tmp_path, monkeypatch)


def reseed(*arguments: str) -> int:
    return run("reseed", "--config", "c.textproto", *arguments)


def write_points(*points: tuple[float, ...], header: str = "z,y,x") -> str:
    Path("points.csv").write_text("\n".join([header, *(",".join(map(str, p)) for p in points)]))
    return "points.csv"


def added(folder: str = FIRST) -> np.ndarray:
    """The new objects of a job, after a look that it changed none of the others."""
    before, after = supervoxels(), supervoxels(folder)
    np.testing.assert_array_equal(after[before > 0], before[before > 0])
    new = np.where(before > 0, 0, after)
    assert (new[new > 0] > before.max()).all()
    return new


def bars_with(new: np.ndarray) -> set[int]:
    """The bars that new objects lie in."""
    return {int(bar) for bar in np.unique(bars()[new > 0])} - {0}


def test_objects_are_added_and_nothing_else_changes(finished, place_after):
    new, before = added(), supervoxels()
    assert bars_with(before) == set(range(1, 5)) | set(range(12, 16))
    assert bars_with(new) == set(range(5, 12))
    original = {p.relative_to(finished): b for p, b in contents(str(finished / "out")).items()}
    kept = {p: b for p, b in contents("out").items() if "reseeded" not in p.parts}
    assert kept == original, "what was there stays on disk as it was"


def test_a_new_object_that_crosses_cuts_has_one_id(reseeded, monkeypatch):
    monkeypatch.chdir(reseeded)
    new = added()
    pairs = np.unique(np.stack([bars(), new])[:, (bars() > 0) & (new > 0)], axis=1)
    assert pairs.shape == (2, 7) and len(set(pairs[1])) == 7
    assert all((new[bars() == bar] > 0).mean() > 0.3 for bar in range(5, 12))


def test_coverage_rises_and_is_written_and_told(place, capsys):
    assert reseed() == 0
    stages, printed = metrics(FIRST), capsys.readouterr().out
    labelled = bars() > 0
    for stage, labels in (("before", supervoxels()), ("reseeded", supervoxels(FIRST))):
        assert stages[stage]["coverage"] == pytest.approx((labels[labelled] > 0).mean())
        assert stages[stage]["objects"] == len(np.unique(labels)) - 1
        assert f"{stages[stage]['coverage']:.2%}" in printed
    assert stages["before"]["coverage"] == metrics()["forward"]["coverage"]
    assert stages["before"]["voi_split"] == metrics()["forward"]["voi_split"]
    assert stages["reseeded"]["coverage"] > stages["before"]["coverage"]
    assert stages["reseeded"]["added"] == 7 and "7 objects added (IDs above 8)" in printed
    assert f"results: {FIRST}" in printed


def test_the_table_and_the_coarser_scales_hold_old_and_new_objects(reseeded, monkeypatch):
    monkeypatch.chdir(reseeded)
    ids, voxels = np.unique(supervoxels(FIRST), return_counts=True)
    with open(f"{FIRST}/supervoxels.csv", newline="") as file:
        rows = {int(row["id"]): int(row["voxels"]) for row in csv.DictReader(file)}
    assert rows == dict(zip(ids[1:].tolist(), voxels[1:].tolist(), strict=True))
    assert not Path(FIRST, "image").exists()
    assert open_volume(f"precomputed://file://{reseeded}/{FIRST}/supervoxels").shape == bars().shape


def test_a_job_given_again_is_found_done_and_another_gets_another_name(place_after, capsys):
    before = contents(FIRST)
    assert reseed() == 0
    assert "reseeded (done before): 15 objects" in capsys.readouterr().out
    assert contents(FIRST) == before
    assert reseed("--points", write_points(INSIDE)) == 0 and Path("out/reseeded/reseed-2").is_dir()
    assert reseed("--points", write_points(INSIDE), "--name", "reseed-1") == 2
    assert f'{FIRST} is another job: points = "" there' in capsys.readouterr().err


def test_points_are_the_only_seeds(place, capsys):
    points = write_points(INSIDE, FILLED, (99, 0, 0), (1, 1, 1), (30, 11, 10))
    assert reseed("--points", points) == 0
    new, printed = added(), capsys.readouterr()
    assert bars_with(new) == {int(bars()[INSIDE])} and len(np.unique(new)) == 2
    assert "3 of 5 points are no seeds: 1 in an existing object, 1 outside, 1 too near a face" in printed.err
    with open(f"{FIRST}/points.csv", newline="") as file:
        rows = [(row["outcome"], int(row["id"])) for row in csv.DictReader(file)]
    assert rows == [
        ("in a new object", int(new.max())),
        ("in an existing object", int(supervoxels()[FILLED])),
        ("outside", 0),
        ("too near a face", 0),
        ("no object", 0),
    ]
    assert "points: 1 in a new object" in printed.out
    assert len(list(Path(FIRST, "subvolumes").rglob("seg-*.npz"))) == 1, "other subvolumes are not worked on"


def test_a_point_where_subvolumes_overlap_floods_in_all_of_them(place):
    assert reseed("--points", write_points(ACROSS)) == 0
    new = added()
    assert len(np.unique(new)) == 2 and bars_with(new) == {int(bars()[ACROSS])}
    _, _, x = np.nonzero(new)
    assert x.min() < 10 and x.max() > 30


def test_points_in_nanometres_are_the_same_points(place):
    assert reseed("--points", write_points(INSIDE)) == 0
    x_first = write_points((*(10 * n + 9.9 for n in INSIDE[::-1]),), header="x_nm, y_nm, z_nm")
    assert reseed("--points", x_first) == 0
    assert not Path("out/reseeded/reseed-2").exists(), "the same job"


def test_seeds_lie_in_the_box(place):
    box = "start { z: 25 y: 12 x: 0 } size { z: 12 y: 10 x: 37 }"
    assert reseed("--box", box) == 0
    assert bars_with(added()) == {int(bars()[INSIDE])}


def test_a_coarse_pass_adds_objects_at_the_finest_grid(place):
    write_config(inference=FORWARD + COARSE + SETTINGS)
    assert reseed("--pass", "coarse") == 0
    new = added()
    assert len(bars_with(new)) >= 3
    assert json.loads(Path(FIRST, "job.json").read_text())["pass"] == "coarse"
    # Whole coarse voxels, but for what was there.
    even = np.where(supervoxels() > 0, 2**63, new).reshape(20, 2, 22, 2, 24, 2)
    even = even.transpose(0, 2, 4, 1, 3, 5).reshape(-1, 8)
    assert all(len(set(block[block < 2**63].tolist())) <= 1 for block in even[(even < 2**63).any(1)])


def test_a_job_starts_from_an_earlier_one(place):
    assert reseed("--points", write_points(INSIDE)) == 0
    earlier = f"precomputed://file://{place}/{FIRST}/supervoxels"
    assert reseed("--points", write_points(ACROSS), "--supervoxels", earlier) == 0
    first, second = supervoxels(FIRST), supervoxels("out/reseeded/reseed-2")
    np.testing.assert_array_equal(second[first > 0], first[first > 0])
    assert bars_with(second) == bars_with(first) | {int(bars()[ACROSS])}
    assert second.max() == first.max() + 1


def test_the_formats_of_the_config_are_written(place):
    write_config(
        inference=FORWARD + SETTINGS, outputs="{ zarr: true hdf5: true precomputed: false png: false }"
    )
    assert reseed("--points", write_points(INSIDE)) == 0
    expected = supervoxels(FIRST)
    for spec in (f"zarr://{place}/{FIRST}/supervoxels.zarr", f"{FIRST}/supervoxels.h5:segmentation"):
        np.testing.assert_array_equal(open_volume(spec).read(), expected)
    assert not Path(FIRST, "slices.png").exists()


@pytest.mark.slow
def test_two_processes_add_the_same_objects(reseeded, place):
    assert reseed("--workers", "2") == 0
    np.testing.assert_array_equal(supervoxels(FIRST), supervoxels(str(reseeded / FIRST)))


def test_without_ground_truth_coverage_counts_all_voxels(place, capsys):
    write_config(inference=FORWARD + SETTINGS, evaluation="")
    assert reseed("--points", write_points(INSIDE)) == 0
    shares = [f"{(labels > 0).mean():.2%}" for labels in (supervoxels(), supervoxels(FIRST))]
    assert f"coverage {' -> '.join(shares)}" in capsys.readouterr().out


PHANTOM = """
name: "phantom"
output_dir: "out"
phantom {{ shape {{ z: 32 y: 48 x: 48 }} seed: 3 }}
network {{ weights: "builtin:phantom" }}
inference {{ options {{ min_segment_size: {least} }} edge_context: MIRROR batch_size: 1 }}
evaluation {{ }}
"""


@pytest.mark.slow
def test_a_phantom_gets_more_covered_and_keeps_every_voxel(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("c.textproto").write_text(PHANTOM.format(least=5000))
    assert run("--config", "c.textproto") == 0
    Path("c.textproto").write_text(PHANTOM.format(least=300))
    assert reseed() == 0
    stages = metrics(FIRST)
    assert added().any() and stages["reseeded"]["coverage"] > stages["before"]["coverage"] + 0.05


# Interruptions


@pytest.mark.parametrize("moment", [2, 12])
def test_a_job_interrupted_in_the_middle_of_an_object_ends_the_same(place, monkeypatch, moment):
    points = write_points(ACROSS)
    assert reseed("--points", points, "--name", "whole") == 0
    kept, calls = checkpoints.Keeper.keep, []

    def die(keeper) -> None:
        kept(keeper)
        calls.append(keeper)
        if len(calls) == moment:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)

    monkeypatch.setattr(checkpoints.Keeper, "keep", die)
    write_config(inference=FORWARD + SETTINGS + " checkpoint_interval_seconds: 1e-6")
    assert reseed("--points", points) == 130
    assert list(Path(FIRST).rglob("*.unfinished")) and not Path(FIRST, "supervoxels").exists()
    assert reseed("--points", points) == 0
    np.testing.assert_array_equal(supervoxels(FIRST), supervoxels("out/reseeded/whole"))
    assert not list(Path(FIRST).rglob("*.unfinished"))


@pytest.mark.slow
@pytest.mark.parametrize("files", [1, 3, 5, 8, 11, 14])
def test_a_job_that_is_killed_at_any_file_ends_the_same(place, repository, files):
    points = write_points(ACROSS)
    assert reseed("--points", points, "--name", "whole") == 0
    script = (
        "import os, signal, sys; from commands.run_inference import run; real = os.replace; done = []\n"
        "def replace(*a):\n"
        "    real(*a); done.append(a)\n"
        f"    if len(done) == {files}: os.kill(os.getpid(), signal.SIGKILL)\n"
        "os.replace = replace\n"
        "run(['reseed', '--config', 'c.textproto', '--points', sys.argv[1]])"
    )
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    died = subprocess.run([sys.executable, "-c", script, points], env=environment, capture_output=True)
    assert died.returncode == -signal.SIGKILL
    assert reseed("--points", points) == 0
    np.testing.assert_array_equal(supervoxels(FIRST), supervoxels("out/reseeded/whole"))


@pytest.mark.parametrize(
    ("value", "says"),
    [(99, "highest_id = 8 there, 99 now"), (3, 'supervoxels_digest = "')],
    ids=["a higher ID", "another voxel"],
)
def test_supervoxels_that_changed_far_from_a_finished_job_are_noticed(place, capsys, value, says):
    job = ("--points", write_points(INSIDE))
    assert reseed(*job) == 0
    before = {path: data for path, data in contents(FIRST).items() if "before" not in path.parts}
    with open_volume(f"precomputed://file://{place}/out/supervoxels", mode="r+") as volume:
        volume.write(Box((38, 42, 46), (40, 44, 48)), np.full((2, 2, 2), value, np.uint64))
    assert reseed(*job) == 2
    error = capsys.readouterr().err
    assert f"{FIRST} started from other supervoxels: {says}" in error and "another --name" in error
    after = {path: data for path, data in contents(FIRST).items() if "before" not in path.parts}
    assert after == before
    assert reseed(*job) == 2, "a second time, too"
    assert reseed(*job, "--name", "anew") == 0
    assert supervoxels("out/reseeded/anew").max() == max(value, 8) + 1


def test_a_job_given_again_with_other_ground_truth_started_from_the_same(place):
    job = ("--points", write_points(INSIDE))
    assert reseed(*job) == 0
    expected = supervoxels(FIRST)
    write_config(inference=FORWARD + SETTINGS, evaluation="")
    assert reseed(*job) == 0
    np.testing.assert_array_equal(supervoxels(FIRST), expected)


# Refusals: (flags, what the message has to say)
REFUSALS = {
    "unknown pass": (["--pass", "reverse"], "forward"),
    "box outside": (["--box", "start { x: 40 } size { x: 9 y: 9 z: 9 }"], "x 0:48"),
    "no box": (["--box", "40, 3"], "bounding box"),
    "box without room": (["--box", "size { x: 2 y: 2 z: 2 }"], "larger"),
    "no points file": (["--points", "nowhere.csv"], "nowhere.csv"),
    "no points": (["--points", "empty.csv"], "no points"),
    "wrong points": (["--points", "wrong.csv"], "wrong.csv:2"),
    "points all taken": (["--points", "taken.csv"], "2 of 2 points are no seeds"),
    "a name that is a path": (["--name", "../up"], "letters"),
    "missing supervoxels": (["--supervoxels", "precomputed://file:///nowhere"], "nowhere"),
    "supervoxels of another region": (["--supervoxels", "small.h5:labels"], "z 0:8"),
    "supervoxels that are no IDs": (["--supervoxels", "small.h5:grey"], "float32"),
    "a stray argument": (["now"], "now"),
    "an unknown flag": (["--point", "x"], "point"),
}


@pytest.mark.parametrize("arguments, says", REFUSALS.values(), ids=REFUSALS)
def test_what_cannot_be_done_gets_one_line_and_leaves_nothing_behind(place, capsys, arguments, says):
    from tiny_project import write_volumes

    Path("empty.csv").write_text("# none yet\n")
    Path("wrong.csv").write_text("z_nm,y_nm,x_nm\n1,2,three\n")
    Path("taken.csv").write_text("{},{},{}\n99,99,99\n".format(*FILLED))
    write_volumes("small.h5", labels=np.ones((8, 8, 8), np.uint32), grey=np.ones((8, 8, 8), np.float32))
    before = contents(".")
    assert reseed(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and says in error
    assert contents(".") == before


@pytest.mark.parametrize(
    "name", ["slices.png", "metrics.json", "supervoxels.csv", "subvolumes", "before", "supervoxels"]
)
def test_what_lies_in_the_place_of_an_output_is_found_before_any_work(place, capsys, name):
    in_the_way = Path(FIRST, name)
    in_the_way.parent.mkdir(parents=True)
    if in_the_way.suffix:
        in_the_way.mkdir()
    else:
        in_the_way.write_text("mine")
    before = sorted(Path().rglob("*"))
    assert reseed() == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"'{in_the_way}' is a " in error
    assert sorted(Path().rglob("*")) == before


def test_what_killed_runs_left_of_files_is_removed(place_after):
    names = (".tmp-0-job.json", "subvolumes/.tmp-1-seg.npz", "before/.tmp-2-b.npz")
    left = [Path(FIRST, name) for name in names]
    for path in left:
        path.write_bytes(b"half")
        os.utime(path, (100, 100))
    assert reseed() == 0
    assert not any(path.exists() for path in left)


def test_without_supervoxels_the_message_says_what_makes_them(place, capsys):
    shutil.rmtree("out")
    assert reseed() == 2
    assert "run_inference --config" in capsys.readouterr().err
    assert not Path("out").exists()


def test_help_names_every_flag(capsys):
    assert run("reseed", "--help") == 0
    printed = capsys.readouterr().out
    assert all(f"--{name}" in printed for name in ("config", "box", "points", "pass", "name", "supervoxels"))
    assert run("reseed") == 2
    assert run("--help") == 0 and "run_inference reseed" in capsys.readouterr().out


# Parts


def result_of(segmentation: np.ndarray, fovs: list[int], start: tuple[int, int, int]) -> SubvolumeResult:
    ids = np.arange(1, len(fovs) + 1)
    seeds = np.array([[-1, -1, -1] if n == 0 else [0, 0, 1] for n in fovs], np.int64).reshape(-1, 3)
    return SubvolumeResult(
        box=Box.from_shape(segmentation.shape, start),
        segmentation=segmentation.astype(np.int32),
        probability=(segmentation * 10).astype(np.uint8),
        object_ids=ids,
        seeds_zyx=seeds,
        fovs=np.array(fovs, np.int64),
        counts={"objects": len(fovs)},
        settings={},
    )


def test_what_is_kept_of_a_subvolume_are_its_new_objects():
    result = result_of(np.array([[[1, 2, 3, 0, 4]]]), [0, 0, 7, 9], (5, 5, 5))
    found = new_objects(result, result.box, (1, 1, 1), result.segmentation == 1, 100)
    assert found.segmentation.tolist() == [[[0, 0, 1, 0, 2]]]
    assert found.probability.tolist() == [[[0, 0, 30, 0, 40]]]
    assert found.object_ids.tolist() == [1, 2] and found.fovs.tolist() == [7, 9]
    assert found.seeds_zyx.tolist() == [[0, 0, 1]] * 2 and found.counts["objects"] == 2


def test_nothing_is_kept_where_nothing_is_new():
    result = result_of(np.array([[[1, 1, 0]]]), [0], (0, 0, 0))
    found = new_objects(result, result.box, (1, 1, 1), result.segmentation > 0, 1)
    assert not found.segmentation.any() and found.object_ids.size == 0 and found.seeds_zyx.shape == (0, 3)


def test_coarse_objects_keep_what_is_empty_at_the_fine_grid_and_crumbs_go():
    result = result_of(np.array([[[1, 2, 3]]]), [0, 4, 6], (2, 2, 2))
    box = Box((4, 4, 5), (6, 6, 10))  # begins and ends inside coarse voxels
    taken = np.zeros(box.shape, bool)
    taken[..., 0] = True
    taken[0, :, 1:3] = True
    taken[:, :, 4] = True
    taken[0, 0, 3] = True
    found = new_objects(result, box, (2, 2, 2), taken, 4)
    # Object 2 had x 6 and 7, of which z 5 is left (4 voxels); object 3 had x 8 and 9, of which 3 are left.
    assert found.segmentation.tolist() == [[[0] * 5] * 2, [[0, 1, 1, 0, 0]] * 2]
    assert found.fovs.tolist() == [4]
    # Its seed is the coarse voxel (2, 2, 3), whose middle lies at (5, 5, 7).
    assert found.seeds_zyx.tolist() == [[1, 1, 2]]


def test_labels_at_points_are_those_of_the_volume():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2**63, (9, 300, 520), dtype=np.uint64)
    volume = ArrayVolume(labels, voxel_size_nm=(1, 1, 1), start=(3, 4, 5))
    points = rng.integers(0, labels.shape, (200, 3))
    np.testing.assert_array_equal(labels_at(volume, points + (3, 4, 5)), labels[tuple(points.T)])
    assert labels_at(volume, np.zeros((0, 3), np.int64)).shape == (0,)


def test_points_keep_their_order_and_each_voxel_is_one_seed():
    class Coarse:
        factors = (2, 2, 2)

    seeds = np.array([[9, 9, 9], [4, 4, 5], [5, 5, 4], [0, 0, 0], [8, 2, 2]])
    found = seeds_in(seeds, Box((1, 1, 1), (5, 5, 5)), Coarse())  # type: ignore[arg-type]
    assert found.tolist() == [[4, 4, 4], [2, 2, 2], [4, 1, 1]]


def test_a_nanometre_lies_in_the_voxel_around_it(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("# from a viewer\nX_nm,y_nm,z_nm\n\n8,15.9,40 # here\n7.9,16,-0.1\n")
    assert read_seed_points(str(path), (40, 8, 8)).tolist() == [[1, 1, 1], [-1, 2, 0]]
    path.write_text("z,y,x\n3,2,1\n")
    assert read_seed_points(str(path), (40, 8, 8)).tolist() == [[3, 2, 1]]


def test_new_ids_follow_the_highest_and_dropped_objects_stay_dropped():
    ids = GlobalIds(np.array([0, 3]), np.array([1, 2, 3], np.uint64), np.array([1, 0, 2], np.uint64))
    assert shifted(ids, 2**40).global_ids.tolist() == [2**40 + 1, 0, 2**40 + 2]
    with pytest.raises(VolumeError, match="64 bits"):
        shifted(ids, 2**64 - 2)


def test_outcomes_of_points_follow_from_the_objects_there():
    outcomes = ["seed", "seed", "outside", "in an existing object"]
    found = final_outcomes(outcomes, np.array([9, 0, 0, 3], np.uint64), 8)
    assert found == ["in a new object", "no object", "outside", "in an existing object"]
