"""What a split of a neuron would do, from all that is known of its supervoxels; nothing is changed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from proofreading import supervoxel_facts
from proofreading.edits import Placed, Point
from proofreading.errors import ProofreadingError
from proofreading.neuron_views import NeuronViews
from proofreading.split_plan import (
    PlannedSplit,
    SupervoxelFacts,
    plan_cut,
    plan_supervoxel_split,
    shared_supervoxel,
)
from proofreading.supervoxel_split import SupervoxelParts
from volumes import Box


@dataclass(frozen=True)
class SplitPreview:
    """What a split would do.

    Attributes:
      parts: two (n,) uint64, ascending, the supervoxels on the sides of points_a and points_b.
      edges: (k, 2) uint64, the merges that would be taken away.
      cost: their weights added up; the higher, the less likely is the split by what the graph knows.
      needs_supervoxel_split: the supervoxel with points of both sides; None = there is none.
      supervoxel_parts: its voxels on either side, where there is one. Its two parts stand in `parts` under
        the IDs that they would get if nobody else edits before.
    """

    parts: tuple[np.ndarray, np.ndarray]
    edges: np.ndarray
    cost: float
    needs_supervoxel_split: int | None
    supervoxel_parts: SupervoxelParts | None


class SplitViews(NeuronViews):
    """Neurons, and how they would be split."""

    def preview_split(
        self, neuron: int, points_a: Sequence[Placed], points_b: Sequence[Placed]
    ) -> SplitPreview:
        """What `split` would do; changes nothing.

        Args:
          neuron: that is to be split.
          points_a, points_b: supervoxels of it and points in them (nm, zyx), on either side.

        Raises:
          ConflictError: a supervoxel that is not in the neuron.
          ProofreadingError: a side without points, points that cannot be parted, or a supervoxel that would
            be split while a newer agglomeration waits.
          UnknownError: there is no such neuron or supervoxel.
        """
        with self._lock:
            planned = self._plan_split(neuron, points_a, points_b, len(self._log) + 1)
        removed = np.array(planned.change.removed, np.uint64).reshape(-1, 2)
        shared = planned.voxels.supervoxel if planned.voxels else None
        return SplitPreview(planned.parts, removed, planned.cost, shared, planned.voxels)

    def _plan_split(
        self, neuron: int, points_a: Sequence[Placed], points_b: Sequence[Placed], number: int
    ) -> PlannedSplit:
        self._members(neuron)
        shared = shared_supervoxel(self._graph, neuron, points_a, points_b)
        if shared is None:
            return plan_cut(self._graph, neuron, points_a, points_b)
        return plan_supervoxel_split(self._graph, shared, points_a, points_b, self._facts_of(shared), number)

    def _facts_of(self, supervoxel: int) -> SupervoxelFacts:
        """What is known of a supervoxel; of one that edits made also what is known of its origin."""
        position: int | None = self._graph.position(supervoxel)
        points: dict[int, Point] = {}
        bodies = self._graph.somas_at(np.array([position]))
        while position is not None:
            number = int(self._graph.ids_of(np.array([position]))[0])
            found = supervoxel_facts.read_edge_points(self.database, self.run, number)
            points = {**found, **supervoxel_facts.merge_points(self._log.merges(), number), **points}
            position = self._graph.made_of(position)
        if unknown := bodies - self._soma_centres.keys():
            raise ProofreadingError(
                f"supervoxel {supervoxel} cannot be split: where cell body {min(unknown)} in it lies is not "
                "known; run `run_agglomeration` again"
            )
        # After the points were read: they go with the rows of the agglomeration.
        if self.has_newer_run:
            raise ProofreadingError(
                "supervoxels are not split while a newer agglomeration waits; restart the server to use it"
            )
        return SupervoxelFacts(
            self.labels(),
            self._log.kept_splits(self.output_dir),
            self._box_of(supervoxel),
            points,
            {body: self._soma_centres[body] for body in bodies},
        )

    def _box_of(self, supervoxel: int) -> Box:
        for _, split in self._log.replay.splits.values():
            for part in split.parts:
                if part.id == supervoxel:
                    return part.box
        return supervoxel_facts.read_box(self.database, supervoxel)
