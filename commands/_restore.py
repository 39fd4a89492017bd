"""proofread restore: puts a backup in the place of what people decided since.

  proofread restore --config C --backup DIR
      checks the backup, then replaces decisions.sqlite and the voxels of split supervoxels by it, as one;
      what was there before is kept in proofreading/backups of the output directory

No server may run. If the command is killed, run it again, or start the server: either finishes it.

A PostgreSQL database is restored with its own pg_restore.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from commands._entry import no_arguments
from configs import load_config

FLAGS = flags.FlagValues()
_CONFIG = flags.DEFINE_string("config", None, "path or shipped name of the config", flag_values=FLAGS)
_BACKUP = flags.DEFINE_string("backup", None, "folder that proofread backup made", flag_values=FLAGS)


def main(rest: Sequence[str]) -> None:
    """Runs the subcommand; its flags have been read."""
    no_arguments(rest)
    if not _CONFIG.value or not _BACKUP.value:
        raise flags.Error("restore needs --config and --backup; see --help")
    config = load_config(_CONFIG.value)
    from proofreading.server.restoring import restore

    before = restore(config, Path(_BACKUP.value))
    print(f"restored: {_BACKUP.value}; what was there before: {before}")
