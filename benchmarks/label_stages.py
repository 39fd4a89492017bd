"""Voxels per second and core of the stages that work on labels, in memory and without compression.

`label_stage_rows` returns the figures; `benchmarks.scale` prints them. Labels are the middle of a dense
segmentation of mouse cortex (`connectomics_labels_512.h5` of the shared data), or those of a phantom where
there is none.

The time is that of the processor on one thread, so that other work on the machine does not count; the voxels
are those of the volume, each counted once however often a stage reads it:

- consensus: `split_consensus` of the crop and of the same tissue moved by a few voxels, which disagree along
  every boundary as two passes do, only more so;
- components: `split_components` of that consensus;
- reconciliation: the crop cut into 2 x 2 x 2 overlapping boxes with IDs of their own, each without every 50th
  section; measuring all objects, comparing all overlaps with the default settings, union-find, and putting
  the volume together again, in which what a box left empty in its rim is filled by the neighbour;
- supervoxel table: `block_statistics`;
- coarser scale: `downsample_labels` of 64-bit labels by 2 x 2 x 2.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from configs import ConfigView
from configs.parsing import parse_text
from configs.proto.reconstruction_pb2 import Reconciliation
from inference.consensus import split_components, split_consensus
from inference.finished_blocks import Numbered, put_together
from inference.overlaps import filled_voxels, rims
from inference.reconciliation import (
    GlobalIds,
    agreeing,
    drop_small,
    global_ids,
    object_voxels,
    overlap_pairs,
)
from inference.supervoxel_table import block_statistics
from jobs.plan import Subvolume, core_finder, neighbours, plan_subvolumes
from volumes import Box, downsample_labels

_SHIFT_ZYX = (1, 2, 3)
_MIN_SIZE = 1000
_EMPTY_SECTIONS = 50


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
    cut, settings = _cut(first, overlap), ConfigView(parse_text("", Reconciliation, "defaults"))
    wide = first.astype(np.uint64)
    consensus = split_consensus(first, second, _MIN_SIZE)
    objects = object_voxels(first)[0].size
    stages: dict[str, Callable[[], object]] = {
        "consensus": lambda: split_consensus(first, second, _MIN_SIZE),
        "components": lambda: split_components(consensus, _MIN_SIZE),
        "reconciliation": lambda: _reconcile(*cut, settings),
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


def _cut(labels: np.ndarray, overlap: int) -> tuple[list[Subvolume], list[np.ndarray]]:
    """The plan of 2 x 2 x 2 boxes, and the labels of each under IDs of its own, some sections left empty."""
    z, y, x = (-(-(n + overlap) // 2) for n in labels.shape)
    plan = plan_subvolumes(Box.from_shape(labels.shape), (z, y, x), (overlap,) * 3)
    random = np.random.default_rng(0)
    local = []
    for subvolume in plan:
        ids, index = np.unique(labels[subvolume.box.slices()], return_inverse=True)
        own = np.where(ids == 0, 0, random.permutation(ids.size) + 1).astype(np.uint32)[index]
        own = own.reshape(subvolume.box.shape)
        own[random.integers(_EMPTY_SECTIONS) :: _EMPTY_SECTIONS] = 0
        local.append(own)
    return plan, local


def _reconcile(plan: list[Subvolume], local: list[np.ndarray], settings: ConfigView) -> np.ndarray:
    """The volume under global IDs, by the steps of `inference.reconcile` and the pieces it runs."""
    positions = {subvolume.index: position for position, subvolume in enumerate(plan)}
    measured = [object_voxels(labels)[0] for labels in local]
    edges, fills = [], []
    for i, j in neighbours(plan):
        shared = plan[i].box.intersect(plan[j].box)
        pairs = overlap_pairs(_part(plan, local, i, shared), _part(plan, local, j, shared))
        edges.append((i, j, agreeing(pairs, settings.min_share, settings.min_overlap_voxels)))
        for own, by in ((i, j), (j, i)):
            rim = dict(rims(plan, positions, own)).get(by)
            if rim is not None:
                fills.append((by, filled_voxels(_part(plan, local, own, rim), _part(plan, local, by, rim))))
    ids = global_ids(measured, edges)
    voxels = np.zeros(ids.local_ids.size, np.int64)
    for position, subvolume in enumerate(plan):
        _add(voxels, ids, position, *object_voxels(_part(plan, local, position, subvolume.core)))
    for position, filled in fills:
        _add(voxels, ids, position, filled[:, 0], filled[:, 1].astype(np.int64))
    ids = drop_small(ids, voxels, settings.min_size)
    box = Box.from_shape([max(s.box.stop[axis] for s in plan) for axis in range(3)])
    return put_together(
        plan,
        positions,
        core_finder(plan)(box),
        box,
        lambda position: Numbered(plan[position].box.start, local[position], *ids.lookup(position)),
    )


def _part(plan: list[Subvolume], local: list[np.ndarray], position: int, box: Box) -> np.ndarray:
    return np.ascontiguousarray(local[position][box.slices(plan[position].box.start)])


def _add(voxels: np.ndarray, ids: GlobalIds, position: int, some: np.ndarray, counts: np.ndarray) -> None:
    known, _ = ids.lookup(position)
    voxels[ids.offsets[position] + np.searchsorted(known, some)] += counts
