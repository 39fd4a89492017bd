"""People's decisions as training data: pairs of supervoxels that are one neuron, or are not.

| decision | tells |
| --- | --- |
| a task `join` or `refused`, settled | accepted: one neuron; rejected: two |
| a task `merger` about two supervoxels, settled | rejected: one neuron (accepted: see the split) |
| a merge | its two supervoxels are one neuron |
| a split | the supervoxels of each merge that it took away are two |

The latest decision about a pair counts. A pair is left out where the neurons say otherwise by now, such as
one that was split elsewhere after it was merged: one of the two decisions is wrong, or a third supervoxel is.
Parts of supervoxels that people split are left out, too, since nothing is scored of them.

Output: `decisions.npz`, see `agglomeration.pair_answers`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import sqlalchemy as sql

from agglomeration.database import Database
from agglomeration.neurons import NeuronMap
from agglomeration.pair_answers import PairAnswers
from proofreading.base_graph import FIRST_NEW_ID
from proofreading.edits import LogRow, Merge, Split, SupervoxelSplit
from proofreading.export.snapshot import Snapshot, active_rows
from proofreading.queue_tables import tasks
from proofreading.tasks import TaskKind, Verdict

Decision = tuple[int, int, bool]


def people_decisions(database: Database, snapshot: Snapshot) -> PairAnswers:
    """All pairs that people decided about.

    Args:
      database: the decisions.
      snapshot: of the same project.

    Raises:
      DatabaseError: the database cannot be read.
    """
    found: dict[tuple[int, int], bool] = {}
    for a, b, truth in (*settled_tasks(database), *edited_pairs(active_rows(snapshot.log))):
        # What comes later counts; its place in the order does not matter.
        found[min(a, b), max(a, b)] = truth
    pairs = np.array(sorted(found), np.uint64).reshape(-1, 2)
    answers = np.array([found[pair] for pair in sorted(found)], bool)
    kept = agrees(snapshot.neurons, pairs, answers)
    return PairAnswers(pairs[kept, 0], pairs[kept, 1], answers[kept], snapshot.segmentation)


def settled_tasks(database: Database) -> Iterator[Decision]:
    """What settled tasks say about pairs of supervoxels.

    Args:
      database: the decisions.
    """
    columns = tasks.c
    query = sql.select(columns.kind, columns.verdict, columns.supervoxel_a, columns.supervoxel_b)
    query = query.where(columns.state == "settled", columns.supervoxel_b != 0).order_by(columns.id)
    with database.reading() as connection:
        for kind, verdict, a, b in connection.execute(query):
            if kind in (TaskKind.JOIN, TaskKind.REFUSED):
                yield int(a), int(b), verdict == Verdict.ACCEPT
            elif kind == TaskKind.MERGER and verdict == Verdict.REJECT:
                yield int(a), int(b), True


def edited_pairs(rows: Iterable[LogRow]) -> Iterator[Decision]:
    """What edits say about pairs of supervoxels.

    Args:
      rows: edits that are not undone, in their order.
    """
    for row in rows:
        if isinstance(row.change, Merge):
            yield row.change.a, row.change.b, True
        elif isinstance(row.change, Split | SupervoxelSplit):
            for a, b in row.change.removed:
                yield a, b, False


def agrees(neurons: NeuronMap, pairs: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Which decisions the neurons agree with.

    Args:
      neurons: of every supervoxel.
      pairs: (n, 2) uint64.
      truth: (n,) bool, decided to be one neuron.

    Returns:
      (n,) bool; False also for supervoxels that are no more, and for those that people made.
    """
    if not len(neurons) or not len(pairs):
        return np.zeros(len(pairs), bool)
    at = np.minimum(np.searchsorted(neurons.supervoxels, pairs), len(neurons) - 1)
    there = (neurons.supervoxels[at] == pairs) & (pairs < np.uint64(FIRST_NEW_ID))
    are_one = neurons.neurons[at[:, 0]] == neurons.neurons[at[:, 1]]
    kept: np.ndarray = there.all(axis=1) & (are_one == truth)
    return kept
