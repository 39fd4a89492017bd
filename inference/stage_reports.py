"""What is told of a stage: while it runs, the fields of view per second; when it is done, its counts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.flooding import PieceReport
from inference.workspace import Workspace
from jobs.pieces import atomic_path
from jobs.progress import Progress

_COUNTED = ("seeds", "fovs", "seconds")


@dataclass(frozen=True)
class StageReport:
    """One finished stage.

    Attributes:
      name: of the pass or consensus.
      counts: objects, subvolumes and voxels; of a pass also seeds, fields of view, seconds of its pieces.
      metrics: figures against the ground truth; empty without one.
      reused: all of its pieces were there before.
    """

    name: str
    counts: dict[str, Any]
    metrics: dict[str, Any]
    reused: bool


def counts_of(workspace: Workspace, pieces: Iterable[PieceReport]) -> dict[str, Any]:
    """The counts of all pieces of a stage together.

    Args:
      workspace: of the project.
      pieces: one for each subvolume.

    Returns:
      Sums by name; times in seconds.
    """
    pieces = list(pieces)
    sums = {
        name: round(sum(piece.counts.get(name, 0) for piece in pieces), 3)
        for name in _COUNTED
        if any(name in piece.counts for piece in pieces)
    }
    local = sum(piece.counts.get("objects", 0) for piece in pieces)
    return {
        **sums,
        "objects": int(local),
        "subvolumes": len(pieces),
        "voxels": workspace.inputs.box.size,
    }


def progress_of(workspace: Workspace, total: int | None, unit: str, description: str) -> Progress:
    """The display of a stage, if the config wants one.

    Args:
      workspace: of the project.
      total: how many units; None if that is not known.
      unit: what is counted, singular.
      description: what the stage does.
    """
    return Progress(
        total, unit, description=description, enabled=None if workspace.config.run.progress else False
    )


def rate_shown(progress: Progress) -> Callable[[dict[str, float]], dict[str, str]]:
    """What the display shows of the fields of view seen since it began."""

    def show(figures: dict[str, float]) -> dict[str, str]:
        fovs = figures.get("fovs", 0)
        return {"fov_per_s": f"{fovs / max(progress.elapsed_s, 1e-9):.0f}"} if fovs else {}

    return show


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes plain values as a JSON file that appears whole.

    Args:
      path: the file to make or to replace.
      content: plain values.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
