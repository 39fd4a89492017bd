"""Memory of the stages that work on labels, as a volume grows by subvolumes of one size.

`label_memory_rows` returns the figures; `benchmarks.scale --parts memory` prints them. The results of three
passes are made up and stored where a run keeps them: cubes of 16 voxels, each with an ID drawn at random, in
other places for every pass. Every voxel is filled and no two passes agree, which is more objects, pairs and
pieces than tissue has. Then `run_inference --config` finds its passes finished and makes two consensus
stages, reconciliation, supervoxels and coarser scales of them. The figure is the highest resident memory that
the kernel noted for the run, which works in its own process; about 0.9 GB of it is Python and TensorFlow.
"""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks.processes import measured
from configs import load_config
from inference.flooding import subject_of
from inference.results import SubvolumeResult, save_result
from inference.subject import load_subject
from inference.workspace import Workspace, open_workspace
from volumes.box import Zyx

_CUBE = 16
_OVERLAP = 32
_PASSES = ("forward", "reversed", "third")
# Numbers of subvolumes, and how many lie along each axis.
_GRIDS: dict[int, Zyx] = {1: (1, 1, 1), 2: (1, 1, 2), 4: (1, 2, 2), 8: (2, 2, 2)}
_TEXT = """
name: "label_memory"
output_dir: "{folder}/out"
raw {{ spec: "{folder}/raw.h5:raw" }}
network {{ weights: "builtin:phantom" image_mean: 128 image_stddev: 34 }}
inference {{
  {passes}
  subvolumes {{
    size {{ z: {edge} y: {edge} x: {edge} }}
    overlap {{ z: {overlap} y: {overlap} x: {overlap} }}
  }}
  batch_size: 1
  compute_dtype: FLOAT32
}}
consensus {{ {consensus} min_size: 100 }}
outputs {{ png: false }}
run {{ workers: 1 progress: false }}
"""


def label_memory_rows(edge: int, numbers: tuple[int, ...] = (2, 4, 8)) -> list[dict[str, Any]]:
    """Runs the label stages of volumes of several subvolumes.

    Args:
        edge: of a subvolume, voxels.
        numbers: of subvolumes, each one of 1, 2, 4 and 8.

    Returns:
        Rows {subvolumes, shape_zyx, edge, objects, seconds, peak_bytes}.
    """
    return [_row(edge, _GRIDS[number]) for number in numbers]


def _row(edge: int, grid: Zyx) -> dict[str, Any]:
    z, y, x = (edge + (n - 1) * (edge - _OVERLAP) for n in grid)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with h5py.File(folder / "raw.h5", "w") as file:
            raw = file.create_dataset("raw", (z, y, x), np.uint8, chunks=(64, 64, 64), fillvalue=128)
            raw.attrs["resolution"] = (10.0, 10.0, 10.0)
        text = _TEXT.format(
            folder=folder,
            passes=" ".join(f'passes {{ name: "{name}" }}' for name in _PASSES),
            consensus=" ".join(f'passes: "{name}"' for name in _PASSES),
            edge=edge,
            overlap=_OVERLAP,
        )
        (folder / "c.textproto").write_text(text)
        _make_up_passes(open_workspace(load_config(folder / "c.textproto")))
        peaks = measured("c.textproto", folder, f"{grid} subvolumes")
        stages = json.loads((folder / "out" / "metrics.json").read_text())["stages"]
    return {
        "subvolumes": math.prod(grid),
        "shape_zyx": (z, y, x),
        "edge": edge,
        "objects": list(stages.values())[-1]["objects"],
        "seconds": peaks.seconds,
        "peak_bytes": peaks.leader_bytes,
    }


def _make_up_passes(workspace: Workspace) -> None:
    """Stores a result of every pass for every subvolume."""
    for number, (name, each) in enumerate(workspace.passes.items()):
        for position, subvolume in enumerate(workspace.plan):
            subject = subject_of(workspace, each, subvolume)
            labels = _cubes(subvolume.box.shape, shift=2 * number, seed=position)
            ids = np.unique(labels).astype(np.int64)
            result = SubvolumeResult(
                box=subject.box,
                segmentation=labels,
                probability=np.full(labels.shape, 255, np.uint8),
                object_ids=ids,
                seeds_zyx=np.zeros((ids.size, 3), np.int64),
                fovs=np.zeros(ids.size, np.int64),
                counts={"seeds": 0, "objects": ids.size, "fovs": 0, "seconds": 0.0},
                settings=load_subject(subject).made_from,
            )
            save_result(workspace.stage_directory(name), result)


def _cubes(shape: Zyx, shift: int, seed: int) -> np.ndarray:
    """int32 (z, y, x), cubes of 16 voxels with IDs in random order, moved by some voxels along each axis."""
    counts = [(n + shift) // _CUBE + 1 for n in shape]
    ids = np.random.default_rng(seed).permutation(math.prod(counts)).astype(np.int32) + 1
    z, y, x = (np.arange(shift, shift + n) // _CUBE for n in shape)
    return ids.reshape(counts)[np.ix_(z, y, x)]
