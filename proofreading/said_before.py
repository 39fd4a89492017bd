"""What people said of supervoxels, as far as it binds an agglomeration that comes later.

| they said | and so |
| --- | --- |
| no to a `join` or a `refused` | the two are apart |
| a cut | what was on its two sides is apart |
| no to a `merger` at a merge | the two are one |
| a merge | holds by itself: it is replayed (`proofreading.replay`) |

What was undone or taken back counts for nothing.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sql
from sqlalchemy import Connection

from agglomeration.tables import POINT_NM
from proofreading.edits import LogRow, Merge, Pair, Point, SupervoxelSplit, Toggle
from proofreading.queue_tables import answers, tasks
from proofreading.tasks import TaskKind, Verdict

# The part of a split (its edit, what it did) that is nearest to a point; None where its voxels are not there.
PartAt = Callable[[int, SupervoxelSplit, Point], int | None]


@dataclass(frozen=True)
class Apart:
    """Two supervoxels that people said are not one neuron.

    Attributes:
      pair: the smaller ID first.
      edit: the last edit before it was said, or by which.
      because: `task …` or `edit …`.
    """

    pair: Pair
    edit: int
    because: str


@dataclass(frozen=True)
class SaidBefore:
    """What people said.

    Attributes:
      apart: pairs that are no neuron, ascending; each once.
      one: pairs that are, with what says so.
      merges: supervoxels that people joined, by the number of the edit.
      removed: pairs whose merge was taken away, and not put back.
      splits: of supervoxels, in their order.
    """

    apart: tuple[Apart, ...] = ()
    one: Mapping[Pair, str] | None = None
    merges: Mapping[int, Pair] | None = None
    removed: frozenset[Pair] = frozenset()
    splits: tuple[SupervoxelSplit, ...] = ()


def nowhere(edit: int, split: SupervoxelSplit, point_nm: Point) -> None:
    """For splits whose voxels are not there.

    Args:
      edit: number of a split.
      split: what it did.
      point_nm: zyx.
    """


def said_before(connection: Connection, rows: Sequence[LogRow], part_at: PartAt = nowhere) -> SaidBefore:
    """Reads what people said until now.

    Args:
      connection: to read from.
      rows: of the log, all of them, in their order.
      part_at: of a supervoxel that was split.
    """
    active = active_rows(rows)
    cuts = [row for row in active if not isinstance(row.change, Merge)]
    found = [Apart(pair, row.id, f"edit {row.id}") for row in cuts for pair in _parted(row)]
    times, one = [row.at for row in rows], dict[Pair, str]()
    numbered = [(row.id, row.change) for row in active if isinstance(row.change, SupervoxelSplit)]
    for task, kind, (a, b), point, at, after in _rejected(connection):
        pair = ordered(*(_now_at(numbered, each, point, part_at) for each in (a, b)))
        if pair[0] == pair[1]:
            continue
        if kind is TaskKind.MERGER:
            one[pair] = f"task {task}"
        else:
            # Answers of earlier releases do not say after which edit they were given.
            found.append(Apart(pair, bisect_right(times, at) if after is None else after, f"task {task}"))
    latest = {each.pair: each for each in sorted(found, key=lambda each: each.edit)}
    marks = dict[Pair, bool]()
    for row in active:
        if isinstance(row.change, Merge):
            marks[ordered(row.change.a, row.change.b)] = True
        elif not _is_toggle(row):
            marks |= dict.fromkeys((ordered(*pair) for pair in row.change.removed), False)  # type: ignore[union-attr]
    return SaidBefore(
        tuple(latest[pair] for pair in sorted(latest)),
        one,
        {row.id: ordered(row.change.a, row.change.b) for row in active if isinstance(row.change, Merge)},
        frozenset(pair for pair, is_joined in marks.items() if not is_joined),
        tuple(split for _, split in numbered),
    )


def active_rows(rows: Sequence[LogRow]) -> list[LogRow]:
    """The edits that are not undone, without undo and redo themselves, in their order.

    Args:
      rows: of the log, all of them, in their order.
    """
    undone = set[int]()
    for row in rows:
        if isinstance(row.change, Toggle):
            (undone.discard if row.change.active else undone.add)(row.change.target)
    return [row for row in rows if not _is_toggle(row) and row.id not in undone]


def ordered(a: int, b: int) -> Pair:
    """The smaller ID first.

    Args:
      a: an ID.
      b: another one.
    """
    return (a, b) if a < b else (b, a)


def _is_toggle(row: LogRow) -> bool:
    return isinstance(row.change, Toggle)


def _parted(row: LogRow) -> set[Pair]:
    """The pairs that a split says are apart; a supervoxel that it split is on both sides."""
    change = row.change
    if isinstance(change, Merge | Toggle):
        return set()
    sides = [{supervoxel for supervoxel, _ in side} for side in (change.side_a, change.side_b)]
    if isinstance(change, SupervoxelSplit):
        sides = [
            side - {change.supervoxel} | {part.id} for side, part in zip(sides, change.parts, strict=True)
        ]
    pairs = {ordered(a, b) for a in sides[0] for b in sides[1] if a != b}
    return pairs | {ordered(*pair) for pair in change.removed}


def _now_at(
    splits: Sequence[tuple[int, SupervoxelSplit]], supervoxel: int, point_nm: Point, part_at: PartAt
) -> int:
    """Of a supervoxel that was split the part at a point, as for tasks (`proofreading.routing`); else itself.

    Where the voxels of a split are not there, it is the part one of whose points is nearest.
    """
    for edit, split in splits:
        if split.supervoxel == supervoxel:
            away = [
                min(math.dist(point, point_nm) for each, point in side if each == supervoxel)
                for side in (split.side_a, split.side_b)
            ]
            found = part_at(edit, split, point_nm)
            supervoxel = split.parts[int(away[1] < away[0])].id if found is None else found
    return supervoxel


def _rejected(connection: Connection) -> list[tuple[int, TaskKind, Pair, Point, str, int | None]]:
    """Tasks about two supervoxels that a no settled, where they are, when it was said, after which edit."""
    columns = tasks.c
    points = (columns[name] for name in POINT_NM)
    named = (columns.id, columns.kind, columns.supervoxel_a, columns.supervoxel_b, *points)
    latest = sql.func.max(answers.c.at), sql.func.max(answers.c.after_edit)
    said = sql.select(*named, *latest).join_from(tasks, answers)
    said = said.where(columns.state == "settled", columns.verdict == Verdict.REJECT.value)
    said = said.where(columns.supervoxel_b != 0, answers.c.state == "counted")
    found = connection.execute(said.group_by(*named).order_by(columns.id)).all()
    return [
        (int(row[0]), TaskKind(row[1]), (int(row[2]), int(row[3])), (row[4], row[5], row[6]), row[7], row[8])
        for row in found
    ]
