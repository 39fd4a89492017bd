"""What every piece of a project's work needs: inputs, passes, plan, and where results lie.

A workspace follows from the config alone, so that a worker on another machine opens the same one. A
reseeding job (`inference.reseeding_job`) is a workspace with its own stage, plan and place for results.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np

from configs import ConfigError, ConfigView
from inference.identity import settings_digest
from inference.inputs import Inputs, blocks_of, open_inputs
from inference.passes import Fold, ResolvedPass, resolve_folds, resolve_passes
from inference.subject import describe_pass
from jobs.plan import Subvolume, core_finder, largest_size, plan_subvolumes
from volumes import Box
from volumes.box import Zyx

# Image, logits and objects of a canvas, and what finding its seeds takes at its peak.
BYTES_PER_VOXEL = 48
# Part of what a result follows from: what reaches a cut counts as large (docs/decisions/0016).
AT_CUTS = {"small_at_cuts": "kept"}
_MIN_OVERLAP = 16
_LARGEST_EDGE = 256


class Opens(Protocol):
    """Something small that travels to workers, and what they open from it; hashable."""

    @property
    def config(self) -> ConfigView:
        """Of the project."""

    def open(self) -> Workspace:
        """Opens the workspace."""

    def __hash__(self) -> int: ...


Source: TypeAlias = ConfigView | Opens


@dataclass(frozen=True)
class Workspace:
    """One project, opened.

    Attributes:
      config: resolved.
      inputs: raw volume, ground truth, region.
      passes: by name, in the config's order.
      folds: the consensus stages.
      plan: the subvolumes.
    """

    config: ConfigView
    inputs: Inputs
    passes: dict[str, ResolvedPass]
    folds: dict[str, Fold]
    plan: list[Subvolume]

    @property
    def output(self) -> Path:
        """The project's output directory."""
        return Path(self.config.output_dir)

    @property
    def source(self) -> Source:
        """What a worker opens the same workspace from."""
        return self.config

    @property
    def volumes_written(self) -> tuple[str, ...]:
        """Names of the Precomputed folders it writes."""
        return "supervoxels", "image"

    @property
    def final_stage(self) -> str:
        """The stage whose objects become the supervoxels: the last consensus, or the last pass."""
        return [*self.passes, *self.folds][-1]

    def stage_directory(self, stage: str) -> Path:
        """Where the subvolumes of a pass or a consensus lie."""
        return self.output / "passes" / stage if stage in self.passes else self.output / stage

    def describe_stage(self, stage: str) -> dict[str, object]:
        """What all results of a stage follow from, as plain JSON values."""
        if stage in self.passes:
            return {**self.describe_pass(self.passes[stage]), **self._describe_plan()}
        section, fold = self.config.consensus, self.folds[stage]
        return {
            "passes": list(fold.passes),
            "pass_settings": {name: settings_digest(self.describe_stage(name)) for name in fold.passes},
            "consensus_min_size": section.min_size,
            "split_components": section.split_components,
            **AT_CUTS,
        }

    def smallest_supervoxel(self, stage: str) -> int:
        """Voxels that an object of a stage has at least in the whole volume; smaller ones are dropped.

        Pieces that reach a cut got here whatever their size.
        """
        smallest: int = self.config.reconciliation.min_size
        return max(smallest, self.config.consensus.min_size) if stage in self.folds else smallest

    @cached_property
    def positions(self) -> dict[Zyx, int]:
        """Where in the plan the subvolume of each index is."""
        return {subvolume.index: position for position, subvolume in enumerate(self.plan)}

    @cached_property
    def touching(self) -> Callable[[Box], list[int]]:
        """Positions in the plan of the subvolumes whose cores a box (absolute, raw voxels) touches."""
        return core_finder(self.plan)

    def blocks(self) -> list[Box]:
        """The blocks of whole chunks in which finished supervoxels are written: those that a box touches."""
        return [block for block in blocks_of(self.inputs.box) if self.inputs.touches(block)]

    def completed(self, labels: np.ndarray, box: Box) -> np.ndarray:
        """What is written of a box: the objects of the stage, uint64 (z, y, x), and others that are there."""
        return labels

    def describe_pass(self, each: ResolvedPass) -> dict[str, object]:
        """What a pass makes of any subvolume follows from this."""
        masks, preprocessing = self.config.masks.to_text(), self.config.preprocessing.to_text()
        description = describe_pass(each.image, each.network, each.settings)
        filled: dict[str, object] = {}
        if each.fill_from is not None:
            source = settings_digest(self.describe_stage(each.fill_from))
            filled = {"fill_from": source, "fill_min_size": each.fill_min_size, **AT_CUTS}
        return {**description, "masks": masks, "preprocessing": preprocessing, **filled}

    def _describe_plan(self) -> dict[str, object]:
        region, parts = self.inputs.box, self.inputs.boxes
        several = {"boxes_zyx": sorted([list(each.start), list(each.stop)] for each in parts)}
        return {
            "region_zyx": [list(region.start), list(region.stop)],
            "subvolumes": len(self.plan),
            "subvolume_shape_zyx": list(self.plan[0].box.shape),
            "overlap_zyx": list(overlap_of(self.config, list(self.passes.values()))),
            **(several if len(parts) > 1 else {}),
        }


def open_workspace(config: ConfigView, inputs: Inputs | None = None) -> Workspace:
    """Opens a project.

    Args:
      config: resolved.
      inputs: instead of those that `open_inputs` gives.

    Raises:
      ReconstructionError: anything in config, network, image or ground truth that cannot be used.
    """
    inputs = open_inputs(config) if inputs is None else inputs
    passes = resolve_passes(config, inputs.image)
    folds = resolve_folds(config, passes)
    names = {each.name for each in passes}
    taken = names & {"consensus", "multiresolution"}
    if taken:
        raise ConfigError(f"a pass cannot be named {taken.pop()!r}, which is a stage of its own; rename it")
    return Workspace(
        config,
        inputs,
        {each.name: each for each in passes},
        {fold.name: fold for fold in folds},
        plan_of(config, passes, inputs),
    )


def plan_of(config: ConfigView, passes: list[ResolvedPass], inputs: Inputs) -> list[Subvolume]:
    """The subvolumes of a region: of the size asked for, or the largest of which two fit into the memory.

    Those whose cores touch none of the boxes to segment are left out.

    Beyond an edge of 256 voxels little is gained: there more memory means more subvolumes in flight, and with
    them larger batches.

    Args:
      config: of the project.
      passes: all of them; the largest field of view counts.
      inputs: the region and the boxes in it.

    Raises:
      ReconstructionError: sizes that cannot be cut.
    """
    region = inputs.box
    section, in_flight = config.inference.subvolumes, config.inference.subvolumes_in_flight or 2
    size = section.size
    if size is None:
        fov = reach_of(passes)
        memory = int(section.memory_gb * 1e9)
        fitting = largest_size(fov, memory, BYTES_PER_VOXEL, in_flight, region)
        size = tuple(min(n, max(_LARGEST_EDGE, 2 * f)) for n, f in zip(fitting, fov, strict=True))
    plan = plan_subvolumes(region, size, overlap_of(config, passes))
    touched = core_finder(plan)
    positions = {position for box in inputs.boxes for position in touched(box)}
    return [plan[position] for position in sorted(positions)]


def reach_of(passes: list[ResolvedPass]) -> Zyx:
    """The largest field of view of any pass, in voxels of the raw volume."""
    sizes = [
        [n * f for n, f in zip(each.settings.options.fov_zyx, each.factors, strict=True)] for each in passes
    ]
    z, y, x = (max(axis) for axis in zip(*sizes, strict=True))
    return z, y, x


def overlap_of(config: ConfigView, passes: list[ResolvedPass]) -> Zyx:
    """Voxels that neighbouring subvolumes share: those asked for, or twice the reach of a field of view.

    Args:
      config: of the project.
      passes: all of them.

    Returns:
      Raw voxels (zyx).
    """
    asked = config.inference.subvolumes.overlap
    if asked is not None:
        z, y, x = asked
    else:
        z, y, x = (max(_MIN_OVERLAP, 2 * (n // 2)) for n in reach_of(passes))
    return z, y, x
