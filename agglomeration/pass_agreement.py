"""What the passes of a project say about a pair: in how many of them its two supervoxels are one object.

The consensus cuts wherever two passes disagree, so that most of its cuts are wrong ones that some pass did
not make. That a flood which began far away went on from one supervoxel into the other is evidence that the
floods around a decision point do not have.

Only what lies around the decision point counts: that two supervoxels are merged elsewhere says nothing here.
Labels of a pass are those of the subvolume in whose core the point lies, so that none have to be reconciled.

Inputs: masks and labels (z, y, x) of one box. Outputs: shares, 0 to 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from configs import ConfigView
from inference.flooding import workspace_of
from inference.label_stages import FINEST
from inference.surroundings import objects_at
from inference.workspace import Workspace
from volumes import Box
from volumes.box import Zyx

# All passes of the subvolume that the last pairs lay in, and of one or two beside it.
_KEPT = 8


class PassAgreement(NamedTuple):
    """How far passes agree that two supervoxels are one object.

    Attributes:
      joined: mean over passes of the share of both supervoxels that lies in one object of the pass.
      parted: mean over passes of the share of both that the pass segmented, less what it joined.
    """

    joined: float
    parted: float


NO_PASSES = PassAgreement(np.nan, np.nan)


def agreement(own: np.ndarray, other: np.ndarray, passes: Iterable[np.ndarray]) -> PassAgreement:
    """What passes say about two supervoxels.

    Of each pass the object counts that has the largest share of that supervoxel of which it has less.

    Args:
      own, other: bool (z, y, x), the supervoxels in the box that is looked at.
      passes: whole numbers (z, y, x) of the same box for each pass, 0 = no object.

    Returns:
      Means over the passes; NaN without a pass, or where one of the supervoxels has no voxel in the box.
    """
    found = [_of_pass(labels[own], labels[other]) for labels in passes]
    if not found or not own.any() or not other.any():
        return NO_PASSES
    joined, parted = np.mean(found, axis=0)
    return PassAgreement(float(joined), float(parted))


def passes_around(config: ConfigView, point_zyx: Zyx, box: Box) -> tuple[list[np.ndarray], Box]:
    """The labels of all passes around a decision point.

    Args:
      config: of the project.
      point_zyx: absolute voxel, in the project's region.
      box: absolute, what is wanted around it.

    Returns:
      Labels of each pass (z, y, x), and the part of the box that they are of: what lies in the subvolume of
      the point. No labels for supervoxels that passes of this project did not make.

    Raises:
      PieceError: a pass without a result there, or with a damaged one.
    """
    if config.agglomeration.supervoxels is not None:
        return [], box
    workspace = workspace_of(config)
    (position,) = workspace.touching(Box.from_shape((1, 1, 1), point_zyx))
    subvolume = workspace.plan[position].box
    part = box.intersect(subvolume)
    labels = [_labels_of(_Key(workspace), name, position) for name in workspace.passes]
    return [each[part.slices(subvolume.start)] for each in labels], part


class _Key:
    """A workspace as part of a cache's key: the same one is the same key."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.workspace is self.workspace

    def __hash__(self) -> int:
        return id(self.workspace)


@lru_cache(maxsize=_KEPT)
def _labels_of(key: _Key, name: str, position: int) -> np.ndarray:
    """Labels of one pass in one subvolume at the finest resolution."""
    return objects_at(key.workspace, name, key.workspace.plan[position], FINEST)[0]


def _of_pass(own: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """The shares of both that one object has, and that several have, from the labels of their voxels."""
    shares = [_shares(each) for each in (own, other)]
    joined = max((min(share, shares[1].get(label, 0.0)) for label, share in shares[0].items()), default=0.0)
    return joined, min(sum(each.values()) for each in shares) - joined


def _shares(labels: np.ndarray) -> dict[int, float]:
    """For each object its share of some voxels."""
    ids, counts = np.unique(labels, return_counts=True)
    return {int(i): n / labels.size for i, n in zip(ids, counts, strict=True) if i}
