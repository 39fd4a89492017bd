"""A batch of training examples in flight: a finished example makes room for the next.

The field of view of each moves on as the network's answers come in (`ffn.training.examples`). Examples are
prepared ahead of time in threads and taken strictly by number, so that neither threads nor timing show in
what comes out.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

import numpy as np

from ffn.network import Architecture
from ffn.training.centre_draw import CentreDraw
from ffn.training.example_settings import ExampleSettings
from ffn.training.examples import Example, make_example
from ffn.training.read_ahead import ReadAhead
from ffn.training.training_volume import TrainingVolume
from volumes.box import Zyx


class ExampleStream:
    """A batch of examples in flight, topped up as they finish.

    Iterate with `fields_of_view` to fill a batch and `update` to return the network's logits. Use it in a
    `with` block, or close it, so that its threads end.

    Attributes:
      slots: the examples in flight.
      offered: positions that were tried so far, the first of an example not counted.
      taken: how many of them were visited.

    Args:
      volumes: where examples come from.
      volume_weights: how often each is drawn, in proportion; see `CentreDraw`.
      architecture: of the network.
      settings: how examples are made.
      batch_size: examples in flight.
      seed: of the run.
      read_ahead: examples prepared ahead of those in flight.
      read_threads: threads that prepare them; 0: none, they are made when they are needed.
    """

    def __init__(
        self,
        volumes: Sequence[TrainingVolume],
        volume_weights: Sequence[float],
        architecture: Architecture,
        settings: ExampleSettings,
        batch_size: int,
        seed: int,
        read_ahead: int = 0,
        read_threads: int = 0,
    ) -> None:
        self._make = partial(
            make_example,
            seed=seed,
            centres=CentreDraw(volumes, volume_weights, settings.min_class_voxels),
            architecture=architecture,
            settings=settings,
        )
        self._fov, self._settings, self._batch_size = architecture.fov_zyx, settings, batch_size
        self._ahead = ReadAhead(self._make, read_ahead, read_threads)
        self.offered = self.taken = 0
        self.slots: list[Example] = []
        self._fields: list[tuple[slice, ...]] = []
        self._waited, self._asked = 0.0, time.monotonic()

    def __enter__(self) -> ExampleStream:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the threads; what they prepared is dropped. May be called twice."""
        self._ahead.close()

    def fields_of_view(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The next batch: image, logits, target and weight in the loss (1, or 0 where a mask is).

        Each is float32 (batch, z, y, x) of the field of view.

        Raises:
          ReconstructionError: a volume that cannot be read, as soon as a thread has met it.
        """
        begun = time.monotonic()
        while len(self.slots) < self._batch_size:
            self.slots.append(self._ahead.take())
        shape = (self._batch_size, *self._fov)
        images, logits, targets, weights = (np.empty(shape, np.float32) for _ in range(4))
        self._fields = [self._next_field(slot) for slot in range(self._batch_size)]
        for i, (example, box) in enumerate(zip(self.slots, self._fields, strict=True)):
            images[i], logits[i] = example.image[box], example.logits[box]
            targets[i], weights[i] = example.target[box], example.weight[box]
        self._waited += time.monotonic() - begun
        return images, logits, targets, weights

    def update(self, logits: np.ndarray) -> None:
        """Writes the updated logits (batch, z, y, x) of the batch handed out last into the canvases."""
        begun = time.monotonic()
        for example, box, values in zip(self.slots, self._fields, logits, strict=True):
            example.logits[box] = values
        self._waited += time.monotonic() - begun

    def waiting_share(self) -> float:
        """Share of the wall time since the last call, or the start, in which the device had nothing to do.

        This is the time within `fields_of_view` and `update`: waiting for examples and putting batches
        together.
        """
        now = time.monotonic()
        share = self._waited / max(now - self._asked, 1e-9)
        self._waited, self._asked = 0.0, now
        return min(1.0, share)

    def state(self) -> dict[str, np.ndarray]:
        """Plain arrays from which `restore` continues exactly here (between `update` and the next batch)."""
        canvases = [example.logits for example in self.slots]
        return {
            "next": np.array(self._ahead.next),
            "moves": np.array([self.offered, self.taken]),
            "numbers": np.array([e.number for e in self.slots], np.int64),
            "cursors": np.array([e.cursor for e in self.slots], np.int64),
            "visits": np.array([e.visits for e in self.slots], np.int64),
            "logits": np.stack(canvases) if canvases else np.zeros((0, 0, 0, 0), np.float32),
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Inverse of `state`, for a stream made with the same arguments; read-ahead may differ."""
        self._ahead.seek(int(state["next"]))
        self.offered, self.taken = (int(n) for n in state["moves"])
        self.slots = [self._make(int(number)) for number in state["numbers"]]
        kept = zip(self.slots, state["cursors"], state["visits"], state["logits"], strict=True)
        for example, cursor, visits, logits in kept:
            example.cursor, example.visits, example.logits = int(cursor), int(visits), logits.copy()

    def _next_field(self, slot: int) -> tuple[slice, ...]:
        """The field of view that a slot shows next, of a new example where the last one is through."""
        offset = self._advance(self.slots[slot])
        while offset is None:
            self.slots[slot] = self._ahead.take()
            offset = self._advance(self.slots[slot])
        middle = (n // 2 + o for n, o in zip(self.slots[slot].logits.shape, offset, strict=True))
        return tuple(slice(m - n // 2, m + n // 2 + 1) for m, n in zip(middle, self._fov, strict=True))

    def _advance(self, example: Example) -> Zyx | None:
        before, fresh = example.cursor, example.cursor == 0
        offset = example.advance(self._settings)
        self.offered += example.cursor - before - fresh
        self.taken += offset is not None and not fresh
        return offset
