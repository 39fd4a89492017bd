"""Errors of a segmentation as data: where each lies, what it concerns, and how much path is at stake.

- A split is an edge between two segments. It lies at the middle of the edge; at stake is the path of the
  skeleton in the one of the two that holds less of it.
- A merger joins two skeletons in one segment. It lies midway between the closest two of their nodes in it; at
  stake is all path in that segment. A segment with k skeletons is k - 1 mergers, between those that come
  closest to each other.
- An omission is a run of edges joined at nodes that lie in no segment, with what branches off in it. It lies
  halfway along its longest path; at stake is the length of its edges. Its segments are those at its ends.
  Where a run comes upon a node in a segment it ends, and another may begin.

Numbers of splits and mergers are those of `evaluation.erl`, which counts omitted edges one by one.

Inputs: skeletons (nodes in nm, zyx) and the segments of their nodes. A file holds one JSON object per line
and error, with the fields of `DetectedError`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from evaluation._contacts import contacts
from evaluation._gaps import find_gaps
from evaluation._stretches import Stretches, stretches_of
from evaluation.errors import EvaluationError
from evaluation.node_labels import NodeLabels
from jobs.pieces import atomic_path
from volumes import Skeleton

Kind = Literal["split", "merger", "omission"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class DetectedError:
    """One error; plain values.

    Attributes:
        kind: "split", "merger" or "omission".
        point_nm: where it lies, zyx.
        segments: IDs of the segments concerned, ascending: two of a split, one of a merger, those at the ends
            of an omission.
        skeletons: IDs of the true objects concerned, ascending: two of a merger, else one.
        length_nm: path at stake.
    """

    kind: Kind
    point_nm: tuple[float, float, float]
    segments: tuple[int, ...]
    skeletons: tuple[int, ...]
    length_nm: float


def detect_errors(
    skeletons: Mapping[int, Skeleton],
    node_labels: NodeLabels,
    *,
    tolerance_nodes: int = 0,
    tolerance_nm: float = 0.0,
) -> list[DetectedError]:
    """Every split, merger and omission.

    Args:
        skeletons: by ID.
        node_labels: the segments of their nodes.
        tolerance_nodes: a skeleton takes part in a merger only with more nodes than this in the segment.
        tolerance_nm: and only with at least this length of path in nm.

    Returns:
        Splits, then mergers, then omissions, each in ascending order of skeletons, segments and point.

    Raises:
        EvaluationError: no skeletons, labels of other skeletons, or a tolerance below 0.
    """
    stretches = stretches_of(skeletons, node_labels)
    found = [
        *_splits(stretches),
        *_mergers(stretches, tolerance_nodes, tolerance_nm),
        *_omissions(stretches),
    ]
    return sorted(found, key=_rank)


def write_errors(path: str | os.PathLike[str], errors: Iterable[DetectedError]) -> None:
    """Write errors as JSON lines, UTF-8; the file appears whole or not at all.

    Args:
        path: the file to make or to replace.
        errors: in the order of the lines.

    Raises:
        PieceError: the file cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for error in errors:
            stream.write(json.dumps(asdict(error), allow_nan=False) + "\n")


def read_errors(path: str | os.PathLike[str]) -> list[DetectedError]:
    """The errors in a file that `write_errors` made, in its order.

    Raises:
        EvaluationError: the file cannot be read, or a line is no error; names the line.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"cannot read the errors in '{path}' ({error}); run evaluate again") from error
    return [_parsed(line, f"{path}:{number}") for number, line in enumerate(lines, 1)]


def _splits(stretches: Stretches) -> Iterator[DetectedError]:
    edges = np.flatnonzero(stretches.is_split)
    ends = stretches.ends[edges]
    points_nm = stretches.nodes_nm[stretches.edges[edges]].mean(axis=1)
    segments = np.sort(stretches.segment[ends], axis=1)
    smaller_nm = stretches.path_nm[ends].min(axis=1)
    skeletons = stretches.skeleton_of_edge[edges]
    rows = zip(points_nm, segments.tolist(), skeletons.tolist(), smaller_nm.tolist(), strict=True)
    for point_nm, pair, skeleton, length_nm in rows:
        yield DetectedError("split", _point(point_nm), tuple(pair), (stretches.ids[skeleton],), length_nm)


def _mergers(stretches: Stretches, tolerance_nodes: int, tolerance_nm: float) -> Iterator[DetectedError]:
    merging, counting = stretches.merging(tolerance_nodes, tolerance_nm)
    segments, index = np.unique(stretches.segment[merging], return_inverse=True)
    lengths_nm = np.bincount(index, weights=stretches.path_nm[merging], minlength=segments.size)
    counted = np.flatnonzero(counting)
    counted = counted[np.argsort(stretches.segment[counted], kind="stable")]
    ids = [stretches.ids[skeleton] for skeleton in stretches.skeleton[counted]]
    nodes_nm = _nodes_nm(stretches, counted)
    first = [*np.searchsorted(stretches.segment[counted], segments).tolist(), counted.size]
    for i, (segment, length_nm) in enumerate(zip(segments.tolist(), lengths_nm.tolist(), strict=True)):
        members = slice(first[i], first[i + 1])
        for contact in contacts(nodes_nm[members]):
            middle_nm = (contact.first_nm + contact.second_nm) / 2
            pair = sorted((ids[members][contact.first], ids[members][contact.second]))
            yield DetectedError("merger", _point(middle_nm), (segment,), tuple(pair), length_nm)


def _nodes_nm(stretches: Stretches, chosen: np.ndarray) -> list[np.ndarray]:
    """The nodes of each chosen stretch, (n_i, 3)."""
    place = np.full(stretches.segment.size + 1, -1, np.int64)  # the last one is that of nodes in no segment
    place[chosen] = np.arange(chosen.size)
    place_of_node = place[stretches.stretch_of_node]
    nodes = np.flatnonzero(place_of_node >= 0)
    nodes = nodes[np.argsort(place_of_node[nodes], kind="stable")]
    return np.split(stretches.nodes_nm[nodes], np.cumsum(stretches.nodes[chosen])[:-1])


def _omissions(stretches: Stretches) -> Iterator[DetectedError]:
    omitted = np.flatnonzero(stretches.is_omitted)
    edge_nm, ends = stretches.edge_nm[omitted], stretches.ends[omitted]
    gaps = find_gaps(stretches.nodes_nm, stretches.edges[omitted], edge_nm, stretches.stretch_of_node < 0)
    lengths_nm = np.bincount(gaps.gap_of_edge, weights=edge_nm)
    _, an_edge = np.unique(gaps.gap_of_edge, return_index=True)
    skeletons = stretches.skeleton_of_edge[omitted[an_edge]]
    segments: list[set[int]] = [set() for _ in lengths_nm]
    edge, side = np.nonzero(ends >= 0)
    around = stretches.segment[ends[edge, side]]
    for gap, segment in zip(gaps.gap_of_edge[edge].tolist(), around.tolist(), strict=True):
        segments[gap].add(segment)
    rows = zip(gaps.middles_nm, segments, skeletons.tolist(), lengths_nm.tolist(), strict=True)
    for middle_nm, around_it, skeleton, length_nm in rows:
        ids = (stretches.ids[skeleton],)
        yield DetectedError("omission", _point(middle_nm), tuple(sorted(around_it)), ids, length_nm)


def _point(position_nm: np.ndarray) -> tuple[float, float, float]:
    z, y, x = position_nm.tolist()
    return z, y, x


def _rank(error: DetectedError) -> tuple[Any, ...]:
    return KINDS.index(error.kind), error.skeletons, error.segments, error.point_nm, error.length_nm


def _parsed(line: str, where: str) -> DetectedError:
    try:
        fields = json.loads(line)
        z, y, x = map(float, fields["point_nm"])
        error = DetectedError(
            kind=fields["kind"],
            point_nm=(z, y, x),
            segments=_ids(fields["segments"]),
            skeletons=_ids(fields["skeletons"]),
            length_nm=float(fields["length_nm"]),
        )
    except (ValueError, TypeError, KeyError, RecursionError) as problem:
        raise _no_error(where) from problem
    if error.kind not in KINDS or not all(map(math.isfinite, (z, y, x, error.length_nm))):
        raise _no_error(where)
    return error


def _ids(values: Iterable[Any]) -> tuple[int, ...]:
    ids = tuple(values)
    if not all(type(value) is int for value in ids):
        raise TypeError("IDs are whole numbers")
    return ids


def _no_error(where: str) -> EvaluationError:
    return EvaluationError(
        f"{where}: not an object with kind ({', '.join(KINDS)}), point_nm (z, y, x), segments, skeletons and "
        "length_nm; run evaluate again"
    )
