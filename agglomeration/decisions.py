"""What is decided about pairs of supervoxels, and its rows in the decisions database.

Pairs are written in chunks, each in a transaction of its own, and read back in ascending order, a chunk at a
time. IDs are uint64 below 2^63, lengths nm, points z, y, x; NaN is a score or probability that there is none
of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sql
from sqlalchemy.exc import IntegrityError

from agglomeration import tables
from agglomeration.database import Database, DatabaseError
from agglomeration.merge_graph import positions_of
from agglomeration.rows import CHUNK_ROWS, joined, read_arrays, write_in_chunks
from agglomeration.runs import read_supervoxel_ids
from agglomeration.tables import EVIDENCE, POINT_NM, AcceptedBy, State

_SHARES = ("iou", "a_from_a", "a_from_b", "b_from_a", "b_from_b")
_STATES = {state.name.lower(): state for state in State}
_REASONS: dict[str | None, AcceptedBy] = {reason.name.lower(): reason for reason in AcceptedBy if reason}
_REASONS[None] = AcceptedBy.NOTHING


@dataclass(frozen=True)
class ScoredEdges:
    """Pairs with all that is known about them; one row each.

    Attributes:
      id_a, id_b: (n,) uint64, the smaller one first; no pair stands twice.
      points_nm: (n, 3) float64, decision points, z, y, x.
      evidence: (n,) numbers for names of `tables.EVIDENCE`; those left out are NaN in the database.
      probability: (n,) float64; NaN where there is no calibration.
      certainty: (n,) float64, finite; merges are tried from the highest down.
      accepted_by: (n,) int8 of `AcceptedBy`.
      state: (n,) int8 of `State`.
    """

    id_a: np.ndarray
    id_b: np.ndarray
    points_nm: np.ndarray
    evidence: Mapping[str, np.ndarray]
    probability: np.ndarray
    certainty: np.ndarray
    accepted_by: np.ndarray
    state: np.ndarray

    def __len__(self) -> int:
        return len(self.id_a)

    def select(self, chosen: np.ndarray) -> ScoredEdges:
        """The rows that a mask or indices choose, in their order."""
        evidence = {name: column[chosen] for name, column in self.evidence.items()}
        return ScoredEdges(
            self.id_a[chosen],
            self.id_b[chosen],
            self.points_nm[chosen],
            evidence,
            self.probability[chosen],
            self.certainty[chosen],
            self.accepted_by[chosen],
            self.state[chosen],
        )


def decide(
    rule_holds: np.ndarray,
    probability: np.ndarray | None,
    *,
    accept_probability: float = 0.98,
    reject_probability: float = 0.05,
) -> tuple[np.ndarray, np.ndarray]:
    """What becomes of pairs before cell bodies are looked at.

    A pair is accepted when the rule holds or its probability reaches `accept_probability`, else rejected when
    its probability is below `reject_probability`, else open.

    Args:
      rule_holds: (n,) bool, the conservative rule.
      probability: (n,) float64 of being one object; NaN, or None for all, where it is not known.
      accept_probability: from here on a pair is accepted.
      reject_probability: below it a pair is rejected.

    Returns:
      state: (n,) int8 of `State`.
      accepted_by: (n,) int8 of `AcceptedBy`; the rule where both speak for it.
    """
    known = np.full(rule_holds.shape, np.nan) if probability is None else probability
    likely = known >= accept_probability
    state = np.full(rule_holds.shape, State.OPEN, np.int8)
    state[known < reject_probability] = State.REJECTED
    state[rule_holds | likely] = State.ACCEPTED
    accepted_by = np.where(likely, AcceptedBy.PROBABILITY, AcceptedBy.NOTHING)
    return state, np.where(rule_holds, AcceptedBy.RULE, accepted_by).astype(np.int8)


def certainty_of(evidence: Mapping[str, np.ndarray], probability: np.ndarray | None) -> np.ndarray:
    """How certain merges are, to try them in this order.

    Args:
      evidence: (n,) each, at least the overlap and the four shares recovered.
      probability: (n,) float64 of being one object; NaN, or None for all, where it is not known.

    Returns:
      (n,) float64: the probability; where there is none the smallest of overlap and shares, NaN counted as 0.
    """
    lowest = np.min([np.nan_to_num(np.asarray(evidence[name], np.float64)) for name in _SHARES], axis=0)
    return lowest if probability is None else np.where(np.isnan(probability), lowest, probability)


def write_scored_edges(
    database: Database, run: int, edges: ScoredEdges, *, chunk_rows: int = CHUNK_ROWS
) -> None:
    """Writes pairs of a run; those that are there already are replaced. In ascending order it is fastest.

    Args:
      database: the decisions.
      run: its number.
      edges: all or some of them.
      chunk_rows: rows in one transaction.

    Raises:
      DatabaseError: a supervoxel that is not in the database, a smaller ID that does not come first, scores
        without a column, or a database that cannot be written.
    """
    unknown = sorted(set(edges.evidence) - set(EVIDENCE))
    if unknown:
        raise DatabaseError(
            f"score '{unknown[0]}' has no column in the table of edges; see agglomeration.tables"
        )
    z, y, x = np.asarray(edges.points_nm, np.float64).T
    columns: dict[str, Any] = {
        "run": np.full(len(edges), run),
        "id_a": edges.id_a,
        "id_b": edges.id_b,
        **dict(zip(POINT_NM, (z, y, x), strict=True)),
        "probability": edges.probability,
        "certainty": edges.certainty,
        "accepted_by": _names(edges.accepted_by, {code: name for name, code in _REASONS.items()}),
        "state": _names(edges.state, {code: name for name, code in _STATES.items()}),
        **edges.evidence,
    }
    try:
        write_in_chunks(database, tables.edges, columns, chunk_rows)
    except DatabaseError as error:
        if isinstance(error.__cause__, IntegrityError):
            _require_known(database, edges.id_a, edges.id_b)
        raise


def read_edges(
    database: Database,
    run: int,
    *,
    evidence: Iterable[str] = EVIDENCE,
    states: Iterable[State] = tuple(State),
    chunk_rows: int = CHUNK_ROWS,
) -> Iterator[ScoredEdges]:
    """The pairs of a run in ascending order of (id_a, id_b), a chunk at a time.

    Args:
      database: the decisions.
      run: its number.
      evidence: names of the scores that are wanted.
      states: only pairs in one of them.
      chunk_rows: rows of a chunk.

    Raises:
      DatabaseError: the database cannot be read.
    """
    wanted = tables.edges.c.state.in_([state.name.lower() for state in states])
    return edges_where(database, run, wanted, evidence=evidence, chunk_rows=chunk_rows)


def edges_where(
    database: Database,
    run: int,
    *conditions: sql.ColumnElement[bool],
    evidence: Iterable[str] = EVIDENCE,
    chunk_rows: int = CHUNK_ROWS,
) -> Iterator[ScoredEdges]:
    """The pairs of a run for which conditions hold, ascending by (id_a, id_b), a chunk at a time.

    Args:
      database: the decisions.
      run: its number.
      *conditions: on the columns of `tables.edges`.
      evidence: names of the scores that are wanted.
      chunk_rows: rows of a chunk.

    Raises:
      DatabaseError: the database cannot be read.
    """
    names = [name for name in EVIDENCE if name in set(evidence)]
    dtypes: dict[str, Any] = {"id_a": np.uint64, "id_b": np.uint64}
    dtypes |= dict.fromkeys([*POINT_NM, "probability", "certainty"], np.float64)
    dtypes |= {"accepted_by": object, "state": object, **dict.fromkeys(names, np.float64)}
    columns = tables.edges.c
    query = sql.select(*(columns[name] for name in dtypes)).where(columns.run == run, *conditions)
    query = query.order_by(columns.id_a, columns.id_b)
    for chunk in read_arrays(database, query, dtypes, chunk_rows=chunk_rows):
        yield ScoredEdges(
            chunk["id_a"],
            chunk["id_b"],
            np.stack([chunk[name] for name in POINT_NM], axis=1),
            {name: chunk[name] for name in names},
            chunk["probability"],
            chunk["certainty"],
            np.array([_REASONS[name] for name in chunk["accepted_by"]], np.int8),
            np.array([_STATES[name] for name in chunk["state"]], np.int8),
        )


def concatenated(parts: Iterable[ScoredEdges]) -> ScoredEdges:
    """The rows of several tables with the same scores; no parts make a table of no rows and no scores."""
    found = list(parts)
    if not found:
        none = np.zeros(0)
        ids, codes = none.astype(np.uint64), none.astype(np.int8)
        return ScoredEdges(ids, ids, np.zeros((0, 3)), {}, none, none, codes, codes)

    def joined_up(columns: Iterable[np.ndarray]) -> np.ndarray:
        return np.concatenate(list(columns))

    return ScoredEdges(
        joined_up(part.id_a for part in found),
        joined_up(part.id_b for part in found),
        joined_up(part.points_nm for part in found),
        {name: joined_up(part.evidence[name] for part in found) for name in found[0].evidence},
        joined_up(part.probability for part in found),
        joined_up(part.certainty for part in found),
        joined_up(part.accepted_by for part in found),
        joined_up(part.state for part in found),
    )


def load_merges(database: Database, run: int, columns: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The merges of a run to be tried: pairs accepted before cell bodies were looked at, but those undone.

    Args:
      database: the decisions.
      run: its number.
      columns: names of the table's columns and their dtypes.

    Returns:
      (n,) each, in ascending order of (id_a, id_b).
    """
    edges, undone = tables.edges.c, tables.undone.c
    taken_back = sql.exists().where(undone.id_a == edges.id_a, undone.id_b == edges.id_b)
    query = sql.select(*(edges[name] for name in columns)).order_by(edges.id_a, edges.id_b)
    query = query.where(edges.run == run, edges.accepted_by.is_not(None), ~taken_back)
    return joined(read_arrays(database, query, columns), columns)


def _names(codes: np.ndarray, names: Mapping[Any, str | None]) -> list[str | None]:
    by_code = [names[code] for code in sorted(names)]
    return [by_code[code] for code in codes.tolist()]


def _require_known(database: Database, *columns: np.ndarray) -> None:
    """Names a supervoxel that the database does not have, which its own refusal does not."""
    known = read_supervoxel_ids(database)
    for ids in columns:
        positions_of(known, ids)
