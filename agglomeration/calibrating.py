"""Trains a calibration on projects with ground truth.

Each project's candidate pairs are scored as `run_agglomeration` scores them, in the project's own directory,
so that scores that are there are taken and those made here serve a run. A pair's truth follows from the
overlaps of its supervoxels with the true objects; where these do not tell, from what people decided about it
(`agglomeration.pair_answers`). Pairs without a truth are left out. Projects are the groups of the
cross-validation.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agglomeration.calibration import Calibration
from agglomeration.errors import AgglomerationError
from agglomeration.pair_answers import PairAnswers, load_answers
from agglomeration.pair_truth import PairTruth
from agglomeration.project import prepared, scored, stages_of, workers_of
from agglomeration.reliability import (
    Reliability,
    precision_of_accepted,
    reliability_of,
    write_reliability_plot,
)
from agglomeration.scored_pairs import describe_scores, shared_by_scores
from agglomeration.scoring import ScoreTable
from agglomeration.stage_figures import known_truth
from agglomeration.training import cross_validated, fit
from configs import ConfigView
from inference.identity import difference
from inference.stage_reports import aside, progress_of
from jobs.lock import only_run_in
from jobs.pieces import require_writable_file

Tell = Callable[[str], None]


@dataclass(frozen=True)
class LabelledPairs:
    """Scored pairs whose truth is known; one row each.

    Attributes:
      scores: of them.
      truth: (n,) bool, both are parts of one true object.
      groups: (n,) strings, the project of each.
      left_out: pairs whose truth is not known.
    """

    scores: ScoreTable
    truth: np.ndarray
    groups: np.ndarray
    left_out: int

    @staticmethod
    def concatenate(parts: Sequence[LabelledPairs]) -> LabelledPairs:
        """The rows of several projects."""
        return LabelledPairs(
            ScoreTable.concatenate(part.scores for part in parts),
            np.concatenate([part.truth for part in parts]),
            np.concatenate([part.groups for part in parts]),
            sum(part.left_out for part in parts),
        )


@dataclass(frozen=True)
class Calibrated:
    """A calibration, and how good it is on projects that were held out.

    Attributes:
      calibration: trained on all pairs.
      pairs: that it was trained on.
      probability: (n,) float64 of each pair, by calibrations that did not see its project.
      accept_probability: from which pairs count as accepted below.
    """

    calibration: Calibration
    pairs: LabelledPairs
    probability: np.ndarray
    accept_probability: float

    @property
    def curve(self) -> Reliability:
        """The cross-validated reliability."""
        return reliability_of(self.probability, self.pairs.truth)

    def lines(self) -> list[str]:
        """The cross-validated figures, as text."""
        truth, found = self.pairs.truth, self.calibration
        lines = [
            f"{truth.size} pairs of {np.unique(self.pairs.groups).size} projects, {int(truth.sum())} of them "
            f"one object; {self.pairs.left_out} without a known truth left out",
            "figures of projects that were held out:",
            f"{'kind':12s}{'log loss':>10s}{'Brier':>10s}{'AUC':>10s}{'calibration error':>20s}",
        ]
        for kind, each in found.figures.items():
            chosen = " (chosen)" if kind == found.kind else ""
            lines.append(
                f"{kind:12s}{each['log_loss']:10.4f}{each['brier']:10.4f}{each['auc']:10.4f}"
                f"{each['calibration_error']:20.4f}{chosen}"
            )
        at = precision_of_accepted(self.probability >= self.accept_probability, truth)
        lines.append(
            f"p >= {self.accept_probability:g}: {at.accepted} accepted, precision {at.precision:.4f} "
            f"({at.low:.4f} to {at.high:.4f}), recall {at.recall:.4f}"
        )
        lines.append(f"{'probability':>16s}{'pairs':>8s}{'mean':>8s}{'observed':>10s}{'interval':>18s}")
        for row in self.curve.rows():
            interval = f"{row['observed_low']:.3f} to {row['observed_high']:.3f}"
            lines.append(
                f"{row['low']:8.1f} to {row['high']:.1f}{int(row['count']):8d}{row['probability']:8.3f}"
                f"{row['observed']:10.3f}{interval:>18s}"
            )
        return lines


def calibrate(
    configs: Sequence[ConfigView],
    output: str | os.PathLike[str],
    plot: str | os.PathLike[str] | None = None,
    *,
    decisions: Sequence[str | os.PathLike[str]] = (),
    kind: str = "auto",
    seed: int = 1,
    caution: Tell = lambda _: None,
) -> Calibrated:
    """Scores the pairs of projects, trains on them and writes the calibration.

    Args:
      configs: of projects with ground truth or decisions of people, two or more, in directories of their own.
      output: the JSON file to write.
      plot: the PNG of the reliability to write.
      decisions: files of what people decided (`agglomeration.pair_answers`), each about the supervoxels of
        one of the projects.
      kind: see `agglomeration.training.fit`.
      seed: see `agglomeration.training.fit`.
      caution: called with lines worth knowing.

    Raises:
      ReconstructionError: a project that cannot be scored or has neither ground truth nor decisions,
        projects whose scores mean different things, decisions about none of them, pairs that cannot be
        trained on, or a file that cannot be written.
    """
    for path in (output, plot):
        if path is not None:
            require_writable_file(path)
    answers = {str(path): load_answers(path) for path in decisions}
    # What a calibration makes of the scores does not matter while one is made.
    configs = [_without_calibration(config) for config in configs]
    ready = [prepared(config, caution) for config in configs]
    described = _require_alike(ready)
    parts, unused = [], set(answers)
    for config, name in zip(ready, _names(ready), strict=True):
        part, used = labelled_pairs(config, name, answers, caution)
        parts.append(part)
        unused -= used
    if unused:
        raise AgglomerationError(
            f"decisions '{min(unused)}' are about the supervoxels of none of these projects; give the config "
            "of theirs, or leave them out"
        )
    pairs = LabelledPairs.concatenate(parts)
    trained_on = {**described, "projects": _names(ready)}
    found = fit(pairs.scores, pairs.truth, pairs.groups, seed=seed, kind=kind, trained_on=trained_on)
    probability = cross_validated(pairs.scores, pairs.truth, pairs.groups, kind=found.kind, seed=seed)
    found.save(output)
    if plot is not None:
        title = f"{found.kind}, {pairs.truth.size} pairs, each judged without its volume"
        write_reliability_plot(plot, probability, pairs.truth, title=title)
    return Calibrated(found, pairs, probability, ready[0].agglomeration.accept_probability)


def labelled_pairs(
    config: ConfigView,
    group: str,
    answers: Mapping[str, PairAnswers] | None = None,
    caution: Tell = lambda _: None,
) -> tuple[LabelledPairs, set[str]]:
    """The scored pairs of one project whose truth is known.

    Args:
      config: prepared (`agglomeration.project.prepared`).
      group: what the project is called among others.
      answers: decisions of people, by a name; those about other supervoxels are passed over.
      caution: called with lines worth knowing.

    Returns:
      The pairs, and the names of the decisions that are about this project.

    Raises:
      ReconstructionError: see `calibrate`.
    """
    with only_run_in(Path(config.output_dir)):
        stages = stages_of(config, decide=False)
        with workers_of(config) as pool, progress_of(config, stages) as progress:
            _, tell = aside(progress, lambda _: None, caution)
            segmentation, scores = scored(config, pool, progress, tell)
    mine = {name: each for name, each in (answers or {}).items() if each.supervoxels == segmentation.identity}
    found = [known_truth(config, segmentation).of_pairs(scores.id_a, scores.id_b)]
    found += [each.of_pairs(scores.id_a, scores.id_b) for each in mine.values()]
    known = [each for each in found if each is not None]
    if not known:
        raise AgglomerationError(
            f"project {config.name!r} has no ground truth to calibrate on; name its labels in "
            "evaluation.labels, or give --decisions of people about its supervoxels"
        )
    truth = first_known(known)
    groups = np.full(int(truth.known.sum()), group)
    labelled = LabelledPairs(scores.select(truth.known), truth.same[truth.known], groups, truth.left_out)
    return labelled, set(mine)


def first_known(found: Sequence[PairTruth]) -> PairTruth:
    """What several sources know of the same pairs; where two know of one, the first of them counts.

    Args:
      found: of all sources, at least one.
    """
    same, known = found[0]
    for other in found[1:]:
        same = np.where(known, same, other.same)
        known = known | other.known
    return PairTruth(same, known)


def _names(configs: Sequence[ConfigView]) -> list[str]:
    """What projects are called: their names, or their directories where two have one name."""
    names = [config.name for config in configs]
    return names if len(set(names)) == len(names) else [config.output_dir for config in configs]


def _without_calibration(config: ConfigView) -> ConfigView:
    if config.agglomeration is None:
        return config
    return config.replace(agglomeration=config.agglomeration.replace(calibration=None))


def _require_alike(configs: Sequence[ConfigView]) -> Mapping[str, Any]:
    """What the scores of all projects share.

    Raises:
      AgglomerationError: two have one directory, or scores that mean different things.
    """
    places = [str(Path(config.output_dir).resolve()) for config in configs]
    twice = next((each for n, each in enumerate(places) if each in places[:n]), None)
    if twice is not None:
        raise AgglomerationError(f"two projects have output_dir '{twice}'; give each a directory of its own")
    described = [shared_by_scores(describe_scores(config)) for config in configs]
    for config, each in zip(configs[1:], described[1:], strict=True):
        differs = difference(described[0], each)
        if differs is not None:
            name, first, other = differs
            raise AgglomerationError(
                f"projects {configs[0].name!r} and {config.name!r} have {name} = {first} and {other}, so "
                "that their scores mean different things; give both the same"
            )
    return described[0]
