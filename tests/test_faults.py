"""Runs that are killed, and pieces that are damaged: both end like a run to which nothing happened."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fault_cases import decoded, differences, leftovers, make_project, write_config
from benchmarks.faults import HOWS, Disturbed, run_undisturbed
from commands import run_inference

# Each loads the network in a process of its own or runs the project in this one.
pytestmark = pytest.mark.slow

# A file of every kind of piece. The subvolume has neighbours on all sides that it can have.
SUBVOLUME = "18_18_0"
PIECES = {
    "pass": f"passes/forward/18/18/seg-{SUBVOLUME}.npz",
    "probabilities of a pass": f"passes/reversed/18/18/seg-{SUBVOLUME}.prob",
    "consensus": f"consensus/18/18/seg-{SUBVOLUME}.npz",
    "objects": f"reconciliation/consensus/objects/{SUBVOLUME}.npz",
    "pairs": "reconciliation/consensus/pairs/0-1.npz",
    "ids": f"reconciliation/consensus/ids/{SUBVOLUME}.npz",
    "block": "reconciliation/consensus/blocks/0_0_0.npz",
    "objects of a stage that is only compared": f"reconciliation/forward/objects/{SUBVOLUME}.npz",
}


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A folder with a project that was run to its end, into `calm`."""
    folder = tmp_path_factory.mktemp("faults")
    make_project(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run_inference.run(["--config", write_config(folder, "calm")]) == 0
    return folder


@pytest.fixture(scope="module")
def expected(finished) -> dict[str, np.ndarray]:
    return decoded(finished / "calm")


@pytest.fixture
def rerun(finished, tmp_path, monkeypatch) -> Callable[[], Path]:
    """A copy of the finished run to be damaged, and the command that is given again on it."""
    for name in ("net.ffn.h5", "data.h5"):
        (tmp_path / name).symlink_to(finished / name)
    shutil.copytree(finished / "calm", tmp_path / "calm")
    monkeypatch.chdir(tmp_path)
    config = write_config(tmp_path, "calm")

    def again() -> Path:
        assert run_inference.run(["--config", config]) == 0
        return tmp_path / "calm"

    return again


def test_what_is_compared_is_everything_a_run_writes(expected):
    kinds = {name.partition(":")[0] for name in expected}
    assert set(PIECES.values()) <= kinds
    assert {f"supervoxels/info#{scale}" for scale in range(3)} <= kinds
    assert {"supervoxels.npz", "supervoxels.csv", "supervoxels.h5", "metrics.json"} <= kinds
    labels = expected["supervoxels.h5"]
    assert len(np.unique(labels)) > 5 and np.array_equal(labels, expected["supervoxels/info#0"])


def test_a_difference_in_anything_is_noticed(expected):
    name = "passes/forward/0/0/seg-0_0_0.npz:segmentation"
    other = {**expected, name: expected[name] + 1, "more": np.zeros(1)}
    del other["supervoxels.csv"]
    assert differences(other, expected) == [
        "supervoxels.csv is missing",
        "more should not be there",
        f"{name} differs",
    ]


@pytest.mark.parametrize("kind", PIECES)
@pytest.mark.parametrize("damage", [flip_a_bit, cut_short], ids=lambda f: f.__name__)
def test_a_damaged_piece_is_named_and_made_anew(rerun, expected, capsys, kind, damage):
    path = Path("calm") / PIECES[kind]
    damage(path)
    output = rerun()
    assert f"note: piece {path} " in capsys.readouterr().err
    assert differences(decoded(output), expected) == []


@pytest.mark.parametrize("damage", [flip_a_bit, cut_short, Path.unlink], ids=lambda f: f.__name__)
def test_all_kinds_of_damage_at_once_are_mended(rerun, expected, damage):
    for name in PIECES.values():
        damage(Path("calm") / name)
    assert differences(decoded(rerun()), expected) == []


def test_a_damaged_checkpoint_is_not_gone_on_from(rerun, expected):
    piece = Path("calm") / PIECES["pass"]
    piece.rename(piece.with_suffix(".unfinished"))
    cut_short(piece.with_suffix(".unfinished"))
    output = rerun()
    assert differences(decoded(output), expected) == [] and leftovers(output) == []


def test_runs_that_are_killed_at_random_moments_end_like_an_undisturbed_one(tmp_path):
    make_project(tmp_path)
    expected, files = run_undisturbed(tmp_path)
    outcome = Disturbed(tmp_path, expected, most_files=files // 4, seed=5).go(kills=5)
    assert outcome.differences == []
    assert outcome.finished >= 1
    assert {kill.how for kill in outcome.kills} == set(HOWS), "take a seed that draws all of them"
    assert all(kill.orphans_s is not None for kill in outcome.kills), "workers outlive their run"
    assert outcome.leftovers == []
