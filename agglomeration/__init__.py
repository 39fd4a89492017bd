"""Which supervoxels are one neuron: decision points, resegmentation, scores, the soma constraint, neurons."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agglomeration.errors import AgglomerationError
    from agglomeration.merge_graph import components
    from agglomeration.soma_constraint import ConstrainedMerges, Refusals, constrained_merges

__all__ = ["AgglomerationError", "ConstrainedMerges", "Refusals", "components", "constrained_merges"]

# A name's module is loaded when the name is first used: `import agglomeration` stays light.
_HOMES = {
    "AgglomerationError": "errors",
    "ConstrainedMerges": "soma_constraint",
    "Refusals": "soma_constraint",
    "components": "merge_graph",
    "constrained_merges": "soma_constraint",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'agglomeration' has no attribute '{name}'")
    return getattr(import_module(f"agglomeration.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
