"""Voxels per second and core of the stages that work on labels, in memory and without compression.

`label_stage_rows` returns the figures; `benchmarks.scale` prints them. Labels are the middle of a dense
segmentation of mouse cortex (`connectomics_labels_512.h5` of the shared data), or those of a phantom where
there is none.

The time is that of the processor on one thread, so that other work on the machine does not count; the voxels
are those of the volume, each counted once however often a stage reads it:

- consensus: `split_consensus` of the crop and of the same tissue moved by a few voxels, which disagree along
  every boundary as two passes do, only more so;
- components: `split_components` of that consensus;
- reconciliation: the crop cut into 2 x 2 x 2 overlapping boxes with IDs of their own; comparing all overlaps,
  union-find, and writing global IDs into the cores;
- supervoxel table: `block_statistics`;
- coarser scale: `downsample_labels` of 64-bit labels by 2 x 2 x 2.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import combinations, product
from pathlib import Path

import numpy as np

from inference.consensus import split_components, split_consensus
from inference.reconciliation import agreeing, global_ids, object_voxels, overlap_pairs, relabel
from inference.supervoxel_table import block_statistics
from volumes import Box, downsample_labels

_SHIFT_ZYX = (1, 2, 3)
_MIN_SIZE = 1000
_Boxes = list[tuple[Box, Box]]


def label_stage_rows(
    shared: Path, edge: int = 256, overlap: int = 32, rounds: int = 3
) -> list[dict[str, object]]:
    """Time every stage on a crop.

    Args:
        shared: folder of the shared data.
        edge: voxels of the crop along each axis, at most 509.
        overlap: voxels that neighbouring boxes share along an axis.
        rounds: how often each stage is run after a first time, which loads its code; the median counts.

    Returns:
        Rows {stage, labels, mvoxels, objects, seconds, mvoxel_per_s}, seconds of processor time.
    """
    source, first, second = _two_segmentations(shared, edge)
    cut = _cut(first, overlap)
    wide = first.astype(np.uint64)
    consensus = split_consensus(first, second, _MIN_SIZE)
    objects = object_voxels(first)[0].size
    stages: dict[str, Callable[[], object]] = {
        "consensus": lambda: split_consensus(first, second, _MIN_SIZE),
        "components": lambda: split_components(consensus, _MIN_SIZE),
        "reconciliation": lambda: _reconcile(*cut),
        "supervoxel table": lambda: block_statistics(wide, (0, 0, 0)),
        "coarser scale": lambda: downsample_labels(wide, (2, 2, 2)),
    }
    rows: list[dict[str, object]] = []
    for stage, run in stages.items():
        run()
        seconds = float(np.median([_processor_seconds(run) for _ in range(rounds)]))
        mvoxels = first.size / 1e6
        rows.append(
            {
                "stage": stage,
                "labels": source,
                "mvoxels": mvoxels,
                "objects": objects,
                "seconds": seconds,
                "mvoxel_per_s": mvoxels / seconds,
            }
        )
    return rows


def _processor_seconds(run: Callable[[], object]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def _two_segmentations(shared: Path, edge: int) -> tuple[str, np.ndarray, np.ndarray]:
    """What the labels are, and two crops (edge, edge, edge) of them that lie a few voxels apart."""
    shape = [edge + shift for shift in _SHIFT_ZYX]
    path = shared / "data" / "connectomics_labels_512.h5"
    if path.exists():
        import h5py

        with h5py.File(path) as file:
            stored = file["labels"]
            middle = [(have - want) // 2 for have, want in zip(stored.shape, shape, strict=True)]
            name, labels = path.name, stored[Box.from_shape(shape, middle).slices()]
    else:
        from volumes.phantom import PhantomSpec, make_phantom

        name, labels = "phantom", make_phantom(PhantomSpec(shape=tuple(shape), seed=7)).labels  # type: ignore[arg-type]
    z, y, x = _SHIFT_ZYX
    return name, labels[:edge, :edge, :edge].copy(), labels[z:, y:, x:].copy()


def _cut(labels: np.ndarray, overlap: int) -> tuple[_Boxes, list[np.ndarray]]:
    """Core and whole of 2 x 2 x 2 boxes, and the labels of each under IDs of its own."""
    bounds = Box.from_shape(labels.shape)
    random = np.random.default_rng(0)
    boxes, local = [], []
    for corner in product((0, 1), repeat=3):
        half = [-(-n // 2) for n in labels.shape]
        core = Box.from_shape(half, [c * n for c, n in zip(corner, half, strict=True)]).intersect(bounds)
        box = core.grow(overlap // 2).intersect(bounds)
        ids, index = np.unique(labels[box.slices()], return_inverse=True)
        own = np.where(ids == 0, 0, random.permutation(ids.size) + 1).astype(np.uint32)
        boxes.append((core, box))
        local.append(own[index].reshape(box.shape))
    return boxes, local


def _reconcile(boxes: _Boxes, local: list[np.ndarray]) -> list[np.ndarray]:
    """The cores under global IDs."""
    edges = []
    for i, j in combinations(range(len(boxes)), 2):
        shared = boxes[i][1].intersect(boxes[j][1])
        first, second = (local[n][shared.slices(boxes[n][1].start)] for n in (i, j))
        edges.append((i, j, agreeing(overlap_pairs(first, second), 0.5, 10)))
    ids = global_ids([object_voxels(labels)[0] for labels in local], edges)
    return [relabel(local[n][core.slices(box.start)], *ids.lookup(n)) for n, (core, box) in enumerate(boxes)]
