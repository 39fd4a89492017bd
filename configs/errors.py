"""The base of every error a user can mend.

A command that meets a `ReconstructionError` prints its one line and exits with code 2. When the work itself
failed (`WorkError`) it exits with code 1. Any other exception is a defect of ours and keeps its traceback.

    ReconstructionError
    ├── WorkError              pieces of work that failed, by name
    ├── ConfigError            a config or request file
    ├── volumes.VolumeError    a volume: missing, malformed, outside its bounds
    └── ffn.WeightsError       a network file or checkpoint
"""

from __future__ import annotations


class ReconstructionError(Exception):
    """Something the user can mend; the message says what was wrong, where, and the mend."""


class WorkError(ReconstructionError):
    """Work that failed for good, in spite of retries; the message may list what on several lines."""


class ConfigError(ReconstructionError):
    """A config or request that cannot be used: names the file, the line, the field and the valid ones."""
