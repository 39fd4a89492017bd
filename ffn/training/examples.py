"""Training examples, and the field of view moving through them as it does at inference.

An example is a small canvas around a centre voxel: the image, the object the centre belongs to as a
soft target, and logits that start unknown but for the centre. The field of view visits the centre,
then the neighbouring positions one move away in random order, each only if the logits there have
reached the move threshold by then; every visit is one field of view of an optimisation step.
Moving by up to `moves` steps, the canvas measures fov + 2 · deltas · moves.
Source: Januszewski et al. 2018 (doi:10.1038/s41592-018-0049-4).

Example number i is drawn from its own random stream, so that the sequence does not depend on when a run was
interrupted, nor on how many threads prepare examples.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.special import logit

from ffn.network import Architecture
from ffn.training.augmentation import Augmentation
from ffn.training.centre_draw import CentreDraw
from ffn.training.deformation import deform, draw_displacement, reach_of
from ffn.training.example_settings import ExampleSettings, canvas_shape, for_voxel_size
from ffn.training.geometry import apply_geometry, random_geometry
from ffn.training.greys import change_greys
from ffn.training.sections import change_sections
from ffn.training.training_volume import TrainingVolume
from volumes.box import Box, Zyx


@dataclass
class Example:
    """One canvas and where its field of view goes; arrays are float32 (z, y, x) of the canvas shape.

    `weight` is 1, or 0 under the volume's mask. `offsets` are (n, 3) voxels from the centre; `cursor` counts
    the ones tried so far, `visits` the ones that were visited.
    """

    number: int
    image: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    logits: np.ndarray
    offsets: np.ndarray
    cursor: int = 0
    visits: int = 0

    def advance(self, settings: ExampleSettings) -> Zyx | None:
        """Moves on to the position (voxels from the centre, zyx) that is visited next; None: it is through.

        Args:
          settings: threshold and window of moves, and how many at most.
        """
        threshold = float(logit(settings.move_threshold))
        while self.cursor < len(self.offsets) and not 0 < settings.max_moves < self.visits:
            offset = self.offsets[self.cursor]
            self.cursor += 1
            if self.cursor == 1 or self._near(offset, settings.move_window) >= threshold:
                self.visits += 1
                z, y, x = (int(n) for n in offset)
                return z, y, x
        return None

    def _near(self, offset: np.ndarray, window: Zyx) -> float:
        """The highest logit within the window around a position."""
        at = [n // 2 + int(o) for n, o in zip(self.logits.shape, offset, strict=True)]
        near = tuple(slice(max(0, a - w), a + w + 1) for a, w in zip(at, window, strict=True))
        return float(self.logits[near].max())


def make_example(
    number: int,
    seed: int,
    centres: CentreDraw,
    architecture: Architecture,
    settings: ExampleSettings,
) -> Example:
    """One example of a run; the same for the same number and seed, whatever thread makes it.

    Args:
      number: of the example, from 0.
      seed: of the run.
      centres: where it may come from.
      architecture: of the network.
      settings: how examples are made; axes of different voxel sizes are not exchanged.

    Returns:
      The example, no field of view visited yet.
    """
    rng = np.random.default_rng([seed, number])
    volume, centre = centres.draw(rng)
    augmentation = for_voxel_size(settings, volume.voxel_size_nm).augmentation
    order, mirrored = random_geometry(augmentation, rng)
    shape = canvas_shape(architecture, settings)
    z, y, x = (shape[order.index(axis)] for axis in range(3))
    image, inside, weight = _cut_out(volume, centre, (z, y, x), augmentation, rng)
    image = change_greys(change_sections(image, augmentation, rng), augmentation, rng)
    target = np.where(inside, np.float32(settings.target_inside), np.float32(settings.target_outside))
    image, target, weight = (
        np.ascontiguousarray(apply_geometry(array, order, mirrored)) for array in (image, target, weight)
    )
    logits = np.full(shape, logit(settings.pad_value), np.float32)
    logits[tuple(n // 2 for n in shape)] = logit(settings.init_activation)
    offsets = _offsets(architecture, settings.moves, rng)
    return Example(number, image, target, weight, logits, offsets)


def _cut_out(
    volume: TrainingVolume, centre: Zyx, shape: Zyx, augmentation: Augmentation, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, the centre's object and weights around a centre, deformed; each of the shape."""
    displacement = draw_displacement(shape, volume.voxel_size_nm, augmentation, rng)
    box = Box.from_shape(shape, [c - n // 2 for c, n in zip(centre, shape, strict=True)])
    wide = box.grow(reach_of(displacement)).intersect(Box.from_shape(volume.shape))
    found = volume.read(wide)
    z, y, x = (c - start for c, start in zip(centre, wide.start, strict=True))
    inside = found.labels == found.labels[z, y, x]
    if displacement is None:
        return found.image, inside, found.weight
    origin = box.shift([-start for start in wide.start]).start
    return deform(found.image, inside, found.weight, displacement, origin)


def _offsets(architecture: Architecture, moves: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """The centre, then every other position within reach: nearest shells first, shuffled within each."""
    steps = np.array(list(itertools.product(*(range(-n, n + 1) for n in moves))))
    steps = steps[rng.permutation(len(steps))]
    steps = steps[np.argsort(np.abs(steps).max(axis=1), kind="stable")]
    still = np.array(architecture.deltas_zyx) == 0
    steps = steps[~np.any(steps[:, still] != 0, axis=1)]
    return steps * architecture.deltas_zyx
