"""Answers from ground truth, in the place of a person.

A supervoxel is of the cell whose true skeleton has most nodes in it; one without nodes of the cell that fills
more than half of it, if there are true labels. A supervoxel with nodes of several cells is a merger itself:
no answer about joining it with another one is right, and the oracle does not know. It sees what a person sees
at the place: whether the two supervoxels are one cell, not what else their neurons are joined with.

A share of the answers may be wrong: accept for reject and reject for accept. Which ones follows from a seed
and the task's number, so that the same answers are wrong in whatever order tasks come.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from evaluation import ContingencyTable, NodeLabels
from proofreading.run_length_model import RunLengthModel
from proofreading.simulated_neurons import SimulatedNeurons
from proofreading.tasks import Candidate, TaskKind, Verdict
from volumes import Skeleton

# How far from a tip its continuation is looked for.
_BEYOND_NM = 600.0


class Reply(NamedTuple):
    """An answer.

    Attributes:
      verdict: accept, reject or unknown.
      partner: the supervoxel in which a loose end goes on; 0 = none.
    """

    verdict: Verdict
    partner: int = 0


class Truth:
    """What is known of supervoxels.

    Args:
      skeletons: true ones by ID.
      nodes: the supervoxels of their nodes.
      overlaps: of supervoxels and true labels, whose IDs are those of the skeletons; None = there are none.
    """

    def __init__(
        self,
        skeletons: Mapping[int, Skeleton],
        nodes: NodeLabels,
        overlaps: ContingencyTable | None = None,
    ) -> None:
        self.skeletons, self.nodes = skeletons, nodes
        self.cell_of = {} if overlaps is None else _filled(overlaps)
        self._places: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for i, skeleton in enumerate(nodes.ids):
            segments = nodes.segments[nodes.starts[i] : nodes.starts[i + 1]]
            self._places[skeleton] = skeletons[skeleton].nodes_nm, segments

    def model(self) -> RunLengthModel:
        """The run lengths of supervoxels as they are."""
        return RunLengthModel(self.skeletons, self.nodes)

    def near(self, skeleton: int, point_nm: np.ndarray) -> list[int]:
        """The supervoxels on a skeleton near a point, the nearest first."""
        nodes_nm, segments = self._places[skeleton]
        away = np.linalg.norm(nodes_nm - point_nm, axis=1)
        order = np.argsort(away, kind="stable")
        order = order[(away[order] <= _BEYOND_NM) & (segments[order] > 0)]
        return list(dict.fromkeys(segments[order].tolist()))


class Oracle:
    """Answers tasks.

    Args:
      truth: of the supervoxels.
      model: run lengths as they are now, from which it follows which supervoxels are mergers.
      wrong: share of the answers that are wrong, 0 to 1.
      seed: which ones follows from it.
    """

    def __init__(self, truth: Truth, model: RunLengthModel, wrong: float = 0.0, seed: int = 1) -> None:
        self._truth, self._model, self._wrong, self._seed = truth, model, wrong, seed

    def answer(self, each: Candidate, neurons: SimulatedNeurons) -> Reply:
        """Answers a task.

        Args:
          each: what is asked.
          neurons: as they are now.
        """
        right = self._right(each, neurons)
        if right.verdict is Verdict.UNKNOWN or not self._errs(each.id):
            return right
        if right.verdict is Verdict.ACCEPT:
            return Reply(Verdict.REJECT)
        # A person who wrongly sees a tip go on would have to find a partner; none is made up here.
        return right if each.kind is TaskKind.END else Reply(Verdict.ACCEPT)

    def cell(self, supervoxel: int) -> int:
        """The cell of a supervoxel; 0 = not known, -1 = it is a merger itself."""
        nodes = self._model.nodes_of.get(supervoxel, {})
        if len(nodes) > 1:
            return -1
        return next(iter(nodes)) if nodes else self._truth.cell_of.get(supervoxel, 0)

    def _right(self, each: Candidate, neurons: SimulatedNeurons) -> Reply:
        first, second = each.supervoxels
        if each.kind is TaskKind.END:
            return self._end(each, neurons)
        if second == 0:
            return Reply(Verdict.ACCEPT if self.cell(first) == -1 else Verdict.REJECT)
        cells = self.cell(first), self.cell(second)
        if min(cells) <= 0:
            return Reply(Verdict.UNKNOWN)
        same = cells[0] == cells[1]
        is_cut = each.kind is TaskKind.MERGER
        return Reply(Verdict.ACCEPT if same != is_cut else Verdict.REJECT)

    def _end(self, each: Candidate, neurons: SimulatedNeurons) -> Reply:
        supervoxel = each.supervoxels[0]
        cell = self.cell(supervoxel)
        if cell <= 0 or cell not in self._truth.skeletons:
            return Reply(Verdict.UNKNOWN)
        own = neurons.neuron_of(supervoxel)
        for other in self._truth.near(cell, np.array(each.point_nm)):
            if self.cell(other) == cell and neurons.neuron_of(other) != own:
                return Reply(Verdict.ACCEPT, other)
        return Reply(Verdict.REJECT)

    def _errs(self, task: int) -> bool:
        digest = hashlib.blake2b(f"{self._seed} {task}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") < self._wrong * 2**64


def _filled(overlaps: ContingencyTable) -> dict[int, int]:
    """The true object that fills more than half of each supervoxel."""
    table = overlaps.segmented()
    ids, rows = np.unique(table.segment_ids, return_inverse=True)
    total = np.bincount(rows, table.counts, ids.size)
    most = (table.truth_ids != 0) & (2 * table.counts > total[rows])
    return dict(zip(table.segment_ids[most].tolist(), table.truth_ids[most].tolist(), strict=True))
