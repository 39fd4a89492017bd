"""Ratios that may be undefined, as the voxel-by-voxel comparisons share them.

A ratio of nothing to nothing (0/0) says nothing about a result: it is None here, and `null` in metrics.json,
never 0 or 1. A mean leaves such ratios out, and is None when there is no other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable


def ratio(part: float, whole: float) -> float | None:
    """part / whole, or None where the whole is 0."""
    return part / whole if whole else None


def mean_defined(values: Iterable[float | None]) -> float | None:
    """The mean of the values that are not None, or None where there is no such value."""
    defined = [value for value in values if value is not None]
    return math.fsum(defined) / len(defined) if defined else None
