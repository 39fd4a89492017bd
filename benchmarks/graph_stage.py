"""The graph stage of the agglomeration at scale: synthetic merges, joined under the soma constraint.

Supervoxels lie along neurites of a thousand, and merges join each to one of those close by; a small share of
the merges leads anywhere, as errors do. One neurite in ten has a cell body. `graph_row` times the constraint
on arrays, `loading_row` the same edges out of SQLite. Memory is the highest resident memory that the kernel
noted for the process, in which the arrays were also made.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agglomeration.database import open_database
from agglomeration.decisions import ScoredEdges, load_merges, write_scored_edges
from agglomeration.runs import start_run, write_supervoxels
from agglomeration.soma_constraint import constrained_merges
from agglomeration.tables import AcceptedBy, State
from inference.supervoxel_table import SupervoxelTable

_NEAR = 50
_NEURITE = 1000
_ERRORS = 0.0005
_BODY_EVERY = 10_000


class Merges(NamedTuple):
    """Merges to be tried.

    Attributes:
        ids: (n,) uint64, all supervoxels.
        id_a, id_b: (m,) uint64, ascending pairs.
        certainty: (m,) float64.
        soma_of: (n,) int64, 0 = none.
    """

    ids: np.ndarray
    id_a: np.ndarray
    id_b: np.ndarray
    certainty: np.ndarray
    soma_of: np.ndarray


def synthetic_merges(edges: int, seed: int = 1) -> Merges:
    """As many merges, of half as many supervoxels.

    Args:
        edges: how many, at least 100.
        seed: of the random numbers.
    """
    random = np.random.default_rng(seed)
    count = edges // 2
    ids = np.sort(random.choice(8 * count, count, replace=False).astype(np.uint64)) + np.uint64(1)
    first = random.integers(0, count - 1, 2 * edges)
    last = np.minimum((first // _NEURITE + 1) * _NEURITE, count) - 1
    near = np.minimum(first + random.integers(1, _NEAR, first.size), last)
    far = random.integers(0, count, first.size)
    second = np.where(random.random(first.size) < _ERRORS, far, near)
    low, high = np.minimum(first, second), np.maximum(first, second)
    pairs = np.unique(low[low < high] * count + high[low < high])
    pairs = np.sort(random.permutation(pairs)[:edges])
    soma_of = np.zeros(count, np.int64)
    bodies = random.choice(count, max(2, count // _BODY_EVERY), replace=False)
    soma_of[bodies] = np.arange(1, bodies.size + 1)
    return Merges(ids, ids[pairs // count], ids[pairs % count], random.random(pairs.size), soma_of)


def graph_row(edges: int) -> dict[str, Any]:
    """Time and memory of the constraint, from arrays; run it in a process of its own, on one core.

    Args:
        edges: how many merges.
    """
    small = synthetic_merges(10_000)
    constrained_merges(*small)  # compiles
    merges = synthetic_merges(edges)
    arrays_gb = sum(each.nbytes for each in merges) / 1e9
    before = _peak_gb()
    started, cpu = time.perf_counter(), time.process_time()
    done = constrained_merges(*merges)
    return {
        "edges": merges.id_a.size,
        "supervoxels": merges.ids.size,
        "cell_bodies": int((merges.soma_of > 0).sum()),
        "refused": int((~done.accepted).sum()),
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
        "peak_gb": _peak_gb(),
        "peak_before_gb": before,
        "arrays_gb": arrays_gb,
    }


def loading_row(edges: int) -> dict[str, Any]:
    """Time of writing merges to SQLite and of loading them.

    Args:
        edges: how many.
    """
    merges = synthetic_merges(edges)
    with (
        tempfile.TemporaryDirectory() as folder,
        open_database(Path(folder) / "decisions.sqlite") as database,
    ):
        run = start_run(database, "benchmark", "", {})
        started = time.perf_counter()
        write_supervoxels(database, _table(merges.ids), (1, 1, 1), "benchmark")
        for part in _in_parts(merges):
            write_scored_edges(database, run, part)
        written = time.perf_counter()
        columns = {"id_a": np.uint64, "id_b": np.uint64, "certainty": np.float64}
        found = load_merges(database, run, columns)
        loaded = time.perf_counter()
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
    assert np.array_equal(found["id_a"], merges.id_a) and np.array_equal(found["certainty"], merges.certainty)
    return {
        "edges": merges.id_a.size,
        "write_seconds": written - started,
        "load_seconds": loaded - written,
        "edges_loaded_per_s": merges.id_a.size / (loaded - written),
        "bytes_per_edge": size / merges.id_a.size,
    }


def _in_parts(merges: Merges, rows: int = 100_000) -> Iterator[ScoredEdges]:
    for start in range(0, merges.id_a.size, rows):
        part = slice(start, start + rows)
        count = merges.id_a[part].size
        yield ScoredEdges(
            merges.id_a[part],
            merges.id_b[part],
            np.zeros((count, 3)),
            {"iou": merges.certainty[part]},
            merges.certainty[part],
            merges.certainty[part],
            np.full(count, AcceptedBy.PROBABILITY, np.int8),
            np.full(count, State.ACCEPTED, np.int8),
        )


def _table(ids: np.ndarray) -> SupervoxelTable:
    counts, corners = np.ones(ids.size, np.int64), np.zeros((ids.size, 3), np.int64)
    return SupervoxelTable(ids, counts, corners, corners + 1, corners, corners, counts)


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
