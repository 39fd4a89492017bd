"""What a change of grey values has to know of whole sections, or of a whole volume, and where it is kept.

Statistics are rows of figures: one for each section, or one for the volume. They are made by reading in
blocks, when they are first needed. With a store they can be made ahead, once for all processes; what is not
in the store is made all the same, so that a volume reads alike with one and without.

Statistics of sections are made slab by slab (the sections that are stored together) and lie in the store in
groups of slabs, so that a reader holds no more than it needs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

import numpy as np

from volumes.base import Volume
from volumes.box import Box, Zyx
from volumes.preprocessing import count_levels

MOST_VOXELS = 2**26
# Sections stored in one chunk are read together; nobody chunks deeper, so more is a file without chunks.
_MOST_SECTIONS = 128
_GROUP_SECTIONS = 64
_MOST_BYTES_HELD = 2**28


class StatisticsStore(Protocol):
    """Where statistics of one volume, changed in one way, are kept; small, and can be pickled."""

    def load(self, name: str) -> Mapping[str, np.ndarray] | None:
        """The arrays kept under a name; None where there are none, or none that can be read."""

    def save(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keeps arrays under a name, in place of any that are there."""


class StatisticsPart(NamedTuple):
    """Statistics that are not in the store.

    Attributes:
        voxels: that are read for them.
        make: makes and stores them.
    """

    voxels: int
    make: Callable[[], None]


class _Kept:
    """Statistics and their lock; threads wait for each other, and a pickled one takes what it holds along."""

    def __init__(self, source: Volume, name: str, store: StatisticsStore | None) -> None:
        self._source, self._name, self._store = source, name, store
        self._lock = threading.Lock()

    def _load(self, name: str) -> Mapping[str, np.ndarray] | None:
        return None if self._store is None else self._store.load(name)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())


class VolumeStatistics(_Kept):
    """One row of figures for a whole volume.

    Args:
        source: the volume.
        name: of the statistics in the store.
        make: makes the row, (figures,).
        store: None = they are kept by this process alone.
    """

    def __init__(
        self, source: Volume, name: str, make: Callable[[], np.ndarray], store: StatisticsStore | None
    ) -> None:
        super().__init__(source, name, store)
        self._make = make
        self._row: np.ndarray | None = None

    def row(self) -> np.ndarray:
        """The figures."""
        with self._lock:
            if self._row is None:
                kept = self._load(self._name)
                self._row = self._make() if kept is None else kept["row"]
            return self._row

    def missing(self) -> Iterator[StatisticsPart]:
        """All of it, unless it is in the store."""
        if self._store is not None and self._load(self._name) is None:
            save = partial(self._store.save, self._name)
            yield StatisticsPart(self._source.bounds.size, lambda: save({"row": self._make()}))


class SectionStatistics(_Kept):
    """One row of figures for every section of a volume.

    Args:
        source: the volume.
        name: begins the names of the statistics in the store.
        make: makes the rows, (sections, figures), of a slab: a box of whole sections.
        store: None = they are kept by this process alone.
    """

    def __init__(
        self, source: Volume, name: str, make: Callable[[Box], np.ndarray], store: StatisticsStore | None
    ) -> None:
        super().__init__(source, name, store)
        self._make = make
        # By the first section of a slab; what was used last comes last.
        self._rows: dict[int, np.ndarray] = {}

    def rows(self, box: Box) -> list[np.ndarray]:
        """The figures of every section of a box, (figures,) each."""
        found: dict[int, np.ndarray] = {}
        with self._lock:
            for slab in slabs(self._source, box):
                rows = self._rows_of(slab)
                found.update(enumerate(rows, slab.start[0]))
                self._rows.pop(slab.start[0], None)
                self._rows[slab.start[0]] = rows
            self._forget()
        return [found[z] for z in range(box.start[0], box.stop[0])]

    def missing(self, box: Box) -> Iterator[StatisticsPart]:
        """What of the sections of a box is not in the store, group by group."""
        if self._store is None:
            return
        for first, group in self._groups(box):
            kept = self._slabs_kept(first)
            absent = [slab for slab in group if slab.start[0] not in kept]
            if absent:
                voxels = sum(slab.size for slab in absent)
                yield StatisticsPart(voxels, partial(self._store_group, self._store, first, absent))

    def _rows_of(self, slab: Box) -> np.ndarray:
        z = slab.start[0]
        if z not in self._rows:
            self._rows.update(self._slabs_kept(self._group_of(z)))
        return self._rows[z] if z in self._rows else self._make(slab)

    def _slabs_kept(self, first: int) -> dict[int, np.ndarray]:
        """What the store has of a group: the rows of a slab by its first section."""
        kept = self._load(self._file(first)) or {}
        return {int(z): rows for z, rows in kept.items()}

    def _store_group(self, store: StatisticsStore, first: int, absent: list[Box]) -> None:
        made = {slab.start[0]: self._make(slab) for slab in absent}
        group = {**self._slabs_kept(first), **made}
        store.save(self._file(first), {str(z): rows for z, rows in group.items()})

    def _groups(self, box: Box) -> Iterator[tuple[int, list[Box]]]:
        """The slabs that a box needs, by the first section of their group."""
        groups: dict[int, list[Box]] = {}
        for slab in slabs(self._source, box):
            groups.setdefault(self._group_of(slab.start[0]), []).append(slab)
        yield from groups.items()

    def _group_of(self, z: int) -> int:
        depth = _depth(self._source)
        depth *= max(1, _GROUP_SECTIONS // depth)
        return z - (z - self._source.bounds.start[0]) % depth

    def _file(self, first: int) -> str:
        return f"{self._name}-z{first}"

    def _forget(self) -> None:
        """Lets go of what was used longest ago; tables of 16 bits are large."""
        held = sum(rows.nbytes for rows in self._rows.values())
        while held > _MOST_BYTES_HELD and len(self._rows) > 1:
            held -= self._rows.pop(next(iter(self._rows))).nbytes


def slabs(volume: Volume, box: Box) -> Iterator[Box]:
    """The whole sections of a volume that a box needs, those stored together at once."""
    depth = _depth(volume)
    (first, *start), (end, *stop) = volume.bounds.start, volume.bounds.stop
    for z in range(box.start[0] - (box.start[0] - first) % depth, box.stop[0], depth):
        yield Box((z, *start), (min(z + depth, end), *stop))  # type: ignore[arg-type]


def bricks(box: Box, most: int, unit: Zyx = (1, 1, 1), origin: Zyx = (0, 0, 0)) -> Iterator[Box]:
    """A box in parts of at most so many voxels.

    Args:
        box: what is cut, by halves of its longest axis.
        most: voxels of a part.
        unit: cuts are multiples of it away from the origin, unless a part is shorter.
        origin: see `unit`.
    """
    if box.size <= max(1, most):
        yield box
        return
    axis = max(range(3), key=lambda a: box.shape[a])
    start, stop = list(box.start), list(box.stop)
    middle = (start[axis] + stop[axis]) // 2
    aligned = middle - (middle - origin[axis]) % unit[axis]
    cut = aligned if aligned > start[axis] else middle
    start[axis] = stop[axis] = cut
    for half in (Box(box.start, tuple(stop)), Box(tuple(start), box.stop)):  # type: ignore[arg-type]
        yield from bricks(half, most, unit, origin)


def blocks_of(volume: Volume, box: Box) -> Iterator[Box]:
    """A box of a volume in blocks that can be read at once, along its chunks."""
    return bricks(box, MOST_VOXELS, volume.chunk_shape, volume.bounds.start)


def counts_of(volume: Volume, box: Box) -> np.ndarray:
    """How many voxels of a box have each grey value, see `count_levels`."""
    total = np.zeros(256**volume.dtype.itemsize, np.int64)
    for part in blocks_of(volume, box):
        total += count_levels(volume.read(part))
    return total


def counts_of_sections(volume: Volume, slab: Box) -> np.ndarray:
    """The same for every section of a slab, (sections, levels)."""
    counts = np.zeros((slab.shape[0], 256**volume.dtype.itemsize), np.int64)
    for part in blocks_of(volume, slab):
        for z, section in enumerate(volume.read(part), part.start[0] - slab.start[0]):
            counts[z] += count_levels(section)
    return counts


def _depth(volume: Volume) -> int:
    return volume.chunk_shape[0] if volume.chunk_shape[0] <= _MOST_SECTIONS else 1
