"""What `evaluate` leaves: tables and errors of each stage, metrics.json, and the report.

The old report goes first and the new one comes last, so that none lies beside figures that it does not show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from commands._comparison_subject import Subject
from configs import ConfigView
from evaluation.comparison import StageFigures, Truth
from evaluation.detected_errors import write_errors
from evaluation.planes import Plane, read_planes
from evaluation.report import MADE_WITH, Report, write_report
from evaluation.result_files import COMPARED, FIGURES, update_metrics, write_neurons, write_objects
from jobs.versions import installed_versions

REPORT = "report.html"


def write_results(
    subject: Subject,
    truth: Truth,
    stages: Sequence[StageFigures],
    notes: Sequence[str],
    states: Mapping[str, str],
) -> None:
    """Writes everything that was found.

    Args:
      subject: what was compared, with an output.
      truth: what it was compared with.
      stages: what was found.
      notes: lines about what is worth knowing.
      states: of the files of local volumes, by SPEC.

    Raises:
      ReconstructionError: it cannot be written.
    """
    assert subject.output is not None
    folder, facts = subject.output.parent, _facts(subject, truth)
    planes: Sequence[Plane] = ()
    if subject.settings.report:
        planes = read_planes(subject.box, raw=subject.raw, segmentation=subject.last, truth=subject.labels)
    (folder / REPORT).unlink(missing_ok=True)
    for stage in stages:
        _write_tables(folder, stage)
    figures = {
        stage.name: {**stage.metrics, COMPARED: _compared(subject, truth, stage, notes, states)}
        for stage in stages
    }
    update_metrics(subject.output, figures)
    if subject.settings.report:
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
        write_report(folder / REPORT, page)


def _write_tables(folder: Path, stage: StageFigures) -> None:
    """The files of one stage; those of an earlier comparison that have no successor go."""
    errors, neurons, objects = (
        folder / f"{name}-{stage.name}.{kind}"
        for name, kind in (("errors", "jsonl"), ("neurons", "csv"), ("objects", "csv"))
    )
    for path in (errors, neurons, objects):
        path.unlink(missing_ok=True)
    if stage.objects is not None:
        write_objects(objects, stage.objects)
    if stage.neurons:
        write_neurons(neurons, stage.neurons)
        write_errors(errors, stage.errors)


def _compared(
    subject: Subject,
    truth: Truth,
    stage: StageFigures,
    notes: Sequence[str],
    states: Mapping[str, str],
) -> dict[str, Any]:
    """Everything that the figures of a stage follow from, as plain values."""
    segmentation = subject.segmentations[stage.name]
    volumes = {"segmentation": segmentation, "labels": truth.labels, "image": subject.raw}
    skeletons = truth.source
    if truth.made_with and skeletons:
        # As seen from metrics.json, which they lie beside: a project that moves takes them along.
        skeletons = f"{Path(skeletons).parent.name}/{Path(skeletons).name}"
    return {
        FIGURES: sorted(stage.metrics),
        **{name: None if volume is None else volume.spec for name, volume in volumes.items()},
        "states": {
            name: states[volume.spec]
            for name, volume in volumes.items()
            if volume is not None and volume.spec in states
        },
        "skeletons": skeletons or None,
        "skeletons_digest": truth.digest or None,
        "skeletons_made_with": dict(truth.made_with) or None,
        "skeletons_cut_to_box": subject.clip and not truth.made_with,
        "box": {"start": list(subject.box.start), "stop": list(subject.box.stop)},
        "voxel_size_nm": list(segmentation.voxel_size_nm),
        "shares": {
            name: subject.box.size / volume.bounds.size
            for name, volume in (("segmentation", segmentation), ("labels", truth.labels))
            if volume is not None
        },
        "settings": _plain(subject.settings),
        "notes": list(notes),
        "versions": installed_versions(MADE_WITH),
    }


def _facts(subject: Subject, truth: Truth) -> dict[str, str]:
    """What was compared, in words."""
    facts = {"segmentation": subject.last.spec}
    if len(subject.segmentations) > 1:
        facts = {"stages": f"{', '.join(subject.segmentations)}, in {subject.last.spec.partition(',')[0]}"}
    if subject.labels is not None:
        facts["true objects"] = subject.labels.spec
    if truth.skeletons:
        length_mm = sum(each.length_nm for each in truth.skeletons.values()) / 1e6
        origin = "of the true objects" if truth.made_with else truth.source
        facts["true skeletons"] = f"{len(truth.skeletons)} of {length_mm:.4g} mm together, {origin}"
    if truth.made_with:
        facts["skeletonisation"] = ", ".join(f"{name} {value}" for name, value in truth.made_with.items())
        if truth.source:
            facts["skeletons kept"] = truth.source
    if subject.raw is not None:
        facts["image"] = subject.raw.spec
    shape = " × ".join(map(str, subject.box.shape))
    size = " × ".join(f"{edge:g}" for edge in subject.last.voxel_size_nm)
    facts["box"] = f"{subject.box} ({shape} voxels of {size} nm)"
    return facts


def _plain(value: Any) -> Any:
    """Settings as JSON holds them."""
    if isinstance(value, ConfigView):
        value = value.to_dict()
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
