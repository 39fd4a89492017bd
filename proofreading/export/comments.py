"""What people wrote about tasks, as a table: `comments.csv`, a row for each comment, the first one first."""

from __future__ import annotations

import csv
from pathlib import Path

import sqlalchemy as sql

from agglomeration.database import Database
from agglomeration.tables import POINT_NM
from jobs.pieces import atomic_path
from proofreading.queue_tables import comments, tasks

COMMENTS = "comments.csv"
_COLUMNS = ("task", "kind", "supervoxel_a", "supervoxel_b", *POINT_NM, "person", "at", "words")


def write_comments(database: Database, path: Path) -> int:
    """Writes the table; gives how many comments there are.

    Args:
      database: of the queue.
      path: the file to make or to replace.

    Raises:
      DatabaseError: it cannot be read.
      PieceError: the file cannot be written.
    """
    told = comments.c.task, comments.c.person, comments.c.at, comments.c.words
    asked = tasks.c.kind, tasks.c.supervoxel_a, tasks.c.supervoxel_b, *(tasks.c[name] for name in POINT_NM)
    query = sql.select(*told, *asked).join_from(comments, tasks).order_by(comments.c.id)
    with database.reading() as connection:
        rows = [dict(row._mapping) for row in connection.execute(query)]
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, _COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)
