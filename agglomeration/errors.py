"""The error of everything that agglomerates."""

from __future__ import annotations

from configs.errors import ReconstructionError


class AgglomerationError(ReconstructionError):
    """Pairs, scores, cell bodies or decisions that cannot be used."""
