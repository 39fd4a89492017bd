"""The benchmarks of accuracy and scale: what they make of figures, by hand, and small runs of the whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import accuracy, scale
from benchmarks.merge_gains import gain_lines, gains

BEFORE = {
    "erl_nm": 500.0,
    "nerl": 0.4,
    "nerl_tolerant_100_nm": 0.5,
    "splits_per_mm": 200.0,
    "mergers_per_mm": 0.0,
}
AFTER = {
    "erl_nm": 1000.0,
    "nerl": 0.7,
    "nerl_tolerant_100_nm": 0.9,
    "splits_per_mm": 50.0,
    "mergers_per_mm": 2.0,
}


def merged(pairs: int, accepted: int, right: int, true_pairs: int, refused: int = 0) -> dict[str, Any]:
    merges = {"accepted": accepted, "right": right, "true_pairs": true_pairs}
    constraint = {"merges_tried": accepted, "merges_refused": refused}
    return {"pairs": pairs, "fovs": 10 * pairs, "merges": merges, **constraint}


def rows(*stages: dict[str, Any]) -> dict[int, dict[str, dict[str, Any]]]:
    return {seed: {"agglomerated": each, "constrained": each} for seed, each in enumerate(stages, 1)}


MEANS = {"forward": {}, "consensus": BEFORE, "agglomerated": AFTER, "constrained": AFTER}


def test_merges_are_pooled_over_seeds_before_they_are_divided() -> None:
    found = gains(rows(merged(100, 10, 10, 20), merged(300, 90, 88, 80, refused=1)), MEANS)
    assert found["before"] == "consensus" and found["pairs"] == 400 and found["fovs_per_pair"] == 10
    each = found["constrained"]
    assert each["precision"] == 0.98 and each["recall"] == 0.98 and each["share_refused"] == 0.01
    # 98 of 100: (0.98 + z^2/200 +- z sqrt(0.98 * 0.02 / 100 + z^2/40000)) / (1 + z^2/100) with z 1.96.
    assert (each["precision_low"], each["precision_high"]) == pytest.approx((0.9300, 0.9945), abs=1e-4)


def test_the_gap_is_what_was_missing_before() -> None:
    each = gains(rows(merged(1, 1, 1, 1)), MEANS)["agglomerated"]
    assert each["gap_closed"] == pytest.approx(0.5) and each["tolerant_gap_closed"] == pytest.approx(0.8)
    assert each["erl_nm_factor"] == 2 and each["splits_per_mm_factor"] == 0.25
    assert each["mergers_per_mm_factor"] is None


def test_nothing_to_divide_by_is_shown_as_such() -> None:
    found = gains(rows(merged(0, 0, 0, 0)), {"forward": {}, "agglomerated": {}, "constrained": {}})
    assert found["constrained"]["precision"] is None and "gap_closed" not in found["constrained"]
    lines = gain_lines(found)
    assert lines[0] == "0 pairs, - fields of view each; before: forward"
    assert "0 accepted, precision - (0.0000 to 1.0000), recall - of 0; 0 refused" in lines[1]


def run_main(main: Callable[[], int], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict[str, Any]:
    """Runs a benchmark as its command would; what it wrote."""
    monkeypatch.setattr("sys.argv", ["benchmark", *arguments, "--json", "figures.json"])
    assert main() == 0
    return dict(json.loads(Path("figures.json").read_text()))


@pytest.mark.slow
def test_the_whole_chain_of_the_shipped_networks_is_measured_on_a_small_phantom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["--seeds", "9002", "--shape", "40,48,48", "--no-agglomeration"]
    found = run_main(accuracy.main, monkeypatch, *arguments)
    stages = found["seeds"]["9002"]
    assert list(stages) == ["forward", "reversed", "coarse", "consensus", "multiresolution"]
    assert found["shape_zyx"] == [40, 48, 48] and "agglomeration" not in found
    for name, figures in stages.items():
        assert figures["objects"] > 0 and figures["voi_split"] + figures["voi_merge"] < 4
        assert figures["coverage"] > (0.2 if name == "coarse" else 0.7)
        assert found["mean"][name]["voi_merge"] == figures["voi_merge"], "the mean of one"
    merge = {name: stages[name]["segmented_only"]["voi_merge"] for name in stages}
    assert merge["consensus"] <= max(merge["forward"], merge["reversed"])
    assert "multiresolution" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"figures.json"}, "projects are not kept"


def test_seeds_that_a_network_was_trained_on_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"\[1024\]"):
        run_main(accuracy.main, monkeypatch, "--seeds", "9002,1024")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_what_a_whole_run_takes_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sizes = ["--parts", "flood", "--images", "phantom", "--sizes", "24x32x32", "--cuts", "whole"]
    (row,) = run_main(scale.main, monkeypatch, *sizes, "--workers", "1")["flood"]
    assert row["shape_zyx"] == [24, 32, 32] and row["subvolumes"] == 1 and row["fovs"] > 0
    assert row["voxel_per_s"] == pytest.approx(24 * 32 * 32 / row["seconds"])
    assert 1e8 < row["worker_peak_bytes"] < 4e9
    assert row["bytes_written"] == sum(row["bytes_of"].values()) > row["bytes_of"]["supervoxels"] > 0
