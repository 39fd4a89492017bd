"""The changes of `volumes.preprocessing` and `volumes._clahe` as volumes that compute on reading.

Each stage reads from the volume before it: the box itself, with context where the change needs it, and
statistics of whole sections or of the whole volume (`volumes._grey_statistics`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from volumes._clahe import clahe_context, equalised
from volumes._grey_statistics import (
    SectionStatistics,
    StatisticsPart,
    StatisticsStore,
    VolumeStatistics,
    blocks_of,
    counts_of,
    counts_of_sections,
)
from volumes.base import Volume
from volumes.box import Box, Zyx
from volumes.errors import VolumeError
from volumes.preprocessing import (
    Contrast,
    Sums,
    changed_dtype,
    inverted,
    matching_table,
    normalised_section,
    replace_levels,
    require_grey,
    require_levels,
    section_sums,
)


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

    def close(self) -> None:
        self._source.close()

    def missing_statistics(self, box: Box) -> Iterator[StatisticsPart]:
        """What has to be known to read a box and is not in the store, in the order in which to make it.

        Args:
            box: inside the bounds.
        """
        if isinstance(self._source, PreprocessedVolume):
            yield from self._source.missing_statistics(box)


class InvertedVolume(PreprocessedVolume):
    """White is black."""

    def _load(self, box: Box) -> np.ndarray:
        return inverted(self._source.read(box))


class NormalisedVolume(PreprocessedVolume):
    """Every section has the same mean and standard deviation, in grey values."""

    def __init__(self, source: Volume, wanted: Contrast, store: StatisticsStore | None) -> None:
        super().__init__(source)
        self._wanted = wanted
        self._contrasts = SectionStatistics(source, "sections", self._contrasts_of, store)

    def missing_statistics(self, box: Box) -> Iterator[StatisticsPart]:
        yield from super().missing_statistics(box)
        yield from self._contrasts.missing(box)

    def _load(self, box: Box) -> np.ndarray:
        contrasts = self._contrasts.rows(box)
        out = np.empty(box.shape, self.dtype)
        for index, section in enumerate(self._source.read(box)):
            mean, stddev = contrasts[index].tolist()
            out[index] = normalised_section(section, Contrast(mean, stddev), self._wanted)
        return out

    def _contrasts_of(self, slab: Box) -> np.ndarray:
        """(sections, 2): mean and standard deviation of each."""
        sums = [Sums(0, 0, 0)] * slab.shape[0]
        for part in blocks_of(self._source, slab):
            for z, more in enumerate(section_sums(self._source.read(part)), part.start[0] - slab.start[0]):
                sums[z] += more
        for z, each in enumerate(sums, slab.start[0]):
            if not math.isfinite(each.squares):
                raise VolumeError(
                    f"section z {z} of '{self.spec}' has voxels that are NaN or infinite, so that it has no "
                    "mean; replace them"
                )
        return np.array([each.contrast for each in sums])


class MatchedVolume(PreprocessedVolume):
    """Grey values are as frequent as in a reference, in the whole volume or in every section.

    Args:
        source: the volume it reads from.
        reference: the volume to match; it is read when a table is first needed.
        reference_box: the part of it.
        each_section: match every section for itself.
        store: where statistics are kept; None = nowhere.

    Raises:
        VolumeError: grey values that cannot be counted, a reference of another dtype, a box that leaves it.
    """

    def __init__(
        self,
        source: Volume,
        reference: Volume,
        reference_box: Box,
        each_section: bool,
        store: StatisticsStore | None,
    ) -> None:
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
        self._table = VolumeStatistics(source, "histogram", self._table_of_volume, store)
        self._tables = SectionStatistics(source, "histogram", self._tables_of, store)

    def close(self) -> None:
        super().close()
        self._reference.close()

    def missing_statistics(self, box: Box) -> Iterator[StatisticsPart]:
        if self._each_section:
            yield from super().missing_statistics(box)
            yield from self._tables.missing(box)
        else:
            yield from super().missing_statistics(self.bounds)
            yield from self._table.missing()

    def _load(self, box: Box) -> np.ndarray:
        if not self._each_section:
            return replace_levels(self._source.read(box), self._table.row())
        tables = self._tables.rows(box)
        sections = zip(self._source.read(box), tables, strict=True)
        return np.stack([replace_levels(section, table) for section, table in sections])

    def _table_of_volume(self) -> np.ndarray:
        return self._matching(counts_of(self._source, self.bounds))

    def _tables_of(self, slab: Box) -> np.ndarray:
        """(sections, levels): the table of each."""
        return np.stack([self._matching(counts) for counts in counts_of_sections(self._source, slab)])

    def _matching(self, counts: np.ndarray) -> np.ndarray:
        if self._reference_counts is None:
            self._reference_counts = counts_of(self._reference, self._reference_box)
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
