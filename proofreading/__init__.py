"""Neurons in the hands of people: the log of their edits, the queue of decisions, and the page to work in."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proofreading.edits import Edit, Kind
    from proofreading.errors import (
        ConflictError,
        LeaseError,
        ProofreadingError,
        SomaError,
        UnknownError,
    )
    from proofreading.state import NeuronEdges, ProofreadingState, SplitPreview, open_state

__all__ = [
    "ConflictError",
    "Edit",
    "Kind",
    "LeaseError",
    "NeuronEdges",
    "ProofreadingError",
    "ProofreadingState",
    "SomaError",
    "SplitPreview",
    "UnknownError",
    "open_state",
]

# A name's module is loaded when the name is first used: `import proofreading` stays light.
_HOMES = {
    "ConflictError": "errors",
    "Edit": "edits",
    "Kind": "edits",
    "LeaseError": "errors",
    "NeuronEdges": "state",
    "ProofreadingError": "errors",
    "ProofreadingState": "state",
    "SomaError": "errors",
    "SplitPreview": "state",
    "UnknownError": "errors",
    "open_state": "state",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'proofreading' has no attribute '{name}'")
    return getattr(import_module(f"proofreading.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
