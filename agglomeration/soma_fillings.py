"""How much of cell bodies supervoxels fill.

Inputs: label volumes (z, y, x), 0 = nothing, read box by box; of a large ball only every so-manieth voxel is
looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from agglomeration.cell_bodies import CellBodies
from agglomeration.errors import AgglomerationError
from agglomeration.merge_graph import positions_of
from inference.supervoxel_table import SupervoxelTable
from volumes import Box, Volume, whole_factors

_SAMPLES_ACROSS = 48
# Voxels along each edge of what is read at once.
_EDGE = 256


@dataclass(frozen=True)
class Fillings:
    """How much of cell bodies supervoxels fill; one row for each pair that shares anything.

    Attributes:
      body: (k,) int64, positions of cell bodies in their table.
      supervoxel: (k,) uint64.
      share: (k,) float64, of the cell body.
      inside: (k,) float64, of the supervoxel.
    """

    body: np.ndarray
    supervoxel: np.ndarray
    share: np.ndarray
    inside: np.ndarray


def fill_balls(bodies: CellBodies, supervoxels: Volume, table: SupervoxelTable) -> Fillings:
    """How much of the ball of each cell body supervoxels fill, as far as the volume holds it.

    Voxels count 1 - (distance from the centre ÷ radius)².

    Args:
      bodies: of a table.
      supervoxels: labels.
      table: of all supervoxels.

    Raises:
      AgglomerationError: the volume holds a supervoxel that is not in the table.
      VolumeError: the volume cannot be read.
    """
    found = [
        _fill_ball(centre_nm, radius_nm, supervoxels)
        for centre_nm, radius_nm in zip(bodies.centres_nm, bodies.radius_nm.tolist(), strict=True)
    ]
    body = np.repeat(np.arange(len(found)), [ids.size for ids, _, _ in found])
    ids, share, voxels = (np.concatenate(column) for column in zip(*found, strict=True))
    inside = np.minimum(1.0, voxels / table.voxels[positions_of(table.ids, ids)])
    return Fillings(body, ids, share, inside)


def fill_labels(labels: Volume, supervoxels: Volume, table: SupervoxelTable) -> tuple[CellBodies, Fillings]:
    """Cell bodies from their labels, and how much of them supervoxels fill.

    Args:
      labels: cell bodies; voxels of the same size as the supervoxels', or of whole multiples.
      supervoxels: labels. Of each coarse voxel the one in its middle counts.
      table: of all supervoxels.

    Returns:
      The cell bodies, each as a ball of its volume around its centre of mass, and the fillings.

    Raises:
      AgglomerationError: labels that are no whole numbers or hold no cell body, or a supervoxel that is not
        in the table.
      VolumeError: a volume that cannot be read, or voxels that are no whole multiples.
    """
    if labels.dtype.kind not in "iu":
        raise AgglomerationError(f"cell bodies '{labels.spec}' are {labels.dtype}; labels are whole numbers")
    factors = whole_factors(supervoxels.voxel_size_nm, labels.voxel_size_nm, f"cell bodies '{labels.spec}'")
    counts: dict[tuple[int, int], int] = {}
    sums: dict[int, np.ndarray] = {}
    for box in boxes_of(labels.bounds, max(1, _EDGE // max(factors))):
        block = labels.read(box)
        where = np.argwhere(block > 0)
        if where.size == 0:
            continue
        middles = [f * np.arange(a, b) + f // 2 for a, b, f in zip(box.start, box.stop, factors, strict=True)]
        own = block[block > 0].astype(np.uint64)
        pairs = np.stack([own, sampled(supervoxels, middles)[block > 0]], axis=1)
        for pair, n in zip(*np.unique(pairs, axis=0, return_counts=True), strict=True):
            key = (int(pair[0]), int(pair[1]))
            counts[key] = counts.get(key, 0) + int(n)
        for body in np.unique(own).tolist():
            at = where[own == body] + box.start
            sums[body] = sums.get(body, np.zeros(4, np.int64)) + [*at.sum(axis=0), len(at)]
    if not sums:
        raise AgglomerationError(f"'{labels.spec}' holds no cell bodies; leave somas.volume out")
    return _bodies(sums, labels), _of_labels(sums, counts, int(np.prod(factors)), table)


def sampled(volume: Volume, positions: Sequence[np.ndarray]) -> np.ndarray:
    """Labels at the crossings of planes, read in boxes of bounded size.

    Args:
      volume: labels.
      positions: for each axis (zyx) ascending voxels, absolute.

    Returns:
      (n_z, n_y, n_x) uint64; 0 beyond the volume's bounds.
    """
    labels = np.zeros([len(axis) for axis in positions], np.uint64)
    ends = zip(positions, volume.bounds.start, volume.bounds.stop, strict=True)
    parts = [_stretches(axis, low, high) for axis, low, high in ends]
    for z, y, x in product(*parts):
        at = [axis[part] for axis, part in zip(positions, (z, y, x), strict=True)]
        box = Box(tuple(int(axis[0]) for axis in at), tuple(int(axis[-1]) + 1 for axis in at))  # type: ignore[arg-type]
        picked = np.ix_(*(axis - axis[0] for axis in at))
        labels[z, y, x] = volume.read(box)[picked]
    return labels


def _stretches(axis: np.ndarray, low: int, high: int) -> list[slice]:
    """Parts of ascending positions that lie within bounds, each in a stretch of at most `_EDGE` voxels."""
    first, last = np.searchsorted(axis, [low, high])
    stretches = []
    while first < last:
        end = min(last, np.searchsorted(axis, axis[first] + _EDGE))
        stretches.append(slice(int(first), int(end)))
        first = end
    return stretches


def boxes_of(bounds: Box, edge: int) -> Iterator[Box]:
    """A box in blocks.

    Args:
      bounds: the box.
      edge: of the blocks, in voxels; the last ones are smaller.
    """
    for corner in product(*(range(a, b, edge) for a, b in zip(bounds.start, bounds.stop, strict=True))):
        yield Box.from_shape((edge,) * 3, corner).intersect(bounds)


def _fill_ball(
    centre_nm: np.ndarray, radius_nm: float, supervoxels: Volume
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Supervoxels in a ball, ascending, their weighted shares of it, and their voxels there."""
    positions, weights, steps = [], [], []
    for axis, size in enumerate(supervoxels.voxel_size_nm):
        step = max(1, round(2 * radius_nm / size / _SAMPLES_ACROSS))
        low, high = (int((centre_nm[axis] + sign * radius_nm) // size) for sign in (-1, 1))
        low = max(low, supervoxels.bounds.start[axis])
        at = np.arange(low, min(high + 1, supervoxels.bounds.stop[axis]), step)
        positions.append(at)
        weights.append(((at + 0.5) * size - centre_nm[axis]) / radius_nm)
        steps.append(step)
    z, y, x = (distance**2 for distance in weights)
    weight = 1 - (z[:, None, None] + y[:, None] + x)
    # Of a ball so small that it holds no voxel's centre the nearest voxel counts.
    weight = np.maximum(weight, np.where(weight == weight.max(), 1e-9, 0))
    there = weight > 0
    ids, which = np.unique(sampled(supervoxels, positions)[there], return_inverse=True)
    shares = np.bincount(which, weight[there], ids.size) / weight[there].sum()
    voxels = np.bincount(which, minlength=ids.size) * int(np.prod(steps))
    return ids[ids > 0], shares[ids > 0], voxels[ids > 0]


def _bodies(sums: Mapping[int, np.ndarray], labels: Volume) -> CellBodies:
    """Cell bodies from the sums of their voxels' coordinates, and their number as a fourth."""
    ids = np.array(sorted(sums), np.int64)
    totals = np.array([sums[body] for body in sorted(sums)])
    centres_nm = (totals[:, :3] / totals[:, 3:] + 0.5) * labels.voxel_size_nm
    volume_nm3 = totals[:, 3] * float(np.prod(labels.voxel_size_nm))
    return CellBodies(ids, centres_nm, np.cbrt(volume_nm3 * 3 / (4 * np.pi)), "volume")


def _of_labels(
    sums: Mapping[int, np.ndarray],
    counts: Mapping[tuple[int, int], int],
    fine_voxels: int,
    table: SupervoxelTable,
) -> Fillings:
    places = {body: position for position, body in enumerate(sorted(sums))}
    pairs = sorted(pair for pair in counts if pair[1] > 0)
    ids = np.array([supervoxel for _, supervoxel in pairs], np.uint64)
    voxels = np.array([counts[pair] for pair in pairs], np.float64)
    whole = np.array([sums[body][3] for body, _ in pairs], np.float64)
    inside = np.minimum(1.0, voxels * fine_voxels / table.voxels[positions_of(table.ids, ids)])
    return Fillings(np.array([places[body] for body, _ in pairs], np.int64), ids, voxels / whole, inside)
