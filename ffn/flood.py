"""The flood of one object: from a seed outwards, one field of view after the other.

`Flood` is the state of one object in one subvolume; `flood` is the algorithm, a generator that yields the
fields of view it wants to see and is sent the network's answer to each. It knows neither batches nor threads,
so that its result cannot depend on them; `inference.executor` runs many at a time.

    state = Flood(image, options)
    requests = flood(state, seed)
    request = next(requests)                # FovRequest
    request.copy_into(image_fov, logits_fov)
    request = requests.send(network(image_fov, logits_fov))
    …                                       # StopIteration carries the number of steps

Arrays are (z, y, x) of the subvolume: image and logits float32 (NaN = not visited), obstacles integers
(above 0 = taken), masks bool (True = no field of view may be centred here). Positions are voxels (z, y, x).

Source of the method: Canvas.segment_at and Canvas.update_at of google/ffn; Januszewski et al. 2018,
"High-precision automated reconstruction of neurons with flood-filling networks",
doi:10.1038/s41592-018-0049-4.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from configs.errors import ConfigError
from ffn.movement import MovementQueue, Zyx, face_maxima, gather, scatter
from volumes.box import Box
from volumes.errors import VolumeError


@dataclass(frozen=True)
class FloodOptions:
    """How objects are flooded and accepted. Pad and move threshold have to be those of the training.

    Attributes:
        fov_zyx: field of view of the network in voxels, odd along every axis.
        deltas_zyx: distance of a move in voxels, at most half the field of view; 0 = none along this axis.
        init_activation: probability the seed voxel starts with.
        pad_value: probability unvisited voxels show to the network.
        move_threshold: probability from which a field of view moves to a voxel.
        segment_threshold: probability from which a voxel belongs to the object.
        disco_seed_threshold: fraction of active voxels in a field of view above which voxels below 0.5 may
            not rise (disconnected-seed rule); negative = off.
        min_boundary_dist_zyx: a seed is dropped when the box of this radius (voxels) around it touches an
            object.
        min_segment_size: smaller objects (voxels) are dropped.

    Raises:
        ConfigError: a value out of range; names the option, the value and what is allowed.
    """

    fov_zyx: Zyx
    deltas_zyx: Zyx
    init_activation: float = 0.95
    pad_value: float = 0.05
    move_threshold: float = 0.9
    segment_threshold: float = 0.6
    disco_seed_threshold: float = -1.0
    min_boundary_dist_zyx: Zyx = (1, 1, 1)
    min_segment_size: int = 1000

    def __post_init__(self) -> None:
        for name in ("init_activation", "pad_value", "move_threshold", "segment_threshold"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; it must lie between 0 and 1")
        if any(size < 1 or size % 2 == 0 for size in self.fov_zyx):
            raise ConfigError(f"fov_zyx is {self.fov_zyx}; sizes must be odd, to have a centre voxel")
        for delta, radius in zip(self.deltas_zyx, self.radius_zyx, strict=True):
            if not 0 <= delta <= radius:
                raise ConfigError(
                    f"deltas_zyx is {self.deltas_zyx}; it may reach from 0 to {self.radius_zyx}"
                )

    @property
    def radius_zyx(self) -> Zyx:
        """Voxels from the centre of the field of view to its border, the centre not counted."""
        z, y, x = self.fov_zyx
        return z // 2, y // 2, x // 2


def logit(probability: float) -> np.float32:
    """The logit of a probability, float32; the probability is rounded to float32 first, as in google/ffn."""
    p = float(np.float32(probability))
    return np.float32(math.log(p / (1 - p)))


class FovRequest(NamedTuple):
    """A field of view for the network to see, as long as its flood waits for the answer.

    Attributes:
        image, logits: the subvolume, float32 (z, y, x).
        position: centre of the field of view (z, y, x).
        pad_logit: stands for unvisited voxels.
    """

    image: np.ndarray
    logits: np.ndarray
    position: Zyx
    pad_logit: np.float32

    def copy_into(self, image_fov: np.ndarray, logits_fov: np.ndarray) -> None:
        """Writes the network's input into two float32 arrays of the shape of the field of view."""
        gather(self.image, self.logits, self.position, self.pad_logit, image_fov, logits_fov)


class Flood:
    """One object in one subvolume while it is flooded and afterwards; serves for object after object.

    Everything a flood needs to go on is in the attributes, as arrays and lists of positions, so that it can
    be stored at any request and continued elsewhere.

    Args:
        image: normalised image, float32 (z, y, x).
        options: settings of the flood.
        obstacles: integers like image; no field of view is centred on a value above 0. Not copied: what is
            written to it later counts. None = nothing in the way.
        movement_mask: bool like image; True = no field of view is centred here. None = allowed everywhere.

    Attributes:
        seed: where the present object began (z, y, x).
        logits: float32 like image, the object so far; NaN where no field of view has been.
        visited: centres (z, y, x) of the fields of view seen, in order.
        deleted: for each of them the voxels it took away (p >= 0.8 before, < 0.5 after).
        in_progress: whether the object is not complete yet.

    Raises:
        VolumeError: an image that is not 3-D or smaller than the field of view, or arrays of another shape.
    """

    def __init__(
        self,
        image: np.ndarray,
        options: FloodOptions,
        *,
        obstacles: np.ndarray | None = None,
        movement_mask: np.ndarray | None = None,
    ) -> None:
        _check_shapes(image, options, obstacles=obstacles, movement_mask=movement_mask)
        self.image = np.ascontiguousarray(image, np.float32)
        self.options = options
        self.obstacles = obstacles
        self.movement_mask = movement_mask
        self.logits = np.full(self.image.shape, np.nan, np.float32)
        self.visited: list[Zyx] = []
        self.deleted: list[int] = []
        self.in_progress = False
        self.seed: Zyx = (0, 0, 0)
        self._queue = MovementQueue(self.seed, options.deltas_zyx, waiting=())
        self._room = Box.from_shape(image.shape).grow(tuple(-radius for radius in options.radius_zyx))
        self._pad_logit, self._move_logit = logit(options.pad_value), logit(options.move_threshold)

    @property
    def extent(self) -> Box:
        """The voxels written for the present object: its seed and every field of view."""
        if not self.visited:
            return Box.from_shape((1, 1, 1), self.seed)
        low, high = np.min(self.visited, axis=0), np.max(self.visited, axis=0)
        return Box(low, high + 1).grow(self.options.radius_zyx)

    @property
    def has_lost_seed(self) -> bool:
        """Whether the seed voxel has fallen below the move threshold, which ends the flood."""
        return bool(self.logits[self.seed] < self._move_logit)

    def start(self, seed: Zyx) -> None:
        """Clears the last object and places the seed (z, y, x) of the next."""
        self.logits[self.extent.slices()] = np.nan
        self.seed = seed
        self.logits[seed] = logit(self.options.init_activation)
        self.visited, self.deleted = [], []
        self._queue = MovementQueue(seed, self.options.deltas_zyx)
        self.in_progress = True

    def next_request(self) -> FovRequest | None:
        """The field of view to see next; None, and no longer in progress, when the object is complete."""
        self.in_progress = not self.has_lost_seed and self._drop_closed_positions()
        if not self.in_progress:
            return None
        return FovRequest(self.image, self.logits, self._queue.waiting[0], self._pad_logit)

    def absorb(self, predicted: np.ndarray) -> None:
        """Takes in the network's logits (float32, z, y, x of the field of view) for the request made last."""
        options, center = self.options, self._queue.waiting[0]
        deleted = scatter(self.logits, center, predicted, self._move_logit, options.disco_seed_threshold)
        found = face_maxima(self.logits, center, options.deltas_zyx, self._move_logit)
        self._queue.finish_first(found)
        self.visited.append(center)
        self.deleted.append(deleted)

    def is_open(self, position: Zyx) -> bool:
        """Whether a field of view may be centred at a position (z, y, x), whatever its logit."""
        (z, y, x), (z0, y0, x0), (z1, y1, x1) = position, self._room.start, self._room.stop
        fits = z0 <= z < z1 and y0 <= y < y1 and x0 <= x < x1
        taken = fits and self.obstacles is not None and self.obstacles[position] > 0
        masked = fits and self.movement_mask is not None and self.movement_mask[position]
        return bool(fits and not taken and not masked)

    def snapshot(self) -> dict[str, np.ndarray]:
        """The state at a request as named arrays, for `restore`; logits are a view of `extent` only."""
        return {
            "in_progress": np.array(self.in_progress),
            "seed": np.array(self.seed),
            "visited": np.array(self.visited, np.int64).reshape(-1, 3),
            "deleted": np.array(self.deleted, np.int64),
            "waiting": np.array(self._queue.waiting, np.int64).reshape(-1, 3),
            "logits": self.logits[self.extent.slices()],
        }

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Takes over a `snapshot` of a flood made with the same arguments; `flood` then continues it."""
        z, y, x = arrays["seed"].tolist()
        self.start((z, y, x))
        self.in_progress = bool(arrays["in_progress"])
        self.visited = [(z, y, x) for z, y, x in arrays["visited"].tolist()]
        self.deleted = arrays["deleted"].tolist()
        self._queue = MovementQueue(
            self.seed, self.options.deltas_zyx, self.visited, map(tuple, arrays["waiting"].tolist())
        )
        self.logits[self.extent.slices()] = arrays["logits"]

    def _drop_closed_positions(self) -> bool:
        """Drops positions from the front of the queue up to one to visit; whether there is one."""
        waiting = self._queue.waiting
        while waiting and not self._is_worth_visiting(waiting[0]):
            waiting.popleft()
        return bool(waiting)

    def _is_worth_visiting(self, position: Zyx) -> bool:
        return (
            not self._queue.is_done(position)
            and self.logits[position] >= self._move_logit
            and self.is_open(position)
        )


def flood(state: Flood, seed: Zyx) -> Generator[FovRequest, np.ndarray, int]:
    """Floods one object.

    Yields the fields of view the network has to see, one at a time, and is sent the updated logits of each,
    float32 (z, y, x) of the field of view. Afterwards the object is in `state`. A state that is in progress
    already is continued.

    Args:
        state: where the object is flooded.
        seed: first position (z, y, x).

    Returns:
        The number of fields of view the object took; 0 when the seed cannot be visited.
    """
    if not state.in_progress:
        state.start(seed)
    while (request := state.next_request()) is not None:
        state.absorb((yield request))
    return len(state.visited)


def _check_shapes(image: np.ndarray, options: FloodOptions, **others: np.ndarray | None) -> None:
    if image.ndim != 3:
        raise VolumeError(f"the image has {image.ndim} axes; an image to flood has three (z, y, x)")
    if any(size < fov for size, fov in zip(image.shape, options.fov_zyx, strict=True)):
        raise VolumeError(
            f"the image of {image.shape} voxels (z, y, x) is smaller than the field of view "
            f"{options.fov_zyx}; take a larger box"
        )
    for name, array in others.items():
        if array is not None and array.shape != image.shape:
            raise VolumeError(f"{name} has shape {array.shape}, not {image.shape} as the image has")
