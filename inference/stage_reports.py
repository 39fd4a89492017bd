"""What is told of a stage: while it runs, the fields of view per second; when it is done, its counts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from configs import ConfigView
from evaluation import EvaluationError
from evaluation.result_files import read_metrics
from inference.flooding import PieceReport
from inference.workspace import Workspace
from jobs.lock import only_writer_of
from jobs.pieces import atomic_path
from jobs.run_progress import RunProgress, Stage

_COUNTED = ("seeds", "fovs", "seconds")


class Pace(NamedTuple):
    """What a run made of a stage, and how long that took, whatever ran side by side.

    Attributes:
      fovs: fields of view.
      seconds: of wall time.
    """

    fovs: int
    seconds: float


@dataclass(frozen=True)
class StageReport:
    """One finished stage.

    Attributes:
      name: of the pass or consensus.
      counts: objects, subvolumes and voxels; of a pass also seeds, fields of view, seconds of its pieces,
        which add up to more than the time it took where several run side by side.
      metrics: figures against the ground truth; empty without one.
      reused: all of its pieces were there before.
      pace: of the fields of view that this run made; None where it made none.
      is_reconciled: objects are those of the volume; else one in several subvolumes counts in each.
    """

    name: str
    counts: dict[str, Any]
    metrics: dict[str, Any]
    reused: bool
    pace: Pace | None = None
    is_reconciled: bool = True

    @property
    def are_local(self) -> bool:
        """Whether an object that several subvolumes found is counted more than once."""
        return not self.is_reconciled and self.counts["subvolumes"] > 1


def counts_of(workspace: Workspace, pieces: Iterable[PieceReport]) -> dict[str, Any]:
    """The counts of all pieces of a stage together.

    Args:
      workspace: of the project.
      pieces: one for each subvolume.

    Returns:
      Sums by name; times in seconds. Objects are those of the subvolumes, not reconciled.
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
        "voxels": workspace.inputs.voxels,
    }


def pace_of(progress: RunProgress, pieces: Iterable[PieceReport]) -> Pace | None:
    """The pace of the stage at hand, all of whose pieces have just ended; None where all were there before.

    Args:
      progress: of the run.
      pieces: of the stage.
    """
    fovs = sum(int(piece.counts.get("new_fovs", 0)) for piece in pieces)
    return Pace(fovs, progress.stage_elapsed_s) if fovs else None


def progress_of(config: ConfigView, stages: Sequence[Stage]) -> RunProgress:
    """The display of a run, if the config wants one.

    Args:
      config: of the project.
      stages: of the run, see `inference.run_plan`.
    """
    return RunProgress(stages, enabled=None if config.run.progress else False)


def aside(
    progress: RunProgress, report: Callable[[StageReport], None], tell: Callable[[str], None]
) -> tuple[Callable[[StageReport], None], Callable[[str], None]]:
    """The same two functions, which may print; the display gives way while they do.

    Args:
      progress: the display.
      report: takes a finished stage.
      tell: takes a line.
    """

    def report_aside(stage: StageReport) -> None:
        with progress.aside():
            report(stage)

    def tell_aside(line: str) -> None:
        with progress.aside():
            tell(line)

    return report_aside, tell_aside


def rate_shown(progress: RunProgress) -> Callable[[dict[str, float]], dict[str, str]]:
    """What the display shows of the fields of view seen since the stage began."""

    def show(figures: dict[str, float]) -> dict[str, str]:
        fovs = figures.get("fovs", 0)
        return {"fov_per_s": f"{fovs / max(progress.stage_elapsed_s, 1e-9):.0f}"} if fovs else {}

    return show


def figures_there(path: Path) -> dict[str, Any]:
    """The stages of a metrics.json; none where there is no such file or it cannot be read.

    Args:
      path: the file.
    """
    try:
        return read_metrics(path).get("stages", {})
    except EvaluationError:
        return {}


def with_added(figures: dict[str, Any], earlier: dict[str, Any]) -> dict[str, Any]:
    """The figures of a stage, and what other commands added to them when they were the same.

    Args:
      figures: of a stage, as a run found them.
      earlier: what metrics.json says of it.
    """
    return {**earlier, **figures} if _same(figures, earlier) else figures


def _same(figures: dict[str, Any], earlier: dict[str, Any]) -> bool:
    return {name: earlier.get(name) for name in figures} == json.loads(json.dumps(figures))


def write_stages(path: Path, stages: Mapping[str, dict[str, Any]], earlier: Mapping[str, Any]) -> None:
    """Writes the metrics.json of a run: its stages, and what other commands added to them.

    Stages that other commands made, such as `constrained`, stay as long as the run finds what they follow
    from unchanged. Those of an earlier run, which count subvolumes, do not.

    Args:
      path: the file to make or to replace.
      stages: figures of each stage, as the run found them.
      earlier: the stages of the file as the run began; what another command has written since counts more.
    """
    with only_writer_of(path):
        known = {**earlier, **figures_there(path)}
        kept = {name: with_added(figures, known.get(name, {})) for name, figures in stages.items()}
        if all(_same(figures, known.get(name, {})) for name, figures in stages.items()):
            kept |= {n: each for n, each in known.items() if n not in kept and "subvolumes" not in each}
        with atomic_path(path) as temporary:
            content = {"stages": kept, "config": "config.textproto"}
            temporary.write_text(json.dumps(content, indent=2) + "\n")
