"""A cheap network for tests of the flood, and images it finds objects in."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
from scipy import ndimage

from ffn.flood import FovRequest


class FakeNetwork:
    """Answers one field of view after the other from image and logits; the predictor of `run_floods`.

    Attributes:
        batch_sizes: of the batches so far.
    """

    def __init__(self) -> None:
        self.batch_sizes: list[int] = []

    def submit(self, image: np.ndarray, logits: np.ndarray) -> LateAnswer:
        self.batch_sizes.append(len(image))
        return LateAnswer(image, logits)


class LateAnswer:
    """Reads its input no earlier than the answer is wanted, as a device that is slow may."""

    def __init__(self, image: np.ndarray, logits: np.ndarray) -> None:
        self._image, self._logits = image, logits

    def result(self) -> np.ndarray:
        answers = np.stack([answer(*fov) for fov in zip(self._image, self._logits, strict=True)])
        answers.flags.writeable = False
        return answers


def answer(image: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Updated logits of one field of view: the bright belongs to the object, more so if it did before."""
    assert not np.isnan(logits).any()
    return (3 * image + np.clip(logits, -4, 4) / 2).astype(np.float32)


def drive(floods: Generator[FovRequest, np.ndarray, Any], shape: tuple[int, int, int]) -> Any:
    """Runs one flood without an executor and returns its result."""
    image, logits = np.empty((2, *shape), np.float32)
    try:
        request = next(floods)
        while True:
            request.copy_into(image, logits)
            request = floods.send(answer(image, logits))
    except StopIteration as end:
        return end.value


def blobs(shape: tuple[int, int, int], number: int, size: float = 4.0) -> np.ndarray:
    """Bright blobs of about `size` voxels in the dark, of mean 0 and standard deviation 1."""
    noise = np.random.default_rng(number).standard_normal(shape)
    smooth = ndimage.gaussian_filter(noise, size)
    return ((smooth - smooth.mean()) / smooth.std()).astype(np.float32)


def dim_blobs(shape: tuple[int, int, int], number: int) -> np.ndarray:
    """Blobs far enough apart for `FakeNetwork` to find several objects, some of them overlapping."""
    return blobs(shape, number, size=2.5) - np.float32(0.4)
