"""What everything that is compared has to be: labels of whole numbers, of one shape, on one grid.

Every check raises an `EvaluationError` whose line names what is wrong, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from evaluation.errors import EvaluationError
from volumes import Box, Volume

# Voxel sizes that differ by no more than this share of them are one: files round them.
SAME_SIZE = 1e-3


def require_one_shape(what: str, values: Any, truth: Any) -> None:
    """Refuse arrays of two shapes, or without an axis.

    Args:
        what: names the first, such as "prediction".
        values: what is judged, with a `shape`.
        truth: ground truth, likewise.

    Raises:
        EvaluationError: they are.
    """
    if values.shape != truth.shape:
        raise EvaluationError(
            f"{what} of shape {values.shape} and ground truth of shape {truth.shape} cannot be compared; "
            "cut both to one box"
        )
    if not values.shape:
        raise EvaluationError(f"{what} is a single value, but an array of voxels is needed")


def require_integers(what: str, dtype: np.dtype) -> None:
    """Refuse labels of a dtype that is neither bool nor whole numbers.

    Args:
        what: names them.
        dtype: theirs.

    Raises:
        EvaluationError: it is another.
    """
    if dtype.kind not in "biu":
        raise EvaluationError(f"{what} has dtype {dtype}, but labels are integers; convert them first")


def require_not_negative(what: str, labels: np.ndarray, nothing: str = "unlabelled") -> None:
    """Refuse labels below 0.

    Args:
        what: names them.
        labels: integers of any shape.
        nothing: what a voxel without a label is called.

    Raises:
        EvaluationError: there is one, which is named.
    """
    if labels.dtype.kind == "i" and labels.size and labels.min() < 0:
        raise EvaluationError(f"{what} holds the negative label {labels.min()}; set {nothing} voxels to 0")


def unsigned(labels: np.ndarray, what: str) -> np.ndarray:
    """The labels as unsigned integers of the same size, in the machine's byte order; a view where possible.

    Args:
        labels: any array.
        what: names them.

    Raises:
        EvaluationError: labels that are not integers, or below 0.
    """
    require_integers(what, labels.dtype)
    require_not_negative(what, labels)
    native = np.ascontiguousarray(labels, labels.dtype.newbyteorder("="))
    return native.view(f"u{native.dtype.itemsize}")


def is_one_size(one_nm: Iterable[float], other_nm: Iterable[float]) -> bool:
    """Whether two voxel sizes are the same to within `SAME_SIZE` of the second.

    Args:
        one_nm, other_nm: zyx, nm.
    """
    return np.allclose(tuple(one_nm), tuple(other_nm), rtol=SAME_SIZE, atol=0)


def shared_box(what: str, volume: Volume, truth: Volume, box: Box | None) -> Box:
    """The box over which a volume is compared with ground truth: the given one, or all that both hold.

    Args:
        what: names the volume in errors, such as "prediction".
        volume: what is judged.
        truth: ground truth.
        box: zyx, absolute, inside both; None: all that both hold.

    Raises:
        EvaluationError: voxel sizes that differ by more than a thousandth, volumes that share no voxel, or a
            box that is empty or leaves one of them; without a box, two volumes that begin at the same voxel
            and have the same edges in another order.
    """
    if not is_one_size(volume.voxel_size_nm, truth.voxel_size_nm):
        raise EvaluationError(
            f"{what} '{volume.spec}' has voxels of {volume.voxel_size_nm} nm and ground truth '{truth.spec}' "
            f"of {truth.voxel_size_nm} nm (zyx); bring both to one grid, or correct a voxel_size_nm"
        )
    shared = volume.bounds.intersect(truth.bounds)
    if shared.is_empty:
        raise EvaluationError(
            f"{what} '{volume.spec}' ({volume.bounds}) and ground truth '{truth.spec}' ({truth.bounds}) "
            "share no voxel; check their offsets"
        )
    if box is None:
        _require_one_order(what, volume, truth)
        return shared
    if box.is_empty or not shared.contains_box(box):
        raise EvaluationError(
            f"box {box} is empty or leaves what {what} '{volume.spec}' and ground truth '{truth.spec}' share "
            f"({shared}); give a box inside that"
        )
    return box


def _require_one_order(what: str, volume: Volume, truth: Volume) -> None:
    """Refuse two volumes of which one most likely has its axes turned: their common corner says nothing."""
    ours, theirs = volume.shape, truth.shape
    if volume.bounds.start == truth.bounds.start and ours != theirs and sorted(ours) == sorted(theirs):
        raise EvaluationError(
            f"{what} '{volume.spec}' has shape {ours} and ground truth '{truth.spec}' {theirs} "
            "(zyx), as if the axes of one were in another order (xyz); transpose that one, or ask for a box"
        )
