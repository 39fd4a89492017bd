"""What commands print about finished stages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from inference.results import SubvolumeResult
from inference.stage_reports import Pace, StageReport
from volumes import Box

_FIGURES = {
    "voi_split": "VOI split",
    "voi_merge": "VOI merge",
    "arand": "ARAND",
    "coverage": "coverage",
}


def request_table(path: Path, result: SubvolumeResult) -> str:
    """What became of a request: objects, filled voxels, seeds, fields of view and their rate, files.

    Args:
      path: of the segmentation; the picture lies beside it.
      result: of the subvolume.

    Returns:
      Lines of text.
    """
    counts, labels = result.counts, result.segmentation
    filled = np.count_nonzero(labels) / labels.size
    rate = counts["fovs"] / max(counts["seconds"], 1e-9)
    rows = {
        "box": f"{result.box} ({' x '.join(map(str, result.box.shape))} voxels)",
        "objects": counts["objects"],
        "filled": f"{filled:.1%} of the voxels",
        "seeds": counts["seeds"],
        "fields of view": f"{counts['fovs']} in {counts['seconds']:.0f} s ({rate:.0f} per second)",
        "result": path,
        "picture": path.with_suffix(".png"),
    }
    return "\n".join(f"{name:16s}{value}" for name, value in rows.items())


def stage_line(report: StageReport) -> str:
    """One line about a finished stage."""
    counts = report.counts
    parts = [f"{counts['objects']} objects{' in subvolumes' if report.are_local else ''}"]
    if counts["subvolumes"] > 1:
        parts.append(f"{counts['subvolumes']} subvolumes")
    if "fovs" in counts:
        parts.append(f"{counts['fovs']} fields of view{_paced(counts['fovs'], report.pace)}")
    again = " (done before)" if report.reused else ""
    return f"{report.name}{again}: {'; '.join(parts)}"


def stage_table(reports: Sequence[StageReport], box: Box, background: str) -> str:
    """Objects and, where ground truth is known, figures of each stage.

    Args:
      reports: the stages.
      box: what was segmented.
      background: "one_object" or "left_out": what the figures make of unsegmented voxels.

    Returns:
      Lines of text.
    """
    lines = [
        f"\n{'stage':16s}{'voxels':28s}{'objects':>9s}" + "".join(f"{n:>11s}" for n in _FIGURES.values())
    ]
    for report in reports:
        count = f"{report.counts['objects']:>9d}{'*' if report.are_local else ''}"
        if not report.metrics:
            lines.append(f"{report.name:16s}{'no ground truth given':28s}{count}")
            continue
        counted = background == "one_object"
        convention = "unsegmented = one object" if counted else "segmented only"
        figures = report.metrics if counted else report.metrics["segmented_only"]
        lines.append(f"{report.name:16s}{convention:28s}{count}" + "".join(_cells(figures)))
    z, y, x = box.shape
    lines.append(f"box {box} ({z} x {y} x {x} voxels); VOI in bits")
    if any(report.are_local for report in reports):
        lines.append("* objects in subvolumes: one that several found counts in each")
    return "\n".join(lines)


def _paced(fovs: int, pace: Pace | None) -> str:
    """How fast this run made fields of view, of which earlier runs may have made some."""
    if pace is None:
        return ""
    now = "" if pace.fovs == fovs else f", {pace.fovs} of them now"
    return f"{now} in {pace.seconds:.0f} s ({pace.fovs / max(pace.seconds, 1e-9):.0f} per second)"


def _cells(figures: dict) -> list[str]:
    return [f"{'-' if figures[name] is None else format(figures[name], '.3f'):>11s}" for name in _FIGURES]
