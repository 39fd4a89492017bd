"""Skeletons of labelled objects by TEASAR, in memory or object by object over a large volume.

Inputs: integer labels (zyx), 0 = none, and the voxel size in nm. Outputs: one skeleton an object, a forest (a
tree for each separate piece of the object) whose nodes are voxels of the object: a node lies at the centre of
its voxel, (v + 0.5) voxel sizes, so that floor(p / voxel size) leads back to it, and its radius is the
distance to the nearest foreign voxel. All runs in this process, and the same labels give the same skeletons.

TEASAR draws a path from a root to the point farthest away, takes what lies around the path for covered,
and goes on with what is left. A piece at a face of the volume gets an end there. A node lies a step of one
voxel from the next, but for a cell body (of a radius above 3.5 µm): it has one node in its middle, which the
paths around it lead to; its parameters are kimimaro's own. A path through a hole in an object, such as a
nucleus of another label, keeps to the object's voxels nearest to it.

kimimaro is under the GPL (3.0 or later), hence no requirement of this package but its extra `skeletons`.
Sources: M. Sato et al. 2000, "TEASAR: tree-structure extraction algorithm for accurate and robust skeletons";
W. Silversmith et al., kimimaro, https://github.com/seung-lab/kimimaro
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from evaluation._coarse_objects import coarse_factors, coarse_object, fine_voxels
from evaluation._object_boxes import ObjectBoxes, object_boxes
from evaluation.checks import unsigned
from evaluation.errors import EvaluationError
from jobs.progress import Progress
from volumes import Box, Skeleton, Volume
from volumes.base import SizeNm, checked_voxel_size

MEMORY_GB = 2.0
# Of a read that is skeletonised at once.
_BYTES_PER_VOXEL = 50
# In nm: above a radius of the first holes are filled, above the second it is a cell body, which clears const
# and scale times its radius around its middle. The last two weigh how strictly paths keep to the middle.
_FIXED = {
    "soma_detection_threshold": 750,
    "soma_acceptance_threshold": 3500,
    "soma_invalidation_const": 300,
    "soma_invalidation_scale": 2,
    "pdrf_scale": 5000,
    "pdrf_exponent": 16,
}


class _Traced(NamedTuple):
    """A skeleton in voxels of the array it was made from."""

    voxels: np.ndarray
    edges: np.ndarray
    radii_nm: np.ndarray

    def placed(self, voxels: np.ndarray, voxel_size_nm: SizeNm, origin_nm: np.ndarray) -> Skeleton:
        return Skeleton((voxels + 0.5) * voxel_size_nm + origin_nm, self.edges, self.radii_nm)


def skeletonise(
    labels: np.ndarray,
    voxel_size_nm: Iterable[float],
    *,
    origin_nm: Iterable[float] = (0, 0, 0),
    scale: float = 3.0,
    const_nm: float = 400.0,
    min_voxels: int = 1000,
    ids: Iterable[int] | None = None,
) -> dict[int, Skeleton]:
    """Skeletons of the objects in an array.

    Args:
        labels: (z, y, x) integers >= 0 or bool, 0 = none.
        voxel_size_nm: zyx.
        origin_nm: where the corner of the first voxel lies (zyx).
        scale: a path covers `scale` times the distance to the boundary, plus `const_nm`.
        const_nm: see `scale`; it is what keeps small bumps from becoming branches.
        min_voxels: separate pieces of an object (26 neighbours) with fewer voxels get no skeleton.
        ids: the objects wanted; None: all.

    Returns:
        Skeletons (zyx nm) by ID, ascending. An object without any path, such as a single voxel or a cell body
        without processes, has none.

    Raises:
        EvaluationError: labels that are not integers >= 0 in three axes, settings out of range, or kimimaro
            is not installed.
        VolumeError: voxel sizes that are not positive.
    """
    parameters = _parameters(scale, const_nm, min_voxels)
    size = checked_voxel_size(voxel_size_nm, "the labels")
    if np.ndim(labels) != 3:
        raise EvaluationError(f"labels have shape {np.shape(labels)}; give three axes (z, y, x)")
    wanted = _only(unsigned(np.asarray(labels), "the array"), ids)
    origin = np.array([*origin_nm], np.float64)
    found = _traced(wanted, size, parameters, min_voxels)
    return dict(sorted((number, each.placed(each.voxels, size, origin)) for number, each in found))


def skeletonise_volume(
    volume: Volume,
    box: Box | None = None,
    *,
    scale: float = 3.0,
    const_nm: float = 400.0,
    min_voxels: int = 1000,
    max_voxels: int | None = None,
    on_coarse: Callable[[int], None] = lambda _: None,
    progress: Progress | None = None,
) -> dict[int, Skeleton]:
    """Skeletons of the objects in a volume that may be larger than the memory.

    One pass over blocks finds where the objects lie. Objects near each other are then read together, as many
    as fit; one that does not fit alone is made coarser by whole factors until it does. Its nodes still lie in
    its own voxels, a step of about one coarse voxel apart, its radii are that much less exact, and its
    pieces count as large as their coarse voxels.

    Args:
        volume: integer labels >= 0.
        box: absolute (zyx), inside the volume; None: all of it. Objects end at its faces.
        scale: see `skeletonise`.
        const_nm: see `skeletonise`.
        min_voxels: see `skeletonise`.
        max_voxels: most voxels of one read that is skeletonised, see `max_voxels_of`; None: for 2 GB.
        on_coarse: called with the ID of each object that is made coarser; without one, what is found does not
            depend on `max_voxels`.
        progress: counts objects.

    Returns:
        Skeletons (zyx nm, of the volume's absolute coordinates) by ID, ascending; see `skeletonise`.

    Raises:
        EvaluationError: see `skeletonise`; `max_voxels` below 64.
        VolumeError: the box leaves the volume, or what is stored is damaged.
    """
    parameters = _parameters(scale, const_nm, min_voxels)
    max_voxels = max_voxels_of(MEMORY_GB) if max_voxels is None else max_voxels
    if max_voxels < 64:
        raise EvaluationError(f"max_voxels is {max_voxels}; allow at least 64")
    box = volume.bounds if box is None else box
    objects = object_boxes(volume, box, max_voxels).of_at_least(min_voxels)
    size, found = volume.voxel_size_nm, dict[int, Skeleton]()
    for rows in _groups(objects, box, max_voxels):
        ids = objects.ids[rows].tolist()
        window = _around(objects, rows, box)
        if window.size <= max_voxels:
            labels = _only(unsigned(volume.read(window), f"'{volume.spec}'"), ids)
            for number, each in _traced(labels, size, parameters, min_voxels):
                found[number] = each.placed(each.voxels + window.start, size, np.zeros(3))
        else:
            on_coarse(ids[0])
            found |= _coarse(volume, objects.box(rows[0]), box, ids[0], parameters, min_voxels, max_voxels)
        if progress is not None:
            progress.advance(len(rows))
    return dict(sorted(found.items()))


def max_voxels_of(memory_gb: float) -> int:
    """The most voxels that are skeletonised at once in so much memory (10^9 bytes); at least 64."""
    return max(64, int(memory_gb * 1e9 / _BYTES_PER_VOXEL))


def made_with(scale: float, const_nm: float, min_voxels: int, max_voxels: int) -> dict[str, Any]:
    """Everything that skeletons follow from beside the labels, as plain values by name.

    Args:
        scale: see `skeletonise`.
        const_nm: see `skeletonise`.
        min_voxels: see `skeletonise`.
        max_voxels: see `skeletonise_volume`; larger objects are made coarser.
    """
    from importlib import metadata

    options = {"scale": scale, "const_nm": const_nm, "min_voxels": min_voxels, "max_voxels": max_voxels}
    return {"method": "TEASAR", "kimimaro": metadata.version("kimimaro"), **options, **_FIXED}


def _coarse(
    volume: Volume,
    window: Box,
    box: Box,
    number: int,
    parameters: dict[str, float],
    min_voxels: int,
    max_voxels: int,
) -> dict[int, Skeleton]:
    """The skeleton of one object that is too large to be read as it is."""
    # Room for the empty voxels that go around it.
    fitting = max(1, int((max_voxels ** (1 / 3) - 2) ** 3))
    factors = coarse_factors(window.shape, volume.voxel_size_nm, fitting)
    inside, nearest = coarse_object(volume, window, number, factors, max_voxels)
    ends = zip(window.start, window.stop, box.start, box.stop, strict=True)
    padding = [(int(start > first), int(stop < last)) for start, stop, first, last in ends]
    z, y, x = (edge * f for edge, f in zip(volume.voxel_size_nm, factors, strict=True))
    enough = -(-min_voxels // math.prod(factors))
    skeletons = {}
    for _, each in _traced(np.pad(inside, padding).view(np.uint8), (z, y, x), parameters, enough):
        coarse = each.voxels - [before for before, _ in padding]
        voxels = fine_voxels(coarse, nearest, factors, window.start)
        skeletons[number] = each.placed(voxels, volume.voxel_size_nm, np.zeros(3))
    return skeletons


def _groups(objects: ObjectBoxes, box: Box, max_voxels: int) -> Iterator[list[int]]:
    """Rows of objects that are read together: neighbours whose common box fits, or one alone."""
    edge = max(1, int(max_voxels ** (1 / 3)) // 2)
    cells = (objects.start // edge).T
    group: list[int] = []
    for row in np.lexsort((objects.ids, *cells[::-1])).tolist():
        if group and _around(objects, [*group, row], box).size > max_voxels:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _around(objects: ObjectBoxes, rows: list[int], box: Box) -> Box:
    """The common box of objects with a voxel around it, so that its faces are no faces of the volume."""
    start, stop = objects.start[rows].min(axis=0), objects.stop[rows].max(axis=0)
    return Box(tuple(start.tolist()), tuple(stop.tolist())).grow(1).intersect(box)


def _only(labels: np.ndarray, ids: Iterable[int] | None) -> np.ndarray:
    """The labels without those of other objects."""
    if ids is None:
        return labels
    import fastremap

    largest = int(np.iinfo(labels.dtype).max)
    wanted = [int(number) for number in ids if 0 < number <= largest]
    return fastremap.mask_except(labels, wanted) if wanted else np.zeros_like(labels)


def _traced(
    labels: np.ndarray, voxel_size_nm: SizeNm, parameters: dict[str, float], min_voxels: int
) -> Iterator[tuple[int, _Traced]]:
    """ID and skeleton of every object in an array of unsigned labels."""
    skeletons = _kimimaro().skeletonize(
        labels,
        teasar_params=parameters,
        anisotropy=voxel_size_nm,
        dust_threshold=min_voxels - 1,
        fix_branching=True,
        # Which fails for a single row of voxels.
        fix_borders=labels.shape.count(1) < 2,
        parallel=1,
        progress=False,
    )
    # kimimaro gives positions in float32; voxels are whole numbers again.
    size = np.array(voxel_size_nm, np.float32)
    for number, skeleton in skeletons.items():
        if len(skeleton.vertices):
            voxels = np.rint(skeleton.vertices / size).astype(np.int64)
            edges = _forest(voxels * size, skeleton.edges)
            radii = np.maximum(skeleton.radius, 0)
            yield int(number), _Traced(_own_voxels(labels, int(number), voxels, size), edges, radii)


def _own_voxels(labels: np.ndarray, number: int, voxels: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The voxels, where those that lie in filled holes give way to the nearest of the object."""
    own = voxels.copy()
    for row in np.flatnonzero(labels[tuple(voxels.T)] != number):
        reach = 4
        while True:
            low = np.maximum(voxels[row] - reach, 0)
            near = labels[tuple(map(slice, low, voxels[row] + reach + 1))]
            found = np.argwhere(near == number) + low
            away = np.linalg.norm((found - voxels[row]) * size, axis=1)
            # Beyond this distance there might be a nearer one outside.
            if len(found) and (away.min() <= reach * size.min() or near.shape == labels.shape):
                own[row] = found[away.argmin()]
                break
            reach *= 2
    return own


def _forest(nodes_nm: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The edges without those that close a cycle, of which the longest goes."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

    lengths = np.linalg.norm(nodes_nm[edges[:, 0]] - nodes_nm[edges[:, 1]], axis=1)
    graph = coo_array((lengths, (edges[:, 0], edges[:, 1])), shape=(len(nodes_nm),) * 2)
    if connected_components(graph, directed=False, return_labels=False) == len(nodes_nm) - len(edges):
        return edges.astype(np.int64)
    tree = minimum_spanning_tree(graph).tocoo()
    return np.stack([tree.row, tree.col], axis=1).astype(np.int64)


def _parameters(scale: float, const_nm: float, min_voxels: int) -> dict[str, float]:
    """kimimaro's parameters, checked.

    Raises:
        EvaluationError: one of ours is out of range.
    """
    for name, value in (("scale", scale), ("const_nm", const_nm)):
        if not (math.isfinite(value) and value >= 0):
            raise EvaluationError(f"skeletonisation: {name} is {value}; give a number of at least 0")
    if scale == const_nm == 0:
        raise EvaluationError(
            "skeletonisation: scale and const_nm are both 0, so that no path would clear its "
            "surroundings; give one of them"
        )
    if min_voxels < 1:
        raise EvaluationError(f"skeletonisation: min_voxels is {min_voxels}; give at least 1")
    return {**_FIXED, "scale": float(scale), "const": float(const_nm)}


def _kimimaro() -> ModuleType:
    try:
        return import_module("kimimaro")
    except ImportError as error:
        raise EvaluationError(
            "skeletons of labels need kimimaro, which is not installed; "
            "run pip install 'ffn-reconstruction[skeletons]', or give skeletons"
        ) from error
