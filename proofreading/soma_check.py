"""Whether an edit gives a neuron a cell body more.

A neuron may hold the cell bodies that a single neuron held before the edit; so a merger that the segmentation
made, with several of them, can still be edited.
"""

from __future__ import annotations

import numpy as np

from proofreading.errors import SomaError
from proofreading.graph import MergeGraph
from proofreading.replay import Effect


def require_one_cell_body(graph: MergeGraph, effect: Effect) -> None:
    """Refuses an edit that joins cell bodies.

    Args:
      graph: the neurons after the edit.
      effect: what it changed.

    Raises:
      SomaError: names the neuron and the cell bodies.
    """
    for neuron in effect.neurons_after:
        bodies = graph.somas_at(graph.members(neuron))
        if len(bodies) < 2:
            continue
        if not any(bodies <= _bodies_before(graph, effect, old) for old in effect.neurons_before):
            named = " and ".join(map(str, sorted(bodies)))
            raise SomaError(
                f"neuron {neuron} would have cell bodies {named}; one of them is in the wrong neuron: split "
                "that first, or force the edit"
            )


def _bodies_before(graph: MergeGraph, effect: Effect, neuron: int) -> frozenset[int]:
    stayed = np.setdiff1d(graph.members(neuron), effect.positions)
    left = effect.positions[effect.before == np.uint64(neuron)]
    return graph.somas_at(np.concatenate([stayed, left]))
