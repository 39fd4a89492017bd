"""A project for the benchmarks of proofreading, made in its database: neurons, what was left open, people.

A neuron is a tree of supervoxels with a few loops. Pairs of supervoxels of different neurons are open, some
merges are doubtful enough to be suspected, and some would have joined two cell bodies. The volume of
supervoxels is empty: the server opens it, but for none of the tasks a voxel is read.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from agglomeration import tables
from agglomeration.database import Database, open_database
from agglomeration.decisions import ScoredEdges, decide, write_scored_edges
from agglomeration.merging import apply_constraint
from agglomeration.rows import replace_rows
from agglomeration.runs import finish_run, start_run, write_supervoxels
from inference.supervoxel_table import SupervoxelTable
from volumes import Box
from volumes.pyramid import create_pyramid

VOXEL_NM = (400.0, 400.0, 400.0)
_SHAPE = (64, 64, 64)
_BOX = 6
# A supervoxel is merged with one of so many before it.
_NEAR = 20
_LOOPS = 0.3
_DOUBTFUL = 0.02


def make_project(
    folder: Path,
    *,
    supervoxels: int = 20_000,
    neurons: int = 4_000,
    open_pairs: int = 5_000,
    bodies: int = 40,
    settings: str = "",
    url: str = "",
    seed: int = 1,
) -> Path:
    """Writes a project that has been agglomerated; gives the path of its config.

    Args:
        folder: to write it to.
        supervoxels: how many.
        neurons: how many, before anything is proofread.
        open_pairs: how many pairs are left open, about.
        bodies: cell bodies, each in a neuron of its own; some merges between them are refused.
        settings: more of the config's `proofreading`.
        url: of an empty database; without one it is a file in the folder.
        seed: of the random numbers.
    """
    path, out = folder / "project.textproto", folder / "out"
    out.mkdir(parents=True)
    create_pyramid(
        f"precomputed://file://{out.resolve()}/supervoxels",
        bounds=Box.from_shape(_SHAPE),
        dtype=np.uint64,
        voxel_size_nm=VOXEL_NM,
        scales=1,
    )
    random = np.random.default_rng(seed)
    neuron_of = np.sort(np.append(np.arange(neurons), random.integers(0, neurons, supervoxels - neurons)))
    merges = neuron_merges(neuron_of, random)
    owners = random.choice(neurons, bodies, replace=False)
    holders = np.searchsorted(neuron_of, owners)
    between = _pairs(random.integers(0, supervoxels, (open_pairs, 2)), neuron_of)
    refused = _pairs(random.permutation(np.repeat(holders, 2)).reshape(-1, 2), neuron_of)
    certain = random.uniform(0.98, 1.0, len(merges))
    certain[random.random(len(merges)) < _DOUBTFUL] = 0.3
    edges = scored_edges(
        np.concatenate([merges, between, refused]),
        np.concatenate([certain, random.uniform(0, 0.5, len(between)), np.full(len(refused), 0.55)]),
        np.repeat([True, False, True], [len(merges), len(between), len(refused)]),
        random,
    )
    with open_database(url or out / "decisions.sqlite") as database:
        write_agglomeration(database, random.integers(100, 10_000, supervoxels), edges, holders, random)
    named = f'database {{ url: "{url}" }}' if url else ""
    path.write_text(
        f'name: "crowd" output_dir: "{out.resolve()}"\n'
        'network { weights: "builtin:phantom" } inference { }\n'
        f"agglomeration {{ }} {named} proofreading {{ port: 0 {settings} }}\n"
    )
    return path


def write_agglomeration(
    database: Database,
    voxels: np.ndarray,
    edges: ScoredEdges,
    holders: np.ndarray,
    random: np.random.Generator,
) -> int:
    """Fills a database as a finished run of the agglomeration does; gives the run's number.

    Args:
        database: empty.
        voxels: (n,) int64, of supervoxels 1 to n.
        edges: decided.
        holders: (k,) int64, positions of the supervoxels with cell bodies 1 to k.
        random: for places.
    """
    low = random.integers(0, np.array(_SHAPE) - _BOX, (voxels.size, 3))
    high = low + random.integers(1, _BOX + 1, low.shape)
    ids = np.arange(1, voxels.size + 1, dtype=np.uint64)
    table = SupervoxelTable(ids, voxels, low, high, low * voxels[:, None], low, voxels)
    write_supervoxels(database, table, VOXEL_NM, "benchmark")
    run = start_run(database, "benchmark", "", {})
    write_scored_edges(database, run, edges)
    count = holders.size
    columns: dict[str, list[object]] = {
        "run": [run] * count,
        "id": [*range(1, count + 1)],
        "supervoxel": [int(each) + 1 for each in holders],
        **{f"centre_{axis}_nm": [1000.0] * count for axis in "zyx"},
        "radius_nm": [1000.0] * count,
        "source": ["table"] * count,
    }
    with database.writing() as connection:
        replace_rows(connection, tables.somas, columns)
    apply_constraint(database, run)
    finish_run(database, run)
    return run


def neuron_merges(neuron_of: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(m, 2) int64: merges that make a tree with a few loops of every neuron; positions, the smaller first.

    Args:
        neuron_of: (n,) int64 of supervoxels, ascending.
        random: for which.
    """
    at = np.arange(neuron_of.size)
    first = np.searchsorted(neuron_of, neuron_of)

    def earlier() -> np.ndarray:
        return np.maximum(at - random.integers(1, _NEAR, at.size), first)

    grown = at > first
    looped = grown & (random.random(at.size) < _LOOPS)
    pairs = [np.stack([earlier()[rows], at[rows]], axis=1) for rows in (grown, looped)]
    return np.unique(np.concatenate(pairs), axis=0)


def scored_edges(
    pairs: np.ndarray, certainty: np.ndarray, accepted: np.ndarray, random: np.random.Generator
) -> ScoredEdges:
    """Pairs of supervoxels as the agglomeration decides them.

    Args:
        pairs: (m, 2) int64, positions; none stands twice.
        certainty: (m,) float64.
        accepted: (m,) bool; the others are open.
        random: for places.
    """
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    ids = (pairs[order] + 1).astype(np.uint64)
    state, accepted_by = decide(accepted[order], None)
    return ScoredEdges(
        ids[:, 0],
        ids[:, 1],
        random.uniform(0, min(_SHAPE) * min(VOXEL_NM), (len(ids), 3)),
        {"iou": certainty[order]},
        np.full(len(ids), np.nan),
        certainty[order],
        accepted_by,
        state,
    )


def _pairs(ends: Iterable[np.ndarray], neuron_of: np.ndarray) -> np.ndarray:
    """Those of some pairs that are of two neurons, the smaller position first, each once."""
    found = np.unique(np.sort(np.array(ends), axis=1), axis=0)
    return found[neuron_of[found[:, 0]] != neuron_of[found[:, 1]]]
