"""train_ffn select --config C: ranks the networks that a training kept, by flooding held-out data.

Every network in checkpoints/ of the output directory, the best of the validation loss and the newest one
segment the volumes and phantoms of `training.selection`. They are ranked by the expected run length on
skeletons of the labels, then by mergers. The ranking is written to selection.json and the first of it to
selected.ffn.h5. The same command goes on with a selection that was interrupted, and adds networks that were
kept since.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from commands._entry import caution, load_keras_quietly, no_arguments
from configs import load_config

if TYPE_CHECKING:
    from inference.checkpoint_selection import Candidate

FLAGS = flags.FlagValues()
_CONFIG = flags.DEFINE_string("config", None, "path or shipped name of the config", flag_values=FLAGS)


def main(rest: Sequence[str]) -> None:
    """Runs the subcommand; its flags have been read."""
    no_arguments(rest)
    if not _CONFIG.value:
        raise flags.Error("select needs --config; see train_ffn select --help")
    config = load_config(_CONFIG.value, require=("training",))
    load_keras_quietly()
    from inference.checkpoint_selection import SELECTED, select_checkpoint

    print(selection_table(select_checkpoint(config, caution)))
    print(f"selected network: {Path(config.output_dir) / SELECTED}")


def selection_table(ranked: Sequence[Candidate]) -> str:
    """The networks and their figures, the best first.

    Args:
      ranked: the networks compared.

    Returns:
      Lines of text.
    """
    width = max(16, *(len(each.path.name) + 2 for each in ranked))
    titles = ("trained fovs", "nERL", "ERL um", "mergers", "objects", "filled")
    lines = [f"{'network':{width}s}" + "".join(f"{title:>14s}" for title in titles)]
    for each in ranked:
        figures = each.figures
        cells = [
            f"{each.trained_fovs:,}",
            f"{figures.nerl:.4f}",
            f"{figures.erl_nm / 1000:.3f}",
            str(figures.mergers),
            str(figures.objects),
            f"{figures.filled:.1%}",
        ]
        lines.append(f"{each.path.name:{width}s}" + "".join(f"{cell:>14s}" for cell in cells))
    return "\n".join(lines)
