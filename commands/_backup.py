"""proofread backup: copies what people decided, also while the server runs.

  proofread backup --config C [--output DIR]
      writes decisions.sqlite and the voxels of split supervoxels into a new folder, by default one that is
      named after the time, in proofreading/backups of the output directory

A PostgreSQL database is copied with its own pg_dump.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from commands._entry import no_arguments
from configs import load_config

FLAGS = flags.FlagValues()
_CONFIG = flags.DEFINE_string("config", None, "path or shipped name of the config", flag_values=FLAGS)
_OUTPUT = flags.DEFINE_string("output", None, "folder to make", flag_values=FLAGS)


def main(rest: Sequence[str]) -> None:
    """Runs the subcommand; its flags have been read."""
    no_arguments(rest)
    if not _CONFIG.value:
        raise flags.Error("backup needs --config; see --help")
    config = load_config(_CONFIG.value)
    from agglomeration.database import open_database
    from agglomeration.decided_pairs import database_of
    from proofreading.server.backup import back_up

    with open_database(database_of(config), create=False) as database:
        folder = back_up(config, database, Path(_OUTPUT.value) if _OUTPUT.value else None)
    print(f"backup: {folder}")
