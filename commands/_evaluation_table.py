"""The one table that `evaluate` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from configs import ConfigView
from evaluation.comparison import StageFigures
from volumes import Box

_NM_PER_MICRON = 1000


def evaluation_table(stages: Sequence[StageFigures], settings: ConfigView, box: Box) -> str:
    """The figures of all stages.

    Args:
      stages: compared.
      settings: the message `Evaluation`; its `background` says which overlap figures are shown.
      box: what was compared.

    Returns:
      Lines of text.
    """
    one_object = settings.background == "one_object"
    tolerance = f"{settings.merger_tolerance_nm:g}_nm"
    columns = {
        "VOI split": ("overlap", "voi_split"),
        "VOI merge": ("overlap", "voi_merge"),
        "ARAND": ("overlap", "arand"),
        "coverage": ("all", "coverage"),
        "ERL um": ("microns", "erl_nm"),
        "nERL": ("all", "nerl"),
        f"nERL {settings.merger_tolerance_nm:g}nm": ("all", f"nerl_tolerant_{tolerance}"),
        "splits/mm": ("all", "splits_per_mm"),
        "with gaps": ("all", "splits_with_gaps_per_mm"),
        "mergers/mm": ("all", "mergers_per_mm"),
    }
    known = {key for _, key in columns.values() if any(key in stage.metrics for stage in stages)}
    shown = {name: place for name, place in columns.items() if place[1] in known}
    width = max(16, *(len(stage.name) + 2 for stage in stages))
    lines = [f"{'stage':{width}s}" + "".join(f"{name:>12s}" for name in shown)]
    for stage in stages:
        overlap = stage.metrics if one_object else stage.metrics.get("segmented_only", {})
        cells = [
            _cell(overlap if kind == "overlap" else stage.metrics, kind, key) for kind, key in shown.values()
        ]
        lines.append(f"{stage.name:{width}s}" + "".join(f"{cell:>12s}" for cell in cells))
    z, y, x = box.shape
    convention = "unsegmented voxels are one object" if one_object else "segmented voxels only"
    overlap_words = f"VOI in bits, {convention}; " if "voi_split" in known else ""
    gap_words = "with gaps: splits/mm with those across gaps; " if "splits_with_gaps_per_mm" in known else ""
    return "\n".join([*lines, f"{overlap_words}{gap_words}box {box} ({z} x {y} x {x} voxels)"])


def _cell(figures: Mapping[str, Any], kind: str, key: str) -> str:
    value = figures.get(key)
    if value is None:
        return "-"
    if key.endswith("_per_mm"):
        return f"{value:.0f}"
    return f"{value / _NM_PER_MICRON if kind == 'microns' else value:.3f}"
