"""train_ffn: trains a flood-filling network, and chooses among those that a training kept.

train_ffn --config C
    trains as the config's `training` section says. Checkpoints, the log and networks that are kept go to the
    config's output_dir; the same command continues an interrupted run.
train_ffn select --config C
    ranks the kept networks by flooding held-out data; see train_ffn select --help
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from commands._entry import caution, load_keras_quietly, no_arguments, run_command
from configs import load_config

FLAGS = flags.FlagValues()
_CONFIG = flags.DEFINE_string("config", None, "path or shipped name of the config", flag_values=FLAGS)


def run(arguments: Sequence[str] | None = None) -> int:
    """The console script; returns the exit code."""
    return run_command(FLAGS, __doc__ or "", _main, arguments, {"select": "commands._select"})


def _main(rest: Sequence[str]) -> None:
    no_arguments(rest)
    if not _CONFIG.value:
        raise flags.Error("--config is missing; give a path or a shipped name such as train_phantom")
    config = load_config(_CONFIG.value, require=("training",))
    load_keras_quietly()
    from ffn.training.project import train_project

    train_project(config, caution)
    print(f"trained network: {config.training.output_weights}\nlog and checkpoint: {config.output_dir}")
