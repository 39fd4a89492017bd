"""What edits say of pairs of supervoxels: joined or parted; the last mark of a pair counts.

Supervoxels are positions (`proofreading.base_graph`), pairs have the smaller one first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

import numpy as np

from proofreading.edits import Pair

# What is said of each pair: joined with a certainty, or parted (None).
Sayings: TypeAlias = dict[Pair, float | None]


class Marks:
    """All marks there are, found by supervoxel."""

    def __init__(self) -> None:
        self._of: dict[int, dict[int, list[tuple[int, float | None]]]] = {}

    def put(self, edit: int, sayings: Mapping[Pair, float | None]) -> None:
        """Adds the marks of an edit, the last one of all that touch these supervoxels.

        Args:
          edit: its number.
          sayings: by pair.
        """
        for (a, b), certainty in sayings.items():
            for one, other in ((a, b), (b, a)):
                self._of.setdefault(one, {}).setdefault(other, []).append((edit, certainty))

    def take(self, edit: int, pairs: Iterable[Pair]) -> None:
        """Takes the marks of an edit away, the last one of all that touch these supervoxels.

        Args:
          edit: its number.
          pairs: that it marked.
        """
        for a, b in pairs:
            for one, other in ((a, b), (b, a)):
                left = self._of[one][other]
                number, _ = left.pop()
                assert number == edit
                if not left:
                    del self._of[one][other]
                if not self._of[one]:
                    del self._of[one]

    def of(self, supervoxel: int) -> dict[int, float | None]:
        """What is said of the pairs of one supervoxel, by the other one."""
        return {other: marks[-1][1] for other, marks in self._of.get(supervoxel, {}).items()}

    def among(self, members: np.ndarray) -> Sayings:
        """What is said of pairs of some supervoxels, (k,) int64."""
        return dict(self._among(members))

    def _among(self, members: np.ndarray) -> Iterator[tuple[Pair, float | None]]:
        ends: Iterable[int] = members.tolist()
        inside = set(ends)
        if len(self._of) < members.size:
            ends = [end for end in self._of if end in inside]
        for one in ends:
            for other, marks in self._of.get(one, {}).items():
                if one < other and other in inside:
                    yield (one, other), marks[-1][1]
