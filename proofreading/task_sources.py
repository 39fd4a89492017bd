"""From a finished agglomeration to what people are asked about it.

| kind | from |
| --- | --- |
| `join` | pairs that were left open, and merges that stand against what people said before |
| `refused` | merges that would have joined two cell bodies, with the cheapest cut instead |
| `merger` | doubtful merges that hold a neuron together, and flags (`proofreading.suspects`) |
| `end` | tips of long neurons inside the volume to which no pair leads |

Inputs: the decisions of a run, lengths. Outputs: `Candidate`s; nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from agglomeration.database import Database
from agglomeration.tables import State
from configs import ConfigView
from proofreading.decided import Decisions, evidence_of, point_of
from proofreading.lengths import Lengths
from proofreading.merge_places import REACH_NM
from proofreading.suspects import mergers, refusals
from proofreading.tasks import Candidate, TaskKind
from proofreading.value import Beyond


def find_candidates(
    database: Database,
    run: int,
    decisions: Decisions,
    lengths: Lengths,
    section: ConfigView,
    beyond: Beyond,
) -> list[Candidate]:
    """All that people are asked about a run.

    Args:
      database: the decisions.
      run: its number.
      decisions: of `read_decisions`.
      lengths: of all supervoxels.
      section: the config's `proofreading`.
      beyond: what lies beyond ends.

    Returns:
      One for each number, in ascending order; of several that of the highest probability, with the evidence
      of all of them.

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
        other = by_id.get(each.id, each)
        better, worse = (each, other) if each.probability > other.probability else (other, each)
        by_id[each.id] = replace(better, evidence={**worse.evidence, **better.evidence})
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
        pair, evidence = (int(edges.id_a[row]), int(edges.id_b[row])), evidence_of(edges, row)
        if pair in decisions.left_out:
            evidence["left_out"] = decisions.left_out[pair]
        at, probability = point_of(edges.points_nm[row]), float(decisions.probability[row])
        yield Candidate(TaskKind.JOIN, pair, at, probability, evidence)


def loose_ends(
    decisions: Decisions, lengths: Lengths, section: ConfigView, beyond: Beyond
) -> Iterator[Candidate]:
    """Tips of long neurons to which no pair leads: none whose decision point is within `REACH_NM`.

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
        if neuron in long_enough and away.min(initial=np.inf) > REACH_NM:
            yield Candidate(TaskKind.END, (supervoxel, 0), point_of(tip), beyond.goes_on)
