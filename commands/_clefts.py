"""evaluate clefts: measures how far found synaptic clefts lie from true ones, as the CREMI challenge does.

  evaluate clefts --prediction SPEC --labels SPEC [--threshold_nm 200] [--ignore N]
      masks or labels, 0 is no cleft
  evaluate clefts --prediction SPEC --labels SPEC --cremi labels
      the labels are those of a CREMI file, where 2^64 - 1 is no cleft; also --cremi labels,prediction

ADGT is the mean distance of found voxels to truth, ADF that of true voxels to found ones, and the CREMI score
their mean. One table is printed. Figures go to metrics.json (--output), where others are kept. See
docs/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from commands._entry import no_arguments
from commands._voxel_comparison import leave_figures, opened, shared_flags, table_of

FLAGS = shared_flags("clefts")
_THRESHOLD = flags.DEFINE_float(
    "threshold_nm", 200, "farther than this is a false positive or negative", flag_values=FLAGS
)
_CREMI = flags.DEFINE_list(
    "cremi", [], "which volumes have the marks of a CREMI file: labels, prediction or both", flag_values=FLAGS
)
_OF_DISTANCES = {"mean nm": "mean", "std nm": "std", "median nm": "median", "max nm": "max"}
_OF_VOXELS = {"voxels": "voxels", "false": "false", "right": "right"}


def main(rest: Sequence[str]) -> None:
    """Runs the subcommand; its flags have been read."""
    no_arguments(rest)
    cremi = set(_CREMI.value)
    if not cremi <= {"labels", "prediction"}:
        raise flags.Error(
            f"--cremi {','.join(_CREMI.value)} is neither labels nor prediction; give one or both"
        )
    subject = opened(FLAGS)
    from evaluation.cleft_volumes import CleftMarks, compare_clefts
    from jobs.progress import Progress

    marks = CleftMarks(FLAGS["ignore"].value, "labels" in cremi, "prediction" in cremi)
    with subject.prediction, subject.labels, Progress(None, "voxel", description="clefts") as progress:
        figures = compare_clefts(
            subject.prediction,
            subject.labels,
            subject.box,
            threshold_nm=_THRESHOLD.value,
            marks=marks,
            progress=progress,
        )
    end = leave_figures(FLAGS, subject, figures, threshold_nm=_THRESHOLD.value, cremi=sorted(cremi))
    rows = {
        "found to true": {
            **figures["found_nm"],
            "voxels": figures["n_found"],
            "false": figures["n_false_positive"],
            "right": figures["precision"],
        },
        "true to found": {
            **figures["true_nm"],
            "voxels": figures["n_true"],
            "false": figures["n_false_negative"],
            "right": figures["recall"],
        },
    }
    score, f1 = (
        "-" if value is None else f"{value:.3f}" for value in (figures["cremi_score_nm"], figures["f1"])
    )
    print(table_of("distances", {**_OF_DISTANCES, **_OF_VOXELS}, rows))
    print(f"CREMI score {score} nm (mean of ADGT and ADF), F1 {f1} at {_THRESHOLD.value:g} nm")
    print(end)
