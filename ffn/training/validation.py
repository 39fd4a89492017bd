"""The loss on data that are not trained on, over fields of view that are the same each time.

Of every other example the first field of view is looked at, with nothing but the seed in its logits. Of the
others one that is a move away, after the first was filled as it should be: so what counts is both
how an object is begun and how it is gone on with, and a network that does not move is no better off.
Nothing is augmented.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import logit

from ffn.network import Architecture
from ffn.training.augmentation import Augmentation
from ffn.training.centre_draw import CentreDraw
from ffn.training.engine import Trainable
from ffn.training.example_settings import ExampleSettings
from ffn.training.examples import Example, make_example
from ffn.training.grey_sample import contents_digest
from ffn.training.training_volume import TrainingVolume

_PLAIN = Augmentation(permute_axes=(), reflect=False, contrast=0.0, brightness=0.0, noise=0.0)
_SEED = 0
# Targets of 0 and 1 have no logits.
_LEAST, _MOST = 1e-3, 1 - 1e-3


@dataclass(frozen=True)
class ValidationSettings:
    """How often and how thoroughly; the fields of the config's `validation_loss` section.

    Attributes:
      fovs: fields of view.
      every_steps: optimisation steps between two times.
      keep_best: whether the network of the lowest loss is kept.
    """

    fovs: int = 512
    every_steps: int = 2000
    keep_best: bool = True


class Validation:
    """Held-out volumes with the fields of view that are looked at in them.

    Attributes:
      settings: as given.
      digest: of what the loss is taken of; losses of the same can be compared.

    Args:
      volumes: where they come from.
      volume_weights: how often each is drawn.
      architecture: of the network.
      examples: how training examples are made.
      settings: see `ValidationSettings`.
    """

    def __init__(
        self,
        volumes: Sequence[TrainingVolume],
        volume_weights: Sequence[float],
        architecture: Architecture,
        examples: ExampleSettings,
        settings: ValidationSettings,
    ) -> None:
        self.settings = settings
        self._architecture = architecture
        self._centres = CentreDraw(volumes, volume_weights, examples.min_class_voxels)
        self._examples = replace(examples, augmentation=_PLAIN)
        self.digest = _digest(contents_digest(volumes), volume_weights, settings.fovs)

    def is_due(self, step: int) -> bool:
        """Whether it is time after so many steps."""
        return step % self.settings.every_steps == 0

    def loss(self, engine: Trainable, weights: Sequence[np.ndarray], batch_size: int) -> float:
        """Mean cross-entropy that a network of these weights has.

        Args:
          engine: computes it.
          weights: as `engine.weights` gives them.
          batch_size: fields of view at a time.
        """
        loss = weight = 0.0
        for start in range(0, self.settings.fovs, batch_size):
            numbers = range(start, min(start + batch_size, self.settings.fovs))
            fields: list[tuple[np.ndarray, ...]] = [self.field(number) for number in numbers]
            # Every batch of another size would be compiled for itself; what is added has no weight.
            nothing = tuple(np.zeros_like(each) for each in fields[0])
            fields += [nothing] * (batch_size - len(fields))
            counts = engine.evaluate(weights, *(np.stack(each) for each in zip(*fields, strict=True)))
            loss, weight = loss + counts.loss, weight + counts.weight
        return loss / max(weight, 1.0)

    def field(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Image, logits, target and weight of a field of view, each float32 (z, y, x) of its size."""
        example = make_example(number, _SEED, self._centres, self._architecture, self._examples)
        start = self._box(example, np.zeros(3, int))
        logits, offset = example.logits, _next_inside(example) if number % 2 else None
        if offset is not None:
            logits = logits.copy()
            logits[start] = logit(np.clip(example.target[start], _LEAST, _MOST))
        box = start if offset is None else self._box(example, offset)
        return example.image[box], logits[box], example.target[box], example.weight[box]

    def _box(self, example: Example, offset: np.ndarray) -> tuple[slice, ...]:
        starts = (np.array(example.image.shape) - self._architecture.fov_zyx) // 2 + offset
        sizes = self._architecture.fov_zyx
        return tuple(slice(int(s), int(s) + n) for s, n in zip(starts, sizes, strict=True))


def _digest(contents: str, weights: Sequence[float], fovs: int) -> str:
    return f"{contents} {list(map(float, weights))} {fovs}"


def _next_inside(example: Example) -> np.ndarray | None:
    """Where the field of view of a perfect network moves first; None: nowhere."""
    middle = np.array(example.image.shape) // 2
    inside = (offset for offset in example.offsets[1:] if example.target[tuple(middle + offset)] > 0.5)
    return next(inside, None)
