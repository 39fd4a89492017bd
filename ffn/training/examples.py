"""Training examples, and the field of view moving through them as it does at inference.

An example is a small canvas around a centre voxel: the image, the object the centre belongs to as a
soft target, and logits that start unknown but for the centre. The field of view visits the centre,
then the neighbouring positions one move away in random order, each only if the logits there have
reached the move threshold by then; every visit is one field of view of an optimisation step.
Moving by up to `moves` steps, the canvas measures fov + 2 · deltas · moves.
Source: Januszewski et al. 2018 (doi:10.1038/s41592-018-0049-4).

`ExampleStream` keeps a batch full: a finished example makes room for the next. Example number i is drawn
from its own random stream, so that the sequence does not depend on when a run was interrupted.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import edt
import numpy as np
from scipy.special import logit

from configs.errors import ConfigError
from ffn.network import Architecture
from ffn.training.augmentation import Augmentation, apply_geometry, change_greys, random_geometry
from ffn.training.partitions import NO_OBJECT, THRESHOLDS, centres_by_class, partition_classes


@dataclass(frozen=True)
class ExampleSettings:
    """How examples are made; probabilities, not logits.

    `moves` (z, y, x) is how many steps of delta the field of view may leave the centre. Centres
    lie at least `clearance` voxels from the nearest voxel of another object: inference never puts a
    seed on a membrane, and there the object to fill is anybody's guess.
    """

    init_activation: float = 0.95
    pad_value: float = 0.5
    move_threshold: float = 0.6
    target_inside: float = 0.95
    target_outside: float = 0.05
    moves: tuple[int, int, int] = (1, 1, 1)
    partition_thresholds: tuple[float, ...] = THRESHOLDS
    min_object_voxels: int = 10_000
    clearance: float = 2.0
    augmentation: Augmentation = field(default_factory=Augmentation)


class TrainingVolume:
    """A labelled volume ready to draw examples from.

    Args:
      name: used in messages.
      image: float32 (z, y, x), normalised.
      labels: integer (z, y, x), 0 = no object.

    Raises:
      ConfigError: shapes differ, or no example fits into any object.
    """

    def __init__(
        self,
        name: str,
        image: np.ndarray,
        labels: np.ndarray,
        architecture: Architecture,
        settings: ExampleSettings,
    ) -> None:
        if image.shape != labels.shape:
            raise ConfigError(f"training volume {name}: raw is {image.shape} but labels are {labels.shape}")
        self.name, self.image, self.labels = name, image, labels
        reach = zip(architecture.fov_zyx, architecture.deltas_zyx, strict=True)
        z, y, x = (fov // 2 + delta for fov, delta in reach)
        margin = _margin(canvas_shape(architecture, settings), settings.augmentation.permute_axes)
        classes = partition_classes(
            labels, (z, y, x), settings.partition_thresholds, settings.min_object_voxels
        )
        classes[edt.edt(labels) < settings.clearance] = NO_OBJECT
        self.centres = centres_by_class(classes, margin)
        if not self.centres:
            raise ConfigError(
                f"training volume {name} of shape {labels.shape} has no object of at least "
                f"{settings.min_object_voxels} voxels in which an example of "
                f"{canvas_shape(architecture, settings)} "
                "fits; lower min_object_voxels or give a larger volume"
            )

    def draw_centre(self, rng: np.random.Generator) -> tuple[int, int, int]:
        """A voxel (z, y, x): first a class, all alike, then one of its voxels."""
        of_class = self.centres[rng.integers(len(self.centres))]
        z, y, x = np.unravel_index(of_class[rng.integers(len(of_class))], self.labels.shape)
        return int(z), int(y), int(x)


def canvas_shape(architecture: Architecture, settings: ExampleSettings) -> tuple[int, int, int]:
    """Voxels (z, y, x) of one example's canvas.

    Args:
      architecture: its field of view and deltas.
      settings: its moves.
    """
    reach = zip(architecture.fov_zyx, architecture.deltas_zyx, settings.moves, strict=True)
    z, y, x = (fov + 2 * delta * moves for fov, delta, moves in reach)
    return z, y, x


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


class ExampleStream:
    """A batch of examples in flight, topped up as they finish.

    Iterate with `fields_of_view` to fill a batch and `update` to return the network's logits.
    """

    def __init__(
        self,
        volumes: Sequence[TrainingVolume],
        volume_weights: Sequence[float],
        architecture: Architecture,
        settings: ExampleSettings,
        batch_size: int,
        seed: int,
    ) -> None:
        self._volumes, self._architecture, self._settings, self._seed = volumes, architecture, settings, seed
        self._weights = np.asarray(volume_weights, float) / np.sum(volume_weights)
        self._threshold = float(logit(settings.move_threshold))
        self._next = 0
        self.offered = self.taken = 0
        self.slots = [self._fresh() for _ in range(batch_size)]
        self._fields: list[tuple[slice, ...]] = []

    def _make(self, number: int) -> Example:
        return make_example(
            number, self._seed, self._volumes, self._weights, self._architecture, self._settings
        )

    def _fresh(self) -> Example:
        example = self._make(self._next)
        self._next += 1
        return example

    def _field(self, example: Example, offset: np.ndarray) -> tuple[slice, ...]:
        starts = (np.array(example.logits.shape) - self._architecture.fov_zyx) // 2 + offset
        return tuple(slice(s, s + n) for s, n in zip(starts, self._architecture.fov_zyx, strict=True))

    def _advance(self, example: Example) -> tuple[slice, ...] | None:
        """The field of view the example visits next, None when it is through."""
        middle = np.array(example.logits.shape) // 2
        while example.cursor < len(example.offsets):
            offset = example.offsets[example.cursor]
            example.cursor += 1
            first = example.cursor == 1
            self.offered += not first
            if first or example.logits[tuple(middle + offset)] >= self._threshold:
                self.taken += not first
                return self._field(example, offset)
        return None

    def fields_of_view(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The next batch: image, logits, target and weight in the loss (1, or 0 where a mask is).

        Each is float32 (batch, z, y, x) of the field of view.
        """
        shape = (len(self.slots), *self._architecture.fov_zyx)
        images, logits, targets, weights = (np.empty(shape, np.float32) for _ in range(4))
        self._fields = []
        for i, example in enumerate(self.slots):
            box = self._advance(example)
            if box is None:
                example = self.slots[i] = self._fresh()
                box = self._advance(example)
            assert box is not None
            self._fields.append(box)
            images[i], logits[i] = example.image[box], example.logits[box]
            targets[i], weights[i] = example.target[box], example.weight[box]
        return images, logits, targets, weights

    def update(self, logits: np.ndarray) -> None:
        """Writes the updated logits (batch, z, y, x) of the batch handed out last into the canvases."""
        for example, box, values in zip(self.slots, self._fields, logits, strict=True):
            example.logits[box] = values

    def state(self) -> dict[str, np.ndarray]:
        """Plain arrays from which `restore` continues exactly here (between `update` and the next batch)."""
        return {
            "next": np.array(self._next),
            "moves": np.array([self.offered, self.taken]),
            "numbers": np.array([e.number for e in self.slots]),
            "cursors": np.array([e.cursor for e in self.slots]),
            "logits": np.stack([e.logits for e in self.slots]),
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Inverse of `state`, for a stream made with the same arguments."""
        self._next = int(state["next"])
        self.offered, self.taken = (int(n) for n in state["moves"])
        self.slots = [self._make(int(number)) for number in state["numbers"]]
        for example, cursor, logits in zip(self.slots, state["cursors"], state["logits"], strict=True):
            example.cursor, example.logits = int(cursor), logits.copy()


def _margin(canvas: tuple[int, int, int], exchanged: tuple[tuple[int, ...], ...]) -> tuple[int, int, int]:
    """Voxels an example needs around its centre, whichever way the axes of a group are exchanged."""
    wide = [n // 2 for n in canvas]
    for group in exchanged:
        for axis in group:
            wide[axis] = max(canvas[a] // 2 for a in group)
    z, y, x = wide
    return z, y, x
