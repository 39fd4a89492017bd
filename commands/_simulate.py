"""proofread simulate: what the queue of a project with ground truth is worth, in several orders.

  proofread simulate --config C [--order value --order random …] [--wrong 0.05] [--most N] [--output DIR]
      an oracle answers all tasks; writes proofread_simulation.json and .png with the normalised expected run
      length over decisions and over hours, by default into the output directory, and prints a table

Orders: value (the queue's own), score, size, random, greedy (by the true gain). Nothing else is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from commands._entry import no_arguments
from configs import load_config

FLAGS = flags.FlagValues()
_ORDERS = ("value", "score", "size", "random", "greedy")
_CONFIG = flags.DEFINE_string("config", None, "path or shipped name of the config", flag_values=FLAGS)
_ORDER = flags.DEFINE_multi_enum(
    "order", [], _ORDERS, "may be given again; without it all of them", flag_values=FLAGS
)
_WRONG = flags.DEFINE_float(
    "wrong", 0.0, "share of the answers that are wrong", lower_bound=0, upper_bound=1, flag_values=FLAGS
)
_MOST = flags.DEFINE_integer("most", None, "end after so many decisions", lower_bound=1, flag_values=FLAGS)
_SEED = flags.DEFINE_integer("seed", 1, "of wrong answers and of the order random", flag_values=FLAGS)
_OUTPUT = flags.DEFINE_string("output", None, "folder for the files", flag_values=FLAGS)


def main(rest: Sequence[str]) -> None:
    """Runs the subcommand; its flags have been read."""
    no_arguments(rest)
    if not _CONFIG.value:
        raise flags.Error("simulate needs --config; see --help")
    config = load_config(_CONFIG.value, require=("agglomeration",))
    from proofreading.simulated_project import JSON, simulate_project

    folder = Path(_OUTPUT.value or config.output_dir)
    orders = tuple(_ORDER.value) or _ORDERS
    found = simulate_project(
        config, folder, orders=orders, wrong=_WRONG.value, seed=_SEED.value, most=_MOST.value
    )
    print(f"{found['tasks']} tasks; normalised run length {found['start_nerl']:.4f} before")
    print(f"{'order':8} {'decisions':>9} {'hours':>7} {'after':>7} {'area':>7} {'to 90 %':>7}")
    for name, each in found["orders"].items():
        share = each["decisions_to_90"]
        to_90 = "never" if share is None else f"{share:.0%}"
        print(
            f"{name:8} {each['decisions']:9} {each['hours']:7.2f} {each['final_nerl']:7.4f} "
            f"{each['area']:7.4f} {to_90:>7}"
        )
    print(f"results: {folder / JSON}")
