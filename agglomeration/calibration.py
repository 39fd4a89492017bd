"""A probability that a scored pair is one object: plain numbers in a JSON file, evaluated with NumPy alone.

Signals of a pair (`agglomeration.pair_signals`) are brought into the range they had in training (a value
beyond it counts as its end), standardised, and make a score:

| kind | score | probability |
| --- | --- | --- |
| `logistic` | intercept + coefficients · signals | 1 / (1 + exp(-score)) |
| `isotonic` | the same | linear between the steps of a monotone function of the score, tilted by 10^-6 |
| `boosting` | intercept + the values of small decision trees | 1 / (1 + exp(-score)) |

Coefficients and trees never let a signal speak against its sense (`SIGNALS`). `agglomeration.training` makes
a calibration from labelled pairs, with scikit-learn, which is not needed here.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agglomeration.errors import AgglomerationError
from agglomeration.pair_signals import SIGNALS, signals
from agglomeration.scoring import ScoreTable
from jobs.pieces import atomic_path

SCHEMA = "ffn-reconstruction/calibration"
VERSION = 1
KINDS = ("logistic", "isotonic", "boosting")
BUILTIN = "builtin:"
_SHIPPED = Path(__file__).with_name("calibrations")
_LEAF = -1
# What a step's flat top rises by, so that pairs on it keep the order of their scores.
_TILT = 1e-6


class Tree(NamedTuple):
    """A decision tree; entry 0 is its root.

    Attributes:
      signal: (m,) int64, index of the signal that a node asks for; -1 = a leaf.
      threshold: (m,) float64; pairs up to it (standardised, as float32) go left, others right.
      left, right: (m,) int64, the entries that follow, behind their parent.
      value: (m,) float64, what a leaf adds to the score.
    """

    signal: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray


@dataclass(frozen=True, eq=False)
class Calibration:
    """A trained model.

    Attributes:
      kind: one of `KINDS`.
      names: the signals, in the order of the arrays.
      low, high: (k,) float64, their range in training.
      mean, scale: (k,) float64, what standardises them.
      coefficients: (k,) float64, of the standardised signals; zeros where trees make the score.
      intercept: of the score.
      steps: (2, s) float64, ascending scores and their probabilities, of the isotonic kind; else (2, 0).
      trees: of the boosting kind; else none.
      trained_on: plain values: volumes, network, settings, and how many pairs.
      figures: cross-validated figures of each kind that was tried, by kind and name.
    """

    kind: str
    names: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    coefficients: np.ndarray
    intercept: float
    steps: np.ndarray = field(default_factory=lambda: np.zeros((2, 0)))
    trees: tuple[Tree, ...] = ()
    trained_on: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def probability(self, table: ScoreTable) -> np.ndarray:
        """(n,) float64 between 0 and 1, for each pair of a table.

        Raises:
          AgglomerationError: see `agglomeration.pair_signals.signals`.
        """
        return self.probability_of(signals(table)[:, [list(SIGNALS).index(name) for name in self.names]])

    def probability_of(self, values: np.ndarray) -> np.ndarray:
        """(n,) float64 probabilities of signals (n, k), float64, in the order of `names`."""
        score = self.score_of(values)
        if self.kind != "isotonic":
            return logistic(score)
        return (1 - _TILT) * np.interp(score, *self.steps) + _TILT * logistic(score)

    def score_of(self, values: np.ndarray) -> np.ndarray:
        """(n,) float64 scores of signals (n, k), float64, in the order of `names`."""
        standard = (np.clip(values, self.low, self.high) - self.mean) / self.scale
        # Column by column: a matrix product may round the same pair differently in tables of other lengths.
        score = np.full(len(values), self.intercept)
        for column, weight in zip(standard.T, self.coefficients, strict=True):
            score += weight * column
        narrow = standard.astype(np.float32)
        for tree in self.trees:
            score += _leaf_values(tree, narrow)
        return score

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes it as JSON.

        Raises:
          PieceError: the file cannot be written.
        """
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n", "utf-8")

    def to_dict(self) -> dict[str, Any]:
        """It as plain values, for JSON."""
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "kind": self.kind,
            "signals": list(self.names),
            **{name: getattr(self, name).tolist() for name in _ROWS},
            "intercept": self.intercept,
            "steps": self.steps.tolist(),
            "trees": [{name: column.tolist() for name, column in t._asdict().items()} for t in self.trees],
            "trained_on": dict(self.trained_on),
            "figures": {kind: dict(figures) for kind, figures in self.figures.items()},
        }


_ROWS = ("low", "high", "mean", "scale", "coefficients")


def logistic(score: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-score)), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(score, np.float64)))


def load_calibration(name: str | os.PathLike[str]) -> Calibration:
    """Reads a calibration.

    Args:
      name: path of a file that `Calibration.save` wrote, or a shipped one: "builtin:phantom".

    Raises:
      AgglomerationError: there is no such file, it is of another version, or it holds no usable calibration.
    """
    path = _shipped(os.fspath(name))
    try:
        values = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise AgglomerationError(
            f"cannot read calibration '{path}': {error.strerror}; make it with `run_agglomeration calibrate`"
        ) from error
    except ValueError as error:
        raise AgglomerationError(f"calibration '{path}' is no JSON ({error}); make it anew") from error
    return from_dict(values, f"calibration '{path}'")


def from_dict(values: Any, what: str = "the calibration") -> Calibration:
    """A calibration from plain values, checked.

    Args:
      values: what `Calibration.to_dict` gave.
      what: whose values, for messages.

    Raises:
      AgglomerationError: another version, an unknown kind or signal, arrays that do not fit together, numbers
        that are not finite, steps that fall, or trees that lead nowhere.
    """
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        raise AgglomerationError(f"{what} is none; give a file that `run_agglomeration calibrate` wrote")
    if values.get("version") != VERSION:
        raise AgglomerationError(
            f"{what} has version {values.get('version')}, this release reads {VERSION}; train it again"
        )
    try:
        found = _parsed(values)
        flaw = _flaw(found)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise AgglomerationError(
            f"{what} lacks or garbles a part ({type(error).__name__}: {error}); train it again"
        ) from error
    if flaw:
        raise AgglomerationError(f"{what}: {flaw}; train it again")
    return found


def _parsed(values: Mapping[str, Any]) -> Calibration:
    trees = tuple(_tree(each) for each in values["trees"])
    return Calibration(
        str(values["kind"]),
        tuple(map(str, values["signals"])),
        **{name: np.array(values[name], np.float64) for name in _ROWS},
        intercept=float(values["intercept"]),
        steps=np.array(values["steps"], np.float64).reshape(2, -1),
        trees=trees,
        trained_on=dict(values["trained_on"]),
        figures={str(kind): dict(figures) for kind, figures in dict(values["figures"]).items()},
    )


def _tree(values: Mapping[str, Any]) -> Tree:
    signal, left, right = (np.array(values[name], np.int64) for name in ("signal", "left", "right"))
    threshold, value = (np.array(values[name], np.float64) for name in ("threshold", "value"))
    return Tree(signal, threshold, left, right, value)


def _flaw(found: Calibration) -> str:
    """What is wrong with a calibration, in a few words; empty = nothing."""
    if found.kind not in KINDS:
        return f"kind '{found.kind}' is none of {', '.join(KINDS)}"
    unknown = [name for name in found.names if name not in SIGNALS]
    if unknown or len(set(found.names)) < len(found.names):
        return f"signal '{unknown[0]}' is unknown here" if unknown else "a signal stands in it twice"
    rows = [getattr(found, name) for name in _ROWS]
    if any(row.shape != (len(found.names),) for row in rows):
        return f"not every row has {len(found.names)} numbers, one for each signal"
    numbers: Sequence[np.ndarray] = [*rows, found.steps, *(t.value for t in found.trees)]
    numbers = [*numbers, *(t.threshold for t in found.trees)]
    if not math.isfinite(found.intercept) or not all(np.isfinite(each).all() for each in numbers):
        return "not all of its numbers are finite"
    if (found.scale <= 0).any() or (found.low > found.high).any():
        return "a scale is not positive, or a range ends before it begins"
    return _flaw_of_steps(found) or next(filter(None, (_flaw_of_tree(t, found) for t in found.trees)), "")


def _flaw_of_steps(found: Calibration) -> str:
    scores, probabilities = found.steps
    if (found.kind == "isotonic") != (scores.size > 0):
        return "steps are missing" if found.kind == "isotonic" else f"kind '{found.kind}' has no steps"
    if (np.diff(scores) <= 0).any() or (np.diff(probabilities) < 0).any():
        return "its steps do not ascend"
    if scores.size and (probabilities[0] < 0 or probabilities[-1] > 1):
        return "its steps leave the range from 0 to 1"
    return ""


def _flaw_of_tree(tree: Tree, found: Calibration) -> str:
    if found.kind != "boosting":
        return f"kind '{found.kind}' has no trees"
    nodes = tree.signal.size
    if not nodes or any(column.shape != (nodes,) for column in tree):
        return "the columns of a tree have different lengths"
    inner = np.flatnonzero(tree.signal != _LEAF)
    if (tree.signal < _LEAF).any() or (tree.signal >= len(found.names)).any():
        return "a tree asks for a signal that is not there"
    for follows in (tree.left[inner], tree.right[inner]):
        # Children behind their parents: every way through a tree ends.
        if (follows <= inner).any() or (follows >= nodes).any():
            return "a tree leads nowhere"
    return ""


def _leaf_values(tree: Tree, standard: np.ndarray) -> np.ndarray:
    """(n,) float64, the values of the leaves to which standardised signals, float32 (n, k), lead."""
    at = np.zeros(len(standard), np.int64)
    while True:
        signal = tree.signal[at]
        inner = np.flatnonzero(signal != _LEAF)
        if inner.size == 0:
            return tree.value[at]
        nodes = at[inner]
        goes_left = standard[inner, signal[inner]] <= tree.threshold[nodes]
        at[inner] = np.where(goes_left, tree.left[nodes], tree.right[nodes])


def _shipped(name: str) -> Path:
    """The file that a name stands for."""
    if not name.startswith(BUILTIN):
        return Path(name)
    shipped = {f"{BUILTIN}{path.stem}": path for path in sorted(_SHIPPED.glob("*.json"))}
    if name not in shipped:
        listed = ", ".join(shipped) or "none"
        raise AgglomerationError(
            f"there is no calibration '{name}'; shipped: {listed}; or give the path of a file"
        )
    return shipped[name]
