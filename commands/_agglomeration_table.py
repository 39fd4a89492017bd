"""What `run_agglomeration` prints besides the table of stages."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from agglomeration.project import Agglomerated


def decision_lines(done: Agglomerated) -> list[str]:
    """Lines about the pairs, what was decided, how right that is, and what to look at.

    Args:
      done: what a run came to.
    """
    from agglomeration.tables import State

    decided, scores = done.decided, done.scores
    states = {state.name.lower(): int(np.count_nonzero(decided.edges.state == state)) for state in State}
    fovs = int(scores["fovs"].sum())
    per_pair = f" ({fovs / len(scores):.1f} a pair)" if len(scores) else ""
    again = "" if decided.is_new else " (decided before)"
    lines = [
        f"{len(scores)} pairs{again}: {states['accepted']} accepted, {states['rejected']} rejected, "
        f"{states['open']} open; {fovs} fields of view{per_pair}"
    ]
    if decided.counts.cell_bodies:
        lines.append(
            f"{decided.counts.cell_bodies} cell bodies: {decided.counts.refused} of {decided.counts.tried} "
            "merges refused"
        )
    merges = done.reports[-1].metrics.get("merges")
    if merges is not None:
        lines.append(merges_line(merges))
    if decided.flags:
        kinds = Counter(flag.kind for flag in decided.flags)
        lines.append("to look at: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))
    return lines


def merges_line(merges: dict[str, Any]) -> str:
    """How right accepted merges are, in a line.

    Args:
      merges: of `agglomeration.stage_figures.pair_figures`.
    """
    if merges["precision"] is None:
        precision = "no accepted pair has a known truth"
    else:
        low, high = merges["precision_low"], merges["precision_high"]
        precision = (
            f"precision {merges['precision']:.4f} ({low:.4f} to {high:.4f}, {merges['accepted']} accepted)"
        )
    recall = "" if merges["recall"] is None else f", recall {merges['recall']:.4f}"
    return f"{precision}{recall} of {merges['true_pairs']} true pairs; {merges['unknown_pairs']} unknown"
