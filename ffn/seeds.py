"""Where floods start: points deep inside objects, found in the image alone.

`peak_seeds` takes the normalised image of a subvolume (float32, z, y, x) and returns positions in it
(voxels, z, y, x) in the order in which they are to be tried. A pass with reversed seeds takes the same list
backwards.

Source of the method: PolicyPeaks of google/ffn (Januszewski et al. 2018, doi:10.1038/s41592-018-0049-4). It
is reproduced to the voxel, including the random numbers that break ties, since the order of seeds decides
which of two objects claims a disputed voxel.
"""

from __future__ import annotations

import edt
import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max

_NEIGHBOURHOOD_SIGMA = 49 / 6  # voxels, of the Gaussian an edge has to exceed
_MIN_DISTANCE = 3  # voxels between two seeds
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
    distance to the nearest edge.

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
        return np.empty((0, 3), np.int64)
    distance = _distance_to(edges, voxel_size_nm)
    if mask is not None:
        distance[mask] = -1
    if segmentation is not None:
        distance[segmentation > 0] = -1
    return _inside(_sorted_zyx(_peaks(distance)), image.shape, fov_zyx)


def _edges(image: np.ndarray) -> np.ndarray:
    """Voxels (bool) whose Sobel gradient magnitude exceeds its own Gaussian average."""
    gradient = ndimage.generic_gradient_magnitude(image.astype(np.float32, copy=False), ndimage.sobel)
    return gradient > ndimage.gaussian_filter(gradient, _NEIGHBOURHOOD_SIGMA, mode="reflect")


def _distance_to(edges: np.ndarray, voxel_size_nm: tuple[float, float, float]) -> np.ndarray:
    """Distance to the nearest edge in units of the smallest voxel edge, float32; -1 where it is infinite."""
    anisotropy = tuple(length / min(voxel_size_nm) for length in voxel_size_nm)
    distance = edt.edt(~edges, anisotropy=anisotropy, black_border=False)
    distance[~np.isfinite(distance)] = -1
    return distance


def _peaks(distance: np.ndarray) -> np.ndarray:
    """Local maxima (n, 3) of a distance map, ties broken by random numbers that are always the same."""
    noise = np.random.RandomState(_TIE_BREAK_SEED).rand(*distance.shape)
    noise *= _TIE_BREAK
    noise += distance
    return peak_local_max(noise, min_distance=_MIN_DISTANCE, threshold_abs=0, threshold_rel=0)


def _sorted_zyx(points: np.ndarray) -> np.ndarray:
    return points[np.lexsort(points.T[::-1])]


def _inside(points: np.ndarray, shape: tuple[int, ...], fov_zyx: tuple[int, int, int]) -> np.ndarray:
    """Those points around which a field of view fits into the shape."""
    radius = np.asarray(fov_zyx) // 2
    return points[np.all((points >= radius) & (points + radius < shape), axis=1)]
