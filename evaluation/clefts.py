"""How far found synaptic clefts lie from true ones: the distances of the CREMI challenge.

Every found cleft voxel has a distance to the nearest true cleft voxel, and every true one to the nearest
found one: between the centres of voxels, in nm, along a straight line, 0 where both are clefts. Their means
are ADGT (average distance of found voxels to ground truth) and ADF (average distance of true voxels to found
ones), without any limit on a distance; the CREMI score is the mean of the two. A found voxel *farther* than
the threshold (200 nm) from truth is a false positive, a true one so far from any found one a false negative.
Which cleft a voxel belongs to does not count.

Where the truth is not known, nothing counts: neither true nor found voxels there, nor distances to them.

What there is not has no distance: with no found voxel ADGT is a mean of nothing and ADF has nowhere to go,
and likewise with no true voxel, so both distances and the score are None then. The counts stay: all true
voxels are false negatives, or all found ones false positives.

Inputs: masks or labels (zyx), 0 = no cleft. CREMI's own files mark by 2^64 - 1 what is no cleft;
`cremi_clefts` reads them. Sources: cremi.org/metrics; Clefts.py of github.com/cremi/cremi_python. Distances
are exact to a relative 1e-6 (`edt`, float32; scipy's are exact in double precision but take ten times the
memory). Volumes of any size are compared by `evaluation.cleft_volumes`.
"""

from __future__ import annotations

from typing import Any

import edt
import numpy as np

from evaluation._nearest import Tally, tally
from evaluation._ratios import ratio
from evaluation.checks import require_integers, require_one_shape
from evaluation.errors import EvaluationError

THRESHOLD_NM = 200.0
_PRECISION = 1e-6
_SPREAD = ("mean", "std", "median", "max")
CREMI_NO_CLEFT = np.uint64(2**64 - 1)
CREMI_UNKNOWN = (np.uint64(2**64 - 2), np.uint64(2**64 - 3))


def cremi_clefts(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The masks that the labels of a CREMI file mean.

    Args:
        labels: uint64 of any shape; 2^64 - 1 is no cleft, 2^64 - 2 and 2^64 - 3 are not known, every other
            value, 0 too, is a cleft.

    Returns:
        (clefts, ignored), both bool and of that shape.

    Raises:
        EvaluationError: another dtype.
    """
    if labels.dtype != np.uint64:
        raise EvaluationError(
            f"clefts of a CREMI file are uint64, not {labels.dtype}; other labels are compared as they are"
        )
    ignored = (labels == CREMI_UNKNOWN[0]) | (labels == CREMI_UNKNOWN[1])
    return (labels != CREMI_NO_CLEFT) & ~ignored, ignored


def cleft_distances(
    prediction: np.ndarray,
    truth: np.ndarray,
    voxel_size_nm: tuple[float, float, float],
    *,
    threshold_nm: float = THRESHOLD_NM,
    ignored: np.ndarray | None = None,
) -> dict[str, Any]:
    """The distances between found and true clefts, and what follows from them.

    Time is linear in the voxels of the box that holds all clefts; memory is some 10 bytes for each of them.

    Args:
        prediction: found clefts (zyx), bool or integer labels; 0 is no cleft.
        truth: true clefts, of the same shape.
        voxel_size_nm: zyx.
        threshold_nm: farther than this is a false positive or negative.
        ignored: bool of the same shape, True where the truth is not known; None: it is known everywhere.

    Returns:
        `adgt_nm`, `adf_nm`, `cremi_score_nm` (their mean), `threshold_nm`; `found_nm` and `true_nm`, each
        with the `mean`, `std`, `median` and `max` of the distances of found voxels to truth, and of true
        voxels to found ones; `n_found`, `n_true`, `n_false_positive`, `n_false_negative` (voxels);
        `precision` (share of found voxels within the threshold of truth), `recall` (share of true ones
        within the threshold of found ones) and `f1`, their harmonic mean. None stands for what is undefined.

    Raises:
        EvaluationError: not three axes, shapes that differ, labels that are no integers, CREMI's mark for no
            cleft among them, a voxel size or threshold that is none, or no voxel to compare.
    """
    _require_comparable(prediction, truth, voxel_size_nm, threshold_nm, ignored)
    found, true = prediction != 0, truth != 0
    if ignored is not None:
        if ignored.all():
            raise EvaluationError(
                "the ground truth is not known anywhere (all ignored); check the ignored mask"
            )
        found, true = found & ~ignored, true & ~ignored
    within = _bounding_box(found | true)
    found, true = found[within], true[within]
    to_truth = tally(_distances(found, true, voxel_size_nm))
    to_found = tally(_distances(true, found, voxel_size_nm))
    return cleft_figures(to_truth, to_found, threshold_nm)


def cleft_figures(to_truth: Tally, to_found: Tally, threshold_nm: float) -> dict[str, Any]:
    """The figures of `cleft_distances`.

    Args:
        to_truth: distances (nm) of all found voxels to truth; infinite where there is none.
        to_found: distances (nm) of all true voxels to found ones, likewise.
        threshold_nm: farther than this is a false positive or negative.
    """
    n_found, n_true = to_truth.total, to_found.total
    farthest_nm = threshold_nm * (1 + _PRECISION)
    false_positives, false_negatives = to_truth.beyond(farthest_nm), to_found.beyond(farthest_nm)
    spread_found, spread_true = (
        each.figures() if n_found and n_true else dict.fromkeys(_SPREAD) for each in (to_truth, to_found)
    )
    adgt, adf = spread_found["mean"], spread_true["mean"]
    precision = ratio(n_found - false_positives, n_found)
    recall = ratio(n_true - false_negatives, n_true)
    return {
        "adgt_nm": adgt,
        "adf_nm": adf,
        "cremi_score_nm": None if adgt is None or adf is None else (adgt + adf) / 2,
        "threshold_nm": float(threshold_nm),
        "found_nm": spread_found,
        "true_nm": spread_true,
        "n_found": n_found,
        "n_true": n_true,
        "n_false_positive": false_positives,
        "n_false_negative": false_negatives,
        "precision": precision,
        "recall": recall,
        "f1": _harmonic_mean(precision, recall),
    }


def _distances(voxels: np.ndarray, targets: np.ndarray, voxel_size_nm: tuple[float, ...]) -> np.ndarray:
    """(n,) float64: from each voxel of one mask to the nearest of another; infinite where that has none."""
    if not voxels.any():
        return np.zeros(0)
    outside = np.ascontiguousarray(~targets)
    field = edt.edt(outside, anisotropy=tuple(voxel_size_nm), black_border=False, parallel=1)
    return field[voxels].astype(np.float64)


def _bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """Slices of the least box that holds a mask: no voxel outside it changes a distance between clefts."""
    slices = []
    for axis in range(mask.ndim):
        along = np.flatnonzero(mask.any(axis=tuple(n for n in range(mask.ndim) if n != axis)))
        slices.append(slice(int(along[0]), int(along[-1]) + 1) if along.size else slice(0, 0))
    return tuple(slices)


def _harmonic_mean(precision: float | None, recall: float | None) -> float | None:
    """Their harmonic mean: 0 where one of them is 0 or undefined, None where both are undefined."""
    if precision is None and recall is None:
        return None
    return 2 * precision * recall / (precision + recall) if precision and recall else 0.0


def _require_comparable(
    prediction: np.ndarray,
    truth: np.ndarray,
    voxel_size_nm: tuple[float, ...],
    threshold_nm: float,
    ignored: np.ndarray | None,
) -> None:
    require_one_shape("prediction", prediction, truth)
    for what, labels in (("prediction", prediction), ("ground truth", truth)):
        require_integers(what, labels.dtype)
        require_no_mark(what, labels, "take the masks of cremi_clefts(labels)")
    if prediction.ndim != 3:
        raise EvaluationError(
            f"clefts of shape {prediction.shape} have not three axes; give them as (z, y, x)"
        )
    if prediction.size == 0:
        raise EvaluationError(f"clefts of shape {prediction.shape} hold no voxel to compare; check the box")
    if ignored is not None and (ignored.shape != truth.shape or ignored.dtype != bool):
        raise EvaluationError(
            f"the ignored mask of {ignored.dtype} and shape {ignored.shape} does not fit ground truth of "
            f"shape {truth.shape}; give bool voxels of that shape"
        )
    if len(voxel_size_nm) != 3 or not all(np.isfinite(edge) and edge > 0 for edge in voxel_size_nm):
        raise EvaluationError(
            f"voxel size {tuple(voxel_size_nm)} is not three lengths above 0; give nm (z, y, x)"
        )
    require_threshold(threshold_nm)


def require_no_mark(what: str, labels: np.ndarray, mend: str) -> None:
    """Refuse labels that hold CREMI's mark for no cleft, and so are not masks.

    Args:
        what: names them.
        labels: integers of any shape.
        mend: what to do about it.

    Raises:
        EvaluationError: they do.
    """
    if labels.dtype == np.uint64 and labels.size and labels.max() == CREMI_NO_CLEFT:
        raise EvaluationError(f"{what} holds 2^64 - 1, CREMI's mark for no cleft; {mend}")


def require_threshold(threshold_nm: float) -> None:
    """Refuse a threshold that is negative or NaN with an `EvaluationError`."""
    if not threshold_nm >= 0:
        raise EvaluationError(f"threshold {threshold_nm} nm is no distance; give nanometres from 0 up")
