"""evaluate classes: compares voxel classes, or instances, with ground truth.

  evaluate classes --prediction SPEC --labels SPEC [--classes background,mitochondrion,…] [--ignore N]
      precision, recall, specificity, negative predictive value, accuracy, F1 (Dice), intersection over union
      and Cohen's kappa of every class of voxels, their means, and the confusion matrix
  evaluate classes … --scores SPEC
      also average precision, from probabilities (0 … 1, or uint8 with 255 for 1): of every class where the
      volume has a channel for each, of class 1 where it has one channel
  evaluate classes … --instances [--iou 0.5] [--min_voxels N]
      the volumes hold object IDs, 0 is background: objects matched one to one where they overlap enough

One table is printed. Figures go to metrics.json (--output), where others are kept. See docs/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from absl import flags

from commands._entry import no_arguments
from commands._voxel_comparison import Opened, leave_figures, opened, shared_flags, table_of

if TYPE_CHECKING:
    from volumes import Volume

FLAGS = shared_flags("classes")
_SCORES = flags.DEFINE_string(
    "scores", None, "SPEC of probabilities, with a channel for each class", flag_values=FLAGS
)
_CLASSES = flags.DEFINE_list(
    "classes", None, "names of the classes from 0 on; those that occur if not given", flag_values=FLAGS
)
_INSTANCES = flags.DEFINE_boolean("instances", False, "the volumes hold object IDs", flag_values=FLAGS)
_IOU = flags.DEFINE_float(
    "iou", None, "least intersection over union of a match, 0.5 if not given", flag_values=FLAGS
)
_MIN_VOXELS = flags.DEFINE_integer(
    "min_voxels",
    None,
    "smaller objects of either volume are background, 0 if not given",
    lower_bound=0,
    flag_values=FLAGS,
)
_COLUMNS = {
    "precision": "precision",
    "recall": "recall",
    "specificity": "specificity",
    "NPV": "npv",
    "accuracy": "accuracy",
    "F1": "f1",
    "IoU": "iou",
    "kappa": "kappa",
}
_OF_OBJECTS = {
    "precision": "precision",
    "recall": "recall",
    "F1": "f1",
    "accuracy": "accuracy",
    "mean IoU": "mean_matched_iou",
    "matched": "n_matched",
    "found": "n_segments",
    "true": "n_truth",
}
_MOST_CHANNELS = 256
# Labels of more values than this are hardly classes.
_MANY_CLASSES = 64


def main(rest: Sequence[str]) -> None:
    """Runs the subcommand; its flags have been read."""
    no_arguments(rest)
    _refuse_what_does_not_fit()
    subject = opened(FLAGS)
    with subject.prediction, subject.labels:
        print(_instances(subject) if _INSTANCES.value else _classes(subject))


def _refuse_what_does_not_fit() -> None:
    given = [flag.name for flag in (_SCORES, _CLASSES) if flag.value is not None]
    if _INSTANCES.value and given:
        raise flags.Error(f"--{given[0]} is for classes, not for objects; leave it or --instances out")
    given = [flag.name for flag in (_IOU, _MIN_VOXELS) if flag.value is not None]
    if not _INSTANCES.value and given:
        raise flags.Error(f"--{given[0]} is for objects; add --instances, or leave it out")


def _classes(subject: Opened) -> str:
    from evaluation.ranking import class_average_precisions
    from evaluation.voxelwise import compare_classes

    names = _CLASSES.value
    with ExitStack() as stack:
        scores = _channels(stack, subject) if _SCORES.value else []
        figures = compare_classes(
            subject.prediction, subject.labels, subject.box, classes=names, ignore=FLAGS["ignore"].value
        )
        if scores and names is None:
            _require_scores(subject, figures["per_class"], scores)
        if scores:
            figures |= class_average_precisions(
                scores, subject.labels, subject.box, classes=names, ignore=FLAGS["ignore"].value
            )
    if names is None:
        _note_object_ids(subject, figures["per_class"])
    end = leave_figures(FLAGS, subject, figures, classes=names, scores=_SCORES.value)
    ranked = figures.get("average_precision_per_class", {})
    rows = {
        name: {**each, "ap": ranked.get(name, {}).get("average_precision")}
        for name, each in figures["per_class"].items()
    }
    rows["macro"] = {**figures["macro"], "ap": figures.get("average_precision")}
    columns = {**_COLUMNS, "AP": "ap"} if scores else _COLUMNS
    return "\n".join([table_of("class", columns, rows), _overall(figures), end])


def _instances(subject: Opened) -> str:
    from evaluation.instances import compare_instances
    from jobs.progress import Progress

    threshold = 0.5 if _IOU.value is None else _IOU.value
    with Progress(None, "voxel", description="overlap of objects") as progress:
        figures = compare_instances(
            subject.prediction,
            subject.labels,
            subject.box,
            threshold=threshold,
            min_voxels=_MIN_VOXELS.value or 0,
            ignore=FLAGS["ignore"].value,
            progress=progress,
        )
    end = leave_figures(FLAGS, subject, figures, iou=threshold, min_voxels=_MIN_VOXELS.value or 0)
    found = figures["instances"]
    rows = {f"IoU >= {found['threshold']:g}": found}
    rows |= {f"IoU >= {each['threshold']:g}": each for each in found["by_threshold"]}
    means = {"accuracy": found["mean_accuracy"], "f1": found["mean_f1"]}
    return "\n".join([table_of("objects", _OF_OBJECTS, {**rows, "mean": means}), _overall(figures), end])


def _note_object_ids(subject: Opened, per_class: Mapping[str, Mapping[str, Any]]) -> None:
    """Tells of labels that look like IDs of objects: a great many, or other ones in either volume."""
    found, true = (
        {number for number, figures in per_class.items() if figures[key] and number != "0"}
        for key in ("n_predicted", "n_truth")
    )
    mend = "if they are IDs of objects, add --instances"
    if 2 * len(found & true) < min(len(found), len(true)):
        subject.note(
            f"of the classes other than 0, {len(found)} are in the prediction and {len(true)} in the labels, "
            f"but {len(found & true)} in both; {mend}"
        )
    elif len(found | true) > _MANY_CLASSES:
        subject.note(f"there are {len(found | true)} classes other than 0; {mend}")


def _overall(figures: dict[str, Any]) -> str:
    kappa = figures["kappa"]
    return (
        f"{figures['n_voxels']} voxels, {figures['accuracy']:.2%} of them right, "
        f"kappa {'-' if kappa is None else format(kappa, '.3f')}"
    )


def _channels(stack: ExitStack, subject: Opened) -> list[Volume]:
    """All channels of the scores, opened."""
    from commands._named_volumes import needed_voxel_size
    from volumes.errors import NoChannelError
    from volumes.opening import open_channel

    spec = _SCORES.value

    def first(spec: str) -> Volume:
        return open_channel(spec, 0)

    size_nm = needed_voxel_size(spec, subject.given_nm, first)
    found = [stack.enter_context(open_channel(spec, 0, voxel_size_nm=size_nm))]
    while len(found) < _MOST_CHANNELS:
        try:
            found.append(stack.enter_context(open_channel(spec, len(found), voxel_size_nm=size_nm)))
        except NoChannelError:
            break
    return found


def _require_scores(subject: Opened, occurring: Iterable[str], scores: Sequence[Volume]) -> None:
    """Refuses scores that lack a class, and tells of a single channel where there are more classes than two.

    Args:
      subject: what is compared.
      occurring: the numbers of classes, as text.
      scores: the channels, of class 1 where there is one.

    Raises:
      EvaluationError: a class without a channel, so that a mean would be one of the others alone.
    """
    lacking = [number for number in occurring if int(number) >= max(2, len(scores))]
    if not lacking:
        return
    if len(scores) == 1:
        subject.note(
            f"scores '{_SCORES.value}' have one channel, which is of class 1; average precision is of that "
            f"class alone, and not of class {', '.join(lacking)}"
        )
        return
    from evaluation.errors import EvaluationError

    raise EvaluationError(
        f"there are voxels of class {', '.join(lacking)}, but scores '{_SCORES.value}' have {len(scores)} "
        f"channels, for the classes 0 to {len(scores) - 1}; name scores with a channel for each class"
    )
