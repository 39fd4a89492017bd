"""The log of edits: what people did, in order, never changed.

A row of the log says what somebody did (`Change`), who, when and why. Everything else follows from the rows:
a merge adds an edge between two supervoxels, a split removes edges, a split of a supervoxel puts two new ones
in its place, and an undo or redo names an earlier row. Numbers of rows ascend from 1 without gaps.

IDs are whole numbers below 2^63, text in the JSON of a row; points are nm, z, y, x.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

import sqlalchemy as sql
from sqlalchemy import Connection, Row

from agglomeration.database import Database, DatabaseError
from proofreading import tables
from volumes import Box

Point: TypeAlias = tuple[float, float, float]
# A supervoxel and a point of it.
Placed: TypeAlias = tuple[int, Point]
Pair: TypeAlias = tuple[int, int]


class Kind(str, Enum):
    """What a row of the log does; the database holds the value."""

    MERGE = "merge"
    SPLIT = "split"
    SUPERVOXEL_SPLIT = "supervoxel_split"
    UNDO = "undo"
    REDO = "redo"


@dataclass(frozen=True)
class Edit:
    """A row of the log, and what it did.

    Attributes:
      id: its number, from 1.
      at: when, UTC, ISO 8601.
      person: who.
      kind: what.
      supervoxels: those it names: the two of a merge, the points' of a split; for an undo or redo those of
        the edit it is about.
      neurons_before: those it changed, as they were called before; ascending.
      neurons_after: what became of them; ascending.
      reason: why, in the person's words; may be empty.
      forced: it gave a neuron a further cell body, and was done all the same.
      client_key: under which it was sent.
      undone_by: the row that undid it, as long as it is undone.
      task: that it answered.
      target: the edit that an undo or redo is about.
      run: of the agglomeration on which it was made; None = not known.
    """

    id: int
    at: str
    person: str
    kind: Kind
    supervoxels: tuple[int, ...]
    neurons_before: tuple[int, ...]
    neurons_after: tuple[int, ...]
    reason: str
    forced: bool
    client_key: str
    undone_by: int | None = None
    task: int | None = None
    target: int | None = None
    run: int | None = None


@dataclass(frozen=True)
class Merge:
    """An edge between two supervoxels.

    Attributes:
      a, b: the supervoxels.
      point_a_nm, point_b_nm: where they were seen to be one, if that is known.
    """

    a: int
    b: int
    point_a_nm: Point | None = None
    point_b_nm: Point | None = None


@dataclass(frozen=True)
class Split:
    """Edges taken away.

    Attributes:
      removed: supervoxels of each, the smaller one first.
      side_a, side_b: the points that were to be parted.
    """

    removed: tuple[Pair, ...]
    side_a: tuple[Placed, ...]
    side_b: tuple[Placed, ...]


@dataclass(frozen=True)
class Part:
    """A supervoxel that a split made.

    Attributes:
      id: of it.
      voxels: how many it has.
      box: around them (absolute).
      somas: cell bodies in it.
      point_nm: in it, near its middle; None = not kept, in rows of earlier releases.
    """

    id: int
    voxels: int
    box: Box
    somas: tuple[int, ...]
    point_nm: Point | None = None


@dataclass(frozen=True)
class Route:
    """What becomes of an edge between the supervoxel that is split and another one.

    Attributes:
      other: that one.
      part: 0 or 1, the part that gets the edge; two routes of the same other: both do.
      certainty: of the new edge.
    """

    other: int
    part: int
    certainty: float


@dataclass(frozen=True)
class SupervoxelSplit:
    """Two supervoxels in the place of one, and edges taken away.

    Attributes:
      supervoxel: that is no more.
      parts: on the sides of the points a and b.
      routes: of the edges that it may have; one to another supervoxel than these goes to the larger part.
      removed: edges that are taken away besides, of the parts or of others.
      side_a, side_b: the points that were to be parted.
    """

    supervoxel: int
    parts: tuple[Part, Part]
    routes: tuple[Route, ...]
    removed: tuple[Pair, ...]
    side_a: tuple[Placed, ...]
    side_b: tuple[Placed, ...]


@dataclass(frozen=True)
class Toggle:
    """An edit undone or done again.

    Attributes:
      target: its number.
      active: done again.
    """

    target: int
    active: bool


Primary: TypeAlias = Merge | Split | SupervoxelSplit
Change: TypeAlias = Primary | Toggle


@dataclass(frozen=True)
class LogRow:
    """A row of the log as it is stored; the attributes are those of `Edit`, and the change.

    What it did to the neurons is that of its time; None in rows of before that was kept.
    """

    id: int
    at: str
    person: str
    change: Change
    reason: str
    forced: bool
    client_key: str
    task: int | None
    run: int | None = None
    neurons_before: tuple[int, ...] | None = None
    neurons_after: tuple[int, ...] | None = None

    @property
    def kind(self) -> Kind:
        """What it does."""
        return kind_of(self.change)


def kind_of(change: Change) -> Kind:
    """What a change is called."""
    if isinstance(change, Toggle):
        return Kind.REDO if change.active else Kind.UNDO
    kinds = {Merge: Kind.MERGE, Split: Kind.SPLIT, SupervoxelSplit: Kind.SUPERVOXEL_SPLIT}
    return kinds[type(change)]


def named_by(change: Primary) -> tuple[int, ...]:
    """The supervoxels that people pointed at, ascending."""
    if isinstance(change, Merge):
        return tuple(sorted((change.a, change.b)))
    return tuple(sorted({supervoxel for supervoxel, _ in (*change.side_a, *change.side_b)}))


def append(connection: Connection, row: LogRow) -> None:
    """Adds a row to the log.

    Args:
      connection: in a transaction that writes.
      row: whose number is one above the last.
    """
    names = ("id", "at", "person", "reason", "forced", "task", "run")
    values = {name: getattr(row, name) for name in names}
    for name in ("neurons_before", "neurons_after"):
        found = getattr(row, name)
        values[name] = None if found is None else json.dumps(_texts(found))
    values |= {"kind": row.kind.value, "change": _to_json(row.change), "client_key": row.client_key}
    connection.execute(tables.edits.insert().values(**values))


def last_number(connection: Connection) -> int:
    """The number of the last row; 0 = none."""
    return int(connection.execute(sql.select(sql.func.max(tables.edits.c.id))).scalar() or 0)


def read_log(database: Database, after: int = 0) -> list[LogRow]:
    """The rows of the log in their order.

    Args:
      database: the decisions.
      after: only those numbered above it.

    Raises:
      DatabaseError: a row that is no edit, or one is missing.
    """
    query = sql.select(tables.edits).where(tables.edits.c.id > after).order_by(tables.edits.c.id)
    with database.reading() as connection:
        rows = [_log_row(row, database.name) for row in connection.execute(query)]
    if rows and [row.id for row in rows] != list(range(after + 1, after + 1 + len(rows))):
        raise DatabaseError(f"{database.name}: rows of the log of edits are missing; restore a copy")
    return rows


def _log_row(row: Row[Any], name: str) -> LogRow:
    try:
        change = _from_json(Kind(row.kind), json.loads(row.change))
        before, after = (
            None if found is None else tuple(map(int, json.loads(found)))
            for found in (row.neurons_before, row.neurons_after)
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DatabaseError(f"{name}: edit {row.id} cannot be read ({error}); restore a copy") from error
    task = None if row.task is None else int(row.task)
    told = (int(row.id), row.at, row.person, change, row.reason, bool(row.forced), row.client_key, task)
    return LogRow(*told, row.run, before, after)


def _to_json(change: Change) -> str:
    if isinstance(change, Toggle):
        values: dict[str, Any] = {"edit": change.target}
    elif isinstance(change, Merge):
        points = [change.point_a_nm, change.point_b_nm]
        values = {"supervoxels": _texts((change.a, change.b)), "points_nm": points}
    else:
        values = {
            "removed": [_texts(pair) for pair in change.removed],
            "side_a": [[str(supervoxel), point] for supervoxel, point in change.side_a],
            "side_b": [[str(supervoxel), point] for supervoxel, point in change.side_b],
        }
    if isinstance(change, SupervoxelSplit):
        values["supervoxel"] = str(change.supervoxel)
        values["parts"] = [
            [str(part.id), part.voxels, part.box.start, part.box.stop, part.somas, part.point_nm]
            for part in change.parts
        ]
        values["routes"] = [[str(route.other), route.part, route.certainty] for route in change.routes]
    return json.dumps(values)


def _from_json(kind: Kind, values: dict[str, Any]) -> Change:
    if kind in (Kind.UNDO, Kind.REDO):
        return Toggle(int(values["edit"]), kind is Kind.REDO)
    if kind is Kind.MERGE:
        a, b = map(int, values["supervoxels"])
        return Merge(a, b, *(None if point is None else _point(point) for point in values["points_nm"]))
    removed = tuple((int(a), int(b)) for a, b in values["removed"])
    side_a, side_b = (
        tuple((int(supervoxel), _point(point)) for supervoxel, point in values[side])
        for side in ("side_a", "side_b")
    )
    if kind is Kind.SPLIT:
        return Split(removed, side_a, side_b)
    first, second = (
        Part(
            int(number),
            int(voxels),
            Box(tuple(start), tuple(stop)),
            tuple(somas),
            *(None if point is None else _point(point) for point in points),
        )
        for number, voxels, start, stop, somas, *points in values["parts"]
    )
    routes = tuple(Route(int(other), int(part), float(c)) for other, part, c in values["routes"])
    return SupervoxelSplit(int(values["supervoxel"]), (first, second), routes, removed, side_a, side_b)


def _texts(numbers: Sequence[int]) -> list[str]:
    return [str(number) for number in numbers]


def _point(values: Sequence[float]) -> Point:
    z, y, x = map(float, values)
    return z, y, x
