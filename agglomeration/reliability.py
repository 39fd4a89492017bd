"""Whether probabilities mean what they say, and how many accepted merges are right.

Inputs: probabilities float64 (n,) in [0, 1] and truth bool (n,). Intervals are Wilson's, of 95 % unless told
otherwise: Wilson (1927), J. Am. Stat. Assoc. 22:209. Expected calibration error: Naeini et al. (2015), AAAI.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from agglomeration.errors import AgglomerationError
from jobs.pieces import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_Z95 = 1.959963984540054
_INK, _SOFT, _LINE, _CURVE, _BARS = "#24292f", "#6e7781", "#d8dee4", "#0969a8", "#9fc4de"
_DOTS_PER_INCH = 150


@dataclass(frozen=True, eq=False)
class Reliability:
    """Pairs by probability; one row for each bin, empty ones included.

    Attributes:
      low, high: (b,) float64, a bin holds low <= p < high, the last one also 1.
      count: (b,) int64 pairs.
      probability: (b,) float64, their mean; NaN where there is none.
      observed: (b,) float64, the share of them that are true; NaN where there is none.
      observed_low, observed_high: (b,) float64, its interval.
    """

    low: np.ndarray
    high: np.ndarray
    count: np.ndarray
    probability: np.ndarray
    observed: np.ndarray
    observed_low: np.ndarray
    observed_high: np.ndarray

    @property
    def expected_error(self) -> float:
        """Mean distance of probability and observed share, bins weighted by their pairs; NaN without any."""
        if not self.count.any():
            return float("nan")
        distance = np.abs(self.probability - self.observed)
        return float(np.nansum(self.count * distance) / self.count.sum())

    def rows(self) -> list[dict[str, float]]:
        """One dictionary for each bin that holds pairs."""
        columns = {name: column.tolist() for name, column in vars(self).items()}
        return [{name: column[row] for name, column in columns.items()} for row in np.flatnonzero(self.count)]


@dataclass(frozen=True)
class AcceptedPrecision:
    """How many of accepted pairs are right.

    Attributes:
      accepted: pairs.
      right: of them.
      precision: share; NaN when none is accepted.
      low, high: its interval.
      recall: share of all true pairs that are accepted; NaN when there are none.
    """

    accepted: int
    right: int
    precision: float
    low: float
    high: float
    recall: float

    def to_dict(self) -> dict[str, float]:
        """The figures by name."""
        return asdict(self)


def wilson(
    right: np.ndarray | int, count: np.ndarray | int, z: float = _Z95
) -> tuple[np.ndarray, np.ndarray]:
    """The interval of shares.

    Args:
      right: cases counted, of any shape.
      count: cases in all, of the same shape.
      z: standard deviations of a normal distribution; the default makes it 95 %.

    Returns:
      Lower and upper end, float64 of that shape; 0 and 1 where there is no case.
    """
    right, count = np.asarray(right, np.float64), np.asarray(count, np.float64)
    n = np.maximum(count, 1)
    share = right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At the ends both terms are equal but for rounding.
    low = np.where((right == 0) | (count == 0), 0, middle - half)
    high = np.where((right == count) | (count == 0), 1, middle + half)
    return low, high


def precision_of_accepted(accepted: np.ndarray, truth: np.ndarray) -> AcceptedPrecision:
    """How many of the accepted pairs are right, with the interval of 95 %.

    Args:
      accepted: (n,) bool.
      truth: (n,) bool.
    """
    count, right = int(np.count_nonzero(accepted)), int(np.count_nonzero(accepted & truth))
    true = int(np.count_nonzero(truth))
    low, high = wilson(right, count)
    return AcceptedPrecision(
        count,
        right,
        right / count if count else float("nan"),
        float(low),
        float(high),
        right / true if true else float("nan"),
    )


def reliability_of(probability: np.ndarray, truth: np.ndarray, bins: int = 10) -> Reliability:
    """Observed shares by probability.

    Args:
      probability: (n,) float64.
      truth: (n,) bool.
      bins: of equal width.

    Raises:
      AgglomerationError: other lengths, or numbers outside of 0 to 1.
    """
    _check(probability, truth)
    edges = np.linspace(0, 1, bins + 1)
    row = np.clip(np.searchsorted(edges, probability, "right") - 1, 0, bins - 1)
    count, right = np.bincount(row, minlength=bins), np.bincount(row, truth, bins)
    filled = np.where(count > 0, count, np.nan)
    low, high = wilson(right, count)
    mean = np.bincount(row, probability, bins) / filled
    return Reliability(edges[:-1], edges[1:], count.astype(np.int64), mean, right / filled, low, high)


def figures(probability: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """How good probabilities are.

    Args:
      probability: (n,) float64, n > 0.
      truth: (n,) bool.

    Returns:
      `log_loss` (natural logarithm; probabilities within 1e-12 of 0 and 1 count as that far), `brier`, `auc`
      (NaN when truth has but one answer) and `calibration_error` (expected, 10 bins).

    Raises:
      AgglomerationError: see `reliability_of`.
    """
    error = reliability_of(probability, truth).expected_error
    clipped = np.clip(probability, 1e-12, 1 - 1e-12)
    return {
        "log_loss": float(-np.mean(np.where(truth, np.log(clipped), np.log1p(-clipped)))),
        "brier": float(np.mean((probability - truth) ** 2)),
        "auc": _auc(probability, truth),
        "calibration_error": error,
    }


def write_reliability_plot(
    path: str | os.PathLike[str],
    probability: np.ndarray,
    truth: np.ndarray,
    *,
    title: str = "",
    bins: int = 10,
) -> None:
    """A picture (PNG): observed shares with intervals above, how many pairs below. Equal data, equal bytes.

    Args:
      path: the file to make or to replace.
      probability: (n,) float64.
      truth: (n,) bool.
      title: stands above it.
      bins: of equal width.

    Raises:
      AgglomerationError: see `reliability_of`.
      PieceError: the file cannot be written.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    table = reliability_of(probability, truth, bins)
    with matplotlib.rc_context({"font.size": 9, "font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(5.2, 6.4), layout="constrained", dpi=_DOTS_PER_INCH)
        canvas = FigureCanvasAgg(figure)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
        _draw_curve(above, table, title or "Reliability", figures(probability, truth))
        _draw_counts(below, table, probability, truth)
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            canvas.print_png(stream, metadata={"Software": None})


def _draw_curve(axes: Axes, table: Reliability, title: str, found: dict[str, float]) -> None:
    seen = table.count > 0
    x, y = table.probability[seen], table.observed[seen]
    reach = np.stack([y - table.observed_low[seen], table.observed_high[seen] - y])
    axes.plot([0, 1], [0, 1], color=_SOFT, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    axes.plot(x, y, color=_BARS, linewidth=1.2, zorder=2)
    axes.errorbar(
        x, y, np.maximum(reach, 0), color=_CURVE, linestyle="none", marker="o", markersize=5,
        elinewidth=1.3, capsize=3, zorder=3,
    )  # fmt: skip
    words = (
        f"log loss {found['log_loss']:.3f}   Brier score {found['brier']:.3f}   "
        f"AUC {found['auc']:.3f}   calibration error {found['calibration_error']:.3f}"
    )
    axes.annotate(title, (0, 1), (0, 22), ("axes fraction",) * 2, "offset points", color=_INK, fontsize=11)
    axes.annotate(words, (0, 1), (0, 8), ("axes fraction",) * 2, "offset points", color=_SOFT, fontsize=8)
    axes.set_ylabel("share that are one object", color=_SOFT)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    _tidy(axes)


def _draw_counts(axes: Axes, table: Reliability, probability: np.ndarray, truth: np.ndarray) -> None:
    edges = np.append(table.low, 1.0)
    middle, width = (table.low + table.high) / 2, 0.42 * (table.high - table.low)
    highest = 10
    for side, chosen, colour, words in (
        (-0.5, truth, _CURVE, "one object"),
        (0.5, ~truth, "#b9c1c9", "two objects"),
    ):
        count, _ = np.histogram(probability[chosen], edges)
        axes.bar(middle + side * width, count, width, color=colour, label=words)
        highest = max(highest, int(count.max()))
    # A bin of a few pairs is seen beside one of thousands.
    axes.set_yscale("symlog", linthresh=10)
    axes.set_ylim(0, 2 * highest)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.minorticks_off()
    axes.set_xlabel("probability", color=_SOFT)
    axes.set_ylabel("pairs", color=_SOFT)
    axes.legend(frameon=False, ncols=2, loc="upper center", fontsize=8, labelcolor=_SOFT)
    _tidy(axes)


def _tidy(axes: Axes) -> None:
    axes.grid(axis="y", color=_LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_LINE)
    axes.tick_params(colors=_SOFT, length=0)


def _check(probability: np.ndarray, truth: np.ndarray) -> None:
    if probability.shape != truth.shape:
        raise AgglomerationError(
            f"{probability.size} probabilities and {truth.size} answers do not fit; give one of each a pair"
        )
    if not np.all((probability >= 0) & (probability <= 1)):
        raise AgglomerationError("a probability lies outside of 0 to 1; calibrate the scores first")


def _auc(probability: np.ndarray, truth: np.ndarray) -> float:
    """Chance that a true pair has a higher probability than a false one; equal ones count half."""
    from scipy.stats import rankdata

    true = int(np.count_nonzero(truth))
    false = truth.size - true
    if not (true and false):
        return float("nan")
    return float((rankdata(probability)[truth].sum() - true * (true + 1) / 2) / (true * false))
