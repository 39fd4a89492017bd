"""From a segmentation and its ground truth to everything that is told of it: figures, tables, errors.

Ground truth is labels, skeletons, or both; skeletons are made from the labels where none are given. The
settings are the message `Evaluation`. Volumes are read block by block, each once for the overlap figures and
once where skeletons pass. Nothing is written here; see `evaluation.result_files` and `evaluation.report`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from configs import ConfigView
from evaluation.errors import EvaluationError
from evaluation.overlap import ContingencyTable, table_metrics
from evaluation.planes import partners
from jobs.progress import Progress
from volumes import Box, Skeleton, Volume

if TYPE_CHECKING:
    from evaluation.best_overlap import BestOverlaps
    from evaluation.detected_errors import DetectedError
    from evaluation.node_labels import NodeLabels

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Truth:
    """What segmentations are compared with.

    Attributes:
        labels: true objects, 0 = unlabelled; None = there are none.
        skeletons: true skeletons by ID; empty = there are none.
    """

    labels: Volume | None
    skeletons: Mapping[int, Skeleton]


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
    """

    name: str
    metrics: Mapping[str, Any]
    neurons: Sequence[Mapping[str, Any]] = ()
    errors: Sequence[DetectedError] = ()
    runs_nm: np.ndarray = field(default_factory=lambda: np.zeros(0))
    objects: BestOverlaps | None = None
    partner: Mapping[int, int] = field(default_factory=dict)


def prepare_truth(
    labels: Volume | None,
    box: Box,
    voxel_size_nm: Sequence[float],
    settings: ConfigView,
    *,
    clip: bool,
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
        tell: called with lines about what is allowed but worth knowing.
        display: whether progress is shown; None: on a terminal.

    Raises:
        EvaluationError: no ground truth, or no skeleton that was given has a node in the box.
        VolumeError: skeletons or labels that cannot be read.
    """
    skeletons: Mapping[int, Skeleton]
    if settings.skeletons:
        from volumes.skeleton_sets import read_skeletons

        skeletons = read_skeletons(settings.skeletons, on_warning=tell)
        if clip:
            skeletons = inside(skeletons, box, voxel_size_nm)
        if not skeletons:
            raise EvaluationError(
                f"no node of the skeletons '{settings.skeletons}' lies in {box}; check unit (nm) and order"
            )
    elif labels is None:
        raise EvaluationError(
            "there is nothing to compare with; give ground truth as labels, as skeletons, or as both"
        )
    else:
        skeletons = _made_from(labels, box, settings.skeletonisation, tell, display)
    if settings.skeleton_edge_nm:
        from volumes.skeletons import resample_skeleton

        skeletons = {
            name: resample_skeleton(each, settings.skeleton_edge_nm) for name, each in skeletons.items()
        }
    return Truth(labels, skeletons)


def compare_stage(
    name: str,
    segmentation: Volume,
    truth: Truth,
    box: Box,
    settings: ConfigView,
    *,
    display: bool | None = None,
) -> StageFigures:
    """Everything the ground truth says about one segmentation.

    Args:
        name: of the stage.
        segmentation: integers, 0 = unsegmented.
        truth: see `prepare_truth`.
        box: what is compared, absolute, inside the segmentation and the labels.
        settings: the message `Evaluation`.
        display: whether progress is shown; None: on a terminal.

    Raises:
        EvaluationError: volumes that cannot be compared, or nothing to measure.
        VolumeError: a volume that cannot be read.
    """
    metrics: dict[str, Any] = {}
    objects, partner = None, {}
    if truth.labels is not None:
        from evaluation.best_overlap import best_ious

        table = _table(name, segmentation, truth.labels, box, 0, display)
        metrics |= table_metrics(table)
        tolerance = settings.boundary_tolerance_nm
        if tolerance:
            tolerant = _table(name, segmentation, truth.labels, box, tolerance, display)
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
    )


def inside(
    skeletons: Mapping[int, Skeleton], box: Box, voxel_size_nm: Sequence[float]
) -> dict[int, Skeleton]:
    """What of skeletons lies in a box: its nodes, and the edges with both ends among them.

    Args:
        skeletons: by ID.
        box: absolute.
        voxel_size_nm: zyx.

    Returns:
        By ID; those without a node in the box are left out.
    """
    low_nm, high_nm = (np.array(corner) * voxel_size_nm for corner in (box.start, box.stop))
    found = {}
    for name, each in skeletons.items():
        kept = np.all((each.nodes_nm >= low_nm) & (each.nodes_nm < high_nm), axis=1)
        if kept.any():
            new = np.cumsum(kept) - 1
            radii = None if each.radii_nm is None else each.radii_nm[kept]
            edges = each.edges[kept[each.edges].all(axis=1)]
            found[name] = Skeleton(each.nodes_nm[kept], new[edges], radii)
    return found


def _made_from(
    labels: Volume, box: Box, settings: ConfigView, tell: Tell, display: bool | None
) -> Mapping[int, Skeleton]:
    """Skeletons of the labels that have any path; without one there are no figures of skeletons."""
    if find_spec("kimimaro") is None:
        tell(
            "there are no figures of skeletons, since kimimaro, which makes skeletons of labels, is not "
            "installed; run pip install 'ffn-reconstruction[skeletons]', or give skeletons"
        )
        return {}
    from evaluation.teasar import skeletonise_volume

    with Progress(None, "object", description="skeletons of the labels", enabled=display) as progress:
        made = skeletonise_volume(
            labels,
            box,
            scale=settings.scale,
            const_nm=settings.const_nm,
            min_voxels=settings.min_voxels,
            progress=progress,
        )
    if not any(len(each.edges) for each in made.values()):
        tell(
            f"no object of the ground truth has {settings.min_voxels} voxels and a skeleton of some length, "
            "so there are no figures of skeletons; lower evaluation.skeletonisation.min_voxels"
        )
        return {}
    return made


def _table(
    name: str, segmentation: Volume, truth: Volume, box: Box, tolerance_nm: float, display: bool | None
) -> ContingencyTable:
    from evaluation.blockwise import compare_volumes

    words = f"{name}: overlap away from boundaries" if tolerance_nm else f"{name}: overlap"
    with Progress(box.size, "voxel", description=words, enabled=display) as progress:
        return compare_volumes(
            segmentation, truth, box, boundary_tolerance_nm=tolerance_nm, progress=progress
        )


def _runs(skeletons: Mapping[int, Skeleton], labels: NodeLabels, tolerance_nm: float) -> np.ndarray:
    from evaluation._stretches import stretches_of

    stretches = stretches_of(skeletons, labels)
    merging, _ = stretches.merging(tolerance_nm=tolerance_nm)
    runs_nm = stretches.path_nm[~merging]
    return runs_nm[runs_nm > 0]
