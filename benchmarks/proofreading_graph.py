"""The state of a large project: how long it takes to open, and to cut its largest neuron."""

from __future__ import annotations

import resource
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from agglomeration.database import open_database
from benchmarks.proofreading_project import neuron_merges, scored_edges, write_agglomeration
from proofreading.min_cut import minimum_cut, weight_of
from proofreading.state import ProofreadingState

_LARGEST = 100_000
_NEURON = 1000
_CUTS = 5
_POINTS = 20
_HERE = (1.0, 1.0, 1.0)


def graph_row(edges: int, seed: int = 1) -> dict[str, Any]:
    """Times of a state with one neuron of 10⁵ supervoxels, all others of 1,000.

    Args:
        edges: merges, about.
        seed: of the random numbers.
    """
    random = np.random.default_rng(seed)
    # A supervoxel has about 1.3 merges (`neuron_merges`).
    count = max(_LARGEST + _NEURON, int(edges / 1.28))
    neuron_of = np.maximum(np.arange(count) - _LARGEST, -1) // _NEURON
    pairs = neuron_merges(neuron_of, random)
    certainty = random.uniform(0.5, 1.0, len(pairs))
    with tempfile.TemporaryDirectory() as folder:
        with open_database(Path(folder) / "decisions.sqlite") as database:
            merges = scored_edges(pairs, certainty, np.ones(len(pairs), bool), random)
            write_agglomeration(database, np.full(count, 100), merges, np.zeros(0, np.int64), random)
        again = open_database(Path(folder) / "decisions.sqlite", create=False)
        begun, cpu = time.perf_counter(), time.process_time()
        state = ProofreadingState(again, Path(folder))
        opened = {"open_s": time.perf_counter() - begun, "open_cpu_s": time.process_time() - cpu}
        with closing(state):
            times = _cut_times(state, random)
    return {"supervoxels": count, "merges": len(pairs), **opened, **times, "peak_gb": _peak_gb()}


def _cut_times(state: ProofreadingState, random: np.random.Generator) -> dict[str, Any]:
    """Of the largest neuron, between points in its halves: the cut alone, its preview, the edit, its undo."""
    neuron = state.neuron_of(1)
    members, merges = state.supervoxels_of(neuron), state.edges_of(neuron)
    ends = np.searchsorted(members, np.stack([merges.id_a, merges.id_b], axis=1)).astype(np.int64)
    weights, half = weight_of(merges.certainty), members.size // 2
    minimum_cut(members.size, ends, weights, np.array([0]), np.array([half]))  # compiles
    rows = []
    for number in range(_CUTS):
        sides = [random.choice(half, _POINTS, replace=False) + start for start in (0, half)]
        here, there = ([(int(each), _HERE) for each in members[side]] for side in sides)
        moments = [time.perf_counter()]
        minimum_cut(members.size, ends, weights, *sides)
        moments.append(time.perf_counter())
        state.preview_split(neuron, here, there)
        moments.append(time.perf_counter())
        done = state.split(neuron, here, there, person="ann", client_key=f"cut-{number}")
        moments.append(time.perf_counter())
        state.undo(done.id, person="ann", client_key=f"cut-{number}-undone")
        moments.append(time.perf_counter())
        rows.append(np.diff(moments).tolist())
    names = ("minimum_cut_s", "preview_s", "split_s", "undo_s")
    times = dict(zip(names, np.transpose(rows).tolist(), strict=True))
    return {"in_neuron": int(members.size), "merges_in_neuron": len(ends), **times}


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
