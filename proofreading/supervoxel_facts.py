"""What is known of one supervoxel: its box, where its edges were seen, its cell bodies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import sqlalchemy as sql

from agglomeration import tables
from agglomeration.database import Database
from agglomeration.tables import POINT_NM
from proofreading.edits import Merge, Point
from proofreading.errors import UnknownError
from volumes import Box

_AXES = "zyx"
_MOST = 1000


def read_box(database: Database, supervoxel: int) -> Box:
    """The bounding box of a supervoxel of the agglomeration (absolute).

    Args:
      database: the decisions.
      supervoxel: its ID.

    Raises:
      UnknownError: there is none.
    """
    columns = tables.supervoxels.c
    names = [f"{end}_{axis}" for end in ("start", "stop") for axis in _AXES]
    query = sql.select(*(columns[name] for name in names)).where(columns.id == supervoxel)
    with database.reading() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise UnknownError(f"there is no supervoxel {supervoxel} in the decisions database")
    return Box(tuple(row[:3]), tuple(row[3:]))


def read_point(database: Database, supervoxels: Sequence[int]) -> Point | None:
    """A point (nm, zyx) in the largest of some supervoxels; None where the agglomeration had none of them.

    Args:
      database: the decisions.
      supervoxels: their IDs; of more than a thousand the first thousand.
    """
    columns = tables.supervoxels.c
    points = [columns[name] for name in POINT_NM]
    query = sql.select(*points).where(columns.id.in_(supervoxels[:_MOST]))
    with database.reading() as connection:
        largest = query.order_by(columns.voxels.desc(), columns.id).limit(1)
        row = connection.execute(largest).one_or_none()
    return None if row is None else (row[0], row[1], row[2])


def read_edge_points(database: Database, run: int, supervoxel: int) -> dict[int, Point]:
    """Where the pairs of a supervoxel were looked at: points (nm, zyx) by the other supervoxel.

    Args:
      database: the decisions.
      run: its number.
      supervoxel: its ID.
    """
    columns = tables.edges.c
    points = [columns[name] for name in POINT_NM]
    found: dict[int, Point] = {}
    with database.reading() as connection:
        for mine, other in ((columns.id_a, columns.id_b), (columns.id_b, columns.id_a)):
            query = sql.select(other, *points).where(columns.run == run, mine == supervoxel)
            found |= {number: (z, y, x) for number, z, y, x in connection.execute(query)}
    return found


def read_soma_centres(database: Database, run: int) -> dict[int, Point]:
    """The centres of all cell bodies (nm, zyx), by their IDs.

    Args:
      database: the decisions.
      run: its number.
    """
    columns = tables.somas.c
    centres = [columns[f"centre_{axis}_nm"] for axis in _AXES]
    query = sql.select(columns.id, *centres).where(columns.run == run)
    with database.reading() as connection:
        return {body: (z, y, x) for body, z, y, x in connection.execute(query)}


def merge_points(merges: Iterable[Merge], supervoxel: int) -> dict[int, Point]:
    """Where people saw a supervoxel to be one with others: points (nm, zyx) by the other supervoxel.

    Args:
      merges: in their order; of several with one other supervoxel the last that has a point counts.
      supervoxel: its ID.
    """
    found: dict[int, Point] = {}
    for merge in merges:
        ends = ((merge.a, merge.b, merge.point_a_nm), (merge.b, merge.a, merge.point_b_nm))
        found |= {other: point for mine, other, point in ends if mine == supervoxel and point is not None}
    return found
