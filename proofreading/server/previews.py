"""The sides of supervoxels that people are about to split, as layers for the viewer.

A preview changes nothing, so its voxels are only here: labels 1 and 2 in the box of the supervoxel. The
latest ones are kept in memory; of one that was forgotten, or is of an earlier start, nothing is shown.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np

from proofreading.server.layers import SEGMENTATION, Layer
from proofreading.supervoxel_split import SupervoxelParts
from volumes import Box, Volume
from volumes.box import Zyx

_MOST_BYTES = 1 << 28


class _Sides(Volume):
    """The sides of a supervoxel."""

    def __init__(self, parts: SupervoxelParts, voxel_size_nm: tuple[float, float, float]) -> None:
        super().__init__(
            "preview",
            bounds=parts.box,
            dtype=np.uint64,
            voxel_size_nm=voxel_size_nm,
            chunk_shape=parts.box.shape,
            writable=False,
        )
        self.sides = parts.sides

    def _load(self, box: Box) -> np.ndarray:
        start: Zyx = self.bounds.start
        return self.sides[box.slices(start)].astype(np.uint64)


@dataclass
class Previews:
    """The latest previews by the names of their layers; safe in threads."""

    _kept: OrderedDict[str, _Sides] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, parts: SupervoxelParts, voxel_size_nm: tuple[float, float, float]) -> str:
        """Keeps the sides of a supervoxel.

        Args:
          parts: of a preview.
          voxel_size_nm: of the segmentation, zyx.

        Returns:
          The name of their layer.
        """
        name = f"preview-{secrets.token_hex(8)}"
        with self._lock:
            self._kept[name] = _Sides(parts, voxel_size_nm)
            while len(self._kept) > 1 and self._bytes() > _MOST_BYTES:
                self._kept.popitem(last=False)
        return name

    def layer(self, name: str) -> Layer | None:
        """The layer of a name; None where it is none, or was forgotten.

        Args:
          name: that `keep` gave.
        """
        with self._lock:
            volume = self._kept.get(name)
        return None if volume is None else Layer(SEGMENTATION, volume, None)

    def _bytes(self) -> int:
        return sum(each.sides.nbytes for each in self._kept.values())
