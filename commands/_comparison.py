"""What `evaluate` compares, how it is carried out, and where the results go.

A subject comes from a project's config or from volumes named one by one; from there on all is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from configs import ConfigError, ConfigView, box_bounds, region_bounds
from evaluation.checks import is_one_size
from evaluation.comparison import StageFigures, Tell, Truth, compare_stage, prepare_truth
from evaluation.detected_errors import write_errors
from evaluation.errors import EvaluationError
from evaluation.planes import read_planes
from evaluation.report import Report, write_report
from evaluation.result_files import read_metrics, update_metrics, write_neurons, write_objects
from jobs.pieces import require_writable_file
from volumes import Box, Volume, open_volume


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
    asked = _box_of(settings) or region
    box = _shared_box(segmentation, labels, asked)
    if raw is not None:
        raw = _fitting(raw, segmentation)
    return Subject(
        name, {name: segmentation}, labels, raw, box, asked is not None, settings, settings.to_text(), output
    )


def of_config(config: ConfigView, name: str) -> Subject:
    """The subject of a project.

    Args:
      config: of the project.
      name: of the stage that `evaluation.segmentation` is, if there is one.

    Raises:
      ReconstructionError: volumes that cannot be opened or compared, no ground truth, or no stage that is
        finished.
    """
    settings = config.evaluation
    if settings is None:
        settings = config.replace(evaluation={}).evaluation
    output = Path(config.output_dir) / "metrics.json"
    display = None if config.run.progress else False
    if settings.segmentation is None:
        return replace(_of_project(config, settings, output), display=display)
    region = None if config.inference is None else region_bounds(config.inference)
    raw = None if config.raw is None else open_source(config.raw)
    if config.phantom is not None and config.inference is not None:
        from inference.inputs import open_inputs

        inputs = open_inputs(config.replace(evaluation=settings))
        raw = inputs.image
        if settings.labels is None and inputs.labels is not None:
            settings = settings.replace(labels={"spec": inputs.labels.spec})
    subject = of_volumes(settings, raw, name, output, region=None if region is None else Box(*region))
    return replace(subject, title=config.name, text=config.to_text(), display=display)


def _of_project(config: ConfigView, settings: ConfigView, output: Path) -> Subject:
    """All finished stages of a project."""
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
    last = list(stages.values())[-1]
    asked = _box_of(settings)
    clip = asked is not None or region_bounds(config.inference) is not None
    box = _shared_box(last, inputs.labels, asked or inputs.box)
    return Subject(
        config.name, stages, inputs.labels, inputs.image, box, clip, settings, config.to_text(), output
    )


def carry_out(subject: Subject, tell: Tell) -> list[StageFigures]:
    """Compares all stages, and writes the results unless there is no place for them.

    Args:
      subject: what is compared.
      tell: called with lines about what is allowed but worth knowing.

    Raises:
      ReconstructionError: anything that cannot be compared, read or written.
    """
    if subject.output is not None:
        read_metrics(subject.output)
        require_writable_file(subject.output)
    notes: list[str] = []

    def note(line: str) -> None:
        notes.append(line)
        tell(line)

    truth = prepare_truth(
        subject.labels,
        subject.box,
        subject.last.voxel_size_nm,
        subject.settings,
        clip=subject.clip,
        tell=note,
        display=subject.display,
    )
    stages = [
        compare_stage(name, volume, truth, subject.box, subject.settings, display=subject.display)
        for name, volume in subject.segmentations.items()
    ]
    outside = stages[-1].metrics.get("nodes_outside", 0)
    if outside:
        note(
            f"{outside} nodes of the skeletons lie outside the segmentation; the path there counts as omitted"
        )
    if subject.output is not None:
        _write(subject, truth, stages, notes)
    return stages


def open_source(source: ConfigView) -> Volume:
    """Opens a `VolumeSource`.

    Raises:
      VolumeError: it cannot be opened.
    """
    size_nm = None if source.voxel_size_nm is None else tuple(source.voxel_size_nm)
    return open_volume(source.spec, voxel_size_nm=size_nm)


def _box_of(settings: ConfigView) -> Box | None:
    return None if settings.box is None else Box(*box_bounds(settings.box))


def _shared_box(segmentation: Volume, labels: Volume | None, asked: Box | None) -> Box:
    if labels is not None:
        from evaluation.blockwise import common_box

        return common_box(segmentation, labels, asked)
    if asked is None:
        return segmentation.bounds
    if asked.is_empty or not segmentation.bounds.contains_box(asked):
        raise EvaluationError(
            f"box {asked} is empty or leaves segmentation '{segmentation.spec}' ({segmentation.bounds}); "
            "give a box inside that"
        )
    return asked


def _fitting(raw: Volume, segmentation: Volume) -> Volume:
    """The image, once it is known to lie on the grid of the segmentation."""
    if not is_one_size(raw.voxel_size_nm, segmentation.voxel_size_nm):
        raise EvaluationError(
            f"image '{raw.spec}' has voxels of {raw.voxel_size_nm} nm and segmentation '{segmentation.spec}' "
            f"of {segmentation.voxel_size_nm} nm (zyx); name the image at the same resolution"
        )
    return raw


def _write(subject: Subject, truth: Truth, stages: Sequence[StageFigures], notes: Sequence[str]) -> None:
    assert subject.output is not None
    folder, last = subject.output.parent, stages[-1]
    for stage in stages:
        suffix = "" if stage is last else f"-{stage.name}"
        if stage.objects is not None:
            write_objects(folder / f"objects{suffix}.csv", stage.objects)
        if stage.neurons:
            write_neurons(folder / f"neurons{suffix}.csv", stage.neurons)
            write_errors(folder / f"errors{suffix}.jsonl", stage.errors)
    facts = _facts(subject, truth)
    update_metrics(subject.output, {stage.name: stage.metrics for stage in stages}, compared=facts)
    if subject.settings.report:
        planes = read_planes(subject.box, raw=subject.raw, segmentation=subject.last, truth=subject.labels)
        page = Report(
            subject.title,
            facts,
            subject.box,
            subject.last.voxel_size_nm,
            stages,
            planes,
            subject.text,
            subject.settings.merger_tolerance_nm or None,
            notes,
        )
        write_report(folder / "report.html", page)


def _facts(subject: Subject, truth: Truth) -> dict[str, str]:
    """What was compared, in words."""
    made = subject.settings.skeletonisation
    facts = {"segmentation": subject.last.spec}
    if len(subject.segmentations) > 1:
        facts = {"stages": f"{', '.join(subject.segmentations)}, in {subject.last.spec.partition(',')[0]}"}
    if subject.labels is not None:
        facts["true objects"] = subject.labels.spec
    if truth.skeletons:
        source = subject.settings.skeletons or (
            f"of the true objects, by TEASAR with scale {made.scale:g} and constant {made.const_nm:g} nm, of "
            f"at least {made.min_voxels} voxels"
        )
        length_mm = sum(each.length_nm for each in truth.skeletons.values()) / 1e6
        facts["true skeletons"] = f"{len(truth.skeletons)} of {length_mm:.4g} mm together, {source}"
    if subject.raw is not None:
        facts["image"] = subject.raw.spec
    shape = " × ".join(map(str, subject.box.shape))
    size = " × ".join(f"{edge:g}" for edge in subject.last.voxel_size_nm)
    facts["box"] = f"{subject.box} ({shape} voxels of {size} nm)"
    return facts
