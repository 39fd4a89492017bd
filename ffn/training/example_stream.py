"""A batch of training examples in flight: a finished example makes room for the next.

The field of view of each moves on as the network's answers come in (`ffn.training.examples`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import logit

from ffn.network import Architecture
from ffn.training.example_settings import ExampleSettings
from ffn.training.examples import Example, make_example
from ffn.training.training_volume import TrainingVolume


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
