"""Runs of several configs in one output directory, and files replaced between runs, never mix results."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from tiny_project import CUT, WIDE, make_bars, metrics, run, save_threshold_network, supervoxels, write_config

from configs import load_config
from inference import supervoxels as written
from inference.flooding import workspace_of
from inference.identity import network_digest
from jobs.in_worker import forget_kept
from volumes import open_volume

# Whole projects are run.
pytestmark = pytest.mark.slow

ONE, TWO = "", 'passes { name: "forward" } passes { name: "reversed" seed_order: REVERSED }'
SPLITTING = "{ min_size: 400 }"  # drops objects, so that both configs differ in what they write


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_bars()
    return tmp_path


def test_the_folders_always_hold_what_the_last_run_says(place):
    expected = {}
    for passes, output in ((ONE, "alone"), (TWO, "both")):
        write_config(inference=passes + CUT, consensus=SPLITTING, output_dir=f'"{output}"')
        assert run("--config", "c.textproto") == 0
        expected[passes] = [supervoxels(output, scale) for scale in (0,)]
    assert (expected[ONE][0] != expected[TWO][0]).any()
    for evaluation in ("{}", '{ labels { spec: "data.h5:labels" } }'):
        for passes in (ONE, TWO, ONE, TWO):
            write_config(inference=passes + CUT, consensus=SPLITTING, evaluation=evaluation)
            assert run("--config", "c.textproto") == 0
            np.testing.assert_array_equal(supervoxels(), expected[passes][0])


def test_an_interrupted_run_asked_for_other_scales_writes_those(place, monkeypatch):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(written, "_scale_pieces", killed)
        write_config(outputs="{ scales: 2 }")
        assert run("--config", "c.textproto") == 130
    write_config(outputs="{ scales: 3 }")
    assert run("--config", "c.textproto") == 0
    info = json.loads(Path("out/supervoxels/info").read_text())
    assert len(info["scales"]) == 3
    with open_volume(f"precomputed://file://{place}/out/supervoxels#2") as coarsest:
        assert coarsest.read().any()


def test_a_worker_that_lives_on_opens_a_network_that_was_replaced(place):
    config = load_config("c.textproto", require=("inference",))
    before = network_digest(workspace_of(config).passes["forward"].network)
    assert workspace_of(config) is workspace_of(config)
    save_threshold_network(architecture=WIDE, image_mean=175)
    after = workspace_of(config).passes["forward"]
    forget_kept(close=False)
    assert after.network.info.image_mean == 175 and network_digest(after.network) == before


def test_the_compute_type_of_the_machine_is_written_down(place):
    write_config()
    text = Path("c.textproto").read_text()
    Path("c.textproto").write_text(text.replace("compute_dtype: FLOAT32", ""))
    assert run("--config", "c.textproto") == 0
    kept = load_config("out/config.textproto", require=("inference",)).inference.compute_dtype
    assert kept in ("float32", "bfloat16")
    assert run("--config", "c.textproto") == 0


def test_a_damaged_config_of_an_earlier_start_does_not_stop_a_run(place):
    assert run("--config", "c.textproto") == 0
    Path("out/config.textproto").write_text("garbage: 1")
    assert run("--config", "c.textproto") == 0


def test_ground_truth_that_was_replaced_is_compared_anew(place):
    assert run("--config", "c.textproto") == 0
    before = metrics()["forward"]["voi_split"]
    with h5py.File("data.h5", "r+") as file:
        file["labels"][:] = np.where(file["labels"][:] > 0, 1, 0)
    assert run("--config", "c.textproto") == 0
    assert metrics()["forward"]["voi_split"] > before + 1


def test_seeds_taken_from_a_result_that_was_made_anew_are_noticed(place, capsys):
    write_config(output_dir='"source"')
    assert run("--config", "c.textproto") == 0
    arguments = json.dumps({"segmentation_dir": "source/passes/forward"})
    policy = (
        f'passes {{ name: "inverted" seed_policy: "PolicyInvertOrigins" seed_policy_args: \'{arguments}\' }}'
    )
    write_config(inference=policy)
    assert run("--config", "c.textproto") == 0
    shutil.rmtree("source")
    write_config(output_dir='"source"', inference="edge_context: MIRROR")
    assert run("--config", "c.textproto") == 0
    write_config(inference=policy)
    assert run("--config", "c.textproto") == 2
    assert "origins_made_from" in capsys.readouterr().err


OTHER_STAGE = 'passes { name: "zzz" }'


def state_of(folder: str) -> dict[Path, tuple[int, int]]:
    """Sizes and times of change of all files, but for the lock that a run takes."""
    files = (path for path in Path(folder).rglob("*") if path.is_file() and "lock" not in path.name)
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize("known_by", ["project.json", "config.textproto"])
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"raw": "other.h5:raw"}, 'raw = "data.h5:raw" there, "other.h5:raw" now'),
        (
            {"inference": OTHER_STAGE + "box { start { z: 0 y: 0 x: 0 } shape { z: 40 y: 44 x: 40 } }"},
            "boxes_zyx = [[[0, 0, 0], [40, 44, 48]]] there, [[[0, 0, 0], [40, 44, 40]]] now",
        ),
    ],
)
def test_another_project_is_refused_where_no_stage_has_the_same_name(place, capsys, known_by, changes, says):
    shutil.copy("data.h5", "other.h5")
    assert run("--config", "c.textproto") == 0
    if known_by == "config.textproto":
        Path("out/project.json").unlink()
    before = state_of("out")
    write_config(**{"inference": OTHER_STAGE, **changes})
    assert run("--config", "c.textproto") == 2
    assert f"'out' holds another project: {says}" in capsys.readouterr().err
    assert state_of("out") == before


def test_another_phantom_is_another_project(place, capsys):
    phantom = "{{ shape {{ z: 24 y: 24 x: 24 }} seed: {seed} }}"
    write_config(raw="", phantom=phantom.format(seed=3), evaluation="", inference="edge_context: MIRROR")
    text = Path("c.textproto").read_text().replace('raw { spec: "" }\n', "")
    Path("c.textproto").write_text(text)
    assert run("--config", "c.textproto") == 0
    Path("c.textproto").write_text(
        text.replace("seed: 3", "seed: 4").replace("edge_context", f"{OTHER_STAGE} edge_context")
    )
    assert run("--config", "c.textproto") == 2
    assert "phantom.seed = 3 there, 4 now" in capsys.readouterr().err


def test_another_pass_of_the_same_project_is_allowed(place):
    assert run("--config", "c.textproto") == 0
    write_config(inference=OTHER_STAGE)
    assert run("--config", "c.textproto") == 0
    assert sorted(path.name for path in Path("out/passes").iterdir()) == ["forward", "zzz"]


def test_an_image_that_was_replaced_is_refused_before_anything_unfinished_is_flooded(place, capsys):
    write_config(inference=TWO + CUT)
    assert run("--config", "c.textproto") == 0
    finished = sorted(Path("out/passes").rglob("seg-*.npz"))
    for path in finished[1:8] + finished[9:]:
        path.unlink()
    before = state_of("out")
    with h5py.File("data.h5", "r+") as file:
        file["raw"][:] = 255 - file["raw"][:]
    assert run("--config", "c.textproto") == 2
    error = capsys.readouterr().err
    assert f"error: {finished[0]} was made with image_digest" in error
    assert state_of("out") == before


def test_a_damaged_result_does_not_stop_the_look_at_the_image(place, capsys):
    write_config(inference=CUT)
    assert run("--config", "c.textproto") == 0
    finished = sorted(Path("out/passes").rglob("seg-*.npz"))
    finished[0].write_bytes(b"damaged")
    assert run("--config", "c.textproto") == 0
    finished[0].write_bytes(b"damaged")
    with h5py.File("data.h5", "r+") as file:
        file["raw"][:] = 255 - file["raw"][:]
    assert run("--config", "c.textproto") == 2
    assert "image_digest" in capsys.readouterr().err
    assert finished[0].read_bytes() == b"damaged"
