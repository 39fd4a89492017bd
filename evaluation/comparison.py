"""From a segmentation and its ground truth to everything that is told of it: figures, tables, errors.

Ground truth is labels, skeletons, or both; skeletons are made from the labels where none are given. The
settings are the message `Evaluation`. Volumes are read block by block, each once for the overlap figures and
once where skeletons pass. Files of figures are those of `evaluation.result_files` and `evaluation.report`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from configs import ConfigView
from evaluation.extents import compared_box
from evaluation.overlap import ContingencyTable, table_metrics
from evaluation.planes import partners
from evaluation.true_skeletons import Keep, true_skeletons
from jobs.progress import Progress
from volumes import Box, Skeleton, Volume

if TYPE_CHECKING:
    from evaluation.best_overlap import BestOverlaps
    from evaluation.detected_errors import DetectedError
    from evaluation.node_labels import NodeLabels

Tell = Callable[[str], None]

MEMORY_GB = 2.0
# Of one block of both volumes, while it is counted; of the truth alone, with what lies around a block.
_BYTES_PER_VOXEL = 64
_BYTES_PER_CONTEXT_VOXEL = 24


@dataclass(frozen=True)
class Truth:
    """What segmentations are compared with.

    Attributes:
        labels: true objects, 0 = unlabelled; None = there are none.
        skeletons: true skeletons by ID; empty = there are none.
        source: the SPEC that the skeletons were read from or are kept at; empty = neither.
        made_with: the settings the skeletons were made from labels with; empty = they were not.
        digest: of the skeletons before they were cut and resampled; empty = there are none.
    """

    labels: Volume | None
    skeletons: Mapping[int, Skeleton]
    source: str = ""
    made_with: Mapping[str, Any] = field(default_factory=dict)
    digest: str = ""


@dataclass(frozen=True)
class StageFigures:
    """What is known of one segmentation.

    Attributes:
        name: of the stage it is.
        metrics: figures by name, as in metrics.json.
        neurons: rows of `evaluation.erl.neuron_table`; empty without skeletons.
        errors: detected errors; empty without skeletons.
        runs_nm: (n,) lengths of the runs that count, nm, mergers forgiven as `merger_tolerance_nm` says.
        objects: the best segment of each true object; None without labels.
        partner: the true object of each segment where each is the other's largest partner.
        notes: lines about what is allowed but worth knowing; of `evaluate`, all it told.
    """

    name: str
    metrics: Mapping[str, Any]
    neurons: Sequence[Mapping[str, Any]] = ()
    errors: Sequence[DetectedError] = ()
    runs_nm: np.ndarray = field(default_factory=lambda: np.zeros(0))
    objects: BestOverlaps | None = None
    partner: Mapping[int, int] = field(default_factory=dict)
    notes: Sequence[str] = ()


def evaluate(
    segmentation: Volume,
    *,
    labels: Volume | None = None,
    skeletons: Mapping[int, Skeleton] | None = None,
    box: Box | None = None,
    settings: ConfigView | None = None,
    memory_gb: float = MEMORY_GB,
    tell: Tell = warnings.warn,
) -> StageFigures:
    """Compares a segmentation with labels, skeletons, or both; writes nothing.

    Args:
        segmentation: integers, 0 = unsegmented.
        labels: true objects on the same grid, 0 = unlabelled; None = there are none.
        skeletons: true skeletons (zyx nm) by ID; None = those that the settings name, or else made from the
            labels.
        box: what is compared, absolute (zyx), and what skeletons are cut to; None: all that is there,
            which skeletons are cut to if labels are given that do not hold just what the segmentation does.
        settings: the message `Evaluation`, such as `load_config(…).evaluation` or
            `evaluation_settings("merger_tolerance_nm: 50")`; None: the defaults. Its volumes and box do not
            count.
        memory_gb: for the work, in 10^9 bytes.
        tell: called with lines about what is allowed but worth knowing, which are also in the result.

    Raises:
        EvaluationError: what cannot be compared.
        VolumeError: what cannot be read.
    """
    settings = evaluation_settings() if settings is None else settings
    notes: list[str] = []

    def note(line: str) -> None:
        notes.append(line)
        tell(line)

    compared = compared_box(segmentation, labels, box, note)
    size_nm = segmentation.voxel_size_nm
    clip = box is not None or ends_at_box(compared, segmentation, labels)
    truth = prepare_truth(
        labels,
        compared,
        size_nm,
        settings,
        clip=clip,
        skeletons=skeletons,
        extent=segmentation.bounds,
        memory_gb=memory_gb,
        tell=note,
    )
    found = compare_stage("segmentation", segmentation, truth, compared, settings, memory_gb=memory_gb)
    for line in found.notes:
        tell(line)
    return replace(found, notes=(*notes, *found.notes))


def ends_at_box(box: Box, segmentation: Volume, labels: Volume | None) -> bool:
    """Whether skeletons have to be cut for all figures to speak of the same box, though no box was asked for.

    They have to where the box is what both volumes hold, and not all of each; with skeletons alone, nodes
    outside the segmentation count as omitted.

    Args:
        box: what is compared, absolute.
        segmentation: what is compared.
        labels: true objects; None = there are none.
    """
    return labels is not None and box.size < max(segmentation.bounds.size, labels.bounds.size)


def evaluation_settings(text: str = "") -> ConfigView:
    """The message `Evaluation` with its defaults.

    Args:
        text: fields in text format.

    Raises:
        ConfigError: an unknown field or a value out of range.
    """
    from configs.parsing import parse_text
    from configs.proto import reconstruction_pb2

    return ConfigView(parse_text(text, reconstruction_pb2.Evaluation, "settings"))


def prepare_truth(
    labels: Volume | None,
    box: Box,
    voxel_size_nm: Sequence[float],
    settings: ConfigView,
    *,
    clip: bool,
    skeletons: Mapping[int, Skeleton] | None = None,
    extent: Box | None = None,
    memory_gb: float = MEMORY_GB,
    keep: Keep | None = None,
    tell: Tell = lambda _: None,
    display: bool | None = None,
) -> Truth:
    """The ground truth of a comparison, with its skeletons read or made, and cut as the settings ask.

    Args:
        labels: true objects that hold the box; None = there are none.
        box: what is compared, absolute.
        voxel_size_nm: zyx, of the segmentations.
        settings: the message `Evaluation`.
        clip: leave out what of the skeletons lies outside the box; otherwise it counts as omitted.
        skeletons: true ones by ID; None: those of the settings, or of the labels.
        extent: of the segmentations, absolute, for telling whether the unit is right; None: the box.
        memory_gb: for making skeletons.
        keep: where skeletons made from the labels are kept; None: nowhere.
        tell: called with lines about what is allowed but worth knowing.
        display: whether progress is shown; None: on a terminal.

    Raises:
        EvaluationError: see `evaluation.true_skeletons.true_skeletons`.
        VolumeError: skeletons or labels that cannot be read.
    """
    found = true_skeletons(
        labels,
        box,
        voxel_size_nm,
        settings,
        clip=clip,
        given=skeletons,
        extent=extent,
        memory_gb=memory_gb,
        keep=keep,
        tell=tell,
        display=display,
    )
    return Truth(labels, found.skeletons, found.source, found.made_with, found.digest)


def compare_stage(
    name: str,
    segmentation: Volume,
    truth: Truth,
    box: Box,
    settings: ConfigView,
    *,
    memory_gb: float = MEMORY_GB,
    display: bool | None = None,
) -> StageFigures:
    """Everything the ground truth says about one segmentation.

    Args:
        name: of the stage.
        segmentation: integers, 0 = unsegmented.
        truth: see `prepare_truth`.
        box: what is compared, absolute, inside the segmentation and the labels.
        settings: the message `Evaluation`.
        memory_gb: for the blocks that are compared at once.
        display: whether progress is shown; None: on a terminal.

    Raises:
        EvaluationError: volumes that cannot be compared, or nothing to measure.
        VolumeError: a volume that cannot be read.
    """
    metrics: dict[str, Any] = {}
    objects, partner = None, {}
    if truth.labels is not None:
        from evaluation.best_overlap import best_ious

        table = _table(name, segmentation, truth.labels, box, 0, memory_gb, display)
        metrics |= table_metrics(table)
        tolerance = settings.boundary_tolerance_nm
        if tolerance:
            tolerant = _table(name, segmentation, truth.labels, box, tolerance, memory_gb, display)
            metrics[f"boundary_tolerant_{tolerance:g}_nm"] = table_metrics(tolerant)
        objects, partner = best_ious(table), partners(table)
    if not truth.skeletons:
        return StageFigures(name, metrics, objects=objects, partner=partner)
    from evaluation.detected_errors import detect_errors
    from evaluation.erl import erl_metrics, neuron_table
    from evaluation.node_labels import look_up_nodes

    nodes = sum(len(each.nodes_nm) for each in truth.skeletons.values())
    with Progress(nodes, "node", description=f"{name}: skeletons", enabled=display) as progress:
        labels = look_up_nodes(segmentation, truth.skeletons, progress=progress)
    metrics |= erl_metrics(
        truth.skeletons,
        labels,
        tolerance_nodes=tuple(settings.merger_tolerance_nodes),
        tolerance_nm=settings.merger_tolerance_nm,
    )
    return StageFigures(
        name,
        metrics,
        neuron_table(truth.skeletons, labels, tolerance_nm=settings.merger_tolerance_nm),
        detect_errors(truth.skeletons, labels, tolerance_nm=settings.merger_tolerance_nm),
        _runs(truth.skeletons, labels, settings.merger_tolerance_nm),
        objects,
        partner,
        _outside(labels.outside),
    )


def _table(
    name: str,
    segmentation: Volume,
    truth: Volume,
    box: Box,
    tolerance_nm: float,
    memory_gb: float,
    display: bool | None,
) -> ContingencyTable:
    from evaluation.blockwise import MOST_VOXELS, compare_volumes

    words = f"{name}: overlap away from boundaries" if tolerance_nm else f"{name}: overlap"
    bytes_per_voxel = _BYTES_PER_CONTEXT_VOXEL if tolerance_nm else _BYTES_PER_VOXEL
    most_voxels = max(1, min(MOST_VOXELS, int(memory_gb * 1e9 / bytes_per_voxel)))
    with Progress(box.size, "voxel", description=words, enabled=display) as progress:
        return compare_volumes(
            segmentation,
            truth,
            box,
            boundary_tolerance_nm=tolerance_nm,
            most_voxels=most_voxels,
            progress=progress,
        )


def _outside(nodes: int) -> list[str]:
    if not nodes:
        return []
    return [f"{nodes} nodes of the skeletons lie outside the segmentation; the path there counts as omitted"]


def _runs(skeletons: Mapping[int, Skeleton], labels: NodeLabels, tolerance_nm: float) -> np.ndarray:
    from evaluation._stretches import stretches_of

    stretches = stretches_of(skeletons, labels)
    merging, _ = stretches.merging(tolerance_nm=tolerance_nm)
    runs_nm = stretches.path_nm[~merging]
    return runs_nm[runs_nm > 0]
