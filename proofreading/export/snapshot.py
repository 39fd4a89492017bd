"""What is exported: the neurons as they are at one edit, and the supervoxels that they are made of.

Supervoxels that people split are replaced by their parts everywhere: in the map, in the table, and in the
voxels (`EditedVolume`), which are not stored anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sql

from agglomeration import tables
from agglomeration.database import Database, DatabaseError
from agglomeration.neurons import NeuronMap
from agglomeration.rows import joined, read_arrays
from agglomeration.tables import POINT_NM
from inference.identity import settings_digest
from inference.supervoxel_table import SupervoxelTable, block_statistics
from jobs.pieces import load_npz
from proofreading.edits import LogRow, Pair, SupervoxelSplit, Toggle, read_log
from proofreading.errors import ProofreadingError
from proofreading.state import ProofreadingState
from proofreading.supervoxel_split import EditedVolume, KeptSplit, piece_path
from volumes import Volume


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The neurons at one edit; made by `take_snapshot`.

    Attributes:
      edit: number of the last edit in it; 0 = none.
      neurons: of every supervoxel.
      log: the rows of all edits in it, in their order.
      splits: of supervoxels that are not undone, in the order of their numbers.
      labels: the supervoxels as the segmentation has them.
      segmentation: names the voxels of these.
      confirmed: merges that people confirmed and the agglomeration does not have (`proofreading.bases`).
    """

    edit: int
    neurons: NeuronMap
    log: Sequence[LogRow]
    splits: Sequence[KeptSplit]
    labels: Volume
    segmentation: str
    confirmed: Sequence[Pair] = ()

    @property
    def volume(self) -> Volume:
        """The supervoxels with the parts of split ones in their place."""
        return EditedVolume(self.labels, self.splits) if self.splits else self.labels

    @property
    def identity(self) -> str:
        """Names the voxels of `volume`."""
        return settings_digest({"supervoxels": self.segmentation, "splits": [s.edit for s in self.splits]})


def take_snapshot(state: ProofreadingState, output_dir: Path, at: str = "") -> Snapshot:
    """The neurons as they are now, or were.

    Args:
      state: of the project; others may go on editing.
      output_dir: of the project.
      at: the number of an edit, or a time; empty = now.

    Raises:
      ReconstructionError: a database or supervoxels that cannot be read, or edits that came too fast.
    """
    for _ in range(5):
        last = state.refresh()
        edit = state.edit_named(at) if at else last
        neurons = state.at(edit)
        log = [row for row in read_log(state.database) if row.id <= edit]
        if len(log) == edit:
            splits = active_splits(log, output_dir)
            named = segmentation_of(state.database)
            confirmed = [each.pair for each in state.base.changes if each.joined]
            return Snapshot(edit, neurons, log, splits, state.labels(), named, confirmed)
    raise ProofreadingError("the log of edits changed while it was read; export again")


def active_rows(log: Iterable[LogRow]) -> list[LogRow]:
    """The edits that are not undone, without undo and redo themselves, in their order.

    Args:
      log: all rows, in their order.
    """
    active: dict[int, LogRow | None] = {}
    rows: dict[int, LogRow] = {}
    for row in log:
        if isinstance(row.change, Toggle):
            active[row.change.target] = rows[row.change.target] if row.change.active else None
        else:
            rows[row.id] = active[row.id] = row
    return [row for _, row in sorted(active.items()) if row is not None]


def active_splits(log: Iterable[LogRow], output_dir: Path) -> list[KeptSplit]:
    """The splits of supervoxels that are not undone, in the order of their numbers.

    Args:
      log: all rows, in their order.
      output_dir: of the project.
    """
    return [
        KeptSplit(row.id, row.change, piece_path(output_dir, row.id))
        for row in active_rows(log)
        if isinstance(row.change, SupervoxelSplit)
    ]


def segmentation_of(database: Database) -> str:
    """What names the voxels of the supervoxels that a database is about.

    Raises:
      DatabaseError: it is about none yet.
    """
    columns = tables.project.c
    with database.reading() as connection:
        found = connection.execute(sql.select(columns.value).where(columns.name == "supervoxels")).scalar()
    if found is None:
        raise DatabaseError(f"{database.name} holds no supervoxels; run `run_agglomeration` to its end")
    return str(found)


def supervoxel_table(database: Database, snapshot: Snapshot) -> SupervoxelTable:
    """The rows of all supervoxels of a snapshot.

    Args:
      database: the decisions.
      snapshot: of the same project.

    Raises:
      ReconstructionError: the database, or a kept split, cannot be read.
    """
    whole = _read_table(database, snapshot.labels.voxel_size_nm)
    parts = [_table_of(kept) for kept in snapshot.splits]
    names = [field.name for field in fields(whole)]
    columns = {name: np.concatenate([getattr(part, name) for part in (whole, *parts)]) for name in names}
    there = np.flatnonzero(np.isin(columns["ids"], snapshot.neurons.supervoxels))
    there = there[np.argsort(columns["ids"][there], kind="stable")]
    return SupervoxelTable(**{name: column[there] for name, column in columns.items()})


def _read_table(database: Database, size_nm: Sequence[float]) -> SupervoxelTable:
    columns = tables.supervoxels.c
    corners = [f"{end}_{axis}" for end in ("start", "stop") for axis in "zyx"]
    centres = [f"centroid_{axis}_nm" for axis in "zyx"]
    dtypes: dict[str, Any] = {"id": np.uint64, "voxels": np.int64, **dict.fromkeys(corners, np.int64)}
    dtypes |= dict.fromkeys([*centres, *POINT_NM], np.float64)
    query = sql.select(*(columns[name] for name in dtypes)).order_by(columns.id)
    found = joined(read_arrays(database, query, dtypes), dtypes)

    def stacked(names: Iterable[str]) -> np.ndarray:
        return np.stack([found[name] for name in names], axis=1)

    # Voxel i has its centre at i + 0.5.
    mean = stacked(centres) / size_nm - 0.5
    return SupervoxelTable(
        found["id"],
        found["voxels"],
        stacked(corners[:3]),
        stacked(corners[3:]),
        np.rint(mean * found["voxels"][:, None]).astype(np.int64),
        np.floor(stacked(POINT_NM) / size_nm).astype(np.int64),
        found["voxels"].copy(),
    )


def _table_of(kept: KeptSplit) -> SupervoxelTable:
    """The rows of the two parts of a split, from its voxels, be they there now or split again."""
    arrays = load_npz(kept.path, ["start", "sides"])
    found = block_statistics(arrays["sides"], arrays["start"].tolist())
    ids = np.array([part.id for part in kept.split.parts], np.uint64)
    return SupervoxelTable(**{**vars(found), "ids": ids[found.ids.astype(np.int64) - 1]})
