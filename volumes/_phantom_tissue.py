"""Turns grown neurites into voxels: labels, membranes, organelles and their distance fields.

A voxel belongs to the tree whose surface is nearest (additively weighted distance to its spheres),
so that the neurites touch and fill the space; half the difference to the second nearest tree is
the distance to the membrane between the two, known below the size of a voxel.
All arrays are zyx; distances are float32 in nm.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numba
import numpy as np
from scipy import ndimage

from volumes._phantom_growth import Tree, unit

REACH_NM = 150.0
_FAR_NM = 400.0


@dataclass(frozen=True)
class Grid:
    """The voxel grid: `shape` zyx and `voxel_size_nm` zyx; voxel centres lie at (index + 0.5) · size."""

    shape: tuple[int, int, int]
    voxel_size_nm: tuple[float, float, float]

    def noise(self, rng: np.random.Generator, correlation_nm: float) -> np.ndarray:
        """Smooth Gaussian noise (float32, mean 0, standard deviation 1) with a correlation length in nm."""
        sigma = np.array(correlation_nm) / np.array(self.voxel_size_nm)
        coarse = np.maximum(1, np.floor(sigma / 2).astype(int))
        small = tuple(int(n) for n in np.ceil(np.array(self.shape) / coarse).astype(int) + 3)
        values = ndimage.gaussian_filter(
            rng.standard_normal(small).astype(np.float32), sigma / coarse, mode="wrap"
        )
        if any(c > 1 for c in coarse):
            values = ndimage.zoom(values, coarse, order=1)
        values = values[tuple(slice(0, n) for n in self.shape)]
        return (values - values.mean()) / max(float(values.std()), 1e-6)


@dataclass
class Tissue:
    """What fills the block, before it is imaged.

    `tree` (int32) is the index of the nearest tree + 1; `membrane_nm` the distance to the membrane around
    it; `nearest_nm` the distance to the surface of its spheres (negative inside).
    """

    grid: Grid
    tree: np.ndarray
    membrane_nm: np.ndarray
    nearest_nm: np.ndarray


@numba.njit(nogil=True, cache=True)
def _stamp_trees(  # type: ignore[no-untyped-def]
    nodes_nm, radii_nm, owner, noise_nm, voxel_nm, reach_nm, first, second, label
):
    shape = first.shape
    for n in range(len(radii_nm)):
        extent = radii_nm[n] + reach_nm
        own = owner[n]
        ripple = noise_nm[own % noise_nm.shape[0]]
        low = np.empty(3, np.int64)
        high = np.empty(3, np.int64)
        for a in range(3):
            low[a] = max(0, int(np.ceil((nodes_nm[n, a] - extent) / voxel_nm[a] - 0.5)))
            high[a] = min(shape[a], int((nodes_nm[n, a] + extent) / voxel_nm[a] - 0.5) + 1)
        for z in range(low[0], high[0]):
            dz = (z + 0.5) * voxel_nm[0] - nodes_nm[n, 0]
            for y in range(low[1], high[1]):
                dy = (y + 0.5) * voxel_nm[1] - nodes_nm[n, 1]
                partial = dz * dz + dy * dy
                if partial > extent * extent:
                    continue
                for x in range(low[2], high[2]):
                    dx = (x + 0.5) * voxel_nm[2] - nodes_nm[n, 2]
                    d = np.float32(np.sqrt(partial + dx * dx)) - radii_nm[n] + ripple[z, y, x]
                    if label[z, y, x] == own:
                        if d < first[z, y, x]:
                            first[z, y, x] = d
                    elif d < first[z, y, x]:
                        second[z, y, x] = first[z, y, x]
                        first[z, y, x] = d
                        label[z, y, x] = own
                    elif d < second[z, y, x]:
                        second[z, y, x] = d


def fill(trees: list[Tree], grid: Grid, rng: np.random.Generator) -> Tissue:
    """Assigns every voxel to its nearest tree; pieces cut off from their tree go to a neighbour."""
    nodes = np.concatenate([np.asarray(t.nodes_nm) for t in trees]).astype(np.float32)
    radii = np.concatenate([np.asarray(t.radii_nm) for t in trees]).astype(np.float32)
    owner = np.repeat(np.arange(1, len(trees) + 1, dtype=np.int32), [len(t.parents) for t in trees])
    ripple = np.stack([7.0 * grid.noise(rng, 70.0) for _ in range(4)]).astype(np.float32)
    first = np.full(grid.shape, _FAR_NM, np.float32)
    second = np.full(grid.shape, _FAR_NM, np.float32)
    label = np.zeros(grid.shape, np.int32)
    voxel = np.array(grid.voxel_size_nm, np.float32)
    order = np.argsort(-radii, kind="stable")
    _stamp_trees(
        nodes[order], radii[order], owner[order], ripple, voxel, np.float32(REACH_NM), first, second, label
    )
    whole = _keep_attached(label, grid)
    membrane = np.minimum((second - first) / 2, _FAR_NM / 4)
    moved = whole != label
    membrane[moved] = 0.3 * membrane[moved]
    return Tissue(grid, whole, membrane.astype(np.float32), first)


def _keep_attached(label: np.ndarray, grid: Grid) -> np.ndarray:
    """Gives small crumbs and unassigned voxels to the nearest neighbour; keeps pieces that leave the block.

    A tree may enter the block several times; each sizeable piece stays, a crumb inside the block does not.
    """
    import cc3d

    pieces = cc3d.connected_components(label, connectivity=6)
    voxels = np.bincount(pieces.ravel())
    crumb_nm3 = 80.0**3
    crumbs = voxels * np.prod(grid.voxel_size_nm) < crumb_nm3
    crumbs[0] = True
    loose = crumbs[pieces]
    if not loose.any() or loose.all():
        return label
    index = ndimage.distance_transform_edt(
        loose, sampling=grid.voxel_size_nm, return_distances=False, return_indices=True
    )
    return label[tuple(index)]


@numba.njit(nogil=True, cache=True)
def _stamp_spheres(distance_nm, nodes_nm, radii_nm, voxel_nm, reach_nm):  # type: ignore[no-untyped-def]
    """Lowers `distance_nm` to the distance to the nearest of some spheres' surfaces, up to a reach."""
    shape = distance_nm.shape
    for n in range(len(radii_nm)):
        extent = radii_nm[n] + reach_nm
        low = np.empty(3, np.int64)
        high = np.empty(3, np.int64)
        for a in range(3):
            low[a] = max(0, int(np.ceil((nodes_nm[n, a] - extent) / voxel_nm[a] - 0.5)))
            high[a] = min(shape[a], int((nodes_nm[n, a] + extent) / voxel_nm[a] - 0.5) + 1)
        for z in range(low[0], high[0]):
            dz = (z + 0.5) * voxel_nm[0] - nodes_nm[n, 0]
            for y in range(low[1], high[1]):
                dy = (y + 0.5) * voxel_nm[1] - nodes_nm[n, 1]
                for x in range(low[2], high[2]):
                    dx = (x + 0.5) * voxel_nm[2] - nodes_nm[n, 2]
                    d = np.float32(np.sqrt(dz * dz + dy * dy + dx * dx)) - radii_nm[n]
                    if d < distance_nm[z, y, x]:
                        distance_nm[z, y, x] = d


def spheres_nm(grid: Grid, nodes_nm: np.ndarray, radii_nm: np.ndarray, reach_nm: float = 40.0) -> np.ndarray:
    """Distance (nm, float32, at most 400) of every voxel to the nearest sphere's surface; negative inside."""
    distance = np.full(grid.shape, _FAR_NM, np.float32)
    if len(radii_nm):
        voxel = np.array(grid.voxel_size_nm, np.float32)
        _stamp_spheres(
            distance,
            np.asarray(nodes_nm, np.float32),
            np.asarray(radii_nm, np.float32),
            voxel,
            np.float32(reach_nm),
        )
    return distance


def _shaft_path(tree: Tree, index: int, steps: int) -> list[int]:
    """Up to `steps` shaft nodes from a node towards its root."""
    path: list[int] = []
    while index >= 0 and len(path) < steps and tree.roles[index] == "d":
        path.append(index)
        index = tree.parents[index]
    return path


def place_mitochondria(
    trees: list[Tree], density_per_um: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Mitochondria as chains of spheres, along the wider shafts and inside cell bodies.

    Args:
      trees: all neurites; vessels stay without.
      density_per_um: mitochondria per micrometre of a wide shaft.
      rng: where they lie and how large they are.

    Returns:
      Centres (n, 3) zyx and radii (n,) of the spheres, nm.
    """
    chains = [*_shaft_mitochondria(trees, density_per_um, rng), *_cell_body_mitochondria(trees, rng)]
    nodes = [np.empty((0, 3)), *(chain for chain, _ in chains)]
    return np.concatenate(nodes), np.concatenate([np.empty(0), *(radii for _, radii in chains)])


def _shaft_mitochondria(
    trees: list[Tree], density_per_um: float, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for tree in trees:
        if tree.kind == "vessel":
            continue
        for index in range(len(tree.parents)):
            wide = tree.radii_nm[index] >= 42.0 and tree.roles[index] == "d"
            if not wide or rng.random() >= density_per_um * 0.02:
                continue
            path = _shaft_path(tree, index, int(rng.integers(8, 26)))
            path = [i for i in path if tree.radii_nm[i] >= 38.0]
            if len(path) < 6:
                continue
            along = np.array([tree.nodes_nm[i] for i in path])
            width = np.minimum(0.55 * np.array([tree.radii_nm[i] for i in path]), rng.uniform(45.0, 95.0))
            shift = unit(rng.standard_normal(3)) * 0.3 * width.mean()
            yield along + shift, width


def _cell_body_mitochondria(
    trees: list[Tree], rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for tree in (t for t in trees if t.kind == "soma"):
        for _ in range(14):
            radius = rng.uniform(45.0, 80.0)
            out = unit(rng.standard_normal(3))
            at = tree.nodes_nm[0] + out * tree.radii_nm[0] * rng.uniform(0.8, 0.9)
            along = unit(np.cross(out, rng.standard_normal(3)))
            yield at + np.linspace(-120, 120, 9)[:, None] * along, np.full(9, radius)


def place_synapses(
    tissue: Tissue, density_per_um3: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Points (nm) on membranes between two neurites, with the tree on the presynaptic side.

    Returns:
      Points (n, 3) zyx in nm, and `Tissue.tree` on the presynaptic side of each, (n,).
    """
    size = np.array(tissue.grid.voxel_size_nm)
    volume_um3 = float(np.prod(np.array(tissue.grid.shape) * size)) / 1e9
    on_membrane = np.flatnonzero(tissue.membrane_nm < max(6.0, 0.5 * float(size.min())))
    count = min(len(on_membrane), rng.poisson(density_per_um3 * volume_um3))
    chosen = rng.choice(on_membrane, size=count, replace=False)
    index = np.stack(np.unravel_index(chosen, tissue.grid.shape), axis=1)
    return (index + 0.5) * size, tissue.tree.ravel()[chosen]


def place_vesicles(
    tissue: Tissue, synapses_nm: np.ndarray, presynaptic: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Centres (nm) of the vesicles that crowd on the presynaptic side of each synapse, (n, 3)."""
    size = np.array(tissue.grid.voxel_size_nm)
    placed = [np.empty((0, 3))]
    for point_nm, tree in zip(synapses_nm, presynaptic, strict=True):
        cloud = point_nm + 80.0 * rng.standard_normal((60, 3))
        index = np.floor(cloud / size).astype(int)
        inside = np.all((index >= 0) & (index < tissue.grid.shape), axis=1)
        cloud, index = cloud[inside], index[inside]
        at = tuple(index.T)
        placed.append(cloud[(tissue.tree[at] == tree) & (tissue.membrane_nm[at] > 26.0)])
    return np.concatenate(placed)
