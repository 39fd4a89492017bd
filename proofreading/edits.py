"""The log of edits: what people did, in order, never changed.

A row of the log says what somebody did (`Change`), who, when and why. Everything else follows from the rows:
a merge adds an edge between two supervoxels, a split removes edges, a split of a supervoxel puts two new ones
in its place, and an undo or redo names an earlier row. Numbers of rows ascend from 1 without gaps.

IDs are whole numbers below 2^63, text in the JSON of a row; points are nm, z, y, x.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

Point = tuple[float, float, float]
# A supervoxel and a point of it.
Placed = tuple[int, Point]


class Kind(str, Enum):
    """What a row of the log does; the database holds the value."""

    MERGE = "merge"
    SPLIT = "split"
    SUPERVOXEL_SPLIT = "supervoxel_split"
    UNDO = "undo"
    REDO = "redo"


@dataclass(frozen=True)
class Edit:
    """A row of the log, and what it did.

    Attributes:
      id: its number, from 1.
      at: when, UTC, ISO 8601.
      person: who.
      kind: what.
      supervoxels: those it names: the two of a merge, the points' of a split.
      neurons_before: those it changed, as they were called before; ascending.
      neurons_after: what became of them; ascending.
      reason: why, in the person's words; may be empty.
      forced: it was done although it gave a neuron two cell bodies.
      undone_by: the row that undid it, as long as it is undone.
      client_key: under which it was sent.
      task: that it answered.
      target: the edit that an undo or redo is about.
    """

    id: int
    at: str
    person: str
    kind: Kind
    supervoxels: tuple[int, ...]
    neurons_before: tuple[int, ...]
    neurons_after: tuple[int, ...]
    reason: str
    forced: bool
    client_key: str
    undone_by: int | None = None
    task: int | None = None
    target: int | None = None
