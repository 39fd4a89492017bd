"""The errors of everything that proofreads."""

from __future__ import annotations

from configs.errors import ReconstructionError


class ProofreadingError(ReconstructionError):
    """An edit, a task or an answer that cannot be done."""


class ConflictError(ProofreadingError):
    """What somebody decided on has changed since; it is to be looked at again."""


class LeaseError(ProofreadingError):
    """A task that is not, or no longer, this person's."""


class UnknownError(ProofreadingError):
    """There is no such supervoxel, neuron, task or edit."""


class SomaError(ProofreadingError):
    """An edit that would give a neuron two cell bodies; an explicit flag forces it."""
