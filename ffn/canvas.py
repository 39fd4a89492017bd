"""One subvolume being segmented: the objects found so far and the one being flooded.

`segment_all` tries one seed after the other: it floods an object, decides whether it is one, and gives it the
next ID. Earlier objects always win: a voxel once claimed stays with its object and stops later floods.

Arrays are (z, y, x) of the subvolume, positions voxels (z, y, x) in it. A `Canvas` holds the whole state
between two fields of view in arrays and plain values, so that `snapshot` can store it in the middle of an
object.

Source of the method: Canvas.segment_all of google/ffn; Januszewski et al. 2018,
doi:10.1038/s41592-018-0049-4.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from ffn.flood import Flood, FloodOptions, FovRequest, flood, logit
from ffn.movement import Zyx
from volumes.box import Box
from volumes.errors import VolumeError

REFUSED = -1  # marks a seed that came to nothing; 0 again in the end
_FLOOD = "flood_"  # begins the names of the flood's arrays in a snapshot
_PROBABILITY_STEPS = np.linspace(0, 1, 255)


class Origin(NamedTuple):
    """How an object came about.

    Attributes:
        seed: the voxel (z, y, x) it was flooded from.
        steps: fields of view it took.
    """

    seed: Zyx
    steps: int


class Canvas:
    """The segmentation of one subvolume, object by object.

    Args:
        image: normalised image, float32 (z, y, x), finite.
        options: how objects are flooded and accepted.
        segmentation: objects there are already, any integers up to 2^31 - 1, like image; new ones get IDs
            above the highest of them. Copied.
        movement_mask: bool like image; True = no field of view is centred here.
        seed_mask: bool like image; True = no seed is tried here.
        keep_probability: whether to fill `probability`.

    Attributes:
        segmentation: int32 like image; 0 = no object.
        probability: uint8 like image, see `quantise_probability`; 0 outside objects. None if not kept.
        origins: how each new object came about, by ID.
        overlaps: for each new object the earlier ones its flood ran into: {ID: voxels}, by ID.
        flood: the object being flooded.
        next_seed: index of the seed to try next, or being tried.

    Raises:
        VolumeError: an image that is not 3-D, not finite or smaller than the field of view, arrays of another
            shape, or IDs too large.
    """

    def __init__(
        self,
        image: np.ndarray,
        options: FloodOptions,
        *,
        segmentation: np.ndarray | None = None,
        movement_mask: np.ndarray | None = None,
        seed_mask: np.ndarray | None = None,
        keep_probability: bool = True,
    ) -> None:
        if not np.isfinite(image).all():
            raise VolumeError("the image has values that are not finite; replace them")
        self.options = options
        self.segmentation = _as_int32(segmentation, image.shape)
        self.flood = Flood(image, options, obstacles=self.segmentation, movement_mask=movement_mask)
        self.seed_mask = seed_mask
        self.probability = np.zeros(image.shape, np.uint8) if keep_probability else None
        self.origins: dict[int, Origin] = {}
        self.overlaps: dict[int, dict[int, int]] = {}
        self.next_seed = 0
        self._highest_id = max(int(self.segmentation.max()), 0)
        self._segment_logit = logit(options.segment_threshold)

    def accepts(self, seed: Zyx) -> bool:
        """Whether to flood from a seed (z, y, x); marks it as refused where it is too close to an object."""
        if not self.flood.is_open(seed) or (self.seed_mask is not None and self.seed_mask[seed]):
            return False
        around = Box.from_shape((1, 1, 1), seed).grow(self.options.min_boundary_dist_zyx)
        within = around.intersect(Box.from_shape(self.segmentation.shape))
        if (self.segmentation[within.slices()] > 0).any():
            self.segmentation[seed] = REFUSED
            return False
        return True

    def claim(self, seed: Zyx, steps: int) -> int | None:
        """Makes the object just flooded a segment; its ID, or None when it is refused.

        It is refused without a step, when the flood gave up its seed, and when too few of its voxels belong
        to no earlier object; the seed is marked in the latter two cases.
        """
        if steps == 0:
            return None
        where = self.flood.extent.slices()
        labels = self.segmentation[where]
        inside = self.flood.logits[where] >= self._segment_logit
        free = inside & (labels <= 0)
        if self.flood.has_lost_seed or np.count_nonzero(free) < self.options.min_segment_size:
            self._refuse(seed)
            return None
        self._highest_id += 1
        self.overlaps[self._highest_id] = _voxels_by_id(labels[inside & (labels > 0)])
        self.origins[self._highest_id] = Origin(seed, steps)
        labels[free] = self._highest_id
        if self.probability is not None:
            self.probability[where][free] = quantise_probability(expit(self.flood.logits[where][free]))
        return self._highest_id

    def clear_marks(self) -> None:
        """Turns the marks of refused seeds into background."""
        self.segmentation[self.segmentation < 0] = 0

    def snapshot(self) -> dict[str, np.ndarray]:
        """The state between two fields of view as named arrays, for `restore`.

        The large ones are views: store them before the canvas goes on.
        """
        origins = [(i, *seed, steps) for i, (seed, steps) in self.origins.items()]
        overlaps = [(i, other, n) for i, found in self.overlaps.items() for other, n in found.items()]
        arrays = {
            "next_seed": np.array(self.next_seed),
            "segmentation": self.segmentation,
            "origins": np.array(origins, np.int64).reshape(-1, 5),
            "overlaps": np.array(overlaps, np.int64).reshape(-1, 3),
        }
        if self.probability is not None:
            arrays["probability"] = self.probability
        return arrays | {f"{_FLOOD}{name}": array for name, array in self.flood.snapshot().items()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes over a `snapshot` of a canvas made with the same arguments; `segment_all` then continues it.

        Raises:
            VolumeError: the snapshot is of another subvolume shape.
        """
        if arrays["segmentation"].shape != self.segmentation.shape:
            raise VolumeError(
                f"the snapshot is of a subvolume of {arrays['segmentation'].shape} voxels, not of "
                f"{self.segmentation.shape}; delete it to start over"
            )
        self.next_seed = int(arrays["next_seed"])
        self.segmentation[:] = arrays["segmentation"]
        if self.probability is not None:
            self.probability[:] = arrays["probability"]
        self.origins = {i: Origin((z, y, x), n) for i, z, y, x, n in arrays["origins"].tolist()}
        self.overlaps = {i: {} for i in self.origins}
        for i, other, voxels in arrays["overlaps"].tolist():
            self.overlaps[i][other] = voxels
        self._highest_id = max(int(self.segmentation.max()), 0)
        flooded = {name: array for name, array in arrays.items() if name.startswith(_FLOOD)}
        self.flood.restore({name.removeprefix(_FLOOD): array for name, array in flooded.items()})

    def _refuse(self, seed: Zyx) -> None:
        if self.segmentation[seed] == 0:
            self.segmentation[seed] = REFUSED


def segment_all(canvas: Canvas, seeds: np.ndarray) -> Generator[FovRequest, np.ndarray, Canvas]:
    """Segments a subvolume from all seeds, in their order.

    Yields the fields of view the network has to see and is sent the updated logits of each, as
    `ffn.flood.flood`. A canvas with a part of the seeds, or of an object, behind it is continued.

    Args:
        canvas: where; changed in place.
        seeds: integers (n, 3), positions z, y, x.

    Returns:
        The canvas, marks cleared.
    """
    while canvas.next_seed < len(seeds):
        z, y, x = seeds[canvas.next_seed].tolist()
        if canvas.flood.in_progress or canvas.accepts((z, y, x)):
            steps = yield from flood(canvas.flood, (z, y, x))
            canvas.claim((z, y, x), steps)
        canvas.next_seed += 1
    canvas.clear_marks()
    return canvas


def quantise_probability(probability: np.ndarray) -> np.ndarray:
    """Probabilities as uint8: 1 + the 254ths reached, so 1 for 0 and 255 for 1; 0 for NaN (not visited).

    Source: google/ffn, quantize_probability.
    """
    steps = np.digitize(probability, _PROBABILITY_STEPS)
    return np.where(np.isnan(probability), 0, steps).astype(np.uint8)


def _voxels_by_id(ids: np.ndarray) -> dict[int, int]:
    values, counts = np.unique(ids, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _as_int32(segmentation: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    if segmentation is None:
        return np.zeros(shape, np.int32)
    if segmentation.shape != shape:
        raise VolumeError(f"segmentation has shape {segmentation.shape}, not {shape} as the image has")
    highest = segmentation.max()
    if highest > np.iinfo(np.int32).max:
        raise VolumeError(f"segment ID {highest} is above 2^31 - 1; renumber the segments of this box")
    return segmentation.astype(np.int32)
