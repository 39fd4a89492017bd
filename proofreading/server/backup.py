"""A copy of all that people decided, made while they go on.

SQLite's own backup copies the pages of one state of the database; writers do not wait for it. The voxels of
supervoxels that were split lie beside the database and are copied after it: the log of the copy names none
that is missing. The copy is checked, and appears under its name once it is whole.
Source: https://www.sqlite.org/backup.html
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

from agglomeration.database import Database
from configs import ConfigView
from proofreading.errors import ProofreadingError
from proofreading.server.served import folder_of

SPLITS = "supervoxel_splits"
DATABASE = "decisions.sqlite"


def back_up(config: ConfigView, database: Database, folder: Path | None = None) -> Path:
    """Copies the database of a project, and the voxels of split supervoxels.

    Args:
      config: of the project.
      database: its decisions.
      folder: the new folder to write; None = one named after the time of day, in `proofreading/backups` of
        the output directory.

    Returns:
      The folder. Its `decisions.sqlite` and `supervoxel_splits` take the places of those of the project.

    Raises:
      ProofreadingError: the database is none of SQLite, the folder is there, or it cannot be written.
    """
    if database.engine.dialect.name != "sqlite":
        raise ProofreadingError(
            f"{database.name} is no SQLite file; back it up with its own tool, pg_dump for PostgreSQL"
        )
    moment = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
    target = folder_of(config) / "backups" / moment if folder is None else folder
    if target.exists():
        raise ProofreadingError(f"'{target}' is there already; name another folder")
    begun = target.with_name(f".{target.name}.unfinished")
    try:
        begun.mkdir(parents=True)
        _copy_database(Path(str(database.engine.url.database)), begun / DATABASE)
        if (folder_of(config) / SPLITS).is_dir():
            shutil.copytree(folder_of(config) / SPLITS, begun / SPLITS)
        os.replace(begun, target)
    except (OSError, shutil.Error, sqlite3.Error) as error:
        shutil.rmtree(begun, ignore_errors=True)
        raise ProofreadingError(f"cannot write the backup '{target}': {error}") from error
    return target


def _copy_database(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as theirs, closing(sqlite3.connect(target)) as ours:
        theirs.backup(ours)
        # One file: a log beside it would be forgotten when it is copied.
        ours.execute("PRAGMA journal_mode=DELETE")
        flaw = ours.execute("PRAGMA quick_check").fetchone()[0]
        if flaw != "ok":
            raise sqlite3.DatabaseError(f"the copy is damaged: {flaw}")
