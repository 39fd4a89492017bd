"""The benchmark of the figures runs without shared data, and its segmentation has the errors it names."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import metrics
from evaluation import overlap_metrics


def columns(count: int = 200) -> np.ndarray:
    """Objects 1 to `count` side by side along x, through 144 sections."""
    return np.broadcast_to(np.repeat(np.arange(1, count + 1), 4), (144, 3, 4 * count))


def test_the_copy_has_splits_and_mergers_and_lies_a_voxel_away() -> None:
    truth = columns()
    segmentation = metrics.perturbed(truth)
    figures = overlap_metrics(segmentation, truth)
    assert figures["voi_split"] > 0.1 and figures["voi_merge"] > 0.1 and figures["coverage"] == 1
    halved = [np.unique(segmentation[:, 1, 4 * n + 2]).size == 2 for n in range(200)]
    assert 0.1 < np.mean(halved) < 0.3
    assert np.any(segmentation[0, 0, 1:] != segmentation[0, 0, :-1])
    assert segmentation[0, 0, 4] == segmentation[0, 0, 3]
    assert np.array_equal(segmentation, metrics.perturbed(truth))
    assert not np.array_equal(segmentation, metrics.perturbed(truth, seed=1))


def test_skeletons_go_through_the_voxels_of_their_objects() -> None:
    truth = columns()
    skeletons = metrics.strung(truth)
    assert len(skeletons) > 100
    for label, skeleton in skeletons.items():
        voxels = (skeleton.nodes_nm / (40, 32, 32)).astype(int)
        assert np.all(truth[tuple(voxels.T)] == label)
        assert len(skeleton.edges) == len(skeleton.nodes_nm) - 1


def test_all_rows_are_printed_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [
        "--edge",
        "40",
        "--rounds",
        "1",
        "--shared",
        str(tmp_path),
        "--json",
        str(tmp_path / "o" / "m.json"),
    ]
    monkeypatch.setattr(sys, "argv", ["metrics", *asked])
    metrics.main()
    written = json.loads((tmp_path / "o" / "m.json").read_text())
    assert written["labels"] == "phantom"
    names = [row["what"] for row in written["rows"]]
    assert names == [
        "arrays",
        "volumes",
        "volumes, tolerance",
        "arrays, crop",
        "scikit-image, crop",
        "look-up",
        "run lengths",
    ]
    assert all(row["per_s"] > 0 and row["peak_bytes"] > 0 for row in written["rows"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(names) and "x scikit-image" in lines[5]
