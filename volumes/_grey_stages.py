"""The changes of `volumes.preprocessing` and `volumes._clahe` as volumes that compute on reading.

Each stage reads from the volume before it: the box itself, with context where the change needs it. What it
has to know of whole sections or of the whole volume is read through once, in blocks, when it is first needed,
and kept; threads wait for each other there, and a pickled stage takes what it knows along.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from volumes._clahe import clahe_context, equalised
from volumes.base import Volume
from volumes.box import Box, Zyx
from volumes.errors import VolumeError
from volumes.preprocessing import (
    Sums,
    changed_dtype,
    count_levels,
    inverted,
    matching_table,
    normalised_section,
    replace_levels,
    require_grey,
    require_levels,
    section_sums,
)

MOST_VOXELS = 2**26
# Sections stored in one chunk are read together; nobody chunks deeper, so more is a file without chunks.
_MOST_SECTIONS = 128


class PreprocessedVolume(Volume):
    """A volume with changed grey values, for reading only; made by `volumes.derived.preprocessed`.

    It keeps the grid of its source. Closing it closes the source.

    Args:
        source: the volume it reads from.

    Raises:
        VolumeError: the source holds no grey values.
    """

    def __init__(self, source: Volume) -> None:
        require_grey(source.dtype, f"preprocessing of '{source.spec}'")
        super().__init__(
            source.spec,
            bounds=source.bounds,
            dtype=changed_dtype(source.dtype),
            voxel_size_nm=source.voxel_size_nm,
            chunk_shape=source.chunk_shape,
            writable=False,
        )
        self._source = source
        self._lock = threading.Lock()

    def close(self) -> None:
        self._source.close()

    def _store(self, box: Box, voxels: np.ndarray) -> None:
        raise AssertionError("a derived volume is never writable")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())


class InvertedVolume(PreprocessedVolume):
    """White is black."""

    def _load(self, box: Box) -> np.ndarray:
        return inverted(self._source.read(box))


class NormalisedVolume(PreprocessedVolume):
    """Every section has the same mean and standard deviation, in grey values."""

    def __init__(self, source: Volume, mean: float, stddev: float) -> None:
        super().__init__(source)
        self._mean, self._stddev = mean, stddev
        self._sums: dict[int, Sums] = {}

    def _load(self, box: Box) -> np.ndarray:
        sums = self._sums_of(box)
        out = np.empty(box.shape, self.dtype)
        for index, section in enumerate(self._source.read(box)):
            out[index] = normalised_section(section, sums[index], self._mean, self._stddev)
        return out

    def _sums_of(self, box: Box) -> list[Sums]:
        """The sums of the whole of every section of a box."""
        with self._lock:
            for slab in slabs(self._source, box):
                if slab.start[0] not in self._sums:
                    self._sums.update(self._sums_of_slab(slab))
            return [self._sums[z] for z in range(box.start[0], box.stop[0])]

    def _sums_of_slab(self, slab: Box) -> dict[int, Sums]:
        sums = {z: Sums(0, 0, 0) for z in range(slab.start[0], slab.stop[0])}
        for part in bricks(slab, MOST_VOXELS, self._source.chunk_shape, self._source.bounds.start):
            for z, more in enumerate(section_sums(self._source.read(part)), part.start[0]):
                sums[z] += more
        for z, each in sums.items():
            if not math.isfinite(each.squares):
                raise VolumeError(
                    f"section z {z} of '{self.spec}' has voxels that are NaN or infinite, so that it has no "
                    "mean; replace them"
                )
        return sums


class MatchedVolume(PreprocessedVolume):
    """Grey values are as frequent as in a reference, in the whole volume or in every section.

    Args:
        source: the volume it reads from.
        reference: the volume to match; it is read when a table is first needed.
        reference_box: the part of it.
        each_section: match every section for itself.

    Raises:
        VolumeError: grey values that cannot be counted, a reference of another dtype, a box that leaves it.
    """

    def __init__(self, source: Volume, reference: Volume, reference_box: Box, each_section: bool) -> None:
        super().__init__(source)
        require_levels(source.dtype, f"histogram matching of '{source.spec}'")
        if reference.dtype != source.dtype:
            raise VolumeError(
                f"histogram reference '{reference.spec}' is {reference.dtype}, but '{source.spec}' is "
                f"{source.dtype}; convert one of them"
            )
        if not reference.bounds.contains_box(reference_box):
            raise VolumeError(
                f"preprocessing.histogram.box {reference_box} leaves '{reference.spec}' "
                f"({reference.bounds}); shrink it to those bounds"
            )
        self._reference, self._reference_box = reference, reference_box
        self._each_section = each_section
        self._reference_counts: np.ndarray | None = None
        self._tables: dict[int, np.ndarray] = {}

    def close(self) -> None:
        super().close()
        self._reference.close()

    def _load(self, box: Box) -> np.ndarray:
        tables = self._tables_of(box)
        image = self._source.read(box)
        if not self._each_section:
            return replace_levels(image, tables[0])
        return np.stack([replace_levels(s, table) for s, table in zip(image, tables, strict=True)])

    def _tables_of(self, box: Box) -> list[np.ndarray]:
        """The table of every section of a box, or the one of the volume."""
        with self._lock:
            if not self._each_section:
                if not self._tables:
                    self._tables[0] = self._table(_counts(self._source, self.bounds))
                return [self._tables[0]]
            for slab in slabs(self._source, box):
                if slab.start[0] not in self._tables:
                    counts = _counts_of_sections(self._source, slab)
                    self._tables.update({z: self._table(each) for z, each in counts.items()})
            return [self._tables[z] for z in range(box.start[0], box.stop[0])]

    def _table(self, counts: np.ndarray) -> np.ndarray:
        if self._reference_counts is None:
            self._reference_counts = _counts(self._reference, self._reference_box)
        return matching_table(counts, self._reference_counts, self.dtype)


class EqualisedVolume(PreprocessedVolume):
    """Local contrast is equalised, with a limit.

    Args:
        source: the volume it reads from.
        tile: extent of a tile (zyx), voxels.
        clip_limit: see `volumes._clahe.equalised`.

    Raises:
        VolumeError: grey values that cannot be counted.
    """

    def __init__(self, source: Volume, tile: Zyx, clip_limit: float) -> None:
        super().__init__(source)
        require_levels(source.dtype, f"CLAHE of '{source.spec}'")
        self._tile, self._clip_limit = tile, clip_limit

    def _load(self, box: Box) -> np.ndarray:
        context = clahe_context(box, self.bounds, self._tile)
        voxels = self._source.read(context)
        return equalised(voxels, context.start, box, self.bounds, self._tile, self._clip_limit)


def slabs(volume: Volume, box: Box) -> Iterator[Box]:
    """The whole sections of a volume that a box needs, those stored together at once."""
    depth = volume.chunk_shape[0] if volume.chunk_shape[0] <= _MOST_SECTIONS else 1
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


def _counts(volume: Volume, box: Box) -> np.ndarray:
    """How many voxels of a box have each grey value."""
    total = np.zeros(256**volume.dtype.itemsize, np.int64)
    for part in bricks(box, MOST_VOXELS, volume.chunk_shape, volume.bounds.start):
        total += count_levels(volume.read(part))
    return total


def _counts_of_sections(volume: Volume, slab: Box) -> dict[int, np.ndarray]:
    """The same for every section of a slab."""
    counts: dict[int, np.ndarray] = {}
    for part in bricks(slab, MOST_VOXELS, volume.chunk_shape, volume.bounds.start):
        for z, section in enumerate(volume.read(part), part.start[0]):
            counts[z] = counts.get(z, 0) + count_levels(section)
    return counts
