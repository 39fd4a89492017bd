"""A phantom cut into eight subvolumes is segmented as well as in one piece."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs import load_config
from inference.project import run_project

CONFIG = """
name: "cut"
output_dir: "OUTPUT"
phantom { shape { z: 64 y: 64 x: 64 } seed: 77 }
network { weights: "builtin:phantom" }
inference { options { min_segment_size: 100 } edge_context: MIRROR batch_size: 1 CUT }
outputs { precomputed: false png: false }
evaluation {}
"""
CUT = "subvolumes { size { z: 48 y: 48 x: 48 } overlap { z: 16 y: 16 x: 16 } }"


@pytest.mark.slow
def test_eight_subvolumes_are_as_good_as_one(tmp_path: Path):
    """At most 0.05 bits more variation of information, unsegmented voxels counted as one object."""
    found = []
    for name, cut in (("one", ""), ("eight", CUT)):
        path = tmp_path / f"{name}.textproto"
        path.write_text(CONFIG.replace("OUTPUT", str(tmp_path / name)).replace("CUT", cut))
        run_project(load_config(path), found.append)
    one, eight = found
    assert (one.counts["subvolumes"], eight.counts["subvolumes"]) == (1, 8)
    sums = [each.metrics["voi_split"] + each.metrics["voi_merge"] for each in found]
    assert sums[1] - sums[0] <= 0.05
    assert eight.metrics["coverage"] > one.metrics["coverage"] - 0.01
