"""What a project starts from: network, image (or phantom), ground truth and the box to segment."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs import ConfigView, region_bounds
from jobs.pieces import atomic_path
from volumes import Box, Volume, VolumeError, create_volume, open_volume
from volumes.phantom import GENERATOR_VERSION, PhantomSpec, make_phantom

_SLAB = 32


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
    if config.phantom is not None:
        image, labels = _phantom_volumes(config.phantom, Path(config.output_dir))
    else:
        image = open_volume(config.raw.spec, voxel_size_nm=config.raw.voxel_size_nm and _nm(config.raw))
        labels = None
    source = config.evaluation.labels if config.evaluation is not None else None
    if source is not None:
        labels = open_volume(source.spec, voxel_size_nm=_nm(source) or image.voxel_size_nm)
    region = region_bounds(config.inference)
    box = image.bounds if region is None else Box(*region)
    if labels is not None:
        _require_same_grid(image, labels, box)
    return Inputs(image, labels, box)


def _nm(source: ConfigView) -> tuple[float, float, float] | None:
    return None if source.voxel_size_nm is None else tuple(source.voxel_size_nm)


def _require_same_grid(image: Volume, labels: Volume, box: Box) -> None:
    if image.bounds.contains_box(box) and not labels.bounds.contains_box(box):
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
    if image.bounds.contains_box(box) and not _labels_any(labels, box):
        raise VolumeError(f"labels '{labels.spec}' are 0 in all of {box}; check the dataset and the box")


def _labels_any(labels: Volume, box: Box) -> bool:
    """Whether any voxel of the box is labelled; reads no further than the first slab that has one."""
    for z in range(box.start[0], box.stop[0], _SLAB):
        slab = Box((z, *box.start[1:]), (min(z + _SLAB, box.stop[0]), *box.stop[1:]))
        if labels.read(slab).any():
            return True
    return False


def _phantom_volumes(section: ConfigView, output: Path) -> tuple[Volume, Volume]:
    """Image and labels of the config's phantom, kept as HDF5 in the output directory (CREMI layout).

    The file is named after everything the phantom follows from, so that another phantom is another file.
    """
    spec = PhantomSpec(section.shape, section.voxel_size_nm, section.seed, **section.parameters.to_dict())
    digest = hashlib.blake2b(repr(spec).encode(), digest_size=4).hexdigest()
    kept = output / f"phantom-v{GENERATOR_VERSION}-seed{spec.seed}-{digest}.h5"
    names = {"raw": f"{kept}:volumes/raw", "labels": f"{kept}:volumes/labels/neuron_ids"}
    if not kept.exists():
        phantom = make_phantom(spec)
        arrays = {"raw": phantom.raw, "labels": phantom.labels.astype(np.uint64)}
        with atomic_path(kept) as temporary:
            temporary.unlink()
            for name, array in arrays.items():
                place = names[name].replace(str(kept), str(temporary))
                box = Box.from_shape(spec.shape)
                with create_volume(
                    place, bounds=box, dtype=array.dtype, voxel_size_nm=spec.voxel_size_nm
                ) as volume:
                    volume.write(box, array)
    return open_volume(names["raw"]), open_volume(names["labels"])
