"""The base of every error a user can mend.

A command that meets a `ReconstructionError` prints its one line and exits with code 2; any other
exception is a defect of ours and keeps its traceback.

    ReconstructionError
    ├── ConfigError            a config or request file
    ├── volumes.VolumeError    a volume: missing, malformed, outside its bounds
    └── ffn.WeightsError       a network file or checkpoint
"""

from __future__ import annotations


class ReconstructionError(Exception):
    """Something the user can mend; the message says what was wrong, where, and the mend."""


class ConfigError(ReconstructionError):
    """A config or request that cannot be used: names the file, the line, the field and the valid ones."""
