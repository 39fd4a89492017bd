"""evaluate: compares segmentations with ground truth and shows where they are wrong.

  evaluate --config C
      compares every finished stage of a project with its labels (evaluation.labels, or those of its phantom)
      and skeletons (evaluation.skeletons, or made from the labels)
  evaluate --segmentation SPEC --labels SPEC [--skeletons SPEC] [--raw SPEC] [--output metrics.json]
      compares any segmentation with labels, skeletons, or both; no config is needed
  evaluate classes --prediction SPEC --labels SPEC [--scores SPEC] [--instances] [--output metrics.json]
      compares voxel classes, or instances; see evaluate classes --help
  evaluate clefts --prediction SPEC --labels SPEC [--output metrics.json]
      measures how far synaptic clefts lie from true ones; see evaluate clefts --help

Figures go to metrics.json, where others are kept; beside it lie report.html and, of each stage,
errors-<stage>.jsonl (every split, merger and omission with its position), neurons-<stage>.csv and
objects-<stage>.csv. See docs/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from absl import flags

from commands._entry import caution, no_arguments, run_command
from commands._named_volumes import (
    metrics_file,
    needed_voxel_size,
    open_named,
    require_stage_name,
    voxel_size_of_flag,
)
from configs import ConfigView, load_config, parse_bounding_box

if TYPE_CHECKING:
    from volumes import Volume

FLAGS = flags.FlagValues()
_CONFIG = flags.DEFINE_string("config", None, "path or shipped name of the config", flag_values=FLAGS)
_SEGMENTATION = flags.DEFINE_string(
    "segmentation", None, "SPEC of the segmentation; 0 is unsegmented", flag_values=FLAGS
)
_LABELS = flags.DEFINE_string("labels", None, "SPEC of true objects; 0 is ignored", flag_values=FLAGS)
_SKELETONS = flags.DEFINE_string(
    "skeletons",
    None,
    "true skeletons, 'dir/*.swc' or 'precomputed://file:///dir'; made from the labels if not given",
    flag_values=FLAGS,
)
_RAW = flags.DEFINE_string("raw", None, "SPEC of the image, for the report's slices", flag_values=FLAGS)
_BOX = flags.DEFINE_string(
    "box",
    None,
    "what is compared, a google/ffn BoundingBox (x, y, z) in voxels; all that is there if not given",
    flag_values=FLAGS,
)
_VOXEL_SIZE = flags.DEFINE_list(
    "voxel_size_nm", None, "z,y,x in nm, for volumes that do not say theirs", flag_values=FLAGS
)
_SETTINGS = flags.DEFINE_string(
    "settings",
    None,
    "further settings of the comparison, an Evaluation message such as 'boundary_tolerance_nm: 20'",
    flag_values=FLAGS,
)
_NAME = flags.DEFINE_string(
    "name",
    None,
    "names the segmentation in metrics.json, files and the report; 'segmentation' if not given",
    flag_values=FLAGS,
)
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "the metrics.json to write, other files beside it; nothing is written if not given",
    flag_values=FLAGS,
)
_MEMORY = flags.DEFINE_float(
    "memory_gb",
    None,
    "memory for the work, in 10^9 bytes, 2 if not given; a config has inference.subvolumes.memory_gb",
    lower_bound=0.001,
    flag_values=FLAGS,
)
_SUBCOMMANDS = {"classes": "commands._classes", "clefts": "commands._clefts"}
_OF_VOLUMES = (
    "segmentation",
    "labels",
    "skeletons",
    "raw",
    "box",
    "voxel_size_nm",
    "settings",
    "output",
    "memory_gb",
)


def run(arguments: Sequence[str] | None = None) -> int:
    """The console script; returns the exit code."""
    return run_command(FLAGS, __doc__ or "", _main, arguments, _SUBCOMMANDS)


def _main(rest: Sequence[str]) -> None:
    no_arguments(rest)
    if not _CONFIG.value and not _SEGMENTATION.value:
        raise flags.Error("give --config, or --segmentation with --labels or --skeletons; see --help")
    require_stage_name(_NAME.value)
    if _CONFIG.value:
        _refuse_beside_config()
        config = load_config(_CONFIG.value)
    else:
        output = metrics_file(_OUTPUT.value)
        settings = _settings_of_flags()
    from commands._comparison import carry_out
    from commands._comparison_subject import SEGMENTATION, of_config, of_volumes
    from commands._evaluation_table import evaluation_table

    if _CONFIG.value:
        subject = of_config(config, _NAME.value)
    else:
        subject = of_volumes(settings, _raw_volume(), _NAME.value or SEGMENTATION, output)
        if _MEMORY.value:
            subject = replace(subject, memory_gb=_MEMORY.value)
    stages = carry_out(subject, caution)
    print(evaluation_table(stages, subject.settings, subject.box))
    if subject.output is not None:
        report = subject.output.parent / "report.html"
        print(f"results: {subject.output}" + (f"\nreport:  {report}" if subject.settings.report else ""))


def _refuse_beside_config() -> None:
    for name in _OF_VOLUMES:
        if FLAGS[name].value is not None:
            raise flags.Error(
                f"--{name} cannot be given beside --config; set it in the config, or leave that out"
            )


def _settings_of_flags() -> ConfigView:
    """The message `Evaluation` that the flags stand for."""
    from evaluation import evaluation_settings

    settings = evaluation_settings(_SETTINGS.value or "").replace(segmentation=_source(_SEGMENTATION.value))
    if _LABELS.value:
        settings = settings.replace(labels=_source(_LABELS.value))
    if _SKELETONS.value:
        settings = settings.replace(skeletons=_SKELETONS.value)
    if _BOX.value:
        start, stop = parse_bounding_box(_BOX.value)
        shape = tuple(b - a for a, b in zip(start, stop, strict=True))
        settings = settings.replace(box={"start": start, "shape": shape})
    if settings.labels is None and settings.skeletons is None:
        raise flags.Error("--segmentation needs something to compare with; give --labels or --skeletons")
    return settings


def _source(spec: str) -> dict[str, Any]:
    """A `VolumeSource`, with a voxel size if the volume does not say its own."""
    size_nm = needed_voxel_size(spec, voxel_size_of_flag(_VOXEL_SIZE.value))
    return {"spec": spec} if size_nm is None else {"spec": spec, "voxel_size_nm": size_nm}


def _raw_volume() -> Volume | None:
    return open_named(_RAW.value, voxel_size_of_flag(_VOXEL_SIZE.value)) if _RAW.value else None
