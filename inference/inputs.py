"""What a project starts from: image (or phantom), ground truth and the boxes to segment."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs import ConfigView, region_bounds
from configs.loading import region_boxes
from jobs.pieces import atomic_path
from volumes import Box, Volume, VolumeError, create_volume, open_volume
from volumes.arrays import ArrayVolume
from volumes.errors import NoVoxelSizeError
from volumes.phantom import GENERATOR_VERSION, Phantom, PhantomSpec, make_phantom

BLOCK_EDGE = 256
# What a phantom takes at least while it is made (bytes per voxel).
_PHANTOM_BYTES = 48
_RAW, _LABELS = "volumes/raw", "volumes/labels/neuron_ids"


@dataclass(frozen=True)
class Inputs:
    """The image and what of it is segmented.

    Attributes:
      image: the raw volume.
      labels: its ground truth; None = there is none.
      box: the region, from the lowest to the highest corner of all boxes.
      boxes: what is segmented, absolute; they may overlap. Voxels outside of all of them stay empty.
    """

    image: Volume
    labels: Volume | None
    box: Box
    boxes: tuple[Box, ...]

    @property
    def voxels(self) -> int:
        """How many voxels lie in the boxes."""
        return _united_size([tuple(zip(box.start, box.stop, strict=True)) for box in self.boxes])

    def touches(self, box: Box) -> bool:
        """Whether a box (absolute) shares voxels with one of those to segment."""
        return any(not box.intersect(each).is_empty for each in self.boxes)

    def cleared(self, voxels: np.ndarray, box: Box) -> np.ndarray:
        """The voxels (z, y, x) of a box (absolute), 0 where none of the boxes to segment is."""
        if any(each.contains_box(box) for each in self.boxes):
            return voxels
        kept = np.zeros_like(voxels)
        for each in self.boxes:
            part = each.intersect(box)
            if not part.is_empty:
                kept[part.slices(box.start)] = voxels[part.slices(box.start)]
        return kept


def open_inputs(config: ConfigView) -> Inputs:
    """Opens the raw volume (or makes the phantom) and the ground truth of a config.

    Args:
      config: with `inference` and `raw` or `phantom`.

    Raises:
      VolumeError: a volume that is missing, malformed, or does not contain the box; labels that do not fit
        the image, are not integers, or label nothing in the box.
    """
    if config.phantom is None:
        return _inputs(config, open_volume(config.raw.spec, voxel_size_nm=_nm(config.raw)), None)
    planned_inputs(config)
    return _inputs(config, *_phantom_volumes(config))


def planned_inputs(config: ConfigView) -> Inputs:
    """What `open_inputs` gives, but a phantom is not made yet: its image is black, its labels are missing.

    Raises:
      VolumeError: as `open_inputs`; or a phantom that this machine's memory cannot hold.
    """
    if config.phantom is None:
        return open_inputs(config)
    spec = phantom_spec(config.phantom)
    kept = _phantom_path(config)
    if not kept.exists():
        _require_memory(spec)
    image = ArrayVolume(np.broadcast_to(np.uint8(0), spec.shape), voxel_size_nm=spec.voxel_size_nm)
    image.spec = f"{kept}:{_RAW}"
    return _inputs(config, image, None)


def require_object_ids(labels: Volume, box: Box) -> None:
    """Refuses ground truth with negative numbers; reads all of the box, in blocks, if it can have any.

    Args:
      labels: whole numbers.
      box: what is compared with it, inside its bounds.

    Raises:
      VolumeError: names the first negative voxel of the first block with one.
    """
    if labels.dtype.kind != "i":
        return
    for block in blocks_of(box):
        voxels = labels.read(block)
        if voxels.min() < 0:
            first = np.unravel_index(int(np.argmax(voxels < 0)), voxels.shape)
            z, y, x = (int(n) + low for n, low in zip(first, block.start, strict=True))
            raise VolumeError(
                f"labels '{labels.spec}' are {voxels[first]} at z {z}, y {y}, x {x}; object IDs begin at 1, "
                "and 0 is no object: write 0 there, or shrink inference.box"
            )


def blocks_of(region: Box) -> Iterator[Box]:
    """A region in blocks of whole chunks of what is written, and small enough to be read at once."""
    starts = [range(a, b, BLOCK_EDGE) for a, b in zip(region.start, region.stop, strict=True)]
    for corner in itertools.product(*starts):
        yield Box.from_shape((BLOCK_EDGE,) * 3, corner).intersect(region)


def in_blocks(box: Box, region: Box) -> Box:
    """The voxels of all blocks of a region, see `blocks_of`, that a box touches.

    Args:
      box: absolute, in the region.
      region: what is cut into blocks, absolute.
    """
    ends = zip(box.start, box.stop, region.start, strict=True)
    corners = [
        (first + (low - first) // BLOCK_EDGE * BLOCK_EDGE, first - (first - high) // BLOCK_EDGE * BLOCK_EDGE)
        for low, high, first in ends
    ]
    (z, y, x), (depth, height, width) = zip(*corners, strict=True)
    return Box((z, y, x), (depth, height, width)).intersect(region)


def _inputs(config: ConfigView, image: Volume, labels: Volume | None) -> Inputs:
    """Image and ground truth with the box; `labels` gives way to those that the config names."""
    boxes = _boxes(config, image)
    box = Box(*(region_bounds(config.inference) or (image.bounds.start, image.bounds.stop)))
    source = config.evaluation.labels if config.evaluation is not None else None
    if source is not None:
        labels = _open_labels(source, image)
    if labels is not None:
        _require_same_grid(image, labels, box)
    inputs = Inputs(image, labels, box, boxes)
    if labels is not None:
        _require_some(labels, inputs)
    return inputs


def _boxes(config: ConfigView, image: Volume) -> tuple[Box, ...]:
    """What is segmented of an image: all of it, or the boxes asked for."""
    boxes = [Box(*bounds) for bounds in region_boxes(config.inference)]
    for index, box in enumerate(boxes):
        if not image.bounds.contains_box(box):
            name = f"inference.boxes[{index}]" if config.inference.boxes else "inference.box"
            raise VolumeError(
                f"box {box} leaves volume '{image.spec}' ({image.bounds}); shrink {name} to lie inside"
            )
    return tuple(boxes) or (image.bounds,)


def _united_size(boxes: Sequence[tuple[tuple[int, int], ...]]) -> int:
    """Voxels that any of several boxes holds, each given by its start and stop along some axes."""
    if not boxes or not boxes[0]:
        return len(boxes[:1])
    cuts = sorted({end for span, *_ in boxes for end in span})
    return sum(
        (high - low)
        * _united_size([tuple(rest) for span, *rest in boxes if span[0] <= low and high <= span[1]])
        for low, high in itertools.pairwise(cuts)
    )


def _nm(source: ConfigView) -> tuple[float, float, float] | None:
    return None if source.voxel_size_nm is None else tuple(source.voxel_size_nm)


def _open_labels(source: ConfigView, image: Volume) -> Volume:
    """Labels at their own voxel size, or at that of the image where they do not say one."""
    try:
        return open_volume(source.spec, voxel_size_nm=_nm(source))
    except NoVoxelSizeError:
        return open_volume(source.spec, voxel_size_nm=image.voxel_size_nm)


def _require_same_grid(image: Volume, labels: Volume, box: Box) -> None:
    if not labels.bounds.contains_box(box):
        raise VolumeError(
            f"labels '{labels.spec}' ({labels.bounds}) do not cover the box {box}; shrink inference.box or "
            "give labels of the whole image"
        )
    if not np.allclose(image.voxel_size_nm, labels.voxel_size_nm, rtol=1e-3):
        raise VolumeError(
            f"labels '{labels.spec}' have voxels of {labels.voxel_size_nm} nm but the image has "
            f"{image.voxel_size_nm} nm (z, y, x); resample the labels"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise VolumeError(f"labels '{labels.spec}' are {labels.dtype}; object IDs are integers, convert them")


def _require_some(labels: Volume, inputs: Inputs) -> None:
    parts = (part for box in inputs.boxes for part in blocks_of(box))
    if not any(labels.read(part).any() for part in parts):
        where = " and ".join(map(str, inputs.boxes))
        raise VolumeError(f"labels '{labels.spec}' are 0 in all of {where}; check the dataset and the box")


def phantom_spec(section: ConfigView) -> PhantomSpec:
    """The phantom that a config's `phantom` section asks for."""
    return PhantomSpec(section.shape, section.voxel_size_nm, section.seed, **section.parameters.to_dict())


def _phantom_path(config: ConfigView) -> Path:
    """Where a config's phantom is kept, a file named after everything it follows from."""
    spec = phantom_spec(config.phantom)
    digest = hashlib.blake2b(repr(spec).encode(), digest_size=4).hexdigest()
    return Path(config.output_dir) / f"phantom-v{GENERATOR_VERSION}-seed{spec.seed}-{digest}.h5"


def _phantom_volumes(config: ConfigView) -> tuple[Volume, Volume]:
    """Image and labels of the config's phantom, kept as HDF5 in the output directory (CREMI layout)."""
    spec, kept = phantom_spec(config.phantom), _phantom_path(config)
    if not kept.exists():
        phantom = _made(spec)
        arrays = {_RAW: phantom.raw, _LABELS: phantom.labels.astype(np.uint64)}
        with atomic_path(kept) as temporary:
            temporary.unlink()
            for name, array in arrays.items():
                place, box = f"{temporary}:{name}", Box.from_shape(spec.shape)
                with create_volume(
                    place, bounds=box, dtype=array.dtype, voxel_size_nm=spec.voxel_size_nm
                ) as volume:
                    volume.write(box, array)
    return open_volume(f"{kept}:{_RAW}"), open_volume(f"{kept}:{_LABELS}")


def _made(spec: PhantomSpec) -> Phantom:
    try:
        return make_phantom(spec)
    except MemoryError as error:
        raise VolumeError(f"{_too_large(spec)}; make phantom.shape smaller") from error


def _require_memory(spec: PhantomSpec) -> None:
    """Refuses a phantom that is larger than the machine's memory while it is made."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    needed = math.prod(spec.shape) * _PHANTOM_BYTES
    if needed > there:
        raise VolumeError(
            f"{_too_large(spec)}, of {there / 1e9:.3g} GB here: it takes {needed / 1e9:.3g} GB; make "
            "phantom.shape smaller"
        )


def _too_large(spec: PhantomSpec) -> str:
    return f"a phantom of shape {spec.shape} (z, y, x) does not fit into memory"
