"""What an agglomeration gains: figures after it by those before, and how right its merges are.

Inputs are the figures of several phantoms, by seed and stage, as `benchmarks.accuracy` keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agglomeration.reliability import wilson

AFTER = ("agglomerated", "constrained")
# The supervoxels after the right answer to every candidate pair.
PERFECT = "perfect"
RUN_LENGTHS = ("erl_nm", "nerl", "nerl_tolerant_100_nm", "splits_per_mm", "mergers_per_mm")
Rows = Mapping[int, Mapping[str, Mapping[str, Any]]]

# What its agglomeration did to a reconstruction, from Januszewski et al. (2018), Nature Methods 15:605.
_PUBLISHED = "published: ERL x 11.5, mergers -44 %"


def gains(rows: Rows, means: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """What the agglomeration made of the stage before it, over all seeds.

    Args:
        rows: figures by seed and stage; those of `AFTER` with `pairs`, `fovs`, `merges`, `merges_tried` and
            `merges_refused`.
        means: figures of each stage, in the order of the pipeline.

    Returns:
        `before` (the stage), `pairs`, `fovs_per_pair`, `accepted_by` (ways of deciding), and for each stage
        of `AFTER`: pooled merges with precision (Wilson, 95 %) and recall, the share that was refused, and
        `_changes`, those of `PERFECT` besides.
    """
    before = list(means)[list(means).index(AFTER[0]) - 1]
    pairs, fovs = (sum(row[AFTER[0]][name] for row in rows.values()) for name in ("pairs", "fovs"))
    found: dict[str, Any] = {"before": before, "pairs": pairs, "fovs_per_pair": _share(fovs, pairs)}
    first = [row[AFTER[0]].get("accepted_by", {}) for row in rows.values()]
    found["accepted_by"] = {
        name: {key: sum(each[name][key] for each in first) for key in ("accepted", "right")}
        for name in first[0]
    }
    for stage in AFTER:
        found[stage] = _pooled([row[stage] for row in rows.values()])
        if "nerl" in means[stage]:
            found[stage] |= _changes(means[before], means[stage])
    if "nerl" in means.get(PERFECT, {}):
        found[PERFECT] = _changes(means[before], means[PERFECT])
    return found


def gain_lines(found: Mapping[str, Any]) -> list[str]:
    """The same as lines of text."""
    lines = [
        f"{found['pairs']} pairs, {_shown(found['fovs_per_pair'])} fields of view each; before: "
        f"{found['before']}"
    ]
    for name, each in found["accepted_by"].items():
        lines.append(f"by {name:13s}{each['accepted']} accepted, {each['right']} right")
    for stage in AFTER:
        each = found[stage]
        interval = f"{each['precision_low']:.4f} to {each['precision_high']:.4f}"
        lines.append(
            f"{stage:16s}{each['accepted']} accepted, precision {_shown(each['precision'])} ({interval}), "
            f"recall {_shown(each['recall'])} of {each['true_pairs']}; {each['merges_refused']} refused"
        )
        lines += _change_lines(each)
    if PERFECT in found:
        lines += [f"{PERFECT:16s}the right answer to every pair", *_change_lines(found[PERFECT])]
    return lines


def _change_lines(each: Mapping[str, Any]) -> list[str]:
    """The gap closed and the factors; none where there are no run lengths."""
    if "gap_closed" not in each:
        return []
    gap, tolerant = _shown(each["gap_closed"]), _shown(each["tolerant_gap_closed"])
    factors = (("ERL", "erl_nm"), ("splits per mm", "splits_per_mm"), ("mergers per mm", "mergers_per_mm"))
    told = ", ".join(f"{words} {_shown(each[f'{name}_factor'])}" for words, name in factors)
    return [
        f"{'':16s}gap in nERL closed: {gap}, tolerant {tolerant}",
        f"{'':16s}after / before: {told} ({_PUBLISHED})",
    ]


def _pooled(stages: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The merges of all seeds together."""
    accepted, right, true = (
        sum(each["merges"][name] for each in stages) for name in ("accepted", "right", "true_pairs")
    )
    tried, refused = (sum(each[name] for each in stages) for name in ("merges_tried", "merges_refused"))
    low, high = wilson(right, accepted)
    return {
        "accepted": accepted,
        "right": right,
        "precision": _share(right, accepted),
        "precision_low": float(low),
        "precision_high": float(high),
        "true_pairs": true,
        "recall": _share(right, true),
        "merges_refused": refused,
        "share_refused": _share(refused, tried),
    }


def _changes(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float | None]:
    """Figures after by those before, and the gap in nERL that was closed."""
    factors = {f"{name}_factor": _share(after[name], before[name]) for name in RUN_LENGTHS}
    gaps = {
        f"{prefix}gap_closed": _share(after[name] - before[name], 1 - before[name])
        for prefix, name in (("", "nerl"), ("tolerant_", "nerl_tolerant_100_nm"))
    }
    return {**factors, **gaps}


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
