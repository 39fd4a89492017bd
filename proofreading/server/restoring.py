"""Putting a backup in the place of what people decided.

A SQLite database is a file and, while it is in use or after a kill, a write-ahead log beside it. A log that
stays beside another file is applied to that one, which undoes or destroys what was put there:
both go together.

The backup is copied and checked first, beside the project. From the moment that the copy has its final name
the restore counts, and whatever a kill leaves is done by the next `proofread restore` or `proofread serve`:
what was there before moves to `proofreading/backups`, then the pieces of split supervoxels and, last, the
database come to their places. As long as that lasts there is no database, so that nobody sees one with the
pieces of another.
Source: https://www.sqlite.org/howtocorrupt.html, https://www.sqlite.org/wal.html
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import sqlalchemy as sql

from agglomeration import tables
from agglomeration.database import Database, DatabaseError, open_database
from agglomeration.decided_pairs import database_of
from agglomeration.pair_pieces import open_supervoxels
from agglomeration.runs import finished_run, require_same_supervoxels
from configs import ConfigView
from configs.errors import ReconstructionError
from inference.outputs import require_writable
from jobs.lock import only_run_in
from jobs.pieces import load_npz
from proofreading.edits import SupervoxelSplit, read_log
from proofreading.errors import ProofreadingError
from proofreading.migrations import bring_up_to_date
from proofreading.server.backup import DATABASE, SPLITS
from proofreading.server.served import folder_of
from volumes import Box

_READY = ".restore-"
_BESIDE = ("-wal", "-shm", "-journal")
# Supervoxels whose voxels are looked at where there is no database to compare with.
_LOOKED_AT = 8


def restore(config: ConfigView, backup: Path) -> Path:
    """Puts a backup in the place of the database and the voxels of split supervoxels.

    Args:
      config: of the project.
      backup: the folder that `proofread backup` made; it stays as it is.

    Returns:
      The folder with what was there before.

    Raises:
      ProofreadingError: the database is none of SQLite, the backup is none, damaged, incomplete or of another
        project, or the files cannot be written; nothing was changed then.
      ReconstructionError: a server or another run works on the project.
    """
    place = _file_of(config)
    require_writable(folder_of(config))
    with only_run_in(folder_of(config)), only_run_in(Path(config.output_dir)), _in_one_line(backup):
        finish_restore(config)
        moment = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
        begun = folder_of(config) / f".unfinished-restore-{moment}"
        try:
            _stage(backup, begun)
            _check(config, begun, place)
            _flush(begun)
            os.replace(begun, folder_of(config) / f"{_READY}{moment}")
        finally:
            shutil.rmtree(begun, ignore_errors=True)
        finish_restore(config)
    return _replaced(config, moment)


def finish_restore(config: ConfigView) -> None:
    """Does what is left of a restore that was killed; the caller keeps others from the project.

    Args:
      config: of the project.

    Raises:
      ProofreadingError: the files cannot be moved.
    """
    for ready in sorted(folder_of(config).glob(f"{_READY}*")):
        with _in_one_line(ready):
            _put_in_place(config, ready)


def _put_in_place(config: ConfigView, ready: Path) -> None:
    """Each step is left out where it is done already."""
    place, splits = _file_of(config), folder_of(config) / SPLITS
    before = _replaced(config, ready.name.removeprefix(_READY))
    before.mkdir(parents=True, exist_ok=True)
    if (ready / DATABASE).exists():
        # Whatever lies there is the old one, and its log belongs to it.
        _move([place, *(place.with_name(place.name + end) for end in _BESIDE)], before)
        if (ready / SPLITS).exists():
            _move([splits], before)
            os.replace(ready / SPLITS, splits)
        _flush_folder(splits.parent)
        os.replace(ready / DATABASE, place)
        _flush_folder(place.parent)
    shutil.rmtree(ready)


def _file_of(config: ConfigView) -> Path:
    place = database_of(config)
    if isinstance(place, Path):
        return place
    url = sql.make_url(place)
    if url.get_backend_name() == "sqlite" and url.database:
        return Path(url.database)
    raise ProofreadingError(
        "this project's database is no SQLite file; restore it with its own tool, pg_restore for PostgreSQL, "
        f"while no server runs, and put {SPLITS} of the same backup into {folder_of(config)}"
    )


def _stage(backup: Path, begun: Path) -> None:
    """Copies a backup to where it is checked, the log beside its database taken into account."""
    if not (backup / DATABASE).is_file():
        raise ProofreadingError(
            f"'{backup}' is no backup: it has no {DATABASE}; name a folder of proofread backup"
        )
    begun.mkdir(parents=True)
    for name in (DATABASE, f"{DATABASE}-wal"):
        if (backup / name).exists():
            shutil.copyfile(backup / name, begun / name)
    with closing(sqlite3.connect(begun / DATABASE)) as ours:
        flaw = ours.execute("PRAGMA integrity_check").fetchone()[0]
    if flaw != "ok":
        raise ProofreadingError(f"'{backup}' is damaged ({flaw}); use another backup")
    if (backup / SPLITS).is_dir():
        shutil.copytree(backup / SPLITS, begun / SPLITS)
    (begun / SPLITS).mkdir(exist_ok=True)


def _check(config: ConfigView, begun: Path, place: Path) -> None:
    """Refuses a copy that is of another project, or that lacks voxels its log names."""
    with open_database(begun / DATABASE, create=False) as database:
        finished_run(database)
        bring_up_to_date(database)
        for row in read_log(database):
            if isinstance(row.change, SupervoxelSplit):
                load_npz(begun / SPLITS / f"{row.id}.npz", ["start", "sides"])
        identity = _identity(place)
        if identity is not None:
            require_same_supervoxels(database, identity)
        else:
            _require_voxels(config, database)
    with closing(sqlite3.connect(begun / DATABASE)) as copy:
        copy.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        copy.execute("PRAGMA journal_mode=DELETE")


def _identity(place: Path) -> str | None:
    """What supervoxels the database in place is about; None where there is none that can be read."""
    if not place.is_file():
        return None
    query = sql.select(tables.project.c.value).where(tables.project.c.name == "supervoxels")
    try:
        with open_database(place, create=False) as database, database.reading() as connection:
            found = connection.execute(query).scalar()
    except (DatabaseError, sqlite3.Error):
        return None
    return None if found is None else str(found)


def _require_voxels(config: ConfigView, database: Database) -> None:
    """Refuses a database whose supervoxels are not where the project's segmentation has them."""
    volume, columns = open_supervoxels(config), tables.supervoxels.c
    query = sql.select(columns.id, columns.point_z_nm, columns.point_y_nm, columns.point_x_nm)
    with database.reading() as connection:
        rows = connection.execute(query.order_by(columns.voxels.desc()).limit(_LOOKED_AT)).all()
    for number, *point_nm in rows:
        voxel = np.floor(np.array(point_nm) / volume.voxel_size_nm).astype(int).tolist()
        box = Box(tuple(voxel), tuple(each + 1 for each in voxel))
        if not volume.bounds.contains(voxel) or int(volume.read(box).item()) != number:
            raise ProofreadingError(
                f"the backup is of another project: its supervoxel {number} is not at {voxel} (z, y, x) of "
                f"{volume.spec}; name a backup of this one"
            )


def _replaced(config: ConfigView, moment: str) -> Path:
    return folder_of(config) / "backups" / f"replaced-{moment}"


def _move(paths: Iterable[Path], folder: Path) -> None:
    for path in paths:
        if path.exists():
            os.replace(path, folder / path.name)


def _flush(folder: Path) -> None:
    """Has all files below a folder on the disk."""
    for inner, _, files in os.walk(folder):
        for name in files:
            with open(Path(inner, name), "rb") as file:
                os.fsync(file.fileno())
        _flush_folder(Path(inner))


def _flush_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def _in_one_line(what: Path) -> Iterator[None]:
    try:
        yield
    except ReconstructionError:
        raise
    except (OSError, shutil.Error, sqlite3.Error) as error:
        raise ProofreadingError(f"cannot restore '{what}': {error}") from error
