"""Image and objects around a decision point, as a pair is flooded in them.

The box is clipped where the segmentation ends. Where objects reach the volume's faces
(`edge_context: MIRROR`) the image is continued there by half a field of view, as for the flood that made
them; objects and masks are mirrored with it.

Inputs: volumes, IDs uint64 of the whole volume, points in absolute voxels. Outputs: arrays (z, y, x) of the
box.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agglomeration.errors import AgglomerationError
from inference.context import Margin, grown, normalise, read_with_margin
from inference.passes import ResolvedPass
from inference.reconciliation import object_voxels, relabel
from inference.surroundings import mirrored, surroundings_of
from inference.workspace import Workspace
from jobs.plan import Subvolume
from volumes import Box, Volume, VolumeError
from volumes.box import Zyx

_LARGEST_LOCAL = 2**31 - 2


@dataclass(frozen=True)
class PairBox:
    """The surroundings of a decision point; arrays (z, y, x) of one shape, positions in voxels of them.

    Attributes:
      image: float32, normalised.
      labels: int32, the objects by local IDs 1, 2, …; 0 = none.
      a: local ID of the first object.
      b: of the second one; None = the point is an end of the first.
      point: the decision point.
      voxel_size_nm: edges of a voxel (z, y, x).
      inner: the part that lies in the volume; the rest is mirrored.
      ids: (n,) uint64, the IDs in the whole volume of the local ones 1, 2, …
      origin_zyx: where the arrays begin, absolute; below the volume's start where they are mirrored.
      movement_mask: bool, True = no field of view is centred here; None = allowed everywhere.
    """

    image: np.ndarray
    labels: np.ndarray
    a: int
    b: int | None
    point: Zyx
    voxel_size_nm: tuple[float, float, float]
    inner: Box
    ids: np.ndarray
    origin_zyx: Zyx = (0, 0, 0)
    movement_mask: np.ndarray | None = None


@dataclass(frozen=True)
class PairVolumes:
    """What pair boxes are read from.

    Attributes:
      workspace: image and masks of a project, opened.
      each: network, its settings and the image at its resolution, that of the objects.
      supervoxels: the objects.
    """

    workspace: Workspace
    each: ResolvedPass
    supervoxels: Volume

    @property
    def region(self) -> Box:
        """Where image and objects are known (absolute)."""
        return self.each.image.bounds.intersect(self.supervoxels.bounds)


def require_supervoxels(supervoxels: Volume, image: Volume) -> None:
    """Refuses objects that are not on the grid of the image.

    Args:
      supervoxels: the objects.
      image: what they were segmented from.

    Raises:
      VolumeError: they are no whole numbers, have other voxels, or lie elsewhere.
    """
    if supervoxels.dtype.kind not in "iu":
        raise VolumeError(
            f"'{supervoxels.spec}' holds {supervoxels.dtype}, but supervoxels are whole numbers; give those"
        )
    if not np.allclose(supervoxels.voxel_size_nm, image.voxel_size_nm, rtol=1e-3):
        raise VolumeError(
            f"supervoxels '{supervoxels.spec}' have voxels of {supervoxels.voxel_size_nm} nm, the image "
            f"'{image.spec}' has {image.voxel_size_nm} nm (z, y, x); give those of this image"
        )
    if supervoxels.bounds.intersect(image.bounds).is_empty:
        raise VolumeError(
            f"supervoxels '{supervoxels.spec}' ({supervoxels.bounds}) lie outside of the image "
            f"'{image.spec}' ({image.bounds}); give those of this image"
        )


def read_pair_box(
    volumes: PairVolumes, id_a: int, id_b: int | None, point_zyx: Zyx, radius_zyx: Zyx
) -> PairBox:
    """Reads the surroundings of a decision point.

    Args:
      volumes: what to read.
      id_a: the first object, as in the whole volume.
      id_b: the second one; None = the point is an end of the first.
      point_zyx: absolute voxel.
      radius_zyx: half the box (voxels), the point not counted.

    Raises:
      AgglomerationError: the point lies outside of the objects' volume, or one of them is not in the box.
      VolumeError: voxels that cannot be read or used.
    """
    region, each = volumes.region, volumes.each
    if not region.contains(point_zyx):
        raise AgglomerationError(
            f"decision point {point_zyx} (z, y, x) of {_named(id_a, id_b)} lies outside of {region}; find "
            "the pairs again, these belong to another volume"
        )
    box = Box.from_shape((1, 1, 1), point_zyx).grow(radius_zyx).intersect(region)
    settings = each.settings
    margin = _margin(box, region, settings.options.radius_zyx if settings.mirror_margin else (0, 0, 0))
    canvas = grown(box, margin)
    grey = read_with_margin(each.image, box, margin)
    labels, ids = numbered(_labels(volumes, canvas))
    return PairBox(
        image=normalise(grey, settings.image_mean, settings.image_stddev, each.image.spec),
        labels=labels,
        a=local_id(ids, id_a, point_zyx, box),
        b=None if id_b is None else local_id(ids, id_b, point_zyx, box),
        point=_minus(point_zyx, canvas.start),
        voxel_size_nm=each.image.voxel_size_nm,
        inner=box.shift([-n for n in canvas.start]),
        ids=ids,
        origin_zyx=canvas.start,
        movement_mask=_movement_mask(volumes, box, canvas),
    )


def _margin(box: Box, region: Box, radius: Zyx) -> Margin:
    """Context at those faces of a box that are faces of the region; none at others."""
    z, y, x = (
        (r if start == first else 0, r if stop == last else 0)
        for r, start, stop, first, last in zip(
            radius, box.start, box.stop, region.start, region.stop, strict=True
        )
    )
    return z, y, x


def _labels(volumes: PairVolumes, canvas: Box) -> np.ndarray:
    """The objects of a box that may leave the volume, uint64."""

    def read(box: Box) -> np.ndarray:
        labels = np.zeros(box.shape, np.uint64)
        known = box.intersect(volumes.supervoxels.bounds)
        labels[known.slices(box.start)] = volumes.supervoxels.read(known)
        return labels

    return mirrored(read, volumes.each.image, volumes.each, canvas)


def numbered(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Objects by local IDs 1, 2, …, in order of their own.

    Args:
      labels: (z, y, x), integers of at least 0; 0 = none.

    Returns:
      int32 (z, y, x), and the IDs, (n,) uint64 ascending.

    Raises:
      VolumeError: more objects than can be numbered.
    """
    ids, _ = object_voxels(labels)
    if len(ids) > _LARGEST_LOCAL:
        raise VolumeError(f"{len(ids)} objects in one box are too many; lower resegmentation.radius_nm")
    return relabel(labels, ids, np.arange(1, len(ids) + 1, dtype=np.uint64)).astype(np.int32), ids


def local_id(ids: np.ndarray, wanted: int, point: Zyx, box: Box) -> int:
    """The local ID of an object.

    Args:
      ids: (n,) uint64, as `numbered` gives them.
      wanted: the object's ID.
      point: decision point, for the message.
      box: around it, for the message.

    Raises:
      AgglomerationError: the box has none of the object.
    """
    at = int(np.searchsorted(ids, np.uint64(wanted)))
    if at == len(ids) or int(ids[at]) != wanted:
        raise AgglomerationError(
            f"supervoxel {wanted} is not in the box {box} around decision point {point} (z, y, x); find the "
            "pairs again, these belong to another segmentation"
        )
    return at + 1


def _movement_mask(volumes: PairVolumes, box: Box, canvas: Box) -> np.ndarray | None:
    masks = volumes.workspace.config.masks
    if not masks.movement and masks.shifts is None:
        return None
    place = Subvolume((0, 0, 0), "pair", box, box)
    return surroundings_of(volumes.workspace, volumes.each, place).obstacles(canvas).movement


def _named(id_a: int, id_b: int | None) -> str:
    return f"supervoxel {id_a}" if id_b is None else f"supervoxels {id_a} and {id_b}"


def _minus(point: Zyx, start: Zyx) -> Zyx:
    z, y, x = (int(p) - s for p, s in zip(point, start, strict=True))
    return z, y, x
