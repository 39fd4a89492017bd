"""Runs of the agglomeration in the decisions database, and the supervoxels they are about.

A run is written under its own number and counts only once it is finished (`finish_run`), so that a reader
sees the last complete one all the time. A rerun after a kill has the same digest, therefore the same number,
and replaces the rows that are there by equal ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
import sqlalchemy as sql

from agglomeration import tables
from agglomeration.database import Database, DatabaseError, now
from agglomeration.rows import CHUNK_ROWS, joined, read_arrays, write_in_chunks
from inference.supervoxel_table import SupervoxelTable


def start_run(database: Database, digest: str, config_text: str, versions: Mapping[str, str]) -> int:
    """The number of a run; the one it has where a run of this digest was started before.

    Args:
      database: the decisions.
      digest: of all that the decisions follow from.
      config_text: the resolved settings.
      versions: of the software, by name.
    """
    row = {"config": config_text, "versions": json.dumps(dict(versions), sort_keys=True), "started": now()}
    with database.writing() as connection:
        found = connection.execute(
            sql.select(tables.runs.c.id).where(tables.runs.c.digest == digest)
        ).scalar()
        if found is not None:
            return int(found)
        added = connection.execute(tables.runs.insert().values(digest=digest, **row))
        return int(added.inserted_primary_key[0])  # type: ignore[index]


def finish_run(database: Database, run: int, *, keep_others: bool = False) -> None:
    """Makes a run the one that counts.

    Args:
      database: the decisions.
      run: its number.
      keep_others: leave the rows of earlier runs in the database.
    """
    with database.writing() as connection:
        connection.execute(sql.update(tables.runs).where(tables.runs.c.id == run).values(finished=now()))
        if not keep_others:
            for table in tables.OF_A_RUN:
                connection.execute(sql.delete(table).where(table.c.run != run))
            connection.execute(sql.delete(tables.runs).where(tables.runs.c.id != run))


def finished_run(database: Database) -> int:
    """The number of the run that counts: the one that was finished last.

    Raises:
      DatabaseError: none was.
    """
    runs = tables.runs.c
    query = (
        sql.select(runs.id).where(runs.finished.is_not(None)).order_by(runs.finished.desc(), runs.id.desc())
    )
    with database.reading() as connection:
        run = connection.execute(query.limit(1)).scalar()
    if run is None:
        raise DatabaseError(f"{database.name} holds no finished run; run `run_agglomeration` to its end")
    return int(run)


def write_supervoxels(
    database: Database,
    table: SupervoxelTable,
    voxel_size_nm: Sequence[float],
    identity: str,
    *,
    chunk_rows: int = CHUNK_ROWS,
) -> None:
    """Writes the objects of the segmentation that the database is about.

    Args:
      database: the decisions.
      table: of all supervoxels.
      voxel_size_nm: zyx.
      identity: of the segmentation: a digest of what it follows from.
      chunk_rows: rows in one transaction.

    Raises:
      DatabaseError: the database is about another segmentation, or an ID from 2^63 on.
    """
    _require_identity(database, identity)
    centroid_nm = (table.centroid_zyx + 0.5) * voxel_size_nm
    point_nm = (table.point_zyx + 0.5) * voxel_size_nm
    columns = {"id": table.ids, "voxels": table.voxels}
    for axis, name in enumerate("zyx"):
        columns[f"start_{name}"], columns[f"stop_{name}"] = table.start_zyx[:, axis], table.stop_zyx[:, axis]
        columns[f"centroid_{name}_nm"], columns[f"point_{name}_nm"] = centroid_nm[:, axis], point_nm[:, axis]
    write_in_chunks(database, tables.supervoxels, columns, chunk_rows)


def read_supervoxel_ids(database: Database) -> np.ndarray:
    """All supervoxels, (n,) uint64, ascending."""
    dtypes = {"id": np.uint64}
    query = sql.select(tables.supervoxels.c.id).order_by(tables.supervoxels.c.id)
    return joined(read_arrays(database, query, dtypes), dtypes)["id"]


def read_neurons(database: Database, run: int) -> tuple[np.ndarray, np.ndarray]:
    """The neuron of every supervoxel.

    Args:
      database: the decisions.
      run: its number.

    Returns:
      Two (n,) uint64: supervoxels, ascending, and their neurons.
    """
    neurons, dtypes = tables.neurons.c, {"supervoxel": np.uint64, "neuron": np.uint64}
    query = sql.select(neurons.supervoxel, neurons.neuron).where(neurons.run == run)
    found = joined(read_arrays(database, query.order_by(neurons.supervoxel), dtypes), dtypes)
    return found["supervoxel"], found["neuron"]


def require_same_supervoxels(database: Database, identity: str) -> bool:
    """Refuses a database that is about another segmentation.

    Args:
      database: to look at; not changed.
      identity: of the segmentation, see `write_supervoxels`.

    Returns:
      Whether it is about this one; False where it is about none yet.

    Raises:
      DatabaseError: it is about another one, or cannot be read.
    """
    query = sql.select(tables.project.c.value).where(tables.project.c.name == "supervoxels")
    with database.reading() as connection:
        theirs = connection.execute(query).scalar()
    if theirs not in (None, identity):
        raise DatabaseError(
            f"{database.name} holds decisions on other supervoxels ({theirs}) than this project's "
            f"({identity}); give this project another output_dir or database.url, or delete the old one"
        )
    return theirs is not None


def _require_identity(database: Database, identity: str) -> None:
    if not require_same_supervoxels(database, identity):
        with database.writing() as connection:
            connection.execute(tables.project.insert().values(name="supervoxels", value=identity))
