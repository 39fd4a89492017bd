"""How well voxels are classified: the confusion matrix, and the figures that follow from it.

A matrix counts how many voxels of each true class got each predicted class. Matrices of blocks merge into
the matrix of the whole, so a volume need not fit in memory.

Inputs: predicted and true classes, integer arrays of one shape (zyx, or any other axes as long as both have
the same), values 0 … 255. Voxels whose ground truth is the `ignore` label are left out: unpainted voxels of
sparse strokes, say. Outputs: plain dicts of figures without unit, ready for metrics.json.

A ratio of nothing to nothing, such as the recall of a class that the ground truth lacks, is None. A macro
figure is the mean over the classes for which the figure is not None (as scikit-learn has it with
`zero_division=nan`). The ignored label is no class: it has no figures of its own, and where it is predicted
for a labelled voxel it counts as a miss of the true class.

Sources: Cohen (1960), Educ. Psychol. Meas. 20:37, for kappa; Dice (1945), Ecology 26:297, whose coefficient
is F1; the other figures as in Powers (2011), J. Mach. Learn. Technol. 2:37.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from evaluation._ratios import mean_defined, ratio
from evaluation.blocks import read_pairs, slabs
from evaluation.checks import require_integers, require_one_shape, shared_box
from evaluation.errors import EvaluationError

if TYPE_CHECKING:
    from volumes import Box, Volume

MOST_CLASSES = 256


@dataclass(frozen=True)
class ConfusionMatrix:
    """Voxels of each true class by predicted class.

    Attributes:
        counts: (K, K) int64 voxels, `counts[truth, prediction]`, for the classes 0 … K-1.
        ignore: the ground-truth label that was left out, or None.
    """

    counts: np.ndarray
    ignore: int | None = None

    @property
    def n_voxels(self) -> int:
        """Voxels counted: those with ground truth."""
        return int(self.counts.sum())

    def merge(self, other: ConfusionMatrix) -> ConfusionMatrix:
        """The matrix of the voxels of both, such as two blocks; the smaller one grows to the other's classes.

        Raises:
            EvaluationError: the two left out different labels.
        """
        if self.ignore != other.ignore:
            raise EvaluationError(
                f"confusion matrices that ignore {self.ignore} and {other.ignore} cannot be merged; "
                "count both with one ignore label"
            )
        counts = np.zeros((max(len(self.counts), len(other.counts)),) * 2, np.int64)
        for part in (self.counts, other.counts):
            counts[: len(part), : len(part)] += part
        return ConfusionMatrix(counts, self.ignore)


def confusion_matrix(
    prediction: np.ndarray, truth: np.ndarray, *, classes: int | None = None, ignore: int | None = None
) -> ConfusionMatrix:
    """Count the voxels of each pair of a true and a predicted class, in one pass.

    Memory is that of one block of about 2^20 voxels or of one section, whichever is larger. Arrays that are
    read when indexed (h5py) serve as well.

    Args:
        prediction: integer or boolean classes >= 0 of any shape of at least one axis, such as zyx.
        truth: classes of the same shape.
        classes: their number K, up to 256; every label but ignored ones is below it. None: the highest
            label plus 1.
        ignore: voxels with this ground truth are left out, whatever was predicted; any integer.

    Raises:
        EvaluationError: the shapes differ, labels are not integers or are no classes, or K is out of range.
    """
    require_one_shape("prediction", prediction, truth)
    require_integers("prediction", prediction.dtype)
    require_integers("ground truth", truth.dtype)
    if classes is not None and not 1 <= classes <= MOST_CLASSES:
        raise EvaluationError(f"{classes} classes are out of range; give 1 to {MOST_CLASSES}")
    counts = np.zeros((MOST_CLASSES, MOST_CLASSES), np.int64)
    for slab in slabs(truth.shape):
        predicted, true = np.ravel(prediction[slab]), np.ravel(truth[slab])
        if ignore is not None:
            kept = np.asarray(true != ignore)
            if not kept.all():
                predicted, true = predicted[kept], true[kept]
        _count(_bytes("ground truth", true, classes), _bytes("prediction", predicted, classes), counts)
    size = classes or max(_occurring(counts), default=-1) + 1
    return ConfusionMatrix(counts[:size, :size].copy(), ignore)


def class_metrics(matrix: ConfusionMatrix, names: Sequence[str] | None = None) -> dict[str, Any]:
    """All figures of a confusion matrix, over all classes, per class and macro.

    Args:
        matrix: of at least one voxel.
        names: one for each class 0 … K-1; None names them "0", "1", … and lists those that occur.

    Returns:
        `n_voxels`; `accuracy` and `kappa` (Cohen's) over all classes; `per_class`, for each class (one
        against the rest) `precision`, `recall`, `specificity`, `npv` (negative predictive value),
        `accuracy`, `f1` (also Dice), `iou`, `kappa`, `n_truth` and `n_predicted` (voxels); `macro`, the
        means over the classes; `confusion`, with `classes` (names) and `counts`, a list of one row of
        predictions for each true class. None stands for 0/0.

    Raises:
        EvaluationError: there is no voxel, or another number of names than of classes.
    """
    counts = matrix.counts
    if names is not None and (len(names) != len(counts) or len(set(names)) < len(names)):
        raise EvaluationError(
            f"{list(names)} do not name {len(counts)} classes; give each class from 0 on its own name"
        )
    if matrix.n_voxels == 0:
        raise EvaluationError(
            "there is no voxel to compare: the volumes are empty, or the ground truth is ignored everywhere; "
            "check the box and the ignore label"
        )
    listed = _occurring(counts) if names is None else range(len(counts))
    labels = [k for k in listed if k != matrix.ignore]
    name_of = [str(k) for k in range(len(counts))] if names is None else list(names)
    figures = {name_of[k]: _one_against_rest(counts, k) for k in labels}
    return {
        "n_voxels": matrix.n_voxels,
        "accuracy": ratio(int(np.trace(counts)), matrix.n_voxels),
        "kappa": _kappa(counts),
        "macro": {key: mean_defined(figure[key] for figure in figures.values()) for key in _AVERAGED},
        "per_class": figures,
        "confusion": {"classes": name_of, "counts": counts.tolist()},
    }


def compare_classes(
    prediction: Volume,
    truth: Volume,
    box: Box | None = None,
    *,
    classes: int | Sequence[str] | None = None,
    ignore: int | None = None,
) -> dict[str, Any]:
    """Figures of a classified volume against ground truth, read block by block (about 2^24 voxels each).

    Args:
        prediction: predicted classes.
        truth: true classes, of the same voxel size.
        box: zyx, absolute, inside both; None: all that both hold.
        classes: their number, or their names from class 0 on; None takes what occurs.
        ignore: the ground-truth label of voxels to leave out.

    Returns:
        See `class_metrics`; and `box`, what was compared, as [start, stop] (zyx, voxels).

    Raises:
        EvaluationError: the voxel sizes differ, they share no voxel or not the box, or see `confusion_matrix`
            and `class_metrics`.
        VolumeError: a volume cannot be read.
    """
    box = shared_box("prediction", prediction, truth, box)
    names = None if classes is None or isinstance(classes, int) else list(classes)
    number = classes if isinstance(classes, int) else len(names) if names is not None else None
    parts = (
        confusion_matrix(predicted, true, classes=number, ignore=ignore)
        for predicted, true in read_pairs(prediction, truth, box)
    )
    return {
        **class_metrics(reduce(ConfusionMatrix.merge, parts), names),
        "box": [list(box.start), list(box.stop)],
    }


_AVERAGED = ("precision", "recall", "specificity", "npv", "accuracy", "f1", "iou", "kappa")


def _occurring(counts: np.ndarray) -> list[int]:
    """The classes that some voxel has or was given."""
    return np.flatnonzero(counts.any(axis=0) | counts.any(axis=1)).tolist()


def _one_against_rest(counts: np.ndarray, label: int) -> dict[str, float | int | None]:
    hit = int(counts[label, label])
    false = int(counts[:, label].sum()) - hit
    missed = int(counts[label].sum()) - hit
    rest = int(counts.sum()) - hit - false - missed
    return {
        "precision": ratio(hit, hit + false),
        "recall": ratio(hit, hit + missed),
        "specificity": ratio(rest, rest + false),
        "npv": ratio(rest, rest + missed),
        "accuracy": ratio(hit + rest, hit + false + missed + rest),
        "f1": ratio(2 * hit, 2 * hit + false + missed),
        "iou": ratio(hit, hit + false + missed),
        "kappa": _kappa(np.array([[rest, false], [missed, hit]])),
        "n_truth": hit + missed,
        "n_predicted": hit + false,
    }


def _kappa(counts: np.ndarray) -> float | None:
    """(observed - expected agreement) / (1 - expected); in Python's integers, as squares exceed int64."""
    rows, columns = counts.sum(axis=1).tolist(), counts.sum(axis=0).tolist()
    voxels, agreed = sum(rows), int(np.trace(counts))
    by_chance = sum(row * column for row, column in zip(rows, columns, strict=True))
    return ratio(voxels * agreed - by_chance, voxels * voxels - by_chance)


def _bytes(what: str, labels: np.ndarray, classes: int | None) -> np.ndarray:
    """Flat classes as uint8, or the error that names the label that is no class."""
    if labels.dtype == bool and (classes is None or classes > 1):
        return labels.view(np.uint8)
    if labels.size and (labels.dtype != np.uint8 or classes is not None):
        low, high = labels.min(), labels.max()
        most = (classes or MOST_CLASSES) - 1
        if low < 0 or high > most:
            raise EvaluationError(
                f"{what} holds {int(low if low < 0 else high)}, which is no class of 0 … {most}; "
                "map it to one, name it as the ignored label, or match objects by their IDs as instances"
            )
    return labels.astype(np.uint8, copy=False)


@njit(cache=True, nogil=True)
def _count(truth: np.ndarray, prediction: np.ndarray, counts: np.ndarray) -> None:
    for i in range(truth.size):
        counts[truth[i], prediction[i]] += 1
