"""The demo, from beginning to end: what the shipped network reaches, and what a newcomer finds afterwards."""

from __future__ import annotations

import json

import numpy as np
import pytest

from commands import demo
from configs import load_config
from volumes import open_volume


@pytest.mark.slow
def test_the_demo_segments_a_phantom_nobody_trained_on(tmp_path, capsys):
    assert demo.run(["--output_dir", str(tmp_path)]) == 0
    figures = json.loads((tmp_path / "metrics.json").read_text())["stages"]["forward"]
    assert figures["arand"] <= 0.15 and figures["coverage"] >= 0.85
    assert figures["segmented_only"]["voi_merge"] < 0.5
    objects = open_volume(f"precomputed://file://{tmp_path / 'supervoxels'}")
    assert objects.dtype == np.uint64 and objects.shape == (96, 128, 128)
    assert len(np.unique(objects.read())) == figures["objects"] + 1 >= 41
    printed = capsys.readouterr().out
    for name in ("slices.png", "metrics.json", "supervoxels", "config.textproto"):
        assert (tmp_path / name).exists() and str(tmp_path / name) in printed


def test_the_demo_is_a_phantom_that_the_network_was_not_trained_on():
    configs = [load_config(name) for name in ("train_phantom", "tune_phantom", "train_phantom_coarse")]
    trained = {seed for c in configs for group in c.training.phantoms for seed in group.seeds}
    assert load_config("demo").phantom.seed not in trained
