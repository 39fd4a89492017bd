"""The throughput benchmark runs, its plain loop agrees with the engine, and its figures hang together."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from benchmarks import fov_throughput
from benchmarks.flood_cases import Case, random_case
from benchmarks.plain_loop import PlainNetwork, segment
from ffn.backend import make_predictor
from ffn.canvas import Canvas, segment_all
from ffn.network import Architecture
from ffn.seeds import peak_seeds
from ffn.weights import NetworkFile, instantiate
from inference.executor import run_floods

TINY = Architecture(depth=1, features=2, fov_zyx=(7, 7, 7), deltas_zyx=(2, 2, 2))


@pytest.fixture
def bright_blobs() -> Case:
    """A smooth image, and a network that raises logits where it is bright and lowers them elsewhere."""
    case = random_case(TINY, edge=32)
    weights = {name: np.zeros_like(values) for name, values in case.network.weights.items()}
    weights["conv0_a/kernel"][1, 1, 1, 0] = 1, -1
    weights["conv0_b/kernel"][1, 1, 1] = np.eye(2)
    weights["conv_lom/kernel"][0, 0, 0, :, 0] = 8, -8
    smooth = ndimage.gaussian_filter(case.image, 2)
    image = smooth / smooth.std() - np.float32(0.6)  # less than half of it bright, or all were one blob
    options = replace(case.options, min_segment_size=20)
    return Case(NetworkFile(case.network.info, weights), "by hand", image, options)


@pytest.mark.parametrize("disco_seed_threshold", [-1.0, 0.0])
def test_plain_loop_finds_what_the_engine_finds(bright_blobs: Case, disco_seed_threshold: float) -> None:
    image = bright_blobs.image
    options = replace(bright_blobs.options, disco_seed_threshold=disco_seed_threshold)
    seeds = peak_seeds(image, TINY.fov_zyx)
    canvas = Canvas(image, options)
    predictor = make_predictor(instantiate(bright_blobs.network))
    list(run_floods([segment_all(canvas, seeds)], predictor, TINY.fov_zyx))
    plain = segment(PlainNetwork(bright_blobs.network), image, seeds, options, int)
    assert len(np.unique(plain)) > 3
    assert len({origin.steps for origin in canvas.origins.values()}) > 2
    assert np.array_equal(plain, canvas.segmentation)


def test_benchmark_writes_its_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fov_throughput, "phantom_case", lambda edge: random_case(TINY, edge))
    output = tmp_path / "out" / "throughput.json"
    options = ["--networks", "phantom", "--batches", "1,2", "--edge", "20", "--seconds", "0.1"]
    fov_throughput.main([*options, "--json", str(output)])
    figures = json.loads(output.read_text())["networks"]["phantom"]
    assert [(row["dtype"], row["batch"]) for row in figures["rows"]] == [
        ("float32", 1), ("bfloat16", 1), ("float32", 2), ("bfloat16", 2)
    ]  # fmt: skip
    assert all(row["bare_ms"] > 0 and row["engine_ms"] > row["host_ms"] > 0 for row in figures["rows"])
    assert figures["plain_equal_voxels"] == 1
    assert "plain loop" in capsys.readouterr().out
