"""Ground truth without what lies close to its boundaries, where a voxel more or less says little.

A voxel's distance to a boundary is that between its centre and the nearest centre of a voxel with another
true label, in nanometres along the axes' own voxel sizes. So of two objects that touch, the outermost voxels
are one voxel size away. Unlabelled voxels (0) are another label too: they lie between the objects of most
ground truth and stand for the membrane. The faces of a volume are no boundary, since what lies behind them is
not known.

Inputs: labels (z, y, x), integers >= 0. Output: labels of the same shape and dtype, 0 where a voxel is left
out, which every figure of `evaluation.overlap` passes over.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import edt
import numpy as np

from evaluation.errors import EvaluationError
from volumes.box import Zyx

# Distances are float32: one that is the tolerance to within rounding counts as within it.
_ROUNDING = 1 + 1e-5


def without_boundaries(truth: np.ndarray, voxel_size_nm: Iterable[float], tolerance_nm: float) -> np.ndarray:
    """Labels with 0 in every voxel within a distance of another label.

    Exact Euclidean distances, in time linear in the voxels (multi-label transform of the library edt).

    Args:
        truth: (z, y, x), integers or booleans; 0 is unlabelled.
        voxel_size_nm: zyx, nm.
        tolerance_nm: voxels at this distance or closer are left out; 0 leaves out none.

    Returns:
        A new array of the shape and dtype of `truth`.

    Raises:
        EvaluationError: labels that are no integers or not of three axes, or a tolerance that is no number of
            at least 0.
    """
    near = near_boundaries(truth, voxel_size_nm, tolerance_nm)
    kept = np.array(truth, truth.dtype.newbyteorder("="), order="C")
    kept[near] = 0
    return kept


def near_boundaries(truth: np.ndarray, voxel_size_nm: Iterable[float], tolerance_nm: float) -> np.ndarray:
    """The voxels that `without_boundaries` leaves out, and the unlabelled ones; 5 bytes of memory a voxel.

    Args:
        truth: (z, y, x), integers or booleans; 0 is unlabelled.
        voxel_size_nm: zyx, nm.
        tolerance_nm: as there; 0 leaves out none but the unlabelled.

    Returns:
        bool of the shape of `truth`.

    Raises:
        EvaluationError: as there.
    """
    require_tolerance(tolerance_nm)
    if truth.dtype.kind not in "biu" or truth.ndim != 3:
        raise EvaluationError(
            f"ground truth of {truth.dtype} and shape {truth.shape} has no boundaries to leave out; "
            "give integer labels (z, y, x)"
        )
    if not tolerance_nm or not truth.size:
        return truth == 0
    native = np.ascontiguousarray(truth, truth.dtype.newbyteorder("="))
    distance_nm = edt.edt(native, anisotropy=tuple(voxel_size_nm), black_border=False)
    return distance_nm <= np.float32(tolerance_nm * _ROUNDING)


def boundary_context(voxel_size_nm: Iterable[float], tolerance_nm: float) -> Zyx:
    """Voxels (zyx) around a block that decide which of its voxels `without_boundaries` leaves out.

    Args:
        voxel_size_nm: zyx, nm.
        tolerance_nm: as for `without_boundaries`.

    Raises:
        EvaluationError: a tolerance that is no number of at least 0.
    """
    require_tolerance(tolerance_nm)
    z, y, x = (math.floor(tolerance_nm * _ROUNDING / size) for size in voxel_size_nm)
    return z, y, x


def require_tolerance(tolerance_nm: float) -> None:
    """Refuse a tolerance that is negative, infinite or NaN with an `EvaluationError`."""
    if not (math.isfinite(tolerance_nm) and tolerance_nm >= 0):
        raise EvaluationError(
            f"boundary tolerance {tolerance_nm} nm is no distance; give a number of at least 0"
        )
