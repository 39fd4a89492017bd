"""Errors of a segmentation as data: where each lies, what it concerns, and how much path is at stake.

- A split is between two segments of one skeleton. At stake is the path of the skeleton in the one of the two
  that holds less of it. One record stands for all edges between the two; it lies at the middle of that edge
  whose ends lie in the longest pieces, of the shorter of which the length counts.
- A split across a gap is between two segments at the ends of one omission: of all these that with the longest
  path is split from each of the others. One record stands for all gaps between the two; it lies where the
  shortest of these omissions does, and is there beside it.
- A merger joins two skeletons in one segment. It lies midway between the closest two of their nodes in it; at
  stake is the path in the segment of the one that has less of it there. A segment with k skeletons is k - 1
  mergers, between those that come closest to each other, but that skeletons which merge under the tolerance
  are joined among themselves first. So mergers that count under the tolerance are as many as
  `evaluation.erl` counts under it, and what a segment's mergers have at stake is no more than the path in it.
- An omission is a run of edges joined at nodes that lie in no segment, with what branches off in it. It lies
  halfway along its longest path; at stake is the length of its edges. Its segments are those at its ends:
  with two or more of them there are splits across it. Where a run comes upon a node in a segment it ends, and
  another may begin.

The edges of splits and omissions, the gaps of splits across gaps, and mergers add up to the numbers of
`evaluation.erl`.

Inputs: skeletons (nodes in nm, zyx) and the segments of their nodes. A file holds one JSON object per line
and error, with the fields of `DetectedError`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from evaluation._contacts import Contact, contacts
from evaluation._gaps import OmittedGaps, omitted_gaps
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
        lengths_nm: path on either side, the lesser of which is at stake: of a split in each of its segments,
            of a merger of each of its skeletons in the segment, in the order of these; of an omission none.
        count: edges that a split or an omission stands for, of a split across gaps the gaps; 1 of a merger.
        tolerant: whether it counts under the tolerance too; only of mergers it may not.
        across_gap: whether it is a split between segments that only an omission joins.
    """

    kind: Kind
    point_nm: tuple[float, float, float]
    segments: tuple[int, ...]
    skeletons: tuple[int, ...]
    length_nm: float
    lengths_nm: tuple[float, ...] = ()
    count: int = 1
    tolerant: bool = True
    across_gap: bool = False


def detect_errors(
    skeletons: Mapping[int, Skeleton],
    node_labels: NodeLabels,
    *,
    tolerance_nodes: int = 0,
    tolerance_nm: float = 0.0,
) -> list[DetectedError]:
    """Every split, with those across gaps, merger and omission.

    Args:
        skeletons: by ID.
        node_labels: the segments of their nodes.
        tolerance_nodes: a merger is `tolerant` only with more nodes than this on each of two skeletons.
        tolerance_nm: and only with at least this length of path in nm on each of two skeletons.

    Returns:
        Those with most path at stake first.

    Raises:
        EvaluationError: no skeletons, labels of other skeletons, or a tolerance below 0.
    """
    stretches = stretches_of(skeletons, node_labels)
    gaps = omitted_gaps(stretches)
    found = [
        *_splits(stretches),
        *_splits_across(gaps, stretches),
        *_mergers(stretches, tolerance_nodes, tolerance_nm),
        *_omissions(gaps, stretches),
    ]
    return sorted(found, key=_rank)


def write_errors(path: str | os.PathLike[str], errors: Iterable[DetectedError]) -> None:
    """Write errors as JSON lines, UTF-8; the file appears whole or not at all.

    IDs are text there, since many readers of JSON round whole numbers above 2^53.

    Args:
        path: the file to make or to replace.
        errors: in the order of the lines.

    Raises:
        PieceError: the file cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for error in errors:
            ids = {name: [str(each) for each in getattr(error, name)] for name in ("segments", "skeletons")}
            stream.write(json.dumps({**asdict(error), **ids}, allow_nan=False) + "\n")


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
    points_nm = stretches.nodes_nm[stretches.edges[edges]].mean(axis=1)
    pieces_nm = stretches.piece_nm[stretches.edges[edges]].min(axis=1)
    yield from _joined(stretches, stretches.ends[edges], points_nm, -pieces_nm)


def _splits_across(gaps: OmittedGaps, stretches: Stretches) -> Iterator[DetectedError]:
    order = np.lexsort((gaps.stretch_of_end, -stretches.path_nm[gaps.stretch_of_end], gaps.gap_of_end))
    gap, stretch = gaps.gap_of_end[order], gaps.stretch_of_end[order]
    _, longest, place = np.unique(gap, return_index=True, return_inverse=True)
    is_other = longest[place] != np.arange(gap.size)
    ends = np.stack([stretch[longest][place], stretch], axis=1)[is_other]
    across = gap[is_other]
    for split in _joined(stretches, ends, gaps.middles_nm[across], gaps.lengths_nm[across]):
        yield replace(split, across_gap=True)


def _joined(
    stretches: Stretches, ends: np.ndarray, points_nm: np.ndarray, rank_nm: np.ndarray
) -> Iterator[DetectedError]:
    """One split for each pair of stretches, (p, 2) with repeats, where its rank is least."""
    ends = np.sort(ends, axis=1)
    _, pair, counts = np.unique(ends @ (stretches.segment.size, 1), return_inverse=True, return_counts=True)
    order = np.lexsort((*points_nm.T[::-1], rank_nm, pair))
    first = order[np.cumsum(counts) - counts]
    pairs = ends[first]
    rows = zip(
        points_nm[first],
        stretches.segment[pairs].tolist(),
        stretches.skeleton[pairs[:, 0]].tolist(),
        stretches.path_nm[pairs].tolist(),
        counts.tolist(),
        strict=True,
    )
    for point_nm, segments, skeleton, lengths_nm, count in rows:
        yield DetectedError(
            "split",
            _point(point_nm),
            tuple(segments),
            (stretches.ids[skeleton],),
            min(lengths_nm),
            tuple(lengths_nm),
            count,
        )


def _mergers(stretches: Stretches, tolerance_nodes: int, tolerance_nm: float) -> Iterator[DetectedError]:
    merging = np.flatnonzero(stretches.merging()[0])
    merging = merging[np.argsort(stretches.segment[merging], kind="stable")]
    counting = stretches.merging(tolerance_nodes, tolerance_nm)[1][merging]
    nodes_nm = _nodes_nm(stretches, merging)
    paths_nm = stretches.path_nm[merging].tolist()
    ids = [stretches.ids[skeleton] for skeleton in stretches.skeleton[merging]]
    segments, first = np.unique(stretches.segment[merging], return_index=True)
    last = [*first.tolist(), merging.size][1:]
    for segment, start, stop in zip(segments.tolist(), first.tolist(), last, strict=True):
        for contact, tolerant in _contacts_of(nodes_nm[start:stop], counting[start:stop]):
            sides = sorted((ids[start + i], paths_nm[start + i]) for i in (contact.first, contact.second))
            lengths_nm = tuple(length_nm for _, length_nm in sides)
            yield DetectedError(
                "merger",
                _point((contact.first_nm + contact.second_nm) / 2),
                (segment,),
                tuple(skeleton_id for skeleton_id, _ in sides),
                min(lengths_nm),
                lengths_nm,
                tolerant=tolerant,
            )


def _contacts_of(nodes_nm: list[np.ndarray], counting: np.ndarray) -> Iterator[tuple[Contact, bool]]:
    """Contacts that join all stretches of a segment, with whether they join two that count.

    Those that count are joined first. Otherwise a third that does not could lie between two that do, and no
    contact would say that these are merged.
    """
    counted = np.flatnonzero(counting).tolist()
    joined = []
    for contact in contacts([nodes_nm[i] for i in counted]):
        among_all = replace(contact, first=counted[contact.first], second=counted[contact.second])
        joined.append((among_all.first, among_all.second))
        yield among_all, True
    if len(counted) < len(nodes_nm):
        for contact in contacts(nodes_nm, joined):
            yield contact, False


def _nodes_nm(stretches: Stretches, chosen: np.ndarray) -> list[np.ndarray]:
    """The nodes of each chosen stretch, (n_i, 3)."""
    place = np.full(stretches.segment.size + 1, -1, np.int64)  # the last one is that of nodes in no segment
    place[chosen] = np.arange(chosen.size)
    place_of_node = place[stretches.stretch_of_node]
    nodes = np.flatnonzero(place_of_node >= 0)
    nodes = nodes[np.argsort(place_of_node[nodes], kind="stable")]
    return np.split(stretches.nodes_nm[nodes], np.cumsum(stretches.nodes[chosen])[:-1])


def _omissions(gaps: OmittedGaps, stretches: Stretches) -> Iterator[DetectedError]:
    around: list[list[int]] = [[] for _ in gaps.lengths_nm]
    for gap, segment in zip(
        gaps.gap_of_end.tolist(), stretches.segment[gaps.stretch_of_end].tolist(), strict=True
    ):
        around[gap].append(segment)
    rows = zip(
        gaps.middles_nm,
        around,
        gaps.skeleton.tolist(),
        gaps.lengths_nm.tolist(),
        gaps.edges.tolist(),
        strict=True,
    )
    for middle_nm, segments, skeleton, length_nm, count in rows:
        ids = (stretches.ids[skeleton],)
        yield DetectedError("omission", _point(middle_nm), tuple(segments), ids, length_nm, count=count)


def _point(position_nm: np.ndarray) -> tuple[float, float, float]:
    z, y, x = position_nm.tolist()
    return z, y, x


def _rank(error: DetectedError) -> tuple[Any, ...]:
    kind = KINDS.index(error.kind)
    return -error.length_nm, kind, error.skeletons, error.segments, error.across_gap, error.point_nm


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
            lengths_nm=tuple(map(float, fields.get("lengths_nm", ()))),
            count=fields.get("count", 1),
            tolerant=fields.get("tolerant", True),
            across_gap=fields.get("across_gap", False),
        )
    except (ValueError, TypeError, KeyError, RecursionError) as problem:
        raise _no_error(where) from problem
    numbers = (z, y, x, error.length_nm, *error.lengths_nm)
    if error.kind not in KINDS or not all(map(math.isfinite, numbers)):
        raise _no_error(where)
    if type(error.count) is not int or error.count < 1:
        raise _no_error(where)
    if type(error.tolerant) is not bool or type(error.across_gap) is not bool:
        raise _no_error(where)
    return error


def _ids(values: Iterable[Any]) -> tuple[int, ...]:
    ids = tuple(int(value) if type(value) is str and value.isdecimal() else value for value in values)
    if not all(type(value) is int for value in ids):
        raise TypeError("IDs are whole numbers")
    return ids


def _no_error(where: str) -> EvaluationError:
    return EvaluationError(
        f"{where}: not an object with kind ({', '.join(KINDS)}), point_nm (z, y, x), segments, skeletons, "
        "length_nm and, unless it is older, lengths_nm, count, tolerant and across_gap; run evaluate again"
    )
