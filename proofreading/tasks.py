"""What a person is asked: kinds of tasks, the answers there are, and the numbers tasks keep.

| kind | asks | accept does |
| --- | --- | --- |
| `join` | are these two supervoxels one cell? the agglomeration left it open | joins them |
| `refused` | the same of a merge that would have joined two cell bodies | cuts between, then joins |
| `merger` | is this neuron two cells, and do they meet here? | cuts at the proposed place |
| `end` | does this tip go on? | joins it with the supervoxel that is named |

A task is numbered after its kind and what it is about, not after when it was found: another agglomeration of
the same supervoxels finds it again under the same number, with the answers that people gave.

IDs are whole numbers from 1 below 2^63; points are nm (zyx).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import Any

Point = tuple[float, float, float]
_ID_BITS = 62


class TaskKind(str, Enum):
    """What a task asks."""

    JOIN = "join"
    REFUSED = "refused"
    MERGER = "merger"
    END = "end"


class Verdict(str, Enum):
    """What a person answers."""

    ACCEPT = "accept"
    REJECT = "reject"
    UNKNOWN = "unknown"
    SKIP = "skip"


class TaskState(str, Enum):
    """What has become of a task.

    OPEN waits for a person, LEASED is with one, ANSWERED waits for another's agreement, SETTLED is decided,
    STALE has no question left since its neurons changed (it opens again if they change back), and RETIRED is
    not found any more in the agglomeration that counts.
    """

    OPEN = "open"
    LEASED = "leased"
    ANSWERED = "answered"
    SETTLED = "settled"
    STALE = "stale"
    RETIRED = "retired"


@dataclass(frozen=True)
class Candidate:
    """Something to ask, as the agglomeration shows it.

    Attributes:
      kind: what is asked.
      supervoxels: the two it is about, the smaller ID first for pairs; the second is 0 where there is one.
      point_nm: where to look.
      probability: that accepting is right.
      evidence: what speaks for it, plain JSON values; IDs in it are text. `side_a` and `side_b` (lists of
        [supervoxel, [z, y, x] in nm]) are the points to cut between.
      part_nm: length of the first of the two parts that a cut makes, or of the part that changes its neuron
        where a refused merge is accepted; 0 for other tasks.
    """

    kind: TaskKind
    supervoxels: tuple[int, int]
    point_nm: Point
    probability: float
    evidence: Mapping[str, Any] = field(default_factory=dict)
    part_nm: float = 0.0

    @cached_property
    def id(self) -> int:
        """The number of its task."""
        return task_id(self.kind, self.supervoxels, self.point_nm)


@dataclass(frozen=True)
class Task:
    """A task as it is shown.

    Attributes:
      id: its number, from 1, below 2^62.
      kind, supervoxels, point_nm, probability, evidence: see `Candidate`.
      neurons: those of its supervoxels now; the second is 0 where there is none.
      versions: of these neurons; an answer names them, and counts only if they are still the same.
      value: expected gain of run length, nm.
      seconds: that an answer is expected to take.
      state: what has become of it.
      comments: how many there are.
    """

    id: int
    kind: TaskKind
    supervoxels: tuple[int, int]
    point_nm: Point
    probability: float
    evidence: Mapping[str, Any]
    neurons: tuple[int, int]
    versions: Mapping[int, int]
    value: float
    seconds: float
    state: TaskState
    comments: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; IDs are text, since a browser's numbers are exact only to 2^53."""
        return {
            "id": str(self.id),
            "kind": self.kind.value,
            "supervoxels": [str(each) for each in self.supervoxels],
            "point_nm": list(self.point_nm),
            "probability": self.probability,
            "evidence": dict(self.evidence),
            "neurons": [str(each) for each in self.neurons],
            "versions": {str(neuron): version for neuron, version in self.versions.items()},
            "value_nm": self.value,
            "seconds": self.seconds,
            "state": self.state.value,
            "comments": self.comments,
        }


def task_id(kind: TaskKind, supervoxels: tuple[int, int], point_nm: Sequence[float]) -> int:
    """The number of a task, from 1, below 2^62; with a million tasks two share one in 1 case of 10^7.

    Args:
      kind: what is asked.
      supervoxels: the two it is about.
      point_nm: where; it counts only where the second supervoxel is 0, of which one may have several tasks.
    """
    words = [kind.value, *map(str, supervoxels)]
    if supervoxels[1] == 0:
        words += [f"{value:.0f}" for value in point_nm]
    digest = hashlib.blake2b(" ".join(words).encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> (64 - _ID_BITS)) or 1
