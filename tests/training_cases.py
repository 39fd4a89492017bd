"""Volumes and settings that the tests of training share."""

from __future__ import annotations

import numpy as np

from ffn.network import Architecture
from ffn.training.example_settings import ExampleSettings

TINY = Architecture(depth=2, features=2, fov_zyx=(5, 5, 5), deltas_zyx=(2, 2, 2))
SETTINGS = ExampleSettings(min_object_voxels=50, clearance=1.5)


def two_slabs(shape=(20, 22, 24)) -> tuple[np.ndarray, np.ndarray]:
    """An image of -1 and 1, and the labels 1 and 2, that meet in the middle of y."""
    labels = np.ones(shape, np.uint32)
    labels[:, shape[1] // 2 :] = 2
    image = np.where(labels == 1, -1.0, 1.0).astype(np.float32)
    return image, labels


def blobs(shape, seed: int, count: int = 12, unlabelled: float = 0.25) -> np.ndarray:
    """uint32 labels: cells around random points, and a share of the voxels unlabelled."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 1, (count, 3)) * shape
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    distance = ((grid[..., None, :] - points) ** 2).sum(-1)
    labels = (distance.argmin(-1) + 1).astype(np.uint32)
    labels[rng.random(shape) < unlabelled] = 0
    return labels
