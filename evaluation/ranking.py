"""Average precision of probabilities, exact for arrays and with an error bound for volumes of any size.

AP = Σ (Rₙ - Rₙ₋₁) Pₙ: the precision P at each threshold that some voxel's score makes, weighted with the
recall R gained there, without interpolation (as scikit-learn's `average_precision_score`). Voxels of equal
score share one threshold.

A `ScoreHistogram` counts the voxels by score instead of sorting them, so histograms of blocks merge and
memory is that of its bins. All voxels of a bin then share a threshold, and the order that is lost limits how
far the figure can be off: `bounds` are two values between which the exact one lies.

Inputs: scores, higher for the class in question, and ground truth, integer labels of the same shape.
Without a voxel of the class the average precision is undefined, None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from evaluation._ratios import mean_defined
from evaluation.blocks import read_pairs, slabs
from evaluation.checks import require_integers, require_one_shape, shared_box
from evaluation.errors import EvaluationError

if TYPE_CHECKING:
    from volumes import Box, Volume

BINS = 1 << 16


@dataclass(frozen=True)
class ScoreHistogram:
    """Voxels by probability: bin i of n holds i/n <= probability < (i+1)/n, the last one also 1.

    Attributes:
        positives: (n,) int64 voxels of the class.
        negatives: (n,) int64 other voxels.
    """

    positives: np.ndarray
    negatives: np.ndarray

    def merge(self, other: ScoreHistogram) -> ScoreHistogram:
        """The histogram of the voxels of both, such as two blocks of one volume.

        Raises:
            EvaluationError: the two differ in their bins.
        """
        if self.positives.size != other.positives.size:
            raise EvaluationError(
                f"histograms of {self.positives.size} and {other.positives.size} bins cannot be merged; "
                "count both with the same bins"
            )
        return ScoreHistogram(self.positives + other.positives, self.negatives + other.negatives)

    def average_precision(self) -> float | None:
        """Average precision with each bin as one threshold, within `bounds`; None without positives."""
        return _average_precision(self.positives[::-1], self.negatives[::-1])

    def bounds(self) -> tuple[float, float] | None:
        """Least and greatest average precision of any scores with this histogram; None without positives.

        Least: in every bin each positive has a threshold of its own below all negatives. With t true and f
        false voxels in higher bins and p and n in the bin, positive i has precision (t+i)/(t+f+n+i), and
        Σ 1/(c+i) <= ln((c+p+½)/(c+½)) as 1/x is convex. Greatest: all positives of a bin share one threshold
        above all negatives.
        """
        positives = self.positives[::-1].astype(np.float64)
        negatives = self.negatives[::-1].astype(np.float64)
        if not positives.any():
            return None
        hits, false = np.cumsum(positives), np.cumsum(negatives)
        above = (hits - positives) + false
        least = positives - false * np.log1p(positives / (above + 0.5))
        some = positives > 0
        greatest = (positives * hits)[some] / (hits + false - negatives)[some]
        return max(0.0, float(least.sum() / hits[-1])), min(1.0, float(greatest.sum() / hits[-1]))


def average_precision(
    scores: np.ndarray, truth: np.ndarray, *, positive: int = 1, ignore: int | None = None
) -> float | None:
    """Exact average precision of one class, by sorting: n log n time, some 40 bytes for each voxel.

    Args:
        scores: any real numbers, of any shape of at least one axis; higher for the class.
        truth: integer or boolean labels of the same shape.
        positive: the label of the class.
        ignore: voxels of this label are left out.

    Returns:
        0 … 1, or None where no voxel is of the class.

    Raises:
        EvaluationError: the shapes differ, labels are not integers, scores are not real or not a number, or
            there is no voxel.
    """
    _require_pair(scores, truth)
    kept, is_positive = _selected(scores, truth, positive, ignore)
    if kept.size == 0:
        raise EvaluationError(_NOTHING)
    if np.isnan(kept).any():
        raise EvaluationError("scores hold NaN; predict those voxels, or name their truth as ignored")
    order = np.argsort(kept, kind="stable")[::-1]
    ranked = kept[order]
    hits = np.cumsum(is_positive[order])
    last = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), ranked.size - 1)
    gained = np.diff(hits[last], prepend=0)
    return _average_precision(gained, np.diff(last + 1, prepend=0) - gained)


def score_histogram(
    scores: np.ndarray,
    truth: np.ndarray,
    *,
    positive: int = 1,
    ignore: int | None = None,
    bins: int = BINS,
) -> ScoreHistogram:
    """Count the voxels of a class and the others by their probability, in one pass.

    Args:
        scores: probabilities of any shape of at least one axis: floats 0 … 1, or uint8, where 255 is 1.
        truth: integer or boolean labels of the same shape.
        positive: the label of the class.
        ignore: voxels of this label are left out.
        bins: how many, at least 1; with 256 or more uint8 scores keep their order exactly.

    Raises:
        EvaluationError: the shapes differ, labels are not integers, no bins, or scores outside 0 … 1.
    """
    _require_pair(scores, truth)
    if bins < 1:
        raise EvaluationError(f"a histogram of {bins} bins holds nothing; give at least 1")
    if scores.dtype.kind != "f" and scores.dtype != np.uint8:
        raise EvaluationError(
            f"scores have dtype {scores.dtype}, but probabilities are floats 0 … 1 or uint8; convert them"
        )
    counts = np.zeros((2, bins), np.int64)
    for slab in slabs(truth.shape):
        kept, is_positive = _selected(scores[slab], truth[slab], positive, ignore)
        probabilities = kept / np.float32(255) if kept.dtype == np.uint8 else kept
        wide = np.float64 if probabilities.dtype.itemsize > 4 else np.float32
        at = _count(probabilities.astype(wide, copy=False), is_positive, counts)
        if at >= 0:
            raise EvaluationError(
                f"scores hold {probabilities[at]}, but probabilities are 0 … 1; apply the softmax or sigmoid"
            )
    return ScoreHistogram(counts[1], counts[0])


def compare_scores(
    scores: Volume,
    truth: Volume,
    box: Box | None = None,
    *,
    positive: int = 1,
    ignore: int | None = None,
    bins: int = BINS,
) -> dict[str, Any]:
    """Average precision of a volume of probabilities, read block by block (about 2^24 voxels each).

    Args:
        scores: probabilities, floats 0 … 1 or uint8 (255 is 1).
        truth: integer labels, of the same voxel size.
        box: zyx, absolute, inside both; None: all that both hold.
        positive: the label of the class.
        ignore: the ground-truth label of voxels to leave out.
        bins: of the histogram.

    Returns:
        `average_precision`, `average_precision_bounds` (two values between which the exact one lies), both
        None without a voxel of the class; `n_voxels`, `n_positive`, and `box` as [start, stop] (zyx, voxels).

    Raises:
        EvaluationError: the voxel sizes differ, they share no voxel or not the box, all truth is ignored, or
            see `score_histogram`.
        VolumeError: a volume cannot be read.
    """
    box = shared_box("probabilities", scores, truth, box)
    parts = (
        score_histogram(probabilities, labels, positive=positive, ignore=ignore, bins=bins)
        for probabilities, labels in read_pairs(scores, truth, box)
    )
    total = reduce(ScoreHistogram.merge, parts)
    n_positive = int(total.positives.sum())
    n_voxels = n_positive + int(total.negatives.sum())
    if n_voxels == 0:
        raise EvaluationError(_NOTHING)
    bounds = total.bounds()
    return {
        "average_precision": total.average_precision(),
        "average_precision_bounds": None if bounds is None else list(bounds),
        "n_voxels": n_voxels,
        "n_positive": n_positive,
        "box": [list(box.start), list(box.stop)],
    }


def class_average_precisions(
    scores: Sequence[Volume],
    truth: Volume,
    box: Box | None = None,
    *,
    classes: Sequence[str] | None = None,
    ignore: int | None = None,
    bins: int = BINS,
) -> dict[str, Any]:
    """Average precision of every class, one against the rest, and their mean.

    Args:
        scores: probabilities of the classes 0, 1, …, one volume each, such as the channels of one
            (`volumes.opening.open_channel`); a single volume is that of class 1, such as a foreground.
        truth: integer labels, of the same voxel size.
        box: zyx, absolute, inside all; None: all that every one of them holds.
        classes: names from class 0 on, of which a single volume needs two; None names them "0", "1", ….
        ignore: the ground-truth label of voxels to leave out; where it is a class, that has no figure.
        bins: of the histograms.

    Returns:
        `average_precision`, the macro figure: the mean over the classes for which it is not None;
        `average_precision_per_class`, for each class by its name `average_precision`,
        `average_precision_bounds`, `n_voxels` and `n_positive`, as `compare_scores` has them; and `box`.

    Raises:
        EvaluationError: no volume of scores, not one name for each class, or see `compare_scores`.
        VolumeError: a volume cannot be read.
    """
    if not scores:
        raise EvaluationError("there are no scores to rank; give one volume for each class")
    numbers = [1] if len(scores) == 1 else list(range(len(scores)))
    names = [str(n) for n in range(max(numbers) + 1)] if classes is None else list(classes)
    if len(names) != max(numbers) + 1 or len(set(names)) < len(names):
        raise EvaluationError(
            f"{names} do not name {max(numbers) + 1} classes, as many as the scores are of; give each class "
            "from 0 on its own name"
        )
    box = reduce(
        type(truth.bounds).intersect, (shared_box("probabilities", each, truth, box) for each in scores)
    )
    found = {}
    for number, volume in zip(numbers, scores, strict=True):
        if number != ignore:
            found[names[number]] = compare_scores(
                volume, truth, box, positive=number, ignore=ignore, bins=bins
            )
            del found[names[number]]["box"]
    return {
        "average_precision": mean_defined(each["average_precision"] for each in found.values()),
        "average_precision_per_class": found,
        "box": [list(box.start), list(box.stop)],
    }


_NOTHING = (
    "there is no voxel to compare: the scores are empty, or the ground truth is ignored everywhere; "
    "check the box and the ignore label"
)


def _average_precision(positives: np.ndarray, negatives: np.ndarray) -> float | None:
    """From the voxels at each threshold, highest threshold first."""
    hits, false = np.cumsum(positives, dtype=np.int64), np.cumsum(negatives, dtype=np.int64)
    if not hits.size or hits[-1] == 0:
        return None
    some = positives > 0
    precision = hits[some] / (hits + false)[some]
    return float(np.dot(positives[some] / hits[-1], precision))


def _require_pair(scores: np.ndarray, truth: np.ndarray) -> None:
    require_one_shape("scores", scores, truth)
    require_integers("ground truth", truth.dtype)
    if scores.dtype.kind not in "biuf":
        raise EvaluationError(
            f"scores have dtype {scores.dtype}, but they are real numbers; convert them first"
        )


def _selected(
    scores: np.ndarray, truth: np.ndarray, positive: int, ignore: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Flat scores, and whether each is of the class, where the truth is not ignored."""
    flat, labels = np.ravel(scores), np.ravel(truth)
    if ignore is not None:
        kept = labels != ignore
        flat, labels = flat[kept], labels[kept]
    return flat, labels == positive


@njit(cache=True, nogil=True)
def _count(probabilities: np.ndarray, is_positive: np.ndarray, counts: np.ndarray) -> int:
    """Add voxels to counts (2, bins), negatives first; where a score is outside 0 … 1, its place, else -1."""
    bins = counts.shape[1]
    for i in range(probabilities.size):
        probability = np.float64(probabilities[i])
        if not 0 <= probability <= 1:
            return i
        counts[np.int64(is_positive[i]), min(int(probability * bins), bins - 1)] += 1
    return -1
