"""Numbers in the order of a rank, which may change: a heap whose outdated places are passed over.

To put and to discard cost the logarithm of how many there are; the first k are found in k logarithms of k.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

# So many outdated places are kept besides as many as there are numbers.
_ROOM = 64


class Ranked:
    """Numbers, each with a rank; the highest comes first, equal ones by number."""

    def __init__(self) -> None:
        self._ranks: dict[int, float] = {}
        self._heap: list[tuple[float, int]] = []

    def put(self, number: int, rank: float) -> None:
        """Gives a number a rank, in the place of the one that it had."""
        if self._ranks.get(number) == rank:
            return
        self._ranks[number] = rank
        heapq.heappush(self._heap, (-rank, number))
        if len(self._heap) > 2 * len(self._ranks) + _ROOM:
            self._heap = [(-kept, each) for each, kept in self._ranks.items()]
            heapq.heapify(self._heap)

    def discard(self, number: int) -> None:
        """Leaves a number out; one that is not there stays away."""
        self._ranks.pop(number, None)

    def first(self) -> tuple[float, int] | None:
        """The highest rank and its number; None where there is none."""
        while self._heap:
            rank, number = self._heap[0]
            if self._ranks.get(number) == -rank:
                return -rank, number
            heapq.heappop(self._heap)
        return None

    def __iter__(self) -> Iterator[int]:
        """The numbers in their order; nothing may be put or discarded meanwhile."""
        frontier = [(self._heap[0], 0)] if self._heap else []
        seen = set[int]()
        while frontier:
            (rank, number), place = heapq.heappop(frontier)
            if self._ranks.get(number) == -rank and number not in seen:
                seen.add(number)
                yield number
            for below in (2 * place + 1, 2 * place + 2):
                if below < len(self._heap):
                    heapq.heappush(frontier, (self._heap[below], below))
