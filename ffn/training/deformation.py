"""Random deformation of a training example: elastic, and slips between sections.

Both are displacements: voxel v of the result is what lay at v + displacement. Image, target and weight move
alike, the image by trilinear interpolation, the others to the nearest voxel. The centre stays where it is, so
that it goes on belonging to its object. Sections lie along z, so that this comes before axes are exchanged.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ffn.training.augmentation import Augmentation
from volumes.base import SizeNm
from volumes.box import Zyx


def draw_displacement(
    shape: Zyx,
    voxel_size_nm: SizeNm,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> np.ndarray | None:
    """Where every voxel of an example comes from.

    Args:
      shape: of the example (zyx), odd along each axis.
      voxel_size_nm: zyx.
      augmentation: chances and strengths.
      rng: advanced by what is drawn.

    Returns:
      float32 (3, z, y, x): voxels along z, y and x, all 0 at the centre; None: nothing moves.
    """
    elastic = augmentation.elastic > 0 and rng.random() < augmentation.elastic
    slips = augmentation.slip > 0 and rng.random() < augmentation.slip
    if not (elastic or slips):
        return None
    displacement = np.zeros((3, *shape), np.float32)
    if elastic:
        displacement += _elastic(shape, voxel_size_nm, augmentation, rng)
    if slips:
        displacement[1:] += _slip(shape[0], augmentation.slip_voxels, rng)[:, :, None, None]
    z, y, x = (n // 2 for n in shape)
    displacement -= displacement[:, z, y, x].reshape(3, 1, 1, 1)
    return displacement


def reach_of(displacement: np.ndarray | None) -> Zyx:
    """How many voxels (zyx) around an example its deformation looks at; 0 for None."""
    if displacement is None:
        return 0, 0, 0
    z, y, x = (int(np.ceil(np.abs(along).max())) for along in displacement)
    return z, y, x


def deform(
    image: np.ndarray, inside: np.ndarray, weight: np.ndarray, displacement: np.ndarray, origin: Zyx
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An example out of the voxels around it.

    Args:
      image: float32 (z, y, x), the example and what is around it; beyond its border lies the border's voxel.
      inside: bool, like image.
      weight: float32, like image.
      displacement: float32 (3, z, y, x) of the example's shape, in voxels.
      origin: the example's first voxel in these arrays (zyx).

    Returns:
      Image, inside and weight of the example, new arrays.
    """
    shape = displacement.shape[1:]
    moved = np.empty(shape, np.float32), np.empty(shape, np.bool_), np.empty(shape, np.float32)
    _sample(image, inside, weight, displacement, np.array(origin, np.int64), *moved)
    return moved


def _elastic(
    shape: Zyx,
    voxel_size_nm: SizeNm,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> np.ndarray:
    """Displacements drawn at the nodes of a grid, Catmull-Rom splines between them; float32 (3, z, y, x)."""
    weights = []
    for length, size_nm in zip(shape, voxel_size_nm, strict=True):
        spacing = max(1.0, augmentation.elastic_grid_nm / size_nm)
        weights.append(_spline_weights(length, spacing, rng.random()))
    drawn = rng.standard_normal((3, *(w.shape[1] for w in weights)), dtype=np.float32)
    for along, size_nm in zip(drawn, voxel_size_nm, strict=True):
        along *= augmentation.elastic_nm / size_nm
    for axis, nodes in enumerate(weights):
        drawn = np.moveaxis(np.tensordot(nodes, drawn, (1, axis + 1)), 0, axis + 1)
    return drawn


def _spline_weights(length: int, spacing: float, phase: float) -> np.ndarray:
    """float32 (voxels, nodes): how much each node of a grid counts at each voxel of an axis."""
    at = np.arange(length) / spacing + phase
    first = np.floor(at).astype(int)
    t = at - first
    weights = np.zeros((length, int(first[-1]) + 4), np.float32)
    rows = np.arange(length)
    weights[rows, first] = 0.5 * (-t + 2 * t**2 - t**3)
    weights[rows, first + 1] = 0.5 * (2 - 5 * t**2 + 3 * t**3)
    weights[rows, first + 2] = 0.5 * (t + 4 * t**2 - 3 * t**3)
    weights[rows, first + 3] = 0.5 * (-(t**2) + t**3)
    return weights


def _slip(sections: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """(2, sections): whole voxels along y and x, of one section or of all from one on."""
    shifts = np.zeros((2, sections), np.float32)
    first = int(rng.integers(sections))
    behind = first + 1 if rng.random() < 0.5 else sections
    shifts[:, first:behind] = rng.integers(-most, most + 1, (2, 1))
    return shifts


@njit(cache=True, nogil=True)
def _sample(image, inside, weight, displacement, origin, image_out, inside_out, weight_out):  # type: ignore[no-untyped-def]
    last = np.array(image.shape) - 1
    depth, height, width = image_out.shape
    low, high, part = np.empty(3, np.int64), np.empty(3, np.int64), np.empty(3, np.float32)
    near = np.empty(3, np.int64)
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                for axis, at in enumerate((z, y, x)):
                    place = min(max(origin[axis] + at + displacement[axis, z, y, x], 0.0), float(last[axis]))
                    low[axis] = int(place)
                    high[axis] = min(low[axis] + 1, last[axis])
                    part[axis] = place - low[axis]
                    near[axis] = int(place + 0.5)
                inside_out[z, y, x] = inside[near[0], near[1], near[2]]
                weight_out[z, y, x] = weight[near[0], near[1], near[2]]
                front = _bilinear(image[low[0]], low, high, part)
                back = _bilinear(image[high[0]], low, high, part)
                image_out[z, y, x] = front + part[0] * (back - front)


@njit(cache=True, nogil=True, inline="always")
def _bilinear(section, low, high, part):  # type: ignore[no-untyped-def]
    top = section[low[1], low[2]] + part[2] * (section[low[1], high[2]] - section[low[1], low[2]])
    bottom = section[high[1], low[2]] + part[2] * (section[high[1], high[2]] - section[high[1], low[2]])
    return top + part[1] * (bottom - top)
