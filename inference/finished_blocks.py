"""The finished supervoxels of a stage, block by block: put together, written, listed, compared with the
ground truth.

A block is the work of one piece, which keeps what it found in `reconciliation/<stage>/blocks/<corner>.npz`,
with a digest of the voxels it wrote. Precomputed chunks carry no checksum of their own, so that a rerun reads
finished blocks back and writes those anew that were damaged since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from evaluation import ContingencyTable, contingency
from inference.flooding import PieceReport, workspace_of
from inference.identity import array_digest, settings_digest
from inference.label_stages import FINEST, ids_path, kept_piece, reconciliation_directory
from inference.overlaps import rims
from inference.reconciliation import relabel
from inference.supervoxel_table import block_statistics
from inference.surroundings import objects_at
from inference.workspace import Source, Workspace
from jobs.pieces import load_npz
from jobs.plan import Subvolume
from volumes import Box, VolumeError, open_volume
from volumes.box import Zyx

# A block rarely lies in more than two along an axis; of 256^3 voxels they are 67 MB each.
_KEPT_SUBVOLUMES = 2


class Targets(NamedTuple):
    """Where finished blocks are written: SPECs of volumes that are open for it; None = not."""

    supervoxels: str | None = None
    image: str | None = None


def finish_block(source: Source, stage: str, block: Box, ids_digest: str, targets: Targets) -> PieceReport:
    """The supervoxels of one block: written, listed, and compared with the ground truth.

    Args:
      source: what the workspace is opened from.
      stage: name of the pass or consensus.
      block: raw voxels; whole chunks of the volumes written.
      ids_digest: names the IDs that reconciliation gave.
      targets: what is written.
    """
    workspace = workspace_of(source)
    specs = {name: spec for name, spec in targets._asdict().items() if spec is not None}

    def finish() -> dict[str, np.ndarray]:
        labels = assemble(workspace, stage, block, ids_digest)
        written = {}
        for name, spec in specs.items():
            voxels = labels if name == "supervoxels" else workspace.inputs.image.read(block)
            _write(spec, block, voxels)
            written[f"{name}_digest"] = np.array(array_digest(voxels))
        return {**examined(workspace, labels, block), **written}

    def flaw(arrays: dict[str, np.ndarray]) -> str:
        found = (flaw_of(spec, block, str(arrays[f"{name}_digest"])) for name, spec in specs.items())
        return "; ".join(filter(None, found))

    truth = workspace.inputs.labels
    seen = None if truth is None else array_digest(truth.read(block))
    made_from = settings_digest({"ids": ids_digest, "written": sorted(specs), "digests": True, "truth": seen})
    return kept_piece(block_path(workspace, stage, block), made_from, finish, flaw)


def flaw_of(spec: str, box: Box, digest: str) -> str:
    """What is wrong with voxels that were written, in a line; empty when they are as they were.

    Args:
      spec: of the volume.
      box: of it, absolute.
      digest: of its voxels, see `inference.identity.array_digest`.
    """
    try:
        with open_volume(spec) as volume:
            same = array_digest(volume.read(box)) == digest
    except VolumeError as error:
        return f"{str(error).split(';')[0]}; it is written again"
    return "" if same else f"box {box} of '{spec}' is not what was written; it is written again"


def examined(workspace: Workspace, labels: np.ndarray, block: Box) -> dict[str, np.ndarray]:
    """What is kept of a block's supervoxels: their statistics, and their pairs with the ground truth.

    Args:
      workspace: of the project.
      labels: uint64 (z, y, x) of the block, 0 = none.
      block: of the region, absolute, raw voxels.

    Returns:
      Arrays by name: the columns of `block_statistics`; with ground truth also the IDs and counts (voxels) of
      `evaluation.contingency`, in which voxels outside of the boxes to segment count as unlabelled.
    """
    arrays = dict(vars(block_statistics(labels, block.start)))
    if workspace.inputs.labels is not None:
        truth = workspace.inputs.cleared(workspace.inputs.labels.read(block), block)
        table = contingency(labels, truth)
        arrays |= {
            "pair_segments": table.segment_ids,
            "pair_truths": table.truth_ids,
            "pairs": table.counts,
        }
    return arrays


def assemble(workspace: Workspace, stage: str, box: Box, ids_digest: str) -> np.ndarray:
    """The supervoxels of a box, uint64 (z, y, x), from the subvolumes that touch it.

    A voxel has the object of the subvolume in whose core it lies, or of the neighbour that fills it
    (`inference.overlaps`).

    Args:
      workspace: the project.
      stage: name of the pass or consensus.
      box: raw voxels.
      ids_digest: names the IDs that reconciliation gave.

    Raises:
      PieceError: a subvolume without result, or IDs that are not there yet.
    """

    def labels_of(position: int) -> Numbered:
        return _stored(workspace.source, stage, position, ids_digest)

    out = put_together(workspace.plan, workspace.positions, workspace.touching(box), box, labels_of)
    return workspace.completed(workspace.inputs.cleared(out, box), box)


class Numbered(NamedTuple):
    """Objects of one subvolume, and their IDs in the volume.

    Attributes:
      start: of the subvolume (zyx, absolute).
      labels: its objects, integers (z, y, x).
      local_ids: uint64 (n,), ascending.
      global_ids: uint64 (n,), what takes their place.
    """

    start: Zyx
    labels: np.ndarray
    local_ids: np.ndarray
    global_ids: np.ndarray

    def local(self, part: Box) -> np.ndarray:
        """IDs that hold in the subvolume, of a part of it (absolute); any integers (z, y, x)."""
        if part.is_empty:
            return np.zeros(part.shape, self.labels.dtype)
        return self.labels[part.slices(self.start)]

    def of_volume(self, part: Box) -> np.ndarray:
        """IDs in the volume, uint64 (z, y, x)."""
        return relabel(np.ascontiguousarray(self.local(part)), self.local_ids, self.global_ids)


def put_together(
    plan: Sequence[Subvolume],
    positions: Mapping[Zyx, int],
    touching: Iterable[int],
    box: Box,
    labels_of: Callable[[int], Numbered],
) -> np.ndarray:
    """A box of the volume from its subvolumes: cores, and rims that neighbours fill.

    Args:
      plan: the subvolumes.
      positions: of each index in the plan.
      touching: positions of those whose cores the box touches.
      box: raw voxels.
      labels_of: gives the objects at a position.

    Returns:
      uint64 (z, y, x) of the box.
    """
    out = np.zeros(box.shape, np.uint64)
    for position in touching:
        own = labels_of(position)
        part = plan[position].core.intersect(box)
        out[part.slices(box.start)] = own.of_volume(part)
        for other, rim in rims(plan, positions, position):
            part = rim.intersect(box)
            is_empty = own.local(part) == 0
            if is_empty.any():
                np.copyto(out[part.slices(box.start)], labels_of(other).of_volume(part), where=is_empty)
    return out


@lru_cache(maxsize=_KEPT_SUBVOLUMES)
def _stored(source: Source, stage: str, position: int, ids_digest: str) -> Numbered:
    """Labels and IDs of one subvolume; neighbouring blocks read the same ones.

    The digest is there for the cache alone: other IDs are another entry.
    """
    workspace = workspace_of(source)
    subvolume = workspace.plan[position]
    labels, _ = objects_at(workspace, stage, subvolume, FINEST)
    ids = load_npz(ids_path(workspace, stage, position))
    return Numbered(subvolume.box.start, labels, ids["local_ids"], ids["global_ids"])


def block_path(workspace: Workspace, stage: str, block: Box) -> Path:
    """Statistics of a finished block, its pairs with the ground truth, and digests of what was written.

    Args:
      workspace: of the project.
      stage: name of a pass or of a consensus of passes.
      block: of the region, absolute, raw voxels.
    """
    z, y, x = block.start
    return reconciliation_directory(workspace, stage) / "blocks" / f"{x}_{y}_{z}.npz"


def contingency_of(arrays: dict[str, np.ndarray]) -> ContingencyTable:
    """The pairs with the ground truth in a block's file."""
    return ContingencyTable(arrays["pair_segments"], arrays["pair_truths"], arrays["pairs"])


def _write(spec: str, block: Box, voxels: np.ndarray) -> None:
    with open_volume(spec, mode="r+") as volume:
        volume.write(block, voxels)
