"""A look at the grey values of a training volume before the training starts.

A network sees grey values that are brought to mean 0 and standard deviation 1 by the config's numbers.
Numbers that belong to another image go unnoticed otherwise: the training runs, and learns little or nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from configs.errors import ConfigError
from ffn.training.training_volume import TrainingVolume
from ffn.training.volume_parts import BLOCK, blocks_of
from volumes.box import Box

_EDGE = 48
# Beyond these the mean (in standard deviations) and the ratio of standard deviations are worth telling.
_FAR, _TIMES = 1.0, 2.0


@dataclass(frozen=True)
class Greys:
    """Grey values as they are read: mean, standard deviation, and a digest of those looked at."""

    mean: float
    stddev: float
    digest: str


def sample_greys(volume: TrainingVolume) -> Greys:
    """The grey values of up to 27 boxes of 48 voxels along each axis, spread over a volume.

    Args:
      volume: smaller ones are looked at as a whole.

    Raises:
      ConfigError: the whole image has one grey value.
    """
    digest, total, squares, voxels = hashlib.blake2b(digest_size=16), 0.0, 0.0, 0
    for box in _boxes(volume):
        image = volume.greys(box)
        digest.update(image.tobytes())
        values = image.astype(np.float64)
        total, squares, voxels = total + values.sum(), squares + np.square(values).sum(), voxels + values.size
    mean = total / voxels
    stddev = float(np.sqrt(max(0.0, squares / voxels - mean**2)))
    if stddev <= 1e-6 * abs(mean) and _is_constant(volume):
        raise ConfigError(
            f"training volume {volume.name} has the grey value {mean:g} everywhere, so that nothing is to be "
            f"seen in it; give another image or box, or check preprocessing"
        )
    return Greys(float(mean), stddev, digest.hexdigest())


def contents_digest(volumes: Sequence[TrainingVolume]) -> str:
    """Digest of labels and masks, and of the grey values that `sample_greys` looks at.

    Args:
      volumes: in the order in which they are drawn from.
    """
    parts = [f"{volume.shape} {volume.digest} {sample_greys(volume).digest}" for volume in volumes]
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=12).hexdigest()


def about_normalisation(name: str, greys: Greys, image_mean: float, image_stddev: float) -> str:
    """A line where an image is far from what the config says of it; empty: it is not.

    Args:
      name: of the volume.
      greys: by `sample_greys`.
      image_mean, image_stddev: of the config.
    """
    near = abs(greys.mean - image_mean) <= _FAR * image_stddev
    if near and image_stddev / _TIMES <= greys.stddev <= image_stddev * _TIMES:
        return ""
    return (
        f"training volume {name} has grey values of mean {greys.mean:.4g} and standard deviation "
        f"{greys.stddev:.4g}, far from image_mean {image_mean:g} and image_stddev {image_stddev:g}; a "
        f"network learns little so"
    )


def _boxes(volume: TrainingVolume) -> list[Box]:
    ranges = []
    for n in volume.shape:
        starts = range(0, n, _EDGE) if n <= 3 * _EDGE else (0, (n - _EDGE) // 2, n - _EDGE)
        ranges.append([(start, min(n, start + _EDGE)) for start in starts])
    return [Box(*zip(*ends, strict=True)) for ends in product(*ranges)]


def _is_constant(volume: TrainingVolume) -> bool:
    first = None
    for box in blocks_of(Box.from_shape(volume.shape), BLOCK):
        image = volume.greys(box)
        first = image.flat[0] if first is None else first
        if (image != first).any():
            return False
    return True
