"""Bringing the tables of proofreading up to date.

Each change of the tables is a module in `versions`, which Alembic runs in order; the version that a database
has stands in `proofreading_version`. Tables and rows change in one transaction, so that a kill leaves the
database as it was. Forwards only: a database of a later release is refused.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sql
from sqlalchemy import Connection

from agglomeration.database import Database, DatabaseError

VERSION_TABLE = "proofreading_version"
# Names the lock that PostgreSQL grants to one process at a time until the transaction's end.
_LOCK = 0x9F00F


def bring_up_to_date(database: Database) -> str:
    """Makes the tables of proofreading, or changes those of an earlier release.

    Args:
      database: the decisions.

    Returns:
      The version of the tables.

    Raises:
      DatabaseError: they are of a later release, or the database cannot be written.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    # Its settings take "%" for the beginning of a name.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    head = str(scripts.get_current_head())
    with database.writing() as connection:
        _wait_for_turn(connection)
        found = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        version = found.get_current_revision()
        known = {script.revision for script in scripts.walk_revisions()}
        if version is not None and version not in known:
            raise DatabaseError(
                f"{database.name} has proofreading tables of version {version}, this release knows version "
                f"{head}; use the release that wrote them"
            )
        if version != head:
            config.attributes["context"] = {"connection": connection, "version_table": VERSION_TABLE}
            command.upgrade(config, head)
    return head


def _wait_for_turn(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sql.select(sql.func.pg_advisory_xact_lock(_LOCK)))
