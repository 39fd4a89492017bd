"""Tasks of what may be joined wrongly: refused merges and the cuts instead of them, and suspected mergers.

A merge that alone holds a neuron together is suspected when it is doubtful, and so are several that do so
together (`proofreading.weak_cuts`). A flag of a whole neuron makes
its most doubtful such merge more so. Supervoxels with two cell bodies, or whose skeleton crosses itself, are
suspected themselves.

Inputs: the decisions of a run. Outputs: `Candidate`s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import sqlalchemy as sql

from agglomeration import tables
from agglomeration.database import Database
from agglomeration.decisions import ScoredEdges
from agglomeration.tables import State
from configs import ConfigView
from proofreading.decided import Decisions, evidence_of, placed, point_of
from proofreading.lengths import Lengths
from proofreading.tasks import Candidate, Point, TaskKind
from proofreading.value import refusal_probability
from proofreading.weak_cuts import weak_cuts

# A bridge is looked at from this share of the probability on from which open pairs are.
_DOUBT_SHARE = 0.1
# Several merges together are looked at from this probability on, however low that of open pairs is.
_LEAST_DOUBT = 1e-3
# What flags and crossings are taken to be worth: the probability that the neuron is two.
_FLAG_DOUBT = 0.2
_CROSSING_DOUBT = 0.4
_TWO_BODIES_DOUBT = 0.9
_OF_NEURONS = ("size_outlier", "shape_outlier", "enters_vessel", "leaves_tissue")


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
        evidence = {**evidence_of(decisions.edges, edge), "somas": [str(row.soma_a), str(row.soma_b)]}
        probability, part_nm = float(decisions.probability[edge]), 0.0
        cut = None if row.cut_id_a is None else at.get((int(row.cut_id_a), int(row.cut_id_b)))
        if cut is not None:
            probability = refusal_probability(probability, float(decisions.probability[cut]))
            loses = _side_of_cut(decisions, pair, (int(row.cut_id_a), int(row.cut_id_b)))
            soma = row.soma_a if loses == pair[0] else row.soma_b
            kept = [place for place in bodies.get(int(soma), []) if place[0] != 0]
            evidence |= {"cut": [str(row.cut_id_a), str(row.cut_id_b)], "loses": str(loses)}
            evidence["side_a"] = [placed(loses, decisions.edges.points_nm[edge])]
            evidence["side_b"] = [placed(*place) for place in kept[:1]]
            if cut in bridges:
                part_nm = _part_nm(decisions, bridges[cut], loses)
        yield Candidate(
            TaskKind.REFUSED, pair, point_of(decisions.edges.points_nm[edge]), probability, evidence, part_nm
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
    yield from _weak(decisions, whole, section)
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


def _weak(decisions: Decisions, whole: Mapping[int, float], section: ConfigView) -> Iterator[Candidate]:
    """Several doubtful merges that hold a long neuron together, as one task at the most doubtful of them."""
    edges, ids = decisions.edges, decisions.supervoxels
    owners = decisions.neuron_of(edges.id_a)
    long_enough = np.array([name for name, nm in whole.items() if nm >= section.min_length_nm], np.uint64)
    held = decisions.held[np.isin(owners[decisions.held], long_enough)]
    first, second = np.searchsorted(ids, edges.id_a[held]), np.searchsorted(ids, edges.id_b[held])
    doubt, least = 1 - decisions.probability[held], _DOUBT_SHARE * section.min_probability
    for cut in weak_cuts(ids.size, first, second, doubt, decisions.lengths_nm, max(least, _LEAST_DOUBT)):
        rows = held[cut.merges].tolist()
        ends = [
            (int(edges.id_a[row]), int(edges.id_b[row]))
            if is_first
            else (int(edges.id_b[row]), int(edges.id_a[row]))
            for row, is_first in zip(rows, cut.is_first.tolist(), strict=True)
        ]
        points = [edges.points_nm[row] for row in rows]
        sides = {
            name: [placed(pair[side], point) for pair, point in zip(ends, points, strict=True)]
            for side, name in enumerate(("side_a", "side_b"))
        }
        told = {**evidence_of(edges, rows[0]), "merges": len(rows), **sides}
        at, pair = point_of(edges.points_nm[rows[0]]), ends[0]
        yield Candidate(TaskKind.MERGER, pair, at, cut.doubt, told, cut.first_nm)


def _bridge(
    edges: ScoredEdges, row: int, doubt: float, first_nm: float, told: Mapping[str, Any] | None = None
) -> Candidate:
    """The task of cutting at a merge."""
    pair = (int(edges.id_a[row]), int(edges.id_b[row]))
    at = edges.points_nm[row]
    sides = {"side_a": [placed(pair[0], at)], "side_b": [placed(pair[1], at)]}
    evidence = {**evidence_of(edges, row), **(told or {}), **sides}
    return Candidate(TaskKind.MERGER, pair, point_of(at), doubt, evidence, first_nm)


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
            "side_a": [placed(supervoxel, arm) for arm in arms[:2]],
            "side_b": [placed(supervoxel, arm) for arm in arms[2:]],
        }
        part = float(found.shares[row]) * whole[owners[row]]
        doubt = _CROSSING_DOUBT * float(found.straightness[row])
        yield Candidate(
            TaskKind.MERGER, (supervoxel, 0), point_of(found.crossings_nm[row]), doubt, evidence, part
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
    return {name: [placed(supervoxel, centre)] for name, centre in sides} if len(centres) == 2 else {}


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
