"""What of a segmentation is compared, and what speaks against comparing it at all."""

from __future__ import annotations

from collections.abc import Callable

from evaluation.blockwise import common_box
from evaluation.errors import EvaluationError
from volumes import Box, Volume

Tell = Callable[[str], None]


def compared_box(
    segmentation: Volume, labels: Volume | None, asked: Box | None, tell: Tell = lambda _: None
) -> Box:
    """What of a segmentation is compared, after checking that it can be.

    Args:
        segmentation: integers.
        labels: true objects; None = there are none.
        asked: absolute (zyx); None: all that both volumes hold.
        tell: called with a line if that is not all of both.

    Raises:
        EvaluationError: see `evaluation.common_box`; without a box asked for, two volumes that begin at the
            same voxel and have the same edges in another order.
    """
    if labels is None:
        box = segmentation.bounds if asked is None else asked
        if box.is_empty or not segmentation.bounds.contains_box(box):
            raise EvaluationError(
                f"box {box} is empty or leaves segmentation '{segmentation.spec}' ({segmentation.bounds}); "
                "give a box inside that"
            )
        return box
    box = common_box(segmentation, labels, asked)
    if asked is not None:
        return box
    ours, theirs = segmentation.shape, labels.shape
    if segmentation.bounds.start == labels.bounds.start and ours != theirs and sorted(ours) == sorted(theirs):
        raise EvaluationError(
            f"segmentation '{segmentation.spec}' has shape {ours} and ground truth '{labels.spec}' {theirs} "
            "(zyx), as if the axes of one were in another order (xyz); transpose that one, or ask for a box"
        )
    if box.size < max(segmentation.bounds.size, labels.bounds.size):
        parts = (
            f"{_percent(box, segmentation)} of the segmentation",
            f"{_percent(box, labels)} of the labels",
        )
        tell(f"only {box} is compared, which both volumes hold: {' and '.join(parts)}")
    return box


def _percent(box: Box, volume: Volume) -> str:
    return f"{100 * box.size / volume.bounds.size:.3g} %"
