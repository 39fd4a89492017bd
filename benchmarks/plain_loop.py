"""The yardstick of `fov_throughput`: the method written down plainly in TensorFlow and NumPy.

One field of view at a time goes through `Session.run`, in float32, and everything around it is slicing and
`numpy`. It is what one would write in an afternoon from the description of the method, and what it finds
must equal what our engine finds.

Arrays are (z, y, x); the image is normalised float32, logits are float32 with NaN = not visited.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable

import numpy as np

from ffn.flood import FloodOptions, logit
from ffn.weights import NetworkFile

Zyx = tuple[int, int, int]


class PlainNetwork:
    """The network as bare `tf.nn.conv3d` in a session: image and logits (z, y, x) to logits (z, y, x)."""

    def __init__(self, network: NetworkFile) -> None:
        import tensorflow as tf

        architecture, weights = network.info.architecture, network.weights

        def convolve(x: tf.Tensor, name: str) -> tf.Tensor:
            convolved = tf.nn.conv3d(x, tf.constant(weights[f"{name}/kernel"]), [1] * 5, "SAME")
            return tf.nn.bias_add(convolved, tf.constant(weights[f"{name}/bias"]))

        with tf.Graph().as_default() as graph:
            self._inputs = tf.compat.v1.placeholder(tf.float32, (1, *architecture.fov_zyx, 2))
            x = convolve(tf.nn.relu(convolve(self._inputs, "conv0_a")), "conv0_b")
            for module in range(1, architecture.depth):
                x += convolve(tf.nn.relu(convolve(tf.nn.relu(x), f"conv{module}_a")), f"conv{module}_b")
            self._logits = convolve(tf.nn.relu(x), "conv_lom") + self._inputs[..., 1:]
        self._session = tf.compat.v1.Session(graph=graph)

    def __call__(self, image: np.ndarray, logits: np.ndarray) -> np.ndarray:
        inputs = np.stack([image, logits], axis=-1)[np.newaxis]
        return self._session.run(self._logits, {self._inputs: inputs})[0, ..., 0]


def segment(
    network: PlainNetwork,
    image: np.ndarray,
    seeds: np.ndarray,
    options: FloodOptions,
    after_step: Callable[[], object],
) -> np.ndarray:
    """Segments a subvolume, one seed after the other.

    Args:
        network: answers each field of view.
        image: normalised image, float32 (z, y, x).
        seeds: integers (n, 3), z, y, x.
        options: of the flood.
        after_step: called after every field of view.

    Returns:
        The segments, int32 (z, y, x).
    """
    segments = np.zeros(image.shape, np.int32)
    for seed in map(tuple, seeds.tolist()):
        if segments[seed] > 0:
            continue
        if (segments[_around(seed, options.min_boundary_dist_zyx)] > 0).any():
            segments[seed] = -1
            continue
        logits, steps = _flood(network, image, segments, seed, options, after_step)
        mask = (np.nan_to_num(logits, nan=-np.inf) >= logit(options.segment_threshold)) & (segments <= 0)
        lost = logits[seed] < logit(options.move_threshold)
        if steps and (lost or np.count_nonzero(mask) < options.min_segment_size):
            segments[seed] = -1
        elif steps:
            segments[mask] = segments.max() + 1
    return np.maximum(segments, 0)


def _flood(
    network: PlainNetwork,
    image: np.ndarray,
    segments: np.ndarray,
    seed: Zyx,
    options: FloodOptions,
    after_step: Callable[[], object],
) -> tuple[np.ndarray, int]:
    """Logits of the object at a seed, and the fields of view it took."""
    logits = np.full(image.shape, np.nan, np.float32)
    logits[seed] = logit(options.init_activation)
    threshold, deltas = logit(options.move_threshold), options.deltas_zyx
    queue, done, steps = deque([seed]), set(), 0
    while queue and logits[seed] >= threshold:
        position = queue.popleft()
        cell = tuple((p - s + d // 2) // max(d, 1) for p, s, d in zip(position, seed, deltas, strict=True))
        fits = all(r <= p < n - r for p, r, n in zip(position, options.radius_zyx, image.shape, strict=True))
        if cell in done or not logits[position] >= threshold or not fits or segments[position] > 0:
            continue
        fov = _around(position, options.radius_zyx)
        seen = np.where(np.isnan(logits[fov]), logit(options.pad_value), logits[fov])
        logits[fov] = _restrained(logits[fov], network(image[fov], seen), options)
        done.add(cell)
        queue.extend(_face_maxima(logits, position, deltas, threshold))
        steps += 1
        after_step()
    return logits, steps


def _restrained(old: np.ndarray, new: np.ndarray, options: FloodOptions) -> np.ndarray:
    """The disconnected-seed rule: in a field of view that is mostly active, low logits may not rise."""
    active = np.mean(new >= logit(options.move_threshold))
    if options.disco_seed_threshold < 0 or active <= options.disco_seed_threshold:
        return new
    return np.where((old < 0) & (new > old), old, new)


def _face_maxima(logits: np.ndarray, center: Zyx, deltas: Zyx, threshold: np.float32) -> list[Zyx]:
    """The highest voxel of each face of the ±deltas cuboid that reaches the threshold, highest first."""
    z, y, x = center
    found = []
    cuboid = logits[_around(center, deltas)]
    for axis, side in itertools.product(range(3), (0, -1)):
        if deltas[axis] == 0:
            continue
        face = np.moveaxis(cuboid, axis, 0)[side]
        highest = list(np.unravel_index(np.argmax(face), face.shape))
        highest.insert(axis, side % cuboid.shape[axis])
        offset = tuple(int(h - d) for h, d in zip(highest, deltas, strict=True))
        found.append((face.max(), offset))
    found.sort(reverse=True)
    return [(z + dz, y + dy, x + dx) for score, (dz, dy, dx) in found if score >= threshold]


def _around(center: Zyx, radius: Zyx) -> tuple[slice, ...]:
    return tuple(slice(max(c - r, 0), c + r + 1) for c, r in zip(center, radius, strict=True))
