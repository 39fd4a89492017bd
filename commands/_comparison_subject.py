"""What `evaluate` compares.

A subject comes from a project's config or from volumes named one by one; from there on all is the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from configs import ConfigError, ConfigView, box_bounds, region_bounds
from evaluation.checks import is_one_size
from evaluation.comparison import MEMORY_GB, ends_at_box
from evaluation.errors import EvaluationError
from evaluation.extents import compared_box
from volumes import Box, Volume, open_volume

# The name of a stage that has none, and the folder of skeletons that were made.
SEGMENTATION = "segmentation"
SKELETONS = "skeletons"


@dataclass(frozen=True)
class Subject:
    """What is compared, opened.

    Attributes:
      title: of the report.
      segmentations: by the names of their stages, in their order; at least one.
      labels: ground truth, or None.
      raw: the image, or None.
      box: what is compared, absolute.
      clip: skeletons are cut to the box, instead of counting as omitted outside.
      settings: the message `Evaluation`.
      text: of all settings, for the report.
      output: the metrics.json to write; None = nothing is written.
      notes: lines about the subject that are worth knowing.
      memory_gb: for the work.
      display: whether progress is shown; None: on a terminal.
    """

    title: str
    segmentations: dict[str, Volume]
    labels: Volume | None
    raw: Volume | None
    box: Box
    clip: bool
    settings: ConfigView
    text: str
    output: Path | None
    notes: tuple[str, ...] = ()
    memory_gb: float = MEMORY_GB
    display: bool | None = None

    @property
    def last(self) -> Volume:
        """The segmentation of the last stage."""
        return list(self.segmentations.values())[-1]


def of_volumes(
    settings: ConfigView, raw: Volume | None, name: str, output: Path | None, *, region: Box | None = None
) -> Subject:
    """The subject of one segmentation that the settings name.

    Args:
      settings: the message `Evaluation`, with `segmentation`.
      raw: the image, or None.
      name: of the stage it is.
      output: the metrics.json to write, or None.
      region: what is compared unless the settings say it; None: all that is there.

    Raises:
      ReconstructionError: volumes that cannot be opened or compared.
    """
    segmentation = open_source(settings.segmentation)
    labels = None if settings.labels is None else open_source(settings.labels)
    asked, notes = _box_of(settings) or region, list[str]()
    box = compared_box(segmentation, labels, asked, notes.append)
    if raw is not None:
        raw = _fitting(raw, segmentation)
    return Subject(
        name,
        {name: segmentation},
        labels,
        raw,
        box,
        asked is not None or ends_at_box(box, segmentation, labels),
        settings,
        settings.to_text(),
        output,
        tuple(notes),
    )


def of_config(config: ConfigView, name: str | None) -> Subject:
    """The subject of a project.

    Args:
      config: of the project.
      name: of the stage that `evaluation.segmentation` is, if there is one.

    Raises:
      ReconstructionError: volumes that cannot be opened or compared, no ground truth, no stage that is
        finished, or a name for stages that have theirs.
    """
    settings = config.evaluation
    if settings is None:
        settings = config.replace(evaluation={}).evaluation
    output = Path(config.output_dir) / "metrics.json"
    shown = partial(replace, display=None if config.run.progress else False, memory_gb=_memory_gb(config))
    if settings.segmentation is None:
        if name is not None:
            raise ConfigError(
                f"--name {name} names the segmentation of a config, and {config.name!r} has no "
                "evaluation.segmentation; add that, or leave --name out"
            )
        return shown(_of_project(config, settings, output))
    region = None if config.inference is None else region_bounds(config.inference)
    raw = None if config.raw is None else open_source(config.raw)
    if config.phantom is not None and config.inference is not None:
        from inference.inputs import open_inputs

        inputs = open_inputs(config.replace(evaluation=settings))
        raw = inputs.image
        if settings.labels is None and inputs.labels is not None:
            settings = settings.replace(labels={"spec": inputs.labels.spec})
    subject = of_volumes(
        settings, raw, name or SEGMENTATION, output, region=None if region is None else Box(*region)
    )
    return shown(replace(subject, title=config.name, text=config.to_text()))


def _of_project(config: ConfigView, settings: ConfigView, output: Path) -> Subject:
    """All finished stages of a project, neurons of its agglomeration included."""
    for section in ("inference", "raw|phantom"):
        if all(getattr(config, each) is None for each in section.split("|")):
            wanted = " or ".join(f"'{each}'" for each in section.split("|"))
            raise ConfigError(
                f"config {config.name!r} has no section {wanted}; add it, or give evaluation.segmentation"
            )
    nothing = ConfigError(
        f"{config.output_dir} has no finished stage to evaluate; run run_inference with this config first"
    )
    if not (output.parent / "config.textproto").exists():
        raise nothing
    from agglomeration.neuron_stages import neuron_stages
    from agglomeration.segmentation import FOLDER
    from inference.inputs import planned_inputs
    from inference.stage_volumes import as_it_ran, finished_stages
    from inference.workspace import open_workspace

    config = as_it_ran(config.replace(evaluation=settings))
    planned = open_workspace(config, planned_inputs(config))
    if not finished_stages(planned):
        raise nothing
    workspace = planned if config.phantom is None else open_workspace(config)
    inputs = workspace.inputs
    stages: dict[str, Volume] = {each.stage: each for each in finished_stages(workspace)}
    stages |= {each.stage: each for each in neuron_stages(workspace, output.parent / FOLDER)}
    last = list(stages.values())[-1]
    asked = _box_of(settings)
    box = compared_box(last, inputs.labels, asked or inputs.box)
    clip = asked is not None or region_bounds(config.inference) is not None
    clip = clip or ends_at_box(box, last, inputs.labels)
    return Subject(
        config.name, stages, inputs.labels, inputs.image, box, clip, settings, config.to_text(), output
    )


def _memory_gb(config: ConfigView) -> float:
    if config.inference is None or config.inference.subvolumes is None:
        return MEMORY_GB
    return float(config.inference.subvolumes.memory_gb)


def open_source(source: ConfigView) -> Volume:
    """Opens a `VolumeSource`.

    Raises:
      VolumeError: it cannot be opened.
    """
    size_nm = None if source.voxel_size_nm is None else tuple(source.voxel_size_nm)
    return open_volume(source.spec, voxel_size_nm=size_nm)


def _box_of(settings: ConfigView) -> Box | None:
    return None if settings.box is None else Box(*box_bounds(settings.box))


def _fitting(raw: Volume, segmentation: Volume) -> Volume:
    """The image, once it is known to lie on the grid of the segmentation."""
    if not is_one_size(raw.voxel_size_nm, segmentation.voxel_size_nm):
        raise EvaluationError(
            f"image '{raw.spec}' has voxels of {raw.voxel_size_nm} nm and segmentation '{segmentation.spec}' "
            f"of {segmentation.voxel_size_nm} nm (zyx); name the image at the same resolution"
        )
    return raw
