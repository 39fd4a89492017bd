"""What a project starts from: network, image (or phantom), ground truth and the box to segment."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs import ConfigView, region_bounds
from jobs.pieces import atomic_path
from volumes import Box, Volume, VolumeError, create_volume, open_volume
from volumes.arrays import ArrayVolume
from volumes.phantom import GENERATOR_VERSION, Phantom, PhantomSpec, make_phantom

BLOCK_EDGE = 256
# What a phantom takes at least while it is made (bytes per voxel).
_PHANTOM_BYTES = 48
_RAW, _LABELS = "volumes/raw", "volumes/labels/neuron_ids"


@dataclass(frozen=True)
class Inputs:
    """The image, its ground truth (None = there is none) and the box to segment."""

    image: Volume
    labels: Volume | None
    box: Box


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
    spec = _phantom_spec(config.phantom)
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


def _inputs(config: ConfigView, image: Volume, labels: Volume | None) -> Inputs:
    """Image and ground truth with the box; `labels` gives way to those that the config names."""
    region = region_bounds(config.inference)
    box = image.bounds if region is None else Box(*region)
    if not image.bounds.contains_box(box):
        raise VolumeError(
            f"box {box} leaves volume '{image.spec}' ({image.bounds}); shrink inference.box to lie inside"
        )
    source = config.evaluation.labels if config.evaluation is not None else None
    if source is not None:
        labels = open_volume(source.spec, voxel_size_nm=_nm(source) or image.voxel_size_nm)
    if labels is not None:
        _require_same_grid(image, labels, box)
    return Inputs(image, labels, box)


def _nm(source: ConfigView) -> tuple[float, float, float] | None:
    return None if source.voxel_size_nm is None else tuple(source.voxel_size_nm)


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
    if not any(labels.read(block).any() for block in blocks_of(box)):
        raise VolumeError(f"labels '{labels.spec}' are 0 in all of {box}; check the dataset and the box")


def _phantom_spec(section: ConfigView) -> PhantomSpec:
    return PhantomSpec(section.shape, section.voxel_size_nm, section.seed, **section.parameters.to_dict())


def _phantom_path(config: ConfigView) -> Path:
    """Where a config's phantom is kept, a file named after everything it follows from."""
    spec = _phantom_spec(config.phantom)
    digest = hashlib.blake2b(repr(spec).encode(), digest_size=4).hexdigest()
    return Path(config.output_dir) / f"phantom-v{GENERATOR_VERSION}-seed{spec.seed}-{digest}.h5"


def _phantom_volumes(config: ConfigView) -> tuple[Volume, Volume]:
    """Image and labels of the config's phantom, kept as HDF5 in the output directory (CREMI layout)."""
    spec, kept = _phantom_spec(config.phantom), _phantom_path(config)
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
