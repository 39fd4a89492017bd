"""How good neurons are, from what is known of their supervoxels: no voxel is read again.

Merging supervoxels merges rows of their contingency table with the ground truth and renames the segments of
skeleton nodes; overlap figures and expected run length follow from these.

Inputs: table and node labels of supervoxels (`evaluation`), neurons (`NeuronMap`). Outputs: figures as in
metrics.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from agglomeration.neurons import NeuronMap
from agglomeration.pair_truth import PairTruth, true_objects, truth_of_pairs
from agglomeration.reliability import precision_of_accepted
from agglomeration.segmentation import Segmentation, truth_workspace
from configs import ConfigView, region_bounds
from evaluation import ContingencyTable, NodeLabels, erl_metrics, look_up_nodes, merge_tables, table_metrics
from evaluation.comparison import Tell, ends_at_box, prepare_truth
from volumes import Skeleton


@dataclass(frozen=True)
class KnownTruth:
    """What is known of the supervoxels of a project.

    Attributes:
      overlaps: with true objects; None = there are no labels.
      skeletons: true ones by ID; none = there are no figures of run lengths.
      nodes: the supervoxels of their nodes; None without skeletons.
      settings: a view of the message `Evaluation`.
    """

    overlaps: ContingencyTable | None
    skeletons: Mapping[int, Skeleton]
    nodes: NodeLabels | None
    settings: ConfigView

    def figures(self, neurons: NeuronMap | None = None) -> dict[str, Any]:
        """All figures of neurons, or of the supervoxels themselves; empty without ground truth.

        Args:
          neurons: of all supervoxels.
        """
        found: dict[str, Any] = {}
        if self.overlaps is not None:
            found |= table_metrics(self.overlaps if neurons is None else merged_table(self.overlaps, neurons))
        if self.nodes is not None:
            found |= erl_metrics(
                self.skeletons,
                self.nodes if neurons is None else merged_nodes(self.nodes, neurons),
                tolerance_nodes=tuple(self.settings.merger_tolerance_nodes),
                tolerance_nm=self.settings.merger_tolerance_nm,
            )
        return found

    def of_pairs(self, id_a: np.ndarray, id_b: np.ndarray) -> PairTruth | None:
        """Which pairs (n,) uint64 are one object; None without labels."""
        if self.overlaps is None:
            return None
        return truth_of_pairs(id_a, id_b, true_objects(self.overlaps))


def known_truth(config: ConfigView, segmentation: Segmentation, tell: Tell = lambda _: None) -> KnownTruth:
    """What a project knows of its supervoxels: their overlaps with true labels, and the supervoxels of the
    nodes of true skeletons where it names some. (Skeletons are made of labels by `evaluate` alone.)

    Args:
      config: of the project.
      segmentation: its supervoxels.
      tell: takes lines about skeletons that are worth knowing.

    Raises:
      ReconstructionError: skeletons that cannot be read.
    """
    settings = config.evaluation
    if settings is None:
        settings = config.replace(evaluation={}).evaluation
    if not settings.skeletons:
        return KnownTruth(segmentation.overlaps, {}, None, settings)
    labels, box = truth_workspace(config).inputs.labels, segmentation.box
    is_part = config.inference is not None and region_bounds(config.inference) is not None
    truth = prepare_truth(
        labels,
        box,
        segmentation.volume.voxel_size_nm,
        settings,
        clip=is_part or ends_at_box(box, segmentation.volume, labels),
        tell=tell,
        display=False,
    )
    nodes = look_up_nodes(segmentation.volume, truth.skeletons)
    return KnownTruth(segmentation.overlaps, truth.skeletons, nodes, settings)


def merged_table(table: ContingencyTable, neurons: NeuronMap) -> ContingencyTable:
    """The table of neurons, from that of their supervoxels.

    Args:
      table: of supervoxels; 0 stays 0.
      neurons: of all of them.

    Raises:
      AgglomerationError: a supervoxel that has no neuron.
    """
    segments = neurons.relabelled(table.segment_ids.reshape(1, 1, -1)).reshape(-1)
    return merge_tables([ContingencyTable(segments, table.truth_ids, table.counts)])


def merged_nodes(nodes: NodeLabels, neurons: NeuronMap) -> NodeLabels:
    """The neurons of skeleton nodes, from their supervoxels.

    Args:
      nodes: their supervoxels; 0 stays 0.
      neurons: of all of them.

    Raises:
      AgglomerationError: a supervoxel that has no neuron.
    """
    segments = neurons.relabelled(nodes.segments.reshape(1, 1, -1)).reshape(-1)
    return replace(nodes, segments=segments)


def pair_figures(accepted: np.ndarray, truth: PairTruth) -> dict[str, Any]:
    """How many accepted pairs are right, and how many of the true ones are accepted.

    Args:
      accepted: (n,) bool.
      truth: of the n pairs; those of which nothing is known are left out.

    Returns:
      `pairs`, `accepted`, `right`, `precision` and `recall` (None where there is nothing to divide by),
      `precision_low` and `precision_high` (Wilson, 95 %), `true_pairs`, `unknown_pairs`.
    """
    known = truth.known
    found = precision_of_accepted(accepted & known, truth.same)
    return {
        "pairs": int(accepted.size),
        "unknown_pairs": truth.left_out,
        "true_pairs": int(np.count_nonzero(truth.same)),
        "accepted": found.accepted,
        "right": found.right,
        "precision": None if np.isnan(found.precision) else found.precision,
        "precision_low": found.low,
        "precision_high": found.high,
        "recall": None if np.isnan(found.recall) else found.recall,
    }
