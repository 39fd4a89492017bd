"""Training examples, and the field of view moving through them as it does at inference.

An example is a small canvas around a centre voxel: the image, the object the centre belongs to as a
soft target, and logits that start unknown but for the centre. The field of view visits the centre,
then the neighbouring positions one move away in random order, each only if the logits there have
reached the move threshold by then; every visit is one field of view of an optimisation step.
Moving by up to `moves` steps, the canvas measures fov + 2 · deltas · moves.
Source: Januszewski et al. 2018 (doi:10.1038/s41592-018-0049-4).

Example number i is drawn from its own random stream, so that the sequence does not depend on when a run was
interrupted.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logit

from ffn.network import Architecture
from ffn.training.augmentation import apply_geometry, change_greys, random_geometry
from ffn.training.example_settings import ExampleSettings, canvas_shape
from ffn.training.training_volume import TrainingVolume


@dataclass
class Example:
    """One canvas and where its field of view goes; arrays are float32 (z, y, x) of the canvas shape.

    `cursor` counts the offsets tried so far, `offsets` are (n, 3) voxels from the centre.
    """

    number: int
    image: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    logits: np.ndarray
    offsets: np.ndarray
    cursor: int = 0


def make_example(
    number: int,
    seed: int,
    volumes: Sequence[TrainingVolume],
    weights: np.ndarray,
    architecture: Architecture,
    settings: ExampleSettings,
) -> Example:
    """One example of a run; the same for the same number and seed.

    Args:
      number: of the example, from 0.
      seed: of the run.
      volumes: where it may come from.
      weights: (n,) chance of each volume; their sum is 1.
      architecture: of the network.
      settings: how examples are made.

    Returns:
      The example, no field of view visited yet.
    """
    rng = np.random.default_rng([seed, number])
    volume = volumes[int(rng.choice(len(volumes), p=weights))]
    centre = volume.draw_centre(rng)
    order, mirrored = random_geometry(settings.augmentation, rng)
    shape = canvas_shape(architecture, settings)
    size = [shape[order.index(axis)] for axis in range(3)]
    box = tuple(slice(c - n // 2, c + n // 2 + 1) for c, n in zip(centre, size, strict=True))
    image = change_greys(apply_geometry(volume.image[box], order, mirrored), settings.augmentation, rng)
    inside = apply_geometry(volume.labels[box] == volume.labels[centre], order, mirrored)
    target = np.where(inside, np.float32(settings.target_inside), np.float32(settings.target_outside))
    logits = np.full(shape, logit(settings.pad_value), np.float32)
    logits[tuple(n // 2 for n in shape)] = logit(settings.init_activation)
    weight = np.ones(shape, np.float32)
    return Example(number, image, target, weight, logits, _offsets(architecture, settings.moves, rng))


def _offsets(architecture: Architecture, moves: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """The centre, then every other position within reach: nearest shells first, shuffled within each."""
    steps = np.array(list(itertools.product(*(range(-n, n + 1) for n in moves))))
    steps = steps[rng.permutation(len(steps))]
    steps = steps[np.argsort(np.abs(steps).max(axis=1), kind="stable")]
    still = np.array(architecture.deltas_zyx) == 0
    steps = steps[~np.any(steps[:, still] != 0, axis=1)]
    return steps * architecture.deltas_zyx
