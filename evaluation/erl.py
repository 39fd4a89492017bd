"""Expected run length: how far one gets along a neuron, from a point drawn at random, before an error.

A run is all of one skeleton that lies in one segment: l nm of edges with both ends in it. With L the length
of all skeletons, ERL = sum over skeletons and segments of l^2 / L, where l counts as 0 on a segment that
merges, that is, has nodes of two skeletons or more. A faultless segmentation reaches max ERL = sum of
L_s^2 / L over the skeletons' lengths L_s; nERL = ERL / max ERL.

Source: Januszewski et al. (2018), Nature Methods 15:605, "High-precision automated reconstruction of neurons
with flood-filling networks".

One stray node of a skeleton beside a boundary makes its segment a merger. The tolerant variants count a
segment as merging only if it has more than n nodes, or at least d nm of path, on each of two skeletons; a
forgiven segment counts in full for all skeletons on it.

Errors are counted where they lie: a split is an edge between two segments, an omission an edge with an end in
no segment, and a segment that merges is as many mergers as it has skeletons, less one. A gap, which is a run
of omissions joined at nodes in no segment, is as many splits across gaps as there are segments at its ends,
less one: without them a segmentation that leaves out a plane between two segments would have no split there.
Leaving out can still lower their sum: a stray bit of another segment amid one is two splits, a gap none.

Inputs: skeletons (nodes in nm, zyx) and the segments of their nodes (`evaluation.node_labels`). Outputs: nm,
mm and shares. Time is linear in nodes and edges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation._gaps import omitted_gaps
from evaluation._stretches import Stretches, stretches_of
from evaluation.errors import EvaluationError
from evaluation.node_labels import NodeLabels
from volumes import Skeleton

_NM_PER_MM = 1e6


@dataclass(frozen=True, eq=False)
class RunLengths:
    """Expected run lengths of a set of skeletons.

    Attributes:
        ids: of the s skeletons.
        lengths_nm: (s,) float64 path of each skeleton.
        runs_nm: (s,) float64 expected run length from a point drawn on each skeleton; 0 where it has no path.
        erl_nm: mean of `runs_nm`, weighted by path.
        max_erl_nm: the same for a faultless segmentation.
        nerl: `erl_nm / max_erl_nm`, 0 to 1.
        merging_segments: (k,) uint64, ascending: segments that merge, under the tolerance.
        mergers: skeletons that count on each of these, less one, summed.
    """

    ids: tuple[int, ...]
    lengths_nm: np.ndarray
    runs_nm: np.ndarray
    erl_nm: float
    max_erl_nm: float
    nerl: float
    merging_segments: np.ndarray
    mergers: int


def run_lengths(
    skeletons: Mapping[int, Skeleton],
    node_labels: NodeLabels,
    *,
    tolerance_nodes: int = 0,
    tolerance_nm: float = 0.0,
) -> RunLengths:
    """Expected run lengths; strict without a tolerance.

    Args:
        skeletons: by ID.
        node_labels: the segments of their nodes.
        tolerance_nodes: a segment merges only with more nodes than this on each of two skeletons.
        tolerance_nm: and only with at least this length of path in nm on each of two skeletons.

    Raises:
        EvaluationError: no skeletons or none with any path, labels of other skeletons, or a tolerance
            below 0.
    """
    return _run_lengths(_measurable(skeletons, node_labels), tolerance_nodes, tolerance_nm)


def erl_metrics(
    skeletons: Mapping[int, Skeleton],
    node_labels: NodeLabels,
    *,
    tolerance_nodes: Sequence[int] = (),
    tolerance_nm: float = 100,
) -> dict[str, Any]:
    """All figures of a set of skeletons.

    Args:
        skeletons: by ID.
        node_labels: the segments of their nodes.
        tolerance_nodes: numbers of nodes up to which mergers are forgiven, a variant each.
        tolerance_nm: length of path (nm) below which mergers are forgiven, in one more variant.

    Returns:
        `erl_nm`, `max_erl_nm`, `nerl` (strict); `splits` and `omissions` (edges), `splits_across_gaps`,
        `mergers`; `splits_per_mm`, `splits_with_gaps_per_mm` (of both kinds of splits), `mergers_per_mm`,
        `path_length_mm`, `skeletons`, `nodes_outside`;
        `erl_tolerant_<n>_nodes_nm` and `nerl_tolerant_<n>_nodes` for each number n of nodes, and
        `erl_tolerant_<d>_nm` and `nerl_tolerant_<d>_nm` for the length d unless that is 0, which is strict.

    Raises:
        EvaluationError: as `run_lengths` does.
    """
    stretches = _measurable(skeletons, node_labels)
    strict = _run_lengths(stretches)
    path_mm = float(stretches.skeleton_nm.sum()) / _NM_PER_MM
    splits = int(np.count_nonzero(stretches.is_split))
    across_gaps = int(omitted_gaps(stretches).splits.sum())
    figures: dict[str, Any] = {
        "erl_nm": strict.erl_nm,
        "max_erl_nm": strict.max_erl_nm,
        "nerl": strict.nerl,
        "splits": splits,
        "splits_across_gaps": across_gaps,
        "mergers": strict.mergers,
        "omissions": int(np.count_nonzero(stretches.is_omitted)),
        "splits_per_mm": splits / path_mm,
        "splits_with_gaps_per_mm": (splits + across_gaps) / path_mm,
        "mergers_per_mm": strict.mergers / path_mm,
        "path_length_mm": path_mm,
        "skeletons": len(stretches.ids),
        "nodes_outside": node_labels.outside,
    }
    for nodes in tolerance_nodes:
        tolerant = _run_lengths(stretches, tolerance_nodes=nodes)
        figures[f"erl_tolerant_{nodes}_nodes_nm"] = tolerant.erl_nm
        figures[f"nerl_tolerant_{nodes}_nodes"] = tolerant.nerl
    tolerant = _run_lengths(stretches, tolerance_nm=tolerance_nm)
    if tolerance_nm:
        figures[f"erl_tolerant_{tolerance_nm:g}_nm"] = tolerant.erl_nm
        figures[f"nerl_tolerant_{tolerance_nm:g}_nm"] = tolerant.nerl
    return figures


def neuron_table(
    skeletons: Mapping[int, Skeleton], node_labels: NodeLabels, *, tolerance_nm: float = 100
) -> list[dict[str, Any]]:
    """One row of figures for each skeleton, strict about mergers where it is not said otherwise.

    Args:
        skeletons: by ID.
        node_labels: the segments of their nodes.
        tolerance_nm: length of path (nm) below which mergers are forgiven in the tolerant figures; 0: there
            are none.

    Returns:
        In the order of `node_labels.ids`: `id`; `length_nm`; `erl_nm`, the expected run length from a point
        on this skeleton; `nerl`, its share of the length; `erl_tolerant_nm` and `nerl_tolerant`, both with
        mergers forgiven; `splits` and `omissions` (edges); `splits_across_gaps`; `mergers`, the segments on
        it that merge; `segments`, how many there are on it; `largest_segment`, the one with the longest path
        on it (of equal ones that with more nodes, then the smallest ID; 0: none) and `largest_share`, its
        share of the length; `coverage`, the share of the length not omitted. Shares of a skeleton without
        path are 0.

    Raises:
        EvaluationError: no skeletons, labels of other skeletons, or a tolerance below 0.
    """
    stretches = stretches_of(skeletons, node_labels)
    count = len(stretches.ids)
    merging, _ = stretches.merging()
    is_omitted = stretches.is_omitted
    omitted_nm = _per_skeleton(stretches, is_omitted, stretches.edge_nm)
    gaps = omitted_gaps(stretches)
    across_gaps = np.bincount(gaps.skeleton, weights=gaps.splits, minlength=count).astype(np.int64)
    largest_segment, largest_nm = _largest(stretches)
    columns: dict[str, Any] = {
        "length_nm": stretches.skeleton_nm,
        **_run_columns(stretches, "", 0.0),
        **(_run_columns(stretches, "_tolerant", tolerance_nm) if tolerance_nm else {}),
        "splits": _per_skeleton(stretches, stretches.is_split),
        "splits_across_gaps": across_gaps,
        "mergers": np.bincount(stretches.skeleton[merging], minlength=count),
        "omissions": _per_skeleton(stretches, is_omitted),
        "segments": np.bincount(stretches.skeleton, minlength=count),
        "largest_segment": largest_segment,
        "largest_share": _shares(largest_nm, stretches.skeleton_nm),
        "coverage": _shares(stretches.skeleton_nm - omitted_nm, stretches.skeleton_nm),
    }
    rows = zip(stretches.ids, *(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(("id", *columns), row, strict=True)) for row in rows]


def _run_columns(stretches: Stretches, variant: str, tolerance_nm: float) -> dict[str, np.ndarray]:
    """The expected run length from a point on each skeleton, and its share of the length, by column."""
    merging, _ = stretches.merging(tolerance_nm=tolerance_nm)
    runs_nm = _shares(_squares(stretches, merging), stretches.skeleton_nm)
    return {f"erl{variant}_nm": runs_nm, f"nerl{variant}": _shares(runs_nm, stretches.skeleton_nm)}


def _measurable(skeletons: Mapping[int, Skeleton], node_labels: NodeLabels) -> Stretches:
    stretches = stretches_of(skeletons, node_labels)
    if not stretches.skeleton_nm.any():
        raise EvaluationError(
            f"the {len(stretches.ids)} skeletons have no path (no edge longer than 0), so there is no run "
            "length; give skeletons with edges"
        )
    return stretches


def _run_lengths(stretches: Stretches, tolerance_nodes: int = 0, tolerance_nm: float = 0.0) -> RunLengths:
    merging, counting = stretches.merging(tolerance_nodes, tolerance_nm)
    lengths_nm = stretches.skeleton_nm
    squares = _squares(stretches, merging)
    # Squares are summed as they are, so that a faultless segmentation has a nERL of exactly 1.
    erl_nm = float(squares.sum() / lengths_nm.sum())
    max_erl_nm = float((lengths_nm**2).sum() / lengths_nm.sum())
    segments = np.unique(stretches.segment[merging])
    return RunLengths(
        ids=stretches.ids,
        lengths_nm=lengths_nm,
        runs_nm=_shares(squares, lengths_nm),
        erl_nm=erl_nm,
        max_erl_nm=max_erl_nm,
        nerl=erl_nm / max_erl_nm,
        merging_segments=segments,
        mergers=int(np.count_nonzero(counting)) - segments.size,
    )


def _squares(stretches: Stretches, merging: np.ndarray) -> np.ndarray:
    """(s,) float64: the sum of l^2 over the segments of each skeleton, in nm^2."""
    return stretches.on_skeletons(np.where(merging, 0.0, stretches.path_nm**2))


def _shares(parts: np.ndarray, wholes: np.ndarray) -> np.ndarray:
    return np.divide(parts, wholes, out=np.zeros(wholes.size), where=wholes > 0)


def _per_skeleton(stretches: Stretches, edges: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """The number, or the summed weight, of chosen edges of each skeleton."""
    chosen = None if weights is None else weights[edges]
    return np.bincount(stretches.skeleton_of_edge[edges], weights=chosen, minlength=len(stretches.ids))


def _largest(stretches: Stretches) -> tuple[np.ndarray, np.ndarray]:
    """Segment (uint64) and path (nm) of the largest stretch of each skeleton, 0 and 0 where there is none."""
    segments, paths_nm = np.zeros(len(stretches.ids), np.uint64), np.zeros(len(stretches.ids))
    order = np.lexsort((stretches.segment, -stretches.nodes, -stretches.path_nm, stretches.skeleton))
    first = order[np.unique(stretches.skeleton[order], return_index=True)[1]]
    segments[stretches.skeleton[first]] = stretches.segment[first]
    paths_nm[stretches.skeleton[first]] = stretches.path_nm[first]
    return segments, paths_nm
