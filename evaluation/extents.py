"""What of a segmentation is compared, and what speaks against comparing it at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping

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
        EvaluationError: see `evaluation.common_box`, or a box that is empty or leaves the segmentation.
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
    line = None if asked is not None else note_of_part(box, {"segmentation": segmentation, "labels": labels})
    if line is not None:
        tell(line)
    return box


def shares(box: Box, volumes: Mapping[str, Volume]) -> dict[str, float]:
    """What share of the voxels of each volume a box holds, 0 … 1.

    Args:
        box: absolute (zyx), inside all of them.
        volumes: by name.
    """
    return {name: box.size / volume.bounds.size for name, volume in volumes.items()}


def note_of_part(box: Box, volumes: Mapping[str, Volume]) -> str | None:
    """A line that says what share of each volume is compared, or None where it is all of all of them.

    Args:
        box: absolute (zyx), all that they share.
        volumes: two, by name.
    """
    parts = shares(box, volumes)
    if min(parts.values()) == 1:
        return None
    each = " and ".join(f"{100 * part:.3g} % of the {name}" for name, part in parts.items())
    return f"only {box} is compared, which both volumes hold: {each}"
