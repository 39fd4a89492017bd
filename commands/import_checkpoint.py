"""import_checkpoint --config C --output NAME.ffn.h5: makes a network file of a google/ffn checkpoint.

The checkpoint, and the settings it was trained under, which it does not hold itself, are the
`network.checkpoint` section of the config (see the shipped one, fib25). Afterwards the network is
`network { weights: "NAME.ffn.h5" }` in any config.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from commands._entry import load_keras_quietly, no_arguments, run_command
from configs import ConfigError, load_config

FLAGS = flags.FlagValues()
_CONFIG = flags.DEFINE_string("config", None, "path or shipped name of the config", flag_values=FLAGS)
_OUTPUT = flags.DEFINE_string("output", None, "the network file to write", flag_values=FLAGS)


def run(arguments: Sequence[str] | None = None) -> int:
    """The console script; returns the exit code."""
    return run_command(FLAGS, __doc__ or "", _main, arguments)


def _main(rest: Sequence[str]) -> None:
    no_arguments(rest)
    if not _CONFIG.value or not _OUTPUT.value:
        raise flags.Error("give --config and --output; see --help")
    config = load_config(_CONFIG.value, require=("network",))
    if config.network.checkpoint is None:
        raise ConfigError(f"{_CONFIG.value}: network has no checkpoint section to import")
    load_keras_quietly()
    from ffn.weights import save_network
    from inference.passes import read_network

    network = read_network(config.network)
    save_network(_OUTPUT.value, network)
    architecture = network.info.architecture
    print(
        f"{_OUTPUT.value}: {architecture.name}, depth {architecture.depth}, {architecture.features} features,"
        f" field of view {architecture.fov_zyx}, deltas {architecture.deltas_zyx} (z, y, x)"
    )
