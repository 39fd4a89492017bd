"""What a run of the agglomeration decided, read for people to be asked about it.

Without a calibration no pair has a probability. A rule of thumb takes its place (`assumed_probability`): it
puts pairs in an order but promises nothing.

Inputs: the decisions database, lengths of supervoxels. Outputs: `Decisions`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from agglomeration.database import Database
from agglomeration.decisions import ScoredEdges, concatenated, read_edges
from agglomeration.merge_graph import positions_of
from agglomeration.runs import read_neurons
from agglomeration.tables import State
from proofreading.bases import neurons_with, rows_of
from proofreading.bridges import bridge_sides
from proofreading.edits import Pair
from proofreading.lengths import Lengths
from proofreading.respecting import BaseChange
from proofreading.tasks import Point
from proofreading.value import Beyond, learn_beyond

# Log odds of a pair of which nothing is known; what is added where one flood recovers all of the other
# object, where all passes join the two, and where they go on in one direction; what is taken away by a
# contact e times as large, and by e times as many pairs of the object that has fewer. A logistic regression
# on the 7,206 pairs of four phantoms (seeds 6001 to 6003 and 7001) whose answer is known.
_BASE, _RECOVERED, _JOINED, _STRAIGHT, _CONTACT, _PAIRS = -1.4, 5.7, 12.7, 5.1, 0.68, 0.45
# Of an accepted pair of certainty 0.
_ACCEPTED_DOUBT = 0.2
# A merge that stands against what people said: at most so probable, since one of several is wrong.
_LEFT_OUT = 0.5
_WANTED = (
    *("iou", "a_from_a", "a_from_b", "b_from_a", "b_from_b", "contact_faces", "distance_nm"),
    *("direction_agreement", "joined_in_passes", "parted_in_passes"),
)


@dataclass(frozen=True, eq=False)
class Decisions:
    """What a run of the agglomeration decided, as far as tasks need it.

    Attributes:
      edges: open, accepted and refused pairs, ascending.
      probability: (m,) float64 of each pair, assumed where there is none.
      supervoxels: (n,) uint64, ascending.
      neurons: (n,) uint64.
      lengths_nm: (n,) float64.
      bridges: (k,) int64, rows of `edges` that alone hold a neuron together.
      first_nm, second_nm: (k,) float64, lengths on the sides of `id_a` and `id_b` of these.
      left_out: merges that stand against what people said, and are open therefore, with what they said.
      held: (h,) int64, rows of `edges` that join supervoxels.
    """

    edges: ScoredEdges
    probability: np.ndarray
    supervoxels: np.ndarray
    neurons: np.ndarray
    lengths_nm: np.ndarray
    bridges: np.ndarray
    first_nm: np.ndarray
    second_nm: np.ndarray
    left_out: Mapping[Pair, str] = field(default_factory=dict)
    held: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def neuron_of(self, supervoxels: np.ndarray) -> np.ndarray:
        """The neurons of supervoxels, (k,) uint64."""
        return self.neurons[positions_of(self.supervoxels, supervoxels)]

    def neuron_lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """Neurons, ascending, and their lengths in nm."""
        found, which = np.unique(self.neurons, return_inverse=True)
        return found, np.bincount(which, weights=self.lengths_nm, minlength=found.size)


def read_decisions(
    database: Database, run: int, lengths: Lengths, changes: Sequence[BaseChange] = ()
) -> Decisions:
    """Reads what a run decided, and finds the merges that alone hold neurons together.

    Args:
      database: the decisions.
      run: its number.
      lengths: of all supervoxels.
      changes: merges that people's answers left out or put in (`proofreading.bases`).

    Raises:
      DatabaseError: the database cannot be read.
    """
    states = (State.OPEN, State.ACCEPTED, State.REFUSED)
    edges = concatenated(read_edges(database, run, evidence=_WANTED, states=states))
    supervoxels, neurons = read_neurons(database, run)
    lengths_nm = lengths.of(supervoxels)
    probability = np.where(np.isnan(edges.probability), assumed_probability(edges), edges.probability)
    first, second = positions_of(supervoxels, edges.id_a), positions_of(supervoxels, edges.id_b)
    # What a person took back is still stated as accepted, but joins nothing.
    is_held = (edges.state == State.ACCEPTED) & (neurons[first] == neurons[second])
    if changes:
        gone = rows_of(edges.id_a, edges.id_b, [each for each in changes if not each.joined])
        edges = replace(edges, state=np.where(gone, State.OPEN, edges.state).astype(edges.state.dtype))
        probability = np.where(gone, np.minimum(probability, _LEFT_OUT), probability)
        is_held &= ~gone
        neurons = neurons_with(supervoxels, edges.id_a[is_held], edges.id_b[is_held], changes)
    held = np.flatnonzero(is_held)
    is_bridge, first_nm, second_nm = bridge_sides(supervoxels.size, first[held], second[held], lengths_nm)
    return Decisions(
        edges,
        probability,
        supervoxels,
        neurons,
        lengths_nm,
        held[is_bridge],
        first_nm[is_bridge],
        second_nm[is_bridge],
        {each.pair: each.because for each in changes if not each.joined},
        held,
    )


def assumed_probability(edges: ScoredEdges) -> np.ndarray:
    """A rule of thumb for pairs of which no probability is known: (n,) float64.

    An accepted one is as doubtful as its certainty is low. Of an open one the odds rise with the larger share
    of one object that the other's flood recovered, with the share of passes that join the two, and with how
    well their directions agree. They fall with the contact, which is large between neighbours that run side
    by side, and with the number of pairs: an object goes on in one or two of its neighbours, however many it
    has.

    Args:
      edges: with the evidence of the two floods.
    """
    known = {name: np.nan_to_num(edges.evidence[name]) for name in _WANTED if name in edges.evidence}
    zero = np.zeros(len(edges))
    recovered = np.max([known.get(name, zero) for name in ("iou", "a_from_b", "b_from_a")], axis=0)
    straight = np.clip(known.get("direction_agreement", zero), 0, 1)
    joined = known.get("joined_in_passes", zero)
    faces = np.log(np.maximum(known.get("contact_faces", zero), 1))
    log_odds = _BASE + _RECOVERED * recovered + _JOINED * joined + _STRAIGHT * straight**2
    log_odds -= _CONTACT * faces + _PAIRS * np.log(fewest_pairs(edges))
    accepted = 1 - _ACCEPTED_DOUBT * np.clip(1 - edges.certainty, 0, 1) - 1e-3
    is_accepted = (edges.state == State.ACCEPTED) | (edges.state == State.REFUSED)
    return np.where(is_accepted, accepted, 1 / (1 + np.exp(-log_odds)))


def fewest_pairs(edges: ScoredEdges) -> np.ndarray:
    """How many pairs that of the two supervoxels has which has fewer, (n,) int64 for each pair.

    Args:
      edges: all pairs.
    """
    ids, counts = np.unique(np.concatenate([edges.id_a, edges.id_b]), return_counts=True)
    first, second = (counts[np.searchsorted(ids, column)] for column in (edges.id_a, edges.id_b))
    fewest: np.ndarray = np.minimum(first, second)
    return fewest


def learnt_beyond(decisions: Decisions, went_on: int = 0, ended: int = 0) -> Beyond:
    """What lies beyond ends, from the merges that alone hold neurons together, seen from both their sides.

    Args:
      decisions: of a run.
      went_on, ended: answers of people about loose ends.
    """
    here = np.concatenate([decisions.first_nm, decisions.second_nm])
    there = np.concatenate([decisions.second_nm, decisions.first_nm])
    mean = float(decisions.lengths_nm.mean()) if decisions.lengths_nm.size else 0.0
    return learn_beyond(here, there, mean, went_on, ended)


def evidence_of(edges: ScoredEdges, row: int) -> dict[str, Any]:
    """What is known of a pair, without what is not.

    Args:
      edges: of a run.
      row: of the pair.
    """
    found = {"certainty": float(edges.certainty[row])}
    found |= {name: float(column[row]) for name, column in edges.evidence.items()}
    return {name: float(f"{value:.4g}") for name, value in found.items() if np.isfinite(value)}


def placed(supervoxel: int, point_nm: Any) -> list[Any]:
    """A supervoxel and a point of it, as JSON values.

    Args:
      supervoxel: its ID.
      point_nm: z, y, x.
    """
    return [str(supervoxel), [round(float(value), 1) for value in point_nm]]


def point_of(point_nm: np.ndarray) -> Point:
    """A point as plain numbers.

    Args:
      point_nm: (3,) z, y, x.
    """
    z, y, x = point_nm.tolist()
    return z, y, x
