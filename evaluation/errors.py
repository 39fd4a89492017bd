"""The error of everything that measures."""

from __future__ import annotations

from configs.errors import ReconstructionError


class EvaluationError(ReconstructionError):
    """Two results that cannot be compared, or one with nothing to measure."""
