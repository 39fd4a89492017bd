"""A volume cut into subvolumes: the same objects as in one, the same voxels however the work is spread."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tiny_project import (
    BARS,
    CUT,
    WIDE,
    bars,
    contents,
    corners,
    lit_bars,
    make_bars,
    metrics,
    run,
    save_threshold_network,
    stored,
    supervoxels,
    write_config,
    write_volumes,
)

from evaluation import overlap_metrics
from inference import project
from jobs import WorkerSettings
from volumes import Box, open_volume

# Whole projects are run.
pytestmark = pytest.mark.slow

TWO = 'passes { name: "forward" } passes { name: "reversed" seed_order: REVERSED }'
STAGES = ("forward", "reversed", "consensus")


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of eight subvolumes and two passes after its run; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    with inside(folder):
        make_bars(inference=TWO + CUT, outputs="{ zarr: true hdf5: true }")
        assert run("--config", "c.textproto") == 0
    return folder


@pytest.fixture
def project_copy(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which is the working directory."""
    folder = tmp_path / "project"
    shutil.copytree(finished, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("context", ["NONE", "MIRROR"])
def test_cutting_a_volume_hardly_changes_its_objects(tmp_path, monkeypatch, context):
    monkeypatch.chdir(tmp_path)
    for output, cut in (("whole", ""), ("cut", CUT)):
        make_bars(inference=f"edge_context: {context} {cut}", output_dir=f'"{output}"')
        assert run("--config", "c.textproto") == 0
        Path("data.h5").unlink()
    assert metrics("whole")["forward"]["subvolumes"] == 1
    assert metrics("cut")["forward"]["subvolumes"] == 8
    whole, cut = supervoxels("whole"), supervoxels("cut")
    figures = overlap_metrics(cut, np.where(whole > 0, whole, 0))
    assert figures["segmented_only"]["voi_split"] + figures["segmented_only"]["voi_merge"] <= 0.02
    assert figures["coverage"] > 0.97
    # Each bar is one object and each object one bar, whichever cuts it crosses.
    for labels in (whole, cut):
        pairs = np.unique(np.stack([bars(), labels])[:, (bars() > 0) & (labels > 0)], axis=1)
        assert pairs.shape == (2, BARS) and len(set(pairs[1])) == BARS


def test_faces_of_the_volume_are_reached_only_with_mirrored_context(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shares = []
    for context in ("NONE", "MIRROR"):
        make_bars(inference=f"edge_context: {context} {CUT}", output_dir=f'"{context}"')
        assert run("--config", "c.textproto") == 0
        Path("data.h5").unlink()
        shares.append((supervoxels(context)[:, :, 0] > 0)[bars()[:, :, 0] > 0].mean())
    assert shares[0] < 0.9 < shares[1]


def results(output: str = "out") -> dict[str, np.ndarray]:
    """Everything a run found out, without what depends on the clock."""
    found: dict[str, np.ndarray] = {"supervoxels": supervoxels(output)}
    for stage in STAGES:
        for corner in corners(stage, output):
            arrays = stored(stage, corner, output)
            names = ("segmentation", "object_ids", "seeds_zyx", "fovs")
            found |= {f"{stage} {corner} {name}": arrays[name] for name in names}
    found["table"] = np.array(Path(output, "supervoxels.csv").read_text())
    return found


def assert_same_results(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(second[name], array, err_msg=name)


@pytest.mark.parametrize(
    "how",
    [
        "batch_size: 1 subvolumes_in_flight: 1",
        "batch_size: 3 subvolumes_in_flight: 2",
        "batch_size: 8 subvolumes_in_flight: 8 checkpoint_interval_seconds: 0.3",
    ],
)
def test_results_depend_neither_on_the_batch_size_nor_on_what_is_in_flight(project_copy, how):
    expected = results()
    write_config(inference=TWO + CUT + how, output_dir='"again"')
    assert run("--config", "c.textproto") == 0
    assert_same_results(expected, results("again"))


@pytest.mark.slow
def test_results_do_not_depend_on_the_number_of_workers(project_copy):
    expected = results()
    write_config(inference=TWO + CUT, output_dir='"again"')
    assert run("--config", "c.textproto", "--workers", "2") == 0
    assert_same_results(expected, results("again"))


# Starting again


def test_a_second_start_finds_everything_done_and_changes_nothing(project_copy, capsys):
    before = contents("out")
    assert run("--config", "c.textproto") == 0
    printed = capsys.readouterr().out
    assert all(f"{stage} (done before)" in printed for stage in STAGES)
    assert contents("out") == before


def test_what_is_missing_is_made_again_and_nothing_else(project_copy, capsys):
    expected, kept = results(), contents("out/passes/reversed")
    shutil.rmtree("out/consensus")
    next(Path("out/passes/forward").rglob("seg-0_0_0.npz")).unlink()
    shutil.rmtree("out/supervoxels")
    assert run("--config", "c.textproto") == 0
    printed = capsys.readouterr().out
    assert "reversed (done before)" in printed and "forward (done" not in printed
    assert_same_results(expected, results())
    assert contents("out/passes/reversed") == kept


REFUSALS = {
    "consensus.min_size": ({"consensus": "{ min_size: 50 }"}, "consensus_min_size = 1000, this run has 50"),
    "consensus.split_components": ({"consensus": "{ split_components: false }"}, "split_components = true"),
    "reconciliation.min_share": ({"reconciliation": "{ min_share: 0.25 }"}, "min_share = 0.3"),
    "reconciliation.min_size": ({"reconciliation": "{ min_size: 9 }"}, "reconciliation_min_size = 1"),
    "subvolumes.size": ({"inference": TWO + CUT.replace("28", "48")}, "subvolume"),
    "subvolumes.overlap": ({"inference": TWO + CUT.replace("x: 8", "x: 6")}, "overlap_zyx"),
    "preprocessing": ({"preprocessing": "{ invert: true }"}, "preprocessing"),
    "masks": (
        {"masks": '{ seeds { coordinate_expression { expression: "x < 3" } } }'},
        "masks",
    ),
    "network.image_mean": (
        {"network": '{ weights: "net.ffn.h5" image_mean: 100 }'},
        "image_mean = 128, this run has 100.0",
    ),
}


@pytest.mark.parametrize("changes, says", REFUSALS.values(), ids=REFUSALS)
def test_changed_settings_are_refused_by_name_and_nothing_changes(project_copy, capsys, changes, says):
    before = contents("out")
    if "network" in changes:
        write_config(inference=TWO + CUT)
        text = Path("c.textproto").read_text()
        Path("c.textproto").write_text(text.replace('{ weights: "net.ffn.h5" }', changes["network"]))
    else:
        write_config(**{"inference": TWO + CUT, "outputs": "{ zarr: true hdf5: true }", **changes})
    assert run("--config", "c.textproto") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and says in error and "was made with" in error
    assert contents("out") == before


def test_the_measured_batch_size_is_told_kept_and_used_again(project_copy, capsys, monkeypatch):
    write_config(inference=TWO + CUT, output_dir='"again"')
    assert run("--config", "c.textproto") == 0
    told = capsys.readouterr().err
    assert "note: batch size " in told and "fields of view per second" in told
    size = int(told.split("batch size ")[1].split()[0])
    assert f"batch_size: {size}" in Path("again/config.textproto").read_text()

    def measure(*_: object) -> tuple[int, str]:
        raise AssertionError("measured again")

    monkeypatch.setattr(project, "measured_batch_size", measure)
    assert run("--config", "c.textproto") == 0
    assert "batch size" not in capsys.readouterr().err


def test_another_consensus_is_made_of_the_floods_that_are_there(project_copy, capsys):
    expected, kept = supervoxels(), contents("out/passes")
    sizes = np.unique(expected[expected > 0], return_counts=True)[1]
    for folder in ("consensus", "reconciliation"):
        shutil.rmtree(Path("out", folder))
    dropped = f"{{ min_size: {sizes.min() + 1} }}"
    write_config(inference=TWO + CUT, outputs="{ zarr: true hdf5: true }", consensus=dropped)
    assert run("--config", "c.textproto") == 0
    printed = capsys.readouterr().out
    assert "forward (done before)" in printed and "consensus (done" not in printed
    assert contents("out/passes") == kept
    found = supervoxels()
    left = sizes[sizes > sizes.min()]
    assert np.count_nonzero(found) == left.sum()
    np.testing.assert_array_equal(open_volume("zarr://out/supervoxels.zarr").read(), found)


class Stop(Exception):
    """Ends a run where workers would be started."""


@pytest.mark.parametrize(
    "how, threads",
    [
        ("batch_size: 2", 4),
        ("batch_size: 64", 8),
        ("batch_size: 64 subvolumes_in_flight: 3", 3),
        (f"{CUT[:-1]} memory_gb: 0.0026 }} batch_size: 64", 3),
        (f"{CUT[:-1]} memory_gb: 0.0001 }} batch_size: 64", 1),
    ],
)
def test_no_more_subvolumes_are_in_flight_than_there_are_or_fit_the_memory(
    project_copy, monkeypatch, how, threads
):
    """A box of 24 x 26 x 28 voxels takes 0.84 MB."""
    started = []

    def start(settings: WorkerSettings) -> None:
        started.append(settings)
        raise Stop

    monkeypatch.setattr(project, "worker_pool", start)
    cut = "" if "subvolumes {" in how else CUT
    write_config(inference=TWO + cut + how, output_dir='"other"')
    with pytest.raises(Stop):
        run("--config", "c.textproto")
    assert started[0].threads_per_worker == threads


# What is written


def test_all_formats_hold_the_same_supervoxels_on_the_same_grid(finished):
    with inside(finished):
        expected = supervoxels()
        for spec in ("out/supervoxels.h5:segmentation", "zarr://out/supervoxels.zarr"):
            with open_volume(spec) as volume:
                assert volume.dtype == np.uint64 and volume.voxel_size_nm == (10, 10, 10)
                np.testing.assert_array_equal(volume.read(), expected)
        with open_volume(f"precomputed://file://{finished}/out/image") as image:
            np.testing.assert_array_equal(image.read(), open_volume("data.h5:raw").read())


def test_the_table_says_of_every_supervoxel_what_its_voxels_say(finished):
    with inside(finished):
        labels = supervoxels()
        rows = list(csv.DictReader(Path("out/supervoxels.csv").read_text().splitlines()))
        with np.load("out/supervoxels.npz") as table:
            ids, points = table["ids"], table["point_zyx"]
    assert [int(row["id"]) for row in rows] == np.unique(labels)[1:].tolist() == ids.tolist()
    for row, point in zip(rows, points, strict=True):
        where = np.argwhere(labels == int(row["id"]))
        assert int(row["voxels"]) == len(where)
        assert [int(row[f"{axis}0"]) for axis in "zyx"] == where.min(0).tolist()
        assert [int(row[f"{axis}1"]) for axis in "zyx"] == (where.max(0) + 1).tolist()
        centroid = [float(row[f"centroid_{axis}_nm"]) for axis in "zyx"]
        np.testing.assert_allclose(centroid, (where.mean(0) + 0.5) * 10, atol=0.051)
        assert labels[tuple(point)] == int(row["id"])
        assert [float(row[f"point_{axis}_nm"]) for axis in "zyx"] == ((point + 0.5) * 10).tolist()


def test_a_part_of_an_anisotropic_volume_with_an_offset_keeps_its_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    start, size_nm = (7, 30, 11), (20.0, 10.0, 10.0)
    labels = bars()
    write_volumes("data.h5", start, size_nm, raw=lit_bars(labels), labels=labels)
    save_threshold_network(architecture=WIDE)
    box = Box((9, 33, 15), (9 + 24, 33 + 36, 15 + 40))
    region = "box { start { z: 9 y: 33 x: 15 } shape { z: 24 y: 36 x: 40 } }"
    cut = "edge_context: MIRROR subvolumes { size { z: 24 y: 25 x: 26 } overlap { z: 8 y: 8 x: 7 } }"
    outputs = "{ scales: 3 hdf5: true zarr: true }"
    write_config(inference=region + cut, outputs=outputs)
    assert run("--config", "c.textproto") == 0
    folder = f"precomputed://file://{tmp_path}/out/supervoxels"
    for spec in (folder, "out/supervoxels.h5:segmentation", "zarr://out/supervoxels.zarr"):
        with open_volume(spec) as volume:
            assert (volume.bounds, volume.voxel_size_nm) == (box, size_nm), spec
    found = supervoxels()
    truth = labels[box.slices(start)]
    assert overlap_metrics(found, truth)["segmented_only"]["voi_merge"] < 0.01
    assert ((found > 0) & (truth > 0)).sum() > 0.6 * (truth > 0).sum()
    rows = list(csv.DictReader(Path("out/supervoxels.csv").read_text().splitlines()))
    assert min(int(row["y0"]) for row in rows) >= 33
    middle = np.argwhere(found == int(rows[0]["id"])).mean(0) + box.start + 0.5
    centroid = [float(rows[0][f"centroid_{axis}_nm"]) for axis in "zyx"]
    np.testing.assert_allclose(centroid, middle * size_nm, atol=0.051)
    # Scale 1 halves y and x alone, on the grid of absolute voxels; the most frequent label stands for four.
    with open_volume(f"{folder}#1") as coarse:
        assert coarse.voxel_size_nm == (20, 20, 20)
        assert coarse.bounds == Box((9, 16, 7), (33, 35, 28))
        for z, y, x in np.random.default_rng(0).integers((9, 17, 8), (33, 34, 27), (40, 3)).tolist():
            four = Box((z, 2 * y, 2 * x), (z + 1, 2 * y + 2, 2 * x + 2))
            values, counts = np.unique(found[four.slices(box.start)], return_counts=True)
            label = coarse.read(Box((z, y, x), (z + 1, y + 1, x + 1))).item()
            assert counts[values == label] == counts.max()
    with open_volume(f"{folder}#2") as coarse:
        assert coarse.voxel_size_nm == (40, 40, 40)


# What is printed


def test_without_ground_truth_stages_that_were_not_reconciled_count_the_objects_of_subvolumes(
    project_copy, capsys
):
    write_config(inference=TWO + CUT, evaluation="")
    for again in ("", " (done before)"):
        assert run("--config", "c.textproto") == 0
        printed = capsys.readouterr().out
        for stage in STAGES[:2]:
            local = sum(len(stored(stage, corner)["object_ids"]) for corner in corners(stage))
            assert f"{stage} (done before): {local} objects in subvolumes; 8 subvolumes" in printed
            assert f"no ground truth given{local:16d}*" in printed
        count = len(np.unique(supervoxels())) - 1
        assert f"consensus (done before): {count} objects; 8 subvolumes" in printed, again
        assert "* objects in subvolumes: one that several found counts in each" in printed


def test_a_consensus_that_is_not_reconciled_counts_its_objects(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_threshold_network("coarse.ffn.h5", architecture=WIDE, voxel_size_nm=(20, 20, 20))
    grid = "voxel_size_nm { z: 20 y: 20 x: 20 } options { min_segment_size: 10 }"
    three = TWO + f'passes {{ name: "coarse" {grid} network {{ weights: "coarse.ffn.h5" }} }}'
    make_bars(inference=three + CUT, evaluation="", outputs="{ precomputed: false png: false }")
    for _ in range(2):
        assert run("--config", "c.textproto") == 0
        printed = capsys.readouterr().out
        local = sum(len(stored("consensus", corner)["object_ids"]) for corner in corners("consensus"))
        assert local > BARS and f": {local} objects in subvolumes; 8 subvolumes\n" in printed


# Damaged descriptions


@pytest.mark.parametrize(
    "folder", ["passes/forward", "consensus", "reconciliation/consensus"], ids=lambda f: f.replace("/", "-")
)
@pytest.mark.parametrize("damaged", [b"", b"[3]", b'{"image": "da'])
def test_a_damaged_description_is_written_again_where_the_results_fit(project_copy, capsys, folder, damaged):
    before, path = contents("out"), Path("out", folder, "settings.json")
    path.write_bytes(damaged)
    assert run("--config", "c.textproto") == 0
    printed = capsys.readouterr()
    assert all(f"{stage} (done before)" in printed.out for stage in STAGES)
    assert printed.err.count(f"{path} is damaged") == 1 and "it is written again" in printed.err
    assert contents("out") == before


def test_beside_a_damaged_description_results_of_other_settings_are_refused(project_copy, capsys):
    write_config(inference=TWO + CUT)
    text = Path("c.textproto").read_text()
    Path("c.textproto").write_text(text.replace("min_segment_size: 10", "min_segment_size: 11"))
    Path("out/passes/forward/settings.json").write_bytes(b"")
    before = contents("out")
    assert run("--config", "c.textproto") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "min_segment_size = 10, this run has 11" in error and "seg-" in error
    assert contents("out") == before
