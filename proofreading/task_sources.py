"""From a finished agglomeration to what people are asked about it.

| kind | from |
| --- | --- |
| `join` | pairs that were left open |
| `refused` | merges that would have joined two cell bodies, with the cheapest cut instead |
| `merger` | merges of low certainty that alone hold a neuron together; flags of whole neurons, with the most doubtful such merge; supervoxels with two cell bodies, or whose skeleton crosses itself |
| `end` | tips of long neurons inside the volume to which no pair leads |

Without a calibration no pair has a probability. A rule of thumb takes its place (`assumed_probability`), which
puts pairs in an order but promises nothing.

Inputs: the decisions of a run, lengths. Outputs: `Candidate`s; nothing is written.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sql

from agglomeration import tables
from agglomeration.database import Database
from agglomeration.decisions import ScoredEdges, concatenated, read_edges
from agglomeration.merge_graph import positions_of
from agglomeration.runs import read_neurons
from agglomeration.tables import State
from configs import ConfigView
from proofreading.bridges import bridge_sides
from proofreading.lengths import Lengths
from proofreading.tasks import Candidate, Point, TaskKind
from proofreading.value import Beyond, learn_beyond

# A pair leads to a tip when its decision point is so near.
_NEAR_TIP_NM = 250.0
# A bridge is looked at from this share of the probability on from which open pairs are.
_DOUBT_SHARE = 0.1
# What flags and crossings are taken to be worth: the probability that the neuron is two.
_FLAG_DOUBT = 0.2
_CROSSING_DOUBT = 0.4
_TWO_BODIES_DOUBT = 0.9
# Of a pair of which the floods say nothing, and of one that both recover wholly.
_LEAST, _MOST = 0.02, 0.9
_ACCEPTED_DOUBT = 0.2
_WANTED = (
    *("iou", "a_from_a", "a_from_b", "b_from_a", "b_from_b", "contact_faces", "distance_nm"),
    *("direction_agreement", "joined_in_passes", "parted_in_passes"),
)
_OF_NEURONS = ("size_outlier", "shape_outlier", "enters_vessel", "leaves_tissue")


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
    """

    edges: ScoredEdges
    probability: np.ndarray
    supervoxels: np.ndarray
    neurons: np.ndarray
    lengths_nm: np.ndarray
    bridges: np.ndarray
    first_nm: np.ndarray
    second_nm: np.ndarray

    def neuron_of(self, supervoxels: np.ndarray) -> np.ndarray:
        """The neurons of supervoxels, (k,) uint64."""
        return self.neurons[positions_of(self.supervoxels, supervoxels)]

    def neuron_lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """Neurons, ascending, and their lengths in nm."""
        found, which = np.unique(self.neurons, return_inverse=True)
        return found, np.bincount(which, weights=self.lengths_nm, minlength=found.size)


def read_decisions(database: Database, run: int, lengths: Lengths) -> Decisions:
    """Reads what a run decided, and finds the merges that alone hold neurons together.

    Args:
      database: the decisions.
      run: its number.
      lengths: of all supervoxels.

    Raises:
      DatabaseError: the database cannot be read.
    """
    states = (State.OPEN, State.ACCEPTED, State.REFUSED)
    edges = concatenated(read_edges(database, run, evidence=_WANTED, states=states))
    supervoxels, neurons = read_neurons(database, run)
    lengths_nm = lengths.of(supervoxels)
    first, second = positions_of(supervoxels, edges.id_a), positions_of(supervoxels, edges.id_b)
    # What a person took back is still stated as accepted, but joins nothing.
    held = np.flatnonzero((edges.state == State.ACCEPTED) & (neurons[first] == neurons[second]))
    is_bridge, first_nm, second_nm = bridge_sides(supervoxels.size, first[held], second[held], lengths_nm)
    return Decisions(
        edges,
        np.where(np.isnan(edges.probability), assumed_probability(edges), edges.probability),
        supervoxels,
        neurons,
        lengths_nm,
        held[is_bridge],
        first_nm[is_bridge],
        second_nm[is_bridge],
    )


def assumed_probability(edges: ScoredEdges) -> np.ndarray:
    """A rule of thumb for pairs of which no probability is known: (n,) float64.

    An accepted one is as doubtful as its certainty is low. Of an open one it rises with the larger share of
    one object that the other's flood recovered, and with how well their directions agree.

    Args:
      edges: with the evidence of the two floods.
    """
    known = {name: np.nan_to_num(edges.evidence[name]) for name in _WANTED if name in edges.evidence}
    zero = np.zeros(len(edges))
    recovered = np.max([known.get(name, zero) for name in ("iou", "a_from_b", "b_from_a")], axis=0)
    straight = np.clip(known.get("direction_agreement", zero), 0, 1)
    open_ones = _LEAST + (_MOST - _LEAST) * (0.9 * recovered + 0.1 * straight**2)
    accepted = 1 - _ACCEPTED_DOUBT * np.clip(1 - edges.certainty, 0, 1) - 1e-3
    is_accepted = (edges.state == State.ACCEPTED) | (edges.state == State.REFUSED)
    return np.where(is_accepted, accepted, np.clip(open_ones, _LEAST, _MOST))


def find_candidates(
    database: Database, run: int, decisions: Decisions, lengths: Lengths, section: ConfigView, beyond: Beyond
) -> list[Candidate]:
    """All that people are asked about a run.

    Args:
      database: the decisions.
      run: its number.
      decisions: of `read_decisions`.
      lengths: of all supervoxels.
      section: the config's `proofreading`.
      beyond: what lies beyond ends.

    Raises:
      DatabaseError: the database cannot be read.
    """
    found = [*joins(decisions, section), *refusals(database, run, decisions)]
    if section.suspected_mergers:
        found += mergers(database, run, decisions, lengths, section)
    if section.loose_ends:
        found += loose_ends(decisions, lengths, section, beyond)
    by_id: dict[int, Candidate] = {}
    for each in found:
        other = by_id.get(each.id)
        if other is None or each.probability > other.probability:
            by_id[each.id] = each
    return [by_id[number] for number in sorted(by_id)]


def joins(decisions: Decisions, section: ConfigView) -> Iterator[Candidate]:
    """Pairs that were left open; those known to be improbable are left out.

    Args:
      decisions: of a run.
      section: the config's `proofreading`.
    """
    edges = decisions.edges
    wanted = (edges.state == State.OPEN) & ~(edges.probability < section.min_probability)
    for row in np.flatnonzero(wanted).tolist():
        yield Candidate(
            TaskKind.JOIN,
            (int(edges.id_a[row]), int(edges.id_b[row])),
            _point(edges.points_nm[row]),
            float(decisions.probability[row]),
            _evidence(edges, row),
        )


def refusals(database: Database, run: int, decisions: Decisions) -> Iterator[Candidate]:
    """Merges that would have joined two cell bodies.

    Args:
      database: the decisions.
      run: its number.
      decisions: of the run.

    Raises:
      DatabaseError: the database cannot be read.
    """
    columns = tables.refusals.c
    with database.reading() as connection:
        rows = connection.execute(
            sql.select(tables.refusals).where(columns.run == run).order_by(columns.id_a, columns.id_b)
        ).all()
        somas = connection.execute(sql.select(tables.somas).where(tables.somas.c.run == run)).all()
    bodies: dict[int, list[tuple[int, Point]]] = {}
    for soma in somas:
        centre = (soma.centre_z_nm, soma.centre_y_nm, soma.centre_x_nm)
        bodies.setdefault(soma.id, []).append((soma.supervoxel, centre))
    at = _rows_by_pair(decisions.edges)
    bridges = {row: k for k, row in enumerate(decisions.bridges.tolist())}
    for row in rows:
        pair = (int(row.id_a), int(row.id_b))
        edge = at[pair]
        evidence = {**_evidence(decisions.edges, edge), "somas": [str(row.soma_a), str(row.soma_b)]}
        probability, part_nm = float(decisions.probability[edge]), 0.0
        cut = None if row.cut_id_a is None else at.get((int(row.cut_id_a), int(row.cut_id_b)))
        if cut is not None:
            other = decisions.probability[cut]
            ours, theirs = probability * (1 - other), other * (1 - probability)
            probability = float(ours / (ours + theirs)) if ours + theirs > 0 else 0.5
            loses = _side_of_cut(decisions, pair, (int(row.cut_id_a), int(row.cut_id_b)))
            soma = row.soma_a if loses == pair[0] else row.soma_b
            kept = [place for place in bodies.get(int(soma), []) if place[0] != 0]
            evidence |= {"cut": [str(row.cut_id_a), str(row.cut_id_b)], "loses": str(loses)}
            evidence["side_a"] = [_placed(loses, decisions.edges.points_nm[edge])]
            evidence["side_b"] = [_placed(*place) for place in kept[:1]]
            if cut in bridges:
                part_nm = _part_nm(decisions, bridges[cut], loses)
        yield Candidate(
            TaskKind.REFUSED, pair, _point(decisions.edges.points_nm[edge]), probability, evidence, part_nm
        )


def mergers(
    database: Database, run: int, decisions: Decisions, lengths: Lengths, section: ConfigView
) -> Iterator[Candidate]:
    """Neurons that may be two cells.

    Args:
      database: the decisions.
      run: its number.
      decisions: of the run.
      lengths: of all supervoxels.
      section: the config's `proofreading`.

    Raises:
      DatabaseError: the database cannot be read.
    """
    edges = decisions.edges
    whole = dict(zip(*(column.tolist() for column in decisions.neuron_lengths()), strict=True))
    owners = decisions.neuron_of(edges.id_a[decisions.bridges]).tolist()
    doubt = 1 - decisions.probability[decisions.bridges]
    best: dict[int, tuple[float, int]] = {}
    for k, row in enumerate(decisions.bridges.tolist()):
        first_nm, second_nm = float(decisions.first_nm[k]), float(decisions.second_nm[k])
        worth = float(doubt[k]) * (first_nm**2 + second_nm**2)
        best[owners[k]] = max(best.get(owners[k], (-1.0, -1)), (worth, k))
        long_enough = whole[owners[k]] >= section.min_length_nm
        if long_enough and doubt[k] >= _DOUBT_SHARE * section.min_probability:
            yield _bridge(edges, row, float(doubt[k]), first_nm)
    for flag in _flags(database, run):
        at = (flag.point_z_nm, flag.point_y_nm, flag.point_x_nm)
        told = {"flag": flag.kind, "detail": flag.detail}
        if flag.kind in _OF_NEURONS and flag.object in best:
            k = best[flag.object][1]
            suspected = max(float(doubt[k]), _FLAG_DOUBT)
            yield _bridge(edges, int(decisions.bridges[k]), suspected, float(decisions.first_nm[k]), told)
        elif flag.kind in _OF_NEURONS:
            part = whole.get(flag.object, 0.0) / 2
            yield Candidate(TaskKind.MERGER, (flag.object, 0), at, _FLAG_DOUBT, told, part)
        elif flag.kind == "two_cell_bodies":
            sides = _bodies_in(database, run, flag.object)
            part = float(lengths.of(np.array([flag.object], np.uint64))[0]) / 2
            yield Candidate(TaskKind.MERGER, (flag.object, 0), at, _TWO_BODIES_DOUBT, {**told, **sides}, part)
    yield from _crossings(decisions, lengths, whole, section.min_length_nm)


def loose_ends(
    decisions: Decisions, lengths: Lengths, section: ConfigView, beyond: Beyond
) -> Iterator[Candidate]:
    """Tips of long neurons to which no pair leads.

    Args:
      decisions: of the run.
      lengths: of all supervoxels, with their tips.
      section: the config's `proofreading`.
      beyond: what lies beyond ends.
    """
    edges = decisions.edges
    led_to: dict[int, list[int]] = {}
    for column in (edges.id_a, edges.id_b):
        for row, supervoxel in enumerate(column.tolist()):
            led_to.setdefault(supervoxel, []).append(row)
    neurons, neuron_nm = decisions.neuron_lengths()
    long_enough = set(neurons[neuron_nm >= section.min_length_nm].tolist())
    likely = decisions.probability >= section.min_probability
    for supervoxel, tip, neuron in zip(
        lengths.tip_of.tolist(), lengths.tips_nm, decisions.neuron_of(lengths.tip_of).tolist(), strict=True
    ):
        rows = np.array(led_to.get(supervoxel, []), np.int64)
        rows = rows[likely[rows]]
        away = np.linalg.norm(edges.points_nm[rows] - tip, axis=1)
        if neuron in long_enough and away.min(initial=np.inf) > _NEAR_TIP_NM:
            yield Candidate(TaskKind.END, (supervoxel, 0), _point(tip), beyond.goes_on)


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


def _bridge(
    edges: ScoredEdges, row: int, doubt: float, first_nm: float, told: Mapping[str, Any] | None = None
) -> Candidate:
    """The task of cutting at a merge."""
    pair = (int(edges.id_a[row]), int(edges.id_b[row]))
    at = edges.points_nm[row]
    sides = {"side_a": [_placed(pair[0], at)], "side_b": [_placed(pair[1], at)]}
    evidence = {**_evidence(edges, row), **(told or {}), **sides}
    return Candidate(TaskKind.MERGER, pair, _point(at), doubt, evidence, first_nm)


def _crossings(
    decisions: Decisions, lengths: Lengths, whole: Mapping[int, float], least_nm: float
) -> Iterator[Candidate]:
    found = lengths.crossings
    owners = decisions.neuron_of(found.crossing_of).tolist()
    for row, supervoxel in enumerate(found.crossing_of.tolist()):
        if whole[owners[row]] < least_nm:
            continue
        arms = found.arms_nm[row]
        evidence = {
            "crossing": round(float(found.straightness[row]), 3),
            "side_a": [_placed(supervoxel, arm) for arm in arms[:2]],
            "side_b": [_placed(supervoxel, arm) for arm in arms[2:]],
        }
        part = float(found.shares[row]) * whole[owners[row]]
        doubt = _CROSSING_DOUBT * float(found.straightness[row])
        yield Candidate(
            TaskKind.MERGER, (supervoxel, 0), _point(found.crossings_nm[row]), doubt, evidence, part
        )


def _flags(database: Database, run: int) -> list[Any]:
    with database.reading() as connection:
        query = sql.select(tables.flags).where(tables.flags.c.run == run)
        return list(connection.execute(query.order_by(tables.flags.c.kind, tables.flags.c.object)).all())


def _bodies_in(database: Database, run: int, supervoxel: int) -> dict[str, Any]:
    """The centres of the first two cell bodies in a supervoxel, as points to cut between."""
    somas = tables.somas.c
    query = sql.select(somas.centre_z_nm, somas.centre_y_nm, somas.centre_x_nm)
    query = query.where(somas.run == run, somas.supervoxel == supervoxel).order_by(somas.id).limit(2)
    with database.reading() as connection:
        centres = [tuple(row) for row in connection.execute(query)]
    sides = zip(("side_a", "side_b"), centres, strict=False)
    return {name: [_placed(supervoxel, centre)] for name, centre in sides} if len(centres) == 2 else {}


def _side_of_cut(decisions: Decisions, pair: tuple[int, int], cut: tuple[int, int]) -> int:
    """Which supervoxel of a refused pair is in the neuron that the cut is in."""
    neurons = decisions.neuron_of(np.array([*pair, cut[0]], np.uint64))
    return pair[0] if neurons[0] == neurons[2] else pair[1]


def _part_nm(decisions: Decisions, bridge: int, supervoxel: int) -> float:
    """The length that a cut parts from a neuron together with a supervoxel."""
    edges, row = decisions.edges, decisions.bridges[bridge]
    rows = np.setdiff1d(decisions.bridges, [row])
    held = np.flatnonzero(edges.state == State.ACCEPTED)
    neuron = decisions.neuron_of(edges.id_a[[row]])[0]
    held = held[decisions.neuron_of(edges.id_a[held]) == neuron]
    held = np.union1d(rows[decisions.neuron_of(edges.id_a[rows]) == neuron], held)
    reached, waiting = {supervoxel}, [supervoxel]
    partners: dict[int, list[int]] = {}
    for k in held[held != row].tolist():
        first, second = int(edges.id_a[k]), int(edges.id_b[k])
        partners.setdefault(first, []).append(second)
        partners.setdefault(second, []).append(first)
    while waiting:
        for other in partners.get(waiting.pop(), []):
            if other not in reached:
                reached.add(other)
                waiting.append(other)
    in_first = int(edges.id_a[row]) in reached
    return float(decisions.first_nm[bridge] if in_first else decisions.second_nm[bridge])


def _rows_by_pair(edges: ScoredEdges) -> dict[tuple[int, int], int]:
    rows = np.flatnonzero(edges.state != State.OPEN).tolist()
    return {(int(edges.id_a[row]), int(edges.id_b[row])): row for row in rows}


def _evidence(edges: ScoredEdges, row: int) -> dict[str, Any]:
    """What is known of a pair, without what is not."""
    found = {"certainty": float(edges.certainty[row])}
    found |= {name: float(column[row]) for name, column in edges.evidence.items()}
    return {name: float(f"{value:.4g}") for name, value in found.items() if np.isfinite(value)}


def _placed(supervoxel: int, point_nm: Any) -> list[Any]:
    return [str(supervoxel), [round(float(value), 1) for value in point_nm]]


def _point(point_nm: np.ndarray) -> Point:
    z, y, x = point_nm.tolist()
    return z, y, x
