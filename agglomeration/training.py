"""From labelled pairs to a calibration, with scikit-learn.

How good a calibration is has to be asked on volumes that it was not trained on, since pairs of one volume
share supervoxels, tissue and image quality. So every figure is of groups (volumes, seeds of phantoms) that
were held out, and the kind is chosen by the log loss there: the simplest one of `calibration.KINDS` whose
loss is within 2 % of the best.

- `logistic`: with an L2 penalty. A signal whose coefficient speaks against its sense is left out, the
  farthest off first, and the others are fitted again.
- `isotonic`: the monotone function is fitted to scores of held-out groups, not to those of the pairs the
  coefficients saw.
- `boosting`: small trees, each a Newton step of the log loss (Friedman, Hastie & Tibshirani 2000, Annals of
  Statistics 28:337, LogitBoost), monotone where a signal has a sense.

Inputs: a table of n scored pairs, truth bool (n,), groups (n,). All is deterministic, given the seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from agglomeration.calibration import KINDS, Calibration, Tree, logistic
from agglomeration.errors import AgglomerationError
from agglomeration.pair_signals import SIGNALS, signals
from agglomeration.reliability import figures
from agglomeration.scoring import ScoreTable

_FOLDS = 5
_AS_GOOD = 1.02
_SENSES = np.array(list(SIGNALS.values()))
# Of boosting: trees, their depth, the share of a step that is taken, the least share of pairs in a leaf.
_TREES, _DEPTH, _STEP, _LEAF_SHARE = 60, 3, 0.1, 0.01
# A Newton step of a single pair is cut off here.
_MOST = 4.0


def fit(
    table: ScoreTable,
    truth: np.ndarray,
    groups: np.ndarray,
    *,
    seed: int = 1,
    kind: str = "auto",
    trained_on: Mapping[str, Any] | None = None,
) -> Calibration:
    """Trains a calibration.

    Args:
      table: n scored pairs whose truth is known.
      truth: (n,) bool, they are one object.
      groups: (n,) strings or whole numbers; pairs of one volume have one.
      seed: of ties between splits of trees.
      kind: one of `KINDS`, or "auto".
      trained_on: plain values to be kept: volumes, network, settings.

    Returns:
      It, with the cross-validated figures of the kinds that were tried (`reliability.figures`).

    Raises:
      AgglomerationError: lengths that differ, an unknown kind, fewer than two groups, or truth that has but
        one answer, also in all groups but those held out.
    """
    if kind not in (*KINDS, "auto"):
        raise AgglomerationError(f"kind '{kind}' is none of auto, {', '.join(KINDS)}; name one of them")
    values, numbers = _checked(table, truth, groups)
    tried = {
        each: figures(_held_out(each, values, truth, numbers, seed), truth)
        for each in KINDS
        if kind in ("auto", each)
    }
    best = min(each["log_loss"] for each in tried.values())
    chosen = next(name for name, each in tried.items() if each["log_loss"] <= _AS_GOOD * best)
    known = {
        **(trained_on or {}),
        "groups": [str(name) for name in np.unique(groups)],
        "pairs": int(truth.size),
        "true_pairs": int(np.count_nonzero(truth)),
    }
    return _trained(chosen, values, truth, numbers, seed, known, tried)


def cross_validated(
    table: ScoreTable, truth: np.ndarray, groups: np.ndarray, *, kind: str, seed: int = 1
) -> np.ndarray:
    """Probabilities of pairs from calibrations that saw no pair of their group.

    Args:
      table, truth, groups, seed: see `fit`.
      kind: one of `KINDS`.

    Returns:
      (n,) float64, for figures and plots.

    Raises:
      AgglomerationError: see `fit`.
    """
    values, numbers = _checked(table, truth, groups)
    return _held_out(kind, values, truth, numbers, seed)


def _checked(table: ScoreTable, truth: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The signals, and groups as numbers from 0."""
    if not len(table) == truth.size == len(groups):
        raise AgglomerationError(
            f"{len(table)} scored pairs, {truth.size} answers and {len(groups)} groups do not fit; give one "
            "of each for every pair"
        )
    names, numbers = np.unique(groups, return_inverse=True)
    if names.size < 2:
        raise AgglomerationError(
            f"pairs of {names.size} volumes are too few to calibrate; give labelled pairs of at least two"
        )
    for held_in in (np.ones(truth.size, bool), *(~out for out in _folds(numbers))):
        if np.all(truth[held_in]) or not np.any(truth[held_in]):
            answer = "true" if np.any(truth) else "false"
            raise AgglomerationError(
                f"almost all of {truth.size} labelled pairs are {answer}: those outside of one part of the "
                "volumes have but one answer; give pairs of more volumes, or smaller thresholds of candidates"
            )
    return signals(table), numbers


def _folds(groups: np.ndarray) -> Iterator[np.ndarray]:
    """(n,) bool, the pairs held out together: whole groups, the largest dealt out first."""
    sizes = np.bincount(groups)
    present = int(np.count_nonzero(sizes))
    folds, of_group = np.zeros(min(_FOLDS, present), np.int64), np.full(sizes.size, -1)
    for group in np.argsort(-sizes, kind="stable")[:present]:
        of_group[group] = np.argmin(folds)
        folds[of_group[group]] += sizes[group]
    yield from (of_group[groups] == fold for fold in range(folds.size))


def _held_out(kind: str, values: np.ndarray, truth: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """(n,) probabilities from calibrations of the other folds."""
    probability = np.empty(truth.size)
    for out in _folds(groups):
        model = _trained(kind, values[~out], truth[~out], groups[~out], seed, {}, {})
        probability[out] = model.probability_of(values[out])
    return probability


def _trained(
    kind: str,
    values: np.ndarray,
    truth: np.ndarray,
    groups: np.ndarray,
    seed: int,
    trained_on: Mapping[str, Any],
    tried: Mapping[str, Mapping[str, float]],
) -> Calibration:
    low, high = values.min(axis=0), values.max(axis=0)
    mean, scale = values.mean(axis=0), values.std(axis=0)
    # Of a signal that is always the same.
    scale[scale <= 1e-9 * np.maximum(1, np.abs(mean))] = 1
    standard = (values - mean) / scale
    if kind == "boosting":
        coefficients = np.zeros(len(SIGNALS))
        intercept, trees = _boosted(standard, truth, seed)
    else:
        coefficients, intercept = _linear(standard, truth)
        trees = ()
    steps = _steps(standard, truth, groups) if kind == "isotonic" else np.zeros((2, 0))
    return Calibration(
        kind, tuple(SIGNALS), low, high, mean, scale, coefficients, intercept, steps, trees, trained_on, tried
    )


def _linear(standard: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, float]:
    """Coefficients, none against its signal's sense, and the intercept."""
    from sklearn.linear_model import LogisticRegression

    used = np.flatnonzero(standard.std(axis=0) > 0)
    coefficients = np.zeros(standard.shape[1])
    while True:
        if used.size == 0:
            return coefficients, float(_log_odds(truth))
        model = LogisticRegression(max_iter=2000, tol=1e-6).fit(standard[:, used], truth)
        weights = model.coef_[0]
        against = weights * _SENSES[used]
        if against.min() >= 0:
            coefficients[used] = weights
            return coefficients, float(model.intercept_[0])
        used = np.delete(used, np.argmin(against))


def _steps(standard: np.ndarray, truth: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(2, s) ascending scores and their probabilities, by isotonic regression on held-out scores."""
    from sklearn.isotonic import IsotonicRegression

    score = np.empty(truth.size)
    for out in _folds(groups):
        # What is left may be of one group, or have but one answer.
        seen = ~out if np.any(truth[~out]) and not np.all(truth[~out]) else np.ones(truth.size, bool)
        coefficients, intercept = _linear(standard[seen], truth[seen])
        score[out] = standard[out] @ coefficients + intercept
    # No finite number of pairs makes a certainty.
    least = 1 / (truth.size + 2)
    model = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip").fit(score, truth)
    scores, first = np.unique(model.X_thresholds_, return_index=True)
    return np.stack([scores, np.maximum.accumulate(model.y_thresholds_[first])]).astype(np.float64)


def _boosted(standard: np.ndarray, truth: np.ndarray, seed: int) -> tuple[float, tuple[Tree, ...]]:
    """The intercept, and trees whose values add to the score."""
    from sklearn.tree import DecisionTreeRegressor

    narrow = standard.astype(np.float32)
    intercept = _log_odds(truth)
    score, trees = np.full(truth.size, intercept), []
    for number in range(_TREES):
        probability = logistic(score)
        weight = np.maximum(probability * (1 - probability), 1e-6)
        step = np.clip((truth - probability) / weight, -_MOST, _MOST)
        model = DecisionTreeRegressor(
            max_depth=_DEPTH,
            min_samples_leaf=max(20, int(_LEAF_SHARE * truth.size)),
            monotonic_cst=_SENSES,
            random_state=seed + number,
        ).fit(narrow, step, sample_weight=weight)
        score += _STEP * model.predict(narrow)
        trees.append(_plain(model.tree_))
    return intercept, tuple(trees)


def _plain(tree: Any) -> Tree:
    """scikit-learn's tree in our columns."""
    is_leaf = tree.children_left < 0
    return Tree(
        np.where(is_leaf, -1, tree.feature).astype(np.int64),
        np.where(is_leaf, 0, tree.threshold).astype(np.float64),
        np.where(is_leaf, 0, tree.children_left).astype(np.int64),
        np.where(is_leaf, 0, tree.children_right).astype(np.int64),
        np.where(is_leaf, _STEP * tree.value[:, 0, 0], 0).astype(np.float64),
    )


def _log_odds(truth: np.ndarray) -> float:
    count = np.count_nonzero(truth)
    return float(np.log((count + 0.5) / (truth.size - count + 0.5)))
