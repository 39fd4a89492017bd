"""run_agglomeration explain: tells why two supervoxels are one neuron or are not.

run_agglomeration explain --config C --pair A,B
    the decision about supervoxels A and B, and the merges that join them
run_agglomeration explain --config C --neuron N
    the supervoxels and merges of a neuron, its cell bodies, and what was refused
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from commands._entry import no_arguments
from configs import load_config

FLAGS = flags.FlagValues()
_CONFIG = flags.DEFINE_string("config", None, "path or shipped name of the config", flag_values=FLAGS)
_PAIR = flags.DEFINE_list("pair", None, "two supervoxels, A,B", flag_values=FLAGS)
_NEURON = flags.DEFINE_integer(
    "neuron", None, "a neuron, or any supervoxel of it", lower_bound=1, flag_values=FLAGS
)


def main(rest: Sequence[str]) -> None:
    """Runs the subcommand; its flags have been read."""
    no_arguments(rest)
    if not _CONFIG.value or bool(_PAIR.value) == bool(_NEURON.value):
        raise flags.Error("explain needs --config and either --pair A,B or --neuron N")
    config = load_config(_CONFIG.value)
    from agglomeration.database import open_database
    from agglomeration.decided_pairs import database_of
    from agglomeration.explanations import edge_lines, explain, explain_neuron
    from agglomeration.runs import finished_run

    with open_database(database_of(config), create=False) as database:
        run = finished_run(database)
        if _PAIR.value:
            print("\n".join(explain(database, run, *_two_ids(_PAIR.value)).lines()))
            return
        found = explain_neuron(database, run, _NEURON.value)
    bodies = f", cell bodies {', '.join(map(str, found.somas))}" if found.somas else ""
    print(f"neuron {found.neuron}: {len(found.supervoxels)} supervoxels{bodies}")
    print("  " + ", ".join(map(str, found.supervoxels.tolist())))
    for line in edge_lines(found.merges):
        print(f"  {line}")
    for each in found.refusals:
        somas = f"would have joined cell bodies {each.soma_a} and {each.soma_b}"
        print(f"  {each.id_a}-{each.id_b} refused: {somas}")


def _two_ids(words: Sequence[str]) -> tuple[int, int]:
    """Two supervoxels.

    Raises:
      flags.Error: something else.
    """
    if len(words) != 2 or not all(word.strip().isdigit() for word in words):
        raise flags.Error(f"--pair is {','.join(words)}; give two supervoxel IDs, A,B")
    return int(words[0]), int(words[1])
