"""Seeds at local maxima: points deep inside objects, or bright ones, found in the image alone.

`peak_seeds` is where floods start unless a pass says otherwise; the others stand behind google/ffn's further
policies (`ffn.seed_policies`). All take arrays of a subvolume (z, y, x) and return positions in it (voxels,
z, y, x), int64 (n, 3), in the order in which they are to be tried.

Source of the methods: seed.py of google/ffn (Januszewski et al. 2018, doi:10.1038/s41592-018-0049-4). They
are reproduced to the voxel, including the random numbers that break ties, since the order of seeds decides
which of two objects claims a disputed voxel.
"""

from __future__ import annotations

from collections.abc import Callable

import edt
import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.morphology import disk

_NEIGHBOURHOOD_SIGMA = 49 / 6  # voxels, of the Gaussian an edge has to exceed
_MIN_DISTANCE = 3  # voxels between two seeds
_MIN_DISTANCE_IN_GAPS = 2  # the same where objects leave little space
_SMALLEST_GAP = 0.5  # below every distance from a free voxel to an object
_TIE_BREAK = 1e-4  # share of a voxel; below every difference of two distances that matters
_TIE_BREAK_SEED = 42


def peak_seeds(
    image: np.ndarray,
    fov_zyx: tuple[int, int, int],
    *,
    voxel_size_nm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    segmentation: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> np.ndarray:
    """The points farthest from the image's edges.

    Edges are voxels whose gradient exceeds the average around them; seeds are the local maxima of the
    distance to the nearest edge. Takes 18 bytes a voxel besides its arguments.

    Args:
        image: normalised image, float32 (z, y, x).
        fov_zyx: field of view (voxels); seeds it does not fit around are left out.
        voxel_size_nm: edges of a voxel (z, y, x); only their ratios matter.
        segmentation: objects there are already, integers like image; no seed lies on a value above 0.
        mask: bool, like image; True = no seed here, and distances are measured to here too.

    Returns:
        int64 (n, 3), positions z, y, x in ascending order; (0, 3) where everything is an edge.

    Source: google/ffn, PolicyPeaks.
    """
    edges = _edges(image)
    if mask is not None:
        edges |= mask
    if edges.all():
        return _none(3)
    distance = _distance_to(edges, voxel_size_nm)
    del edges
    if mask is not None:
        distance[mask] = -1
    if segmentation is not None:
        distance[segmentation > 0] = -1
    noisy = _with_ties_broken(distance)
    del distance
    peaks = _peaks(noisy, _MIN_DISTANCE, threshold_abs=0, threshold_rel=0)
    return fitting(_ascending(peaks), image.shape, fov_zyx)


def peak_seeds_2d(
    image: np.ndarray,
    *,
    voxel_size_nm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    mask: np.ndarray | None = None,
    min_distance: int = 7,
    threshold_abs: float = 2.5,
    descending: bool = False,
) -> np.ndarray:
    """The points farthest from the edges of each section, found in every section by itself.

    Args:
        image: normalised image, float32 (z, y, x).
        voxel_size_nm: edges of a voxel (z, y, x); only the ratio of y and x matters.
        mask: bool, like image; distances are measured to here too.
        min_distance: voxels between two seeds of a section, and to its rim; at least 1.
        threshold_abs: distance that a seed exceeds, in units of the shorter of y and x.
        descending: last position first.

    Returns:
        int64 (n, 3), positions z, y, x in ascending or descending order.

    Source: google/ffn, PolicyPeaks2d.
    """

    def seeds_of(z: int) -> np.ndarray:
        edges = _edges(image[z])
        if mask is not None:
            edges |= mask[z]
        if edges.all():
            return _none(2)
        noisy = _with_ties_broken(_distance_to(edges, voxel_size_nm[1:]))
        return _peaks(noisy, min_distance, threshold_abs=threshold_abs, threshold_rel=0)

    seeds = _ascending(_section_by_section(len(image), seeds_of))
    return seeds[::-1] if descending else seeds


def empty_space_seeds(
    segmentation: np.ndarray, *, voxel_size_nm: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> np.ndarray:
    """The points farthest from the objects there are, for small branches that were left out.

    Args:
        segmentation: integers (z, y, x), objects are above 0.
        voxel_size_nm: edges of a voxel (z, y, x); only their ratios matter.

    Returns:
        int64 (n, 3), positions z, y, x in ascending order; (0, 3) where there is no object to be far from.

    Source: google/ffn, PolicyFillEmptySpace.
    """
    noisy = _with_ties_broken(_distance_to(segmentation > 0, voxel_size_nm))
    return _ascending(_peaks(noisy, _MIN_DISTANCE_IN_GAPS, threshold_abs=_SMALLEST_GAP, threshold_rel=0))


def bright_peak_seeds(image: np.ndarray, excluded: np.ndarray) -> np.ndarray:
    """The local maxima of the image above 0, its mean.

    Args:
        image: normalised image, float32 (z, y, x).
        excluded: bool, like image; taken as 0.

    Returns:
        int64 (n, 3), positions z, y, x in ascending order.

    Source: google/ffn, PolicyMaxPeaks.
    """
    noisy = _with_ties_broken(np.where(excluded, np.float32(0), image))
    return _ascending(_peaks(noisy, _MIN_DISTANCE, threshold_abs=0, threshold_rel=0))


def image_peak_seeds(image: np.ndarray, *, min_distance_2d: int = 2, min_distance_3d: int = 4) -> np.ndarray:
    """The local maxima of the image, then those of each section.

    Args:
        image: normalised image, float32 (z, y, x).
        min_distance_2d: voxels between two seeds of a section; negative = no such seeds; not 0.
        min_distance_3d: voxels between two seeds of the volume; negative = no such seeds; not 0.

    Returns:
        int64 (n, 3), positions z, y, x; the brightest first, in the volume and again in each section.

    Source: google/ffn, PolicyImagePeaks3D2D.
    """
    solid = _peaks(image, min_distance_3d) if min_distance_3d > 0 else _none(3)
    if min_distance_2d < 0:
        return solid
    flat = _section_by_section(len(image), lambda z: _peaks(image[z], min_distance_2d))
    return np.concatenate([solid, flat])


def disk_peak_seeds(
    image: np.ndarray, *, min_distance_2d: int = 3, threshold_rel: float = 0.5, disk_radius: int = 1
) -> np.ndarray:
    """The voxels of each section that no other in a disk around them outshines.

    Args:
        image: normalised image, float32 (z, y, x).
        min_distance_2d: voxels between two seeds of a section (Euclidean), and to its rim; at least 1.
        threshold_rel: share of the section's maximum that a seed exceeds.
        disk_radius: of the disk, voxels.

    Returns:
        int64 (n, 3), positions z, y, x; section after section, the brightest first.

    Source: google/ffn, PolicyImagePeaks2DDisk.
    """
    within = disk(disk_radius)

    def seeds_of(z: int) -> np.ndarray:
        return _peaks(image[z], min_distance_2d, threshold_rel=threshold_rel, footprint=within, p_norm=2)

    return _section_by_section(len(image), seeds_of)


def fitting(points: np.ndarray, shape: tuple[int, ...], fov_zyx: tuple[int, int, int]) -> np.ndarray:
    """Those points (n, 3) around which a field of view fits into the shape.

    Args:
        points: integers (n, 3), zyx.
        shape: voxels (z, y, x) of the image.
        fov_zyx: voxels of the field of view, odd.

    Returns:
        The same points in the same order, without those too close to a face.
    """
    radius = np.asarray(fov_zyx) // 2
    return points[np.all((points >= radius) & (points + radius < shape), axis=1)]


def _edges(image: np.ndarray) -> np.ndarray:
    """Voxels (bool) whose Sobel gradient magnitude exceeds its own Gaussian average."""
    gradient = ndimage.generic_gradient_magnitude(image.astype(np.float32, copy=False), ndimage.sobel)
    return gradient > ndimage.gaussian_filter(gradient, _NEIGHBOURHOOD_SIGMA, mode="reflect")


def _distance_to(edges: np.ndarray, voxel_size_nm: tuple[float, ...]) -> np.ndarray:
    """Distance to the nearest edge in units of the smallest voxel edge, float32; -1 where it is infinite."""
    anisotropy = tuple(length / min(voxel_size_nm) for length in voxel_size_nm)
    distance = edt.edt(~edges, anisotropy=anisotropy, black_border=False)
    distance[~np.isfinite(distance)] = -1
    return distance


def _with_ties_broken(values: np.ndarray) -> np.ndarray:
    """The values, float64, plus random numbers that are always the same."""
    noisy = np.random.RandomState(_TIE_BREAK_SEED).rand(*values.shape)
    noisy *= _TIE_BREAK
    noisy += values
    return noisy


def _peaks(values: np.ndarray, min_distance: int, **options: object) -> np.ndarray:
    """Local maxima (n, axes), highest first, none within `min_distance` of the array's rim."""
    if any(length <= 2 * min_distance for length in values.shape):
        return _none(values.ndim)
    return peak_local_max(values, min_distance=min_distance, **options)


def _section_by_section(sections: int, seeds_of: Callable[[int], np.ndarray]) -> np.ndarray:
    """Seeds (n, 3) of all sections from a function that gives those (n, 2) of one."""
    found = [np.insert(seeds_of(z), 0, z, axis=1) for z in range(sections)]
    return np.concatenate([_none(3), *found])


def _ascending(points: np.ndarray) -> np.ndarray:
    return points[np.lexsort(points.T[::-1])]


def _none(axes: int) -> np.ndarray:
    return np.empty((0, axes), np.int64)
