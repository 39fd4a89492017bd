"""Dense synthetic neuropil with full ground truth, at any shape and voxel size; the same for the same spec.

The phantom stands in for annotated tissue where none may be shipped: it trains the networks in this
repository, drives the demo and gives every later stage something whose truth is known. Neurites are
grown first (`_phantom_growth`), then turned into voxels (`_phantom_tissue`) and imaged
(`_phantom_image`). It is made to be as hard for plain methods as FIB-SEM of fly neuropil is: on the
default phantom, thresholding and a distance-transform watershed fail as they do on FIB-25. Tuned to
the tissue, classical methods get far on both, and somewhat further here (docs/results.md).

    phantom = make_phantom(PhantomSpec(seed=7))
    phantom.raw            # uint8 (z, y, x)
    phantom.labels         # uint32, 0 = vessel and myelin, belonging to no neuron

`GENERATOR_VERSION` names the algorithm and its frozen defaults; figures are quoted with it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np

from volumes import _phantom_growth as growth
from volumes import _phantom_image as imaging
from volumes import _phantom_tissue as tissue_model
from volumes.errors import VolumeError
from volumes.skeletons import Skeleton

GENERATOR_VERSION = 1
_GRID_NM = 20.0


class TissueClass(IntEnum):
    """Codes of `Phantom.tissue`."""

    OTHER = 0
    VESSEL = 1
    CELL_BODY = 2
    MYELIN = 3
    NEUROPIL = 4


@dataclass(frozen=True)
class PhantomSpec:
    """What to make.

    Attributes:
      shape: voxels (z, y, x).
      voxel_size_nm: (z, y, x); a z size well above the others is imaged as thick sections.
      seed: the tissue and its image follow from it.
      cell_bodies: how many cell bodies, placed apart from each other.
      cell_body_radius_nm: their radius (small, so that one fits into a small block).
      vessel_radius_nm: radius of the one blood vessel; 0 for none.
      dendrites, axons: thick dendrites and medium axons per cubic micrometre.
      myelinated: share of the medium axons that wear a myelin sheath.
      fill_gap_nm: thin axons are added until no more room than this is left anywhere.
      contrast: strength of the cell membranes, 1 is the default.
      noise: standard deviation of the recorded noise, grey values of 255.
      blur_nm: standard deviation of the point spread.
      missing_sections, dark_sections, shifted_sections: how many of each defect.
    """

    shape: tuple[int, int, int] = (128, 128, 128)
    voxel_size_nm: tuple[float, float, float] = (10.0, 10.0, 10.0)
    seed: int = 1
    cell_bodies: int = 1
    cell_body_radius_nm: float = 260.0
    vessel_radius_nm: float = 110.0
    dendrites: float = 3.5
    axons: float = 9.0
    myelinated: float = 0.08
    fill_gap_nm: float = 52.0
    contrast: float = 1.0
    noise: float = 10.0
    blur_nm: float = 6.0
    missing_sections: int = 0
    dark_sections: int = 0
    shifted_sections: int = 0

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 8:
            raise VolumeError(
                f"phantom shape {self.shape} (z, y, x) is too small; every axis needs at least 8 voxels"
            )
        if len(self.voxel_size_nm) != 3 or min(self.voxel_size_nm) <= 0:
            raise VolumeError(
                f"phantom voxel_size_nm {self.voxel_size_nm} must be three positive sizes (z, y, x)"
            )
        defects = self.missing_sections + self.dark_sections + self.shifted_sections
        if (
            min(self.missing_sections, self.dark_sections, self.shifted_sections) < 0
            or defects > self.shape[0] - 4
        ):
            raise VolumeError(f"{defects} spoilt sections do not fit into {self.shape[0]}; ask for fewer")

    def replace(self, **changes: Any) -> PhantomSpec:
        """A copy with some fields changed, checked again."""
        return replace(self, **changes)


@dataclass(frozen=True)
class Phantom:
    """A made block; arrays are (z, y, x), positions are nm (z, y, x) from the corner of the block.

    Attributes:
      spec: what it was made from.
      raw: uint8 grey values.
      labels: uint32 neurons, 1 … n without gaps; 0 where no neuron is (vessel, myelin).
      tissue: uint8 codes of `TissueClass`.
      mitochondria, membrane: bool masks.
      skeletons: neuron ID -> `Skeleton` (pieces inside the block).
      cell_body_centres_nm: float64 (n, 3).
      cell_body_ids: the neuron of each centre, (n,) uint32; 0 when its centre lies outside the block.
    """

    spec: PhantomSpec
    raw: np.ndarray
    labels: np.ndarray
    tissue: np.ndarray
    mitochondria: np.ndarray
    membrane: np.ndarray
    skeletons: dict[int, Skeleton]
    cell_body_centres_nm: np.ndarray
    cell_body_ids: np.ndarray


def make_phantom(spec: PhantomSpec) -> Phantom:
    """Makes the block a spec describes; about 10 s for 128³ voxels on one core.

    The same spec gives the same voxels (numpy's PCG64 streams, one per step, so that a change of
    one step leaves the others alone); another release of numpy may round a few grey values in a
    million to their neighbours.
    """
    streams = [
        np.random.default_rng(s) for s in np.random.SeedSequence([GENERATOR_VERSION, spec.seed]).spawn(4)
    ]
    trees = _grow(spec, streams[0])
    slices = max(1, round(spec.voxel_size_nm[0] / (1.5 * min(spec.voxel_size_nm[1:]))))
    grid = tissue_model.Grid(
        (spec.shape[0] * slices, *spec.shape[1:]),
        (spec.voxel_size_nm[0] / slices, *spec.voxel_size_nm[1:]),
    )
    tissue = tissue_model.fill(trees, grid, streams[1])
    structures = _structures(spec, trees, tissue, streams[2])
    grey = imaging.section(imaging.render(tissue, structures, spec.contrast, streams[3]), slices)
    raw = imaging.image(grey, spec.noise, spec.blur_nm, spec.voxel_size_nm, streams[3])
    raw = imaging.spoil(raw, spec.missing_sections, spec.dark_sections, spec.shifted_sections, streams[3])
    return _truth(spec, trees, tissue, structures, raw, slice(slices // 2, None, slices))


def _grow(spec: PhantomSpec, rng: np.random.Generator) -> list[growth.Tree]:
    """All trees of the block and of a margin around it, thick ones first."""
    extent = np.array(spec.shape) * np.array(spec.voxel_size_nm)
    margin = 140.0
    space = growth.FreeSpace(np.full(3, -margin), extent + margin, _GRID_NM)
    um3 = float(np.prod(extent + 2 * margin)) / 1e9
    trees = [
        growth.grow_cell_body(centre, spec.cell_body_radius_nm, space, rng)
        for centre in _cell_body_centres(spec, extent, rng)
    ]
    if spec.vessel_radius_nm:
        trees.append(growth.grow_vessel(spec.vessel_radius_nm, space, rng))
    for _ in range(max(2, round(spec.dendrites * um3))):
        point, room = space.emptiest(rng)
        if room > 80.0:
            trees.append(growth.grow_dendrite(point, rng.uniform(75.0, 150.0), space, rng))
    for _ in range(max(2, round(spec.axons * um3))):
        point, room = space.emptiest(rng)
        if room > 40.0:
            trees.append(growth.grow_axon(point, rng.uniform(38.0, 80.0), space, rng))
    for _ in range(round(400 * um3)):
        point, room = space.emptiest(rng)
        if room < spec.fill_gap_nm:
            break
        trees.append(growth.grow_thin(point, rng.uniform(24.0, 60.0), space, rng))
    return trees


def _cell_body_centres(
    spec: PhantomSpec, extent_nm: np.ndarray, rng: np.random.Generator
) -> list[np.ndarray]:
    """Centres inside the block, at least two and a half radii apart (fewer when they do not fit)."""
    centres: list[np.ndarray] = []
    low = np.minimum(0.75 * spec.cell_body_radius_nm, 0.5 * extent_nm)
    for _ in range(200 * spec.cell_bodies):
        if len(centres) == spec.cell_bodies:
            break
        centre = rng.uniform(low, extent_nm - low)
        if all(np.linalg.norm(centre - other) > 2.5 * spec.cell_body_radius_nm for other in centres):
            centres.append(centre)
    return centres


def _structures(
    spec: PhantomSpec, trees: list[growth.Tree], tissue: tissue_model.Tissue, rng: np.random.Generator
) -> imaging.Structures:
    """Organelles, synapses, the vessel and myelin as distance fields and masks."""
    grid = tissue.grid
    kinds = np.array(["", *[tree.kind for tree in trees]])
    somata = [tree for tree in trees if tree.kind == "soma"]
    nucleus = tissue_model.spheres_nm(
        grid,
        np.array([t.nodes_nm[0] for t in somata]).reshape(-1, 3),
        np.array([0.66 * t.radii_nm[0] for t in somata]),
        60.0,
    )
    nucleus += 9.0 * grid.noise(rng, 90.0)
    bearing = (kinds == "axon") & (rng.random(len(kinds)) < spec.myelinated)
    myelin = bearing[tissue.tree] & (tissue.membrane_nm < 48.0) & (tissue.nearest_nm > -400.0)
    hollow = (tissue.membrane_nm > 20.0) & (nucleus > 20.0) & ~myelin & (kinds != "vessel")[tissue.tree]
    mitochondria = tissue_model.spheres_nm(grid, *tissue_model.place_mitochondria(trees, 0.55, rng))
    mitochondria = np.where(hollow, mitochondria, np.maximum(mitochondria, 30.0))
    plain = ~np.isin(kinds, ("vessel", "")) & ~bearing
    synapses, presynaptic = tissue_model.place_synapses(tissue, 14.0, rng)
    keep = plain[presynaptic]
    synapses, presynaptic = synapses[keep], presynaptic[keep]
    vesicles = tissue_model.place_vesicles(tissue, synapses, presynaptic, rng)
    return imaging.Structures(
        mitochondria_nm=mitochondria.astype(np.float32),
        vesicles_nm=tissue_model.spheres_nm(grid, vesicles, np.full(len(vesicles), 14.0), 30.0),
        synapses_nm=tissue_model.spheres_nm(grid, synapses, np.full(len(synapses), 55.0), 90.0),
        nucleus_nm=nucleus.astype(np.float32),
        vessel=(kinds == "vessel")[tissue.tree],
        myelin=myelin,
    )


def _truth(
    spec: PhantomSpec,
    trees: list[growth.Tree],
    tissue: tissue_model.Tissue,
    structures: imaging.Structures,
    raw: np.ndarray,
    central: slice,
) -> Phantom:
    """Reads labels, classes and skeletons off the central slice of every section."""
    nobody = (structures.vessel | structures.myelin)[central]
    tree = np.where(nobody, 0, tissue.tree[central])
    present = np.unique(tree)
    present = present[present > 0]
    ids = np.zeros(len(trees) + 1, np.uint32)
    ids[present] = np.arange(1, len(present) + 1)
    labels = ids[tree]
    kinds = np.array(["", *[t.kind for t in trees]])
    classes = np.full(spec.shape, TissueClass.NEUROPIL, np.uint8)
    near_body = _near_cell_bodies(trees, tissue)[central]
    classes[near_body & (kinds == "soma")[tissue.tree[central]]] = TissueClass.CELL_BODY
    classes[structures.myelin[central]] = TissueClass.MYELIN
    classes[structures.vessel[central]] = TissueClass.VESSEL
    somata = [i for i, t in enumerate(trees) if t.kind == "soma"]
    return Phantom(
        spec=spec,
        raw=raw,
        labels=labels,
        tissue=classes,
        mitochondria=(structures.mitochondria_nm < 0)[central],
        membrane=(tissue.membrane_nm < 10.0)[central],
        skeletons=_skeletons(trees, ids, labels, spec.voxel_size_nm),
        cell_body_centres_nm=np.array([trees[i].nodes_nm[0] for i in somata]).reshape(-1, 3),
        cell_body_ids=ids[[i + 1 for i in somata]],
    )


def _near_cell_bodies(trees: list[growth.Tree], tissue: tissue_model.Tissue) -> np.ndarray:
    """Voxels (bool) within the spheres of a cell body, a little swollen."""
    parts = [
        (n, r)
        for t in trees
        if t.kind == "soma"
        for n, r, role in zip(t.nodes_nm, t.radii_nm, t.roles, strict=True)
        if role == "s"
    ]
    nodes = np.array([n for n, _ in parts]).reshape(-1, 3)
    return tissue_model.spheres_nm(tissue.grid, nodes, np.array([r for _, r in parts]), 40.0) < 25.0


def _skeletons(
    trees: list[growth.Tree], ids: np.ndarray, labels: np.ndarray, voxel_size_nm: tuple[float, float, float]
) -> dict[int, Skeleton]:
    """The centre lines of each neuron where they run inside the block and inside their own label."""
    skeletons = {}
    for number, tree in enumerate(trees, start=1):
        neuron = int(ids[number])
        if not neuron:
            continue
        nodes = np.asarray(tree.nodes_nm)
        index = np.floor(nodes / voxel_size_nm).astype(int)
        kept = np.all((index >= 0) & (index < labels.shape), axis=1)
        kept[kept] = labels[tuple(index[kept].T)] == neuron
        kept &= np.array([not (role == "s" and i) for i, role in enumerate(tree.roles)])
        if not kept.any():
            continue
        parents = np.asarray(tree.parents)
        parents = _skip_dropped(parents, np.array(tree.roles))
        new = np.cumsum(kept) - 1
        edges = [(new[i], new[p]) for i, p in enumerate(parents) if p >= 0 and kept[i] and kept[p]]
        skeletons[neuron] = Skeleton(
            nodes_nm=nodes[kept],
            edges=np.array(edges, np.int64).reshape(-1, 2),
            radii_nm=np.asarray(tree.radii_nm, np.float32)[kept],
        )
    return skeletons


def _skip_dropped(parents: np.ndarray, roles: np.ndarray) -> np.ndarray:
    """Parents of each node with the bumps of a cell body left out: what hung on one hangs on its centre."""
    bump = (roles == "s") & (parents >= 0)
    return np.where((parents >= 0) & bump[parents], parents[parents], parents)
