"""Decisions databases as an agglomeration leaves them, for the tests of proofreading."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import sqlalchemy as sql

from agglomeration import tables
from agglomeration.database import Database, open_database
from agglomeration.decisions import ScoredEdges, decide, write_scored_edges
from agglomeration.merging import apply_constraint
from agglomeration.rows import replace_rows
from agglomeration.runs import finish_run, start_run, write_supervoxels
from inference.supervoxel_table import SupervoxelTable

# URL of a PostgreSQL whose user may create databases; tests that need one are skipped without it.
POSTGRESQL = os.environ.get("FFN_POSTGRESQL", "")
VOXEL_NM = (20.0, 10.0, 10.0)
# id_a, id_b, certainty; below one half the pair is open, else accepted.
Edge = tuple[int, int, float]


def supervoxel_table(voxels: Mapping[int, int]) -> SupervoxelTable:
    """Supervoxels with these voxels each; their boxes are cubes at (10 i, 0, 0)."""
    ids = sorted(voxels)
    counts = np.array([voxels[each] for each in ids])
    corners = np.array([[10 * each, 0, 0] for each in ids])
    return SupervoxelTable(
        np.array(ids, np.uint64), counts, corners, corners + 10, corners * counts[:, None], corners, counts
    )


def scored_edges(rows: Sequence[Edge], points_nm: np.ndarray | None = None) -> ScoredEdges:
    """Pairs decided by their certainty, seen at these points, (n, 3) zyx."""
    a, b, certainty = (np.array(column) for column in zip(*rows, strict=True))
    state, accepted_by = decide(certainty >= 0.5, None)
    return ScoredEdges(
        a.astype(np.uint64),
        b.astype(np.uint64),
        np.stack([a * 10.0, b * 10.0, a + 0.5], axis=1) if points_nm is None else points_nm,
        {"iou": certainty},
        np.full(a.size, np.nan),
        certainty.astype(np.float64),
        accepted_by,
        state,
    )


def agglomerated(
    place: str | Path,
    edges: Sequence[Edge],
    voxels: Mapping[int, int],
    somas: Mapping[int, int] | None = None,
    table: SupervoxelTable | None = None,
    centre_nm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    points_nm: np.ndarray | None = None,
) -> Database:
    """A database with a finished run; `somas` are cell bodies by the supervoxel that holds them."""
    database = open_database(place)
    write_supervoxels(database, table or supervoxel_table(voxels), VOXEL_NM, "segmentation")
    run = start_run(database, "digest", "", {})
    write_scored_edges(database, run, scored_edges(edges, points_nm))
    bodies = dict(somas or {})
    centres = dict(zip(("centre_z_nm", "centre_y_nm", "centre_x_nm"), centre_nm, strict=True))
    with database.writing() as connection:
        columns: dict[str, list[object]] = {
            "run": [run] * len(bodies),
            "id": [*bodies.values()],
            "supervoxel": [*bodies],
            **{name: [value] * len(bodies) for name, value in centres.items()},
            "radius_nm": [1.0] * len(bodies),
            "source": ["table"] * len(bodies),
        }
        replace_rows(connection, tables.somas, columns)
    apply_constraint(database, run)
    finish_run(database, run)
    return database


@contextmanager
def emptied_postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL database without tables; nobody else uses it, and it ends with the test."""
    if not POSTGRESQL:
        pytest.skip("no PostgreSQL: put the URL of one where databases may be created in FFN_POSTGRESQL")
    given, name = sql.make_url(POSTGRESQL), f"ffn_test_{uuid4().hex}"
    server = sql.create_engine(given, isolation_level="AUTOCOMMIT", poolclass=sql.NullPool)
    with server.connect() as connection:
        connection.execute(sql.text(f"CREATE DATABASE {name}"))
    try:
        yield given.set(database=name).render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            # By force, since a test may have killed who was connected to it.
            connection.execute(sql.text(f"DROP DATABASE {name} WITH (FORCE)"))


@contextmanager
def agglomerated_in(kind: str, folder: Path, *made_of: Any) -> Iterator[Database]:
    """The same in SQLite or PostgreSQL; the test is skipped where there is no such server.

    Args:
      kind: "sqlite" or "postgresql".
      folder: of the SQLite file.
      made_of: what `agglomerated` takes.
    """
    if kind == "sqlite":
        with agglomerated(folder / "decisions.sqlite", *made_of) as opened:
            yield opened
        return
    with emptied_postgresql() as url, agglomerated(url, *made_of) as opened:
        yield opened
