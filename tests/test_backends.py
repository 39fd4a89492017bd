"""One subvolume on both backends of Keras: the same objects."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from tiny_project import BARS, WIDE, make_bars, stored, threshold_network, write_config

from ffn.weights import NetworkFile, NetworkInfo, save_network

RUN = "import sys; from commands.run_inference import run; sys.exit(run(['--config', 'c.textproto']))"


def run_on(backend: str, repository: Path) -> None:
    """Runs the project in the working directory in a process of its own, where the backend is chosen."""
    write_config(inference="edge_context: MIRROR", evaluation="", output_dir=f'"{backend}"')
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(repository)}
    done = subprocess.run([sys.executable, "-c", RUN], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(find_spec("jax") is None, reason="jax is not installed: pip install '.[jax]'")
def test_jax_gives_the_segmentation_that_tensorflow_gives(tmp_path, monkeypatch, repository):
    monkeypatch.chdir(tmp_path)
    make_bars()
    # Some of everything around a voxel, so that convolutions have something to add up.
    weights, rng = threshold_network(WIDE), np.random.default_rng(0)
    weights = {name: w + rng.normal(0, 0.02, w.shape).astype(np.float32) for name, w in weights.items()}
    info = NetworkInfo(WIDE, image_mean=128, image_stddev=64, pad_value=0.5, move_threshold=0.6)
    save_network("net.ffn.h5", NetworkFile(info, weights))
    run_on("tensorflow", repository)
    run_on("jax", repository)
    first, second = (stored("forward", output=backend) for backend in ("tensorflow", "jax"))
    assert len(first["object_ids"]) >= BARS
    assert (first["segmentation"] == second["segmentation"]).mean() >= 0.999
