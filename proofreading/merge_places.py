"""Where people joined supervoxels, to be asked what was joined near a point."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from proofreading.edits import Merge, Point

# Edge of the cubes that merges are looked up by; asking reaches as far.
REACH_NM = 250.0


class MergePlaces:
    """The merges of the log by where they were made; those without a point are nowhere."""

    def __init__(self) -> None:
        self._cubes: dict[tuple[int, ...], list[tuple[int, Point, Merge]]] = {}

    def add(self, edit: int, merge: Merge) -> None:
        """Notes a merge.

        Args:
          edit: its number.
          merge: what it joined.
        """
        for point in {merge.point_a_nm, merge.point_b_nm} - {None}:
            self._cubes.setdefault(_cube(point), []).append((edit, point, merge))  # type: ignore[arg-type]

    def near(self, point_nm: Point) -> Iterator[tuple[int, Merge]]:
        """Merges within `REACH_NM` of a point, and their numbers; be they undone or not.

        Args:
          point_nm: zyx.
        """
        z, y, x = _cube(point_nm)
        for cube in product(*(range(at - 1, at + 2) for at in (z, y, x))):
            for edit, place, merge in self._cubes.get(cube, ()):
                if np.linalg.norm(np.subtract(place, point_nm)) <= REACH_NM:
                    yield edit, merge


def _cube(point_nm: Point) -> tuple[int, ...]:
    return tuple(int(value // REACH_NM) for value in point_nm)
