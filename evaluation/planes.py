"""Three orthogonal slices through the middle of what was compared, ready to be shown side by side.

A segment has the colour of a true object when each is the other's largest partner; every other segment has a
colour of its own. So what agrees looks alike, and a split or a merger shows as a change of colour.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from evaluation.overlap import ContingencyTable
from evaluation.slices import overlay, plane_name, to_grey
from volumes import Box, Volume

_LARGEST_EDGE = 1024
_NEUTRAL_GREY = 110
# Segments without a partner take their colours from here on, so that they share none with a true object.
_OWN = np.uint64(1 << 63)


@dataclass(frozen=True)
class Plane:
    """One slice.

    Attributes:
        axis: the axis it lies across: 0 = z, 1 = y, 2 = x.
        box: one voxel thick, absolute.
        voxel_size_nm: zyx.
        raw: (down, across) grey values of any real dtype; None = there are none.
        segmentation: (down, across) integers, 0 = unsegmented; None likewise.
        truth: (down, across) integers, 0 = unlabelled; None likewise.
    """

    axis: int
    box: Box
    voxel_size_nm: tuple[float, float, float]
    raw: np.ndarray | None = None
    segmentation: np.ndarray | None = None
    truth: np.ndarray | None = None

    @property
    def name(self) -> str:
        """Such as "xy, z = 85"."""
        return plane_name(self.axis, self.box.start[self.axis])

    @property
    def extent_nm(self) -> tuple[float, float]:
        """Edge lengths down and across."""
        down, across = (
            n * size
            for axis, (n, size) in enumerate(zip(self.box.shape, self.voxel_size_nm, strict=True))
            if axis != self.axis
        )
        return down, across


def read_planes(
    box: Box, *, raw: Volume | None = None, segmentation: Volume, truth: Volume | None = None
) -> tuple[Plane, Plane, Plane]:
    """The slices across z, y and x through the middle of a box; of a large one, of its middle part.

    Args:
        box: absolute, inside segmentation and truth.
        raw: the image; where it does not hold the slice, the slice has none.
        segmentation: integers.
        truth: integers, or None.

    Raises:
        VolumeError: a volume that cannot be read.
    """
    shape = [min(n, _LARGEST_EDGE) for n in box.shape]
    start = [s + (n - m) // 2 for s, n, m in zip(box.start, box.shape, shape, strict=True)]
    part = Box.from_shape(shape, start)

    def across(axis: int) -> Plane:
        corner, thin = list(part.start), list(part.shape)
        corner[axis], thin[axis] = corner[axis] + thin[axis] // 2, 1
        slab = Box.from_shape(thin, corner)
        seen = raw is not None and raw.bounds.contains_box(slab)
        found = [
            None if volume is None else np.take(volume.read(slab), 0, axis)
            for volume in (raw if seen else None, segmentation, truth)
        ]
        return Plane(axis, slab, segmentation.voxel_size_nm, *found)

    return across(0), across(1), across(2)


def partners(table: ContingencyTable) -> dict[int, int]:
    """The segments and true objects of which each is the other's largest partner.

    Args:
        table: what each pair shares.

    Returns:
        The true object of each such segment; 0 is nobody's partner. Of equally large partners the one with
        the smaller ID counts.
    """
    objects = table.labelled().segmented()
    of_segment = _largest(objects.segment_ids, objects.truth_ids, objects.counts)
    of_truth = _largest(objects.truth_ids, objects.segment_ids, objects.counts)
    return {segment: truth for segment, truth in of_segment.items() if of_truth[truth] == segment}


def recoloured(segmentation: np.ndarray, partner: Mapping[int, int]) -> np.ndarray:
    """Segments under the IDs that give them their colours: their partner's, or one nobody else has.

    Args:
        segmentation: integers of any shape, 0 = unsegmented.
        partner: the true object of some segments; see `partners`.

    Returns:
        uint64 of that shape.
    """
    ids, index = np.unique(segmentation, return_inverse=True)
    new = [partner.get(int(i), int(i) | int(_OWN)) if i else 0 for i in ids]
    return np.array(new, np.uint64)[index].reshape(segmentation.shape)


def pictures_of(plane: Plane, partner: Mapping[int, int]) -> dict[str, str]:
    """A slice as PNG data URIs, one pixel a voxel.

    Args:
        plane: the slice.
        partner: see `partners`; empty when there is no truth.

    Returns:
        By caption: "image", "segmentation" and "ground truth", as far as there are any.
    """
    grey = None if plane.raw is None else to_grey(plane.raw)
    found = {} if grey is None else {"image": data_uri(np.repeat(grey[..., None], 3, axis=-1))}
    labels = {
        "segmentation": None if plane.segmentation is None else recoloured(plane.segmentation, partner),
        "ground truth": plane.truth,
    }
    for caption, ids in labels.items():
        if ids is not None:
            under = np.full(ids.shape, _NEUTRAL_GREY, np.uint8) if grey is None else grey
            found[caption] = data_uri(overlay(under, ids))
    return found


def data_uri(rgb: np.ndarray) -> str:
    """An image (uint8, (down, across, 3)) as a PNG in a data URI."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _largest(of: np.ndarray, among: np.ndarray, counts: np.ndarray) -> dict[int, int]:
    """For each ID of one side the ID of the other with which it shares most."""
    order = np.lexsort((among, -counts, of))
    first = np.ones(order.size, bool)
    first[1:] = of[order][1:] != of[order][:-1]
    kept = order[first]
    return dict(zip(of[kept].tolist(), among[kept].tolist(), strict=True))
