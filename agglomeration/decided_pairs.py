"""From scored pairs to decisions in the database, and from these to the neuron of every supervoxel.

All that is decided follows from the scores, the supervoxels, the cell bodies and the settings named in
`describe_decisions`. Their digest names the run: a rerun replaces rows by equal ones, and other settings make
another run, which takes the place of the earlier one once it is whole.

Inputs: `Segmentation`, `ScoreTable`. Outputs: `Decided`, and the tables of `agglomeration.tables`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agglomeration.calibration import Calibration, load_calibration
from agglomeration.database import Database, DatabaseError, open_database
from agglomeration.decisions import ScoredEdges, certainty_of, decide, load_merges, write_scored_edges
from agglomeration.flags import Flag, find_flags, write_flags
from agglomeration.merge_graph import components
from agglomeration.merging import MergeCounts, apply_constraint
from agglomeration.neurons import NeuronMap
from agglomeration.runs import (
    finish_run,
    finished_run,
    read_neurons,
    require_same_supervoxels,
    start_run,
    write_supervoxels,
)
from agglomeration.scoring import SCORES, ScoreTable, conservative
from agglomeration.segmentation import Segmentation
from agglomeration.somas import SomaPlaces, find_somas, write_somas
from agglomeration.tables import State
from configs import ConfigView
from inference.identity import array_digest, settings_digest
from jobs.versions import installed_versions

DATABASE = "decisions.sqlite"
_PACKAGES = ("ffn-reconstruction", "numpy", "tensorflow", "keras")


@dataclass(frozen=True)
class Decided:
    """What a run decided.

    Attributes:
      run: its number in the database.
      edges: all pairs, as they are before cell bodies are looked at.
      counts: what became of the merges.
      agglomerated: neurons of all accepted merges.
      constrained: neurons of those that join no two cell bodies.
      refused: (n,) bool, pairs whose merge was refused or had been taken back.
      flags: what a person should look at.
      is_new: the run was not finished before.
    """

    run: int
    edges: ScoredEdges
    counts: MergeCounts
    agglomerated: NeuronMap
    constrained: NeuronMap
    refused: np.ndarray
    flags: list[Flag]
    is_new: bool

    @property
    def accepted(self) -> np.ndarray:
        """(n,) bool, pairs accepted before cell bodies are looked at."""
        chosen: np.ndarray = self.edges.state == State.ACCEPTED
        return chosen


def database_of(config: ConfigView) -> str | Path:
    """Where the decisions of a project are kept: a file, or the URL that it names.

    Args:
      config: of the project.
    """
    return config.database.url or Path(config.output_dir) / DATABASE


def calibration_of(config: ConfigView) -> Calibration | None:
    """The calibration that a project names; None where the rule alone decides.

    Args:
      config: of the project, with `agglomeration`.

    Raises:
      AgglomerationError: it cannot be used.
    """
    name = config.agglomeration.calibration
    return None if name is None else load_calibration(name)


def refuse_other_supervoxels(config: ConfigView, segmentation: Segmentation) -> None:
    """Refuses supervoxels that the decisions of a project are not about, before anything is made of them.

    Args:
      config: of the project, with `agglomeration`.
      segmentation: its supervoxels.

    Raises:
      DatabaseError: the decisions are about others, or cannot be read.
    """
    place = database_of(config)
    if isinstance(place, Path) and not place.exists():
        return
    with open_database(place) as database:
        require_same_supervoxels(database, segmentation.identity)


def decide_pairs(
    config: ConfigView,
    segmentation: Segmentation,
    scores: ScoreTable,
    scored_from: Mapping[str, object],
) -> Decided:
    """Decides about all pairs of a project, writes that, and joins the supervoxels.

    Args:
      config: of the project, with `agglomeration`.
      segmentation: its supervoxels.
      scores: of all candidate pairs, in any order.
      scored_from: plain values that the scores follow from.

    Raises:
      AgglomerationError: a calibration, cell bodies or a database that cannot be used.
    """
    calibration, places = calibration_of(config), somas_of(config, segmentation)
    edges = edges_of(config, scores.sorted(), calibration, segmentation.volume.voxel_size_nm)
    follows = describe_decisions(config, segmentation, calibration, places, scored_from)
    with open_database(database_of(config)) as database:
        run = start_run(database, settings_digest(follows), config.to_text(), installed_versions(_PACKAGES))
        is_new = not _is_finished(database, run)
        if is_new:
            size_nm = segmentation.volume.voxel_size_nm
            write_supervoxels(database, segmentation.table, size_nm, segmentation.identity)
            write_scored_edges(database, run, edges)
            if places is not None:
                write_somas(database, run, places)
        counts = apply_constraint(database, run)
        flags = flags_of(config, segmentation, read_neurons(database, run)[1], places)
        write_flags(database, run, flags)
        if is_new:
            finish_run(database, run)
        return _decided(database, run, segmentation, edges, counts, flags, is_new)


def edges_of(
    config: ConfigView,
    scores: ScoreTable,
    calibration: Calibration | None,
    voxel_size_nm: tuple[float, float, float],
) -> ScoredEdges:
    """What becomes of scored pairs before cell bodies are looked at.

    Args:
      config: of the project, with `agglomeration`.
      scores: of n pairs.
      calibration: makes probabilities; None = the rule alone decides.
      voxel_size_nm: zyx.

    Raises:
      AgglomerationError: scores that the calibration cannot judge.
    """
    section = config.agglomeration
    probability = None if calibration is None else calibration.probability(scores)
    state, accepted_by = decide(
        conservative(scores, section.conservative_rule),
        probability,
        accept_probability=section.accept_probability,
        reject_probability=section.reject_probability,
    )
    return ScoredEdges(
        scores.id_a,
        scores.id_b,
        (scores.points_zyx + 0.5) * np.asarray(voxel_size_nm),
        {name: scores[name] for name in SCORES},
        np.full(len(scores), np.nan) if probability is None else probability,
        certainty_of(scores.columns, probability),
        accepted_by,
        state,
    )


def somas_of(config: ConfigView, segmentation: Segmentation) -> SomaPlaces | None:
    """The cell bodies of a project; None where it names none.

    Args:
      config: of the project.
      segmentation: its supervoxels.

    Raises:
      AgglomerationError: a table or volume that cannot be used.
    """
    section = config.somas
    if section is None or (section.table is None and section.volume is None):
        return None
    return find_somas(section, segmentation.volume, segmentation.table)


def flags_of(
    config: ConfigView, segmentation: Segmentation, neurons: np.ndarray, places: SomaPlaces | None
) -> list[Flag]:
    """What a person should look at.

    Args:
      config: of the project.
      segmentation: its supervoxels.
      neurons: (n,) uint64, of all of them.
      places: cell bodies; None = there are none.

    Raises:
      VolumeError: vessels or tissue that cannot be read.
    """
    return find_flags(config.somas, segmentation.volume, segmentation.table, neurons, places)


def describe_decisions(
    config: ConfigView,
    segmentation: Segmentation,
    calibration: Calibration | None,
    places: SomaPlaces | None,
    scored_from: Mapping[str, object],
) -> dict[str, object]:
    """What all decisions of a run follow from, as plain values.

    Args:
      config: of the project, with `agglomeration`.
      segmentation: its supervoxels.
      calibration: None = the rule alone decides.
      places: cell bodies; None = there are none.
      scored_from: plain values that the scores follow from.
    """
    section = config.agglomeration
    return {
        "scores": dict(scored_from),
        "supervoxels": segmentation.identity,
        "end_points": section.candidates.end_points,
        "rule": section.conservative_rule.to_dict(),
        "calibration": None if calibration is None else settings_digest(calibration.to_dict()),
        "accept_probability": section.accept_probability,
        "reject_probability": section.reject_probability,
        "somas": None if places is None else _digest_of(places),
        "tissue": None if config.somas is None else config.somas.to_text(),
    }


def _decided(
    database: Database,
    run: int,
    segmentation: Segmentation,
    edges: ScoredEdges,
    counts: MergeCounts,
    flags: list[Flag],
    is_new: bool,
) -> Decided:
    ids, merges = segmentation.table.ids, load_merges(database, run, {"id_a": np.uint64, "id_b": np.uint64})
    agglomerated = NeuronMap(ids, components(ids, merges["id_a"], merges["id_b"]))
    constrained = NeuronMap(*read_neurons(database, run))
    apart = constrained.neurons[np.searchsorted(ids, edges.id_a)]
    refused = (edges.state == State.ACCEPTED) & (
        apart != constrained.neurons[np.searchsorted(ids, edges.id_b)]
    )
    return Decided(run, edges, counts, agglomerated, constrained, refused, flags, is_new)


def _is_finished(database: Database, run: int) -> bool:
    try:
        return finished_run(database) == run
    except DatabaseError:
        return False


def _digest_of(places: SomaPlaces) -> str:
    arrays: dict[str, Any] = {
        f"{n} {name}": column
        for n, bodies in enumerate(places.bodies)
        for name, column in vars(bodies).items()
        if isinstance(column, np.ndarray)
    }
    arrays |= {"body": places.body, "supervoxel": places.supervoxel}
    return settings_digest({name: array_digest(column) for name, column in arrays.items()})
