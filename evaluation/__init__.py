"""How good a result is: figures of a segmentation against ground truth."""

from evaluation.errors import EvaluationError
from evaluation.overlap import (
    AdaptedRand,
    ContingencyTable,
    adapted_rand,
    contingency,
    coverage,
    overlap_metrics,
    table_metrics,
    variation_of_information,
)

__all__ = [
    "AdaptedRand",
    "ContingencyTable",
    "EvaluationError",
    "adapted_rand",
    "contingency",
    "coverage",
    "overlap_metrics",
    "table_metrics",
    "variation_of_information",
]
