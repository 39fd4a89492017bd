"""Phantoms full of cell bodies that touch, and supervoxels of them.

Nothing but few neurites lies between the cell bodies, so that each fills the room up to its neighbours. The
supervoxels are the true neurons in pieces: neurites in cubes, cell bodies whole or halved by a plane.
"""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np

from inference.supervoxel_table import SupervoxelTable, block_statistics
from volumes import Volume
from volumes.arrays import ArrayVolume
from volumes.phantom import Phantom, PhantomSpec, make_phantom

RADIUS_NM = 2000.0
# Of the generator's radius: how far a cell body reaches, and the radius of a ball as large as it then is.
_REACH, _ROUND = 1.5, 1.41
# Of the radius: the edge of the cubes that neurites are cut into, and how far off the centre halves part.
_CUBE, _OFF_CENTRE = 0.8, 0.3


@dataclass(frozen=True)
class Pieces:
    """Supervoxels of a phantom and what they are pieces of.

    Attributes:
        volume: uint64 labels, 1 to n.
        table: of them.
        neurons: (n,) int64, the neuron of each.
        bodies: (n,) int64, the cell body that it is a piece of, from 1; 0 = a piece of a neurite.
        centres_nm: (b, 3) float64, z, y, x, of the cell bodies.
        radius_nm: (b,) float64, of a ball of the same volume.
    """

    volume: Volume
    table: SupervoxelTable
    neurons: np.ndarray
    bodies: np.ndarray
    centres_nm: np.ndarray
    radius_nm: np.ndarray

    @property
    def main(self) -> np.ndarray:
        """(b,) int64, positions of the largest piece of each cell body."""
        order = np.lexsort((-self.table.voxels, self.bodies))
        order = order[self.bodies[order] > 0]
        return order[np.flatnonzero(np.diff(self.bodies[order], prepend=0))]


def crowded_phantom(
    seed: int, *, radius_nm: float = RADIUS_NM, shape: tuple[int, int, int] = (100, 100, 100)
) -> Phantom:
    """A phantom full of cell bodies that touch.

    Args:
        seed: of the phantom.
        radius_nm: of the cell bodies, of which a voxel is the twentieth part.
        shape: voxels (zyx).
    """
    spec = PhantomSpec(
        shape=shape,
        voxel_size_nm=(radius_nm / 20,) * 3,
        seed=seed,
        cell_bodies=40,
        cell_body_radius_nm=radius_nm / _ROUND,
        vessel_radius_nm=0.0,
        dendrites=0.004,
        axons=0.004,
        myelinated=0.0,
        fill_gap_nm=1000.0,
    )
    return make_phantom(spec)


def cut(phantom: Phantom, halved: float, seed: int) -> Pieces:
    """Supervoxels: the cell bodies, and the rest of the neurons in cubes.

    Args:
        phantom: its neurons.
        halved: share of the cell bodies that are in two pieces.
        seed: which ones, and where they part.
    """
    random = np.random.default_rng(seed)
    size_nm, labels = phantom.spec.voxel_size_nm, phantom.labels.astype(np.int64)
    bodies, count = _bodies(phantom), len(phantom.cell_body_ids)
    own = bodies[bodies > 0] - 1
    side = _sides(phantom, bodies, random) & (random.random(count) < halved)[own]
    # Numbers of cubes are from 2; the halves of a cell body are 0 and 1.
    cubes = 2 + _cubes(labels.shape, _CUBE * _radius_nm(phantom.spec), size_nm)
    cubes[bodies > 0] = side
    pieces = _connected(np.where(labels > 0, labels * (cubes.max() + 1) + cubes, 0))
    table = block_statistics(pieces, (0, 0, 0))
    z, y, x = table.point_zyx.T
    return Pieces(
        ArrayVolume(pieces, voxel_size_nm=size_nm, start=(0, 0, 0)),
        table,
        labels[z, y, x],
        bodies[z, y, x],
        phantom.cell_body_centres_nm,
        np.cbrt(np.bincount(own, minlength=count) * np.prod(size_nm) * 3 / (4 * np.pi)),
    )


def directions(count: int, random: np.random.Generator) -> np.ndarray:
    """Unit vectors (count, 3), all directions alike.

    Args:
        count: how many.
        random: generator.
    """
    off = random.normal(size=(count, 3))
    return off / np.linalg.norm(off, axis=1, keepdims=True)


def _radius_nm(spec: PhantomSpec) -> float:
    return spec.cell_body_radius_nm * _ROUND


def _bodies(phantom: Phantom) -> np.ndarray:
    """Cell bodies (int64, from 1): what is connected of each neuron around its centre."""
    bodies = np.zeros(phantom.labels.shape, np.int64)
    size_nm = phantom.spec.voxel_size_nm
    reach_nm = _REACH * phantom.spec.cell_body_radius_nm
    pairs = zip(phantom.cell_body_centres_nm, phantom.cell_body_ids.tolist(), strict=True)
    for number, (centre_nm, neuron) in enumerate(pairs, start=1):
        z, y, x = (
            ((np.arange(bodies.shape[axis]) + 0.5) * size_nm[axis] - centre_nm[axis]) ** 2
            for axis in range(3)
        )
        there = (z[:, None, None] + y[:, None] + x < reach_nm**2) & (phantom.labels == neuron)
        bodies[cc3d.largest_k(there, k=1, connectivity=6) > 0] = number
    return bodies


def _sides(phantom: Phantom, bodies: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """For each voxel of the cell bodies the side of a plane near the centre that it lies on."""
    count = len(phantom.cell_body_ids)
    own = bodies[bodies > 0] - 1
    off_nm = (np.argwhere(bodies > 0) + 0.5) * phantom.spec.voxel_size_nm - phantom.cell_body_centres_nm[own]
    planes_nm = random.uniform(-_OFF_CENTRE, _OFF_CENTRE, count) * _radius_nm(phantom.spec)
    return (off_nm * directions(count, random)[own]).sum(axis=1) > planes_nm[own]


def _cubes(shape: tuple[int, ...], edge_nm: float, size_nm: tuple[float, float, float]) -> np.ndarray:
    """The number (int64) of the cube that each voxel lies in, from 0."""
    steps = [max(1, round(edge_nm / size)) for size in size_nm]
    z, y, x = (np.arange(shape[axis]) // steps[axis] for axis in range(3))
    return (z[:, None, None] * (y[-1] + 1) + y[:, None]) * (x[-1] + 1) + x


def _connected(parts: np.ndarray) -> np.ndarray:
    """Connected pieces (uint64, from 1) of voxels of equal number; 0 stays 0."""
    values, numbers = np.unique(parts, return_inverse=True)
    numbers = numbers.reshape(parts.shape) + (values[0] > 0)
    return cc3d.connected_components(numbers.astype(np.uint32), connectivity=6).astype(np.uint64)
