"""Training data as a config names them: annotated volumes and phantoms.

Phantoms are kept in the output directory between starts, and so are the classes of possible centres. Volumes
are held in memory as far as they fit; the others are read block by block, and example by example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from configs import ConfigView, box_bounds
from ffn.network import Architecture
from ffn.training.annotated import require_finite, require_object_ids
from ffn.training.example_settings import ExampleSettings
from ffn.training.training_volume import TrainingVolume
from ffn.training.volume_parts import (
    BLOCK,
    VolumePart,
    any_of_block,
    blocks_of,
    bytes_of,
    held_in_memory,
)
from jobs.pieces import load_npz, save_npz
from jobs.progress import Progress
from volumes import Box, Volume, VolumeError, downsample_image, downsample_labels, open_volume, whole_factors
from volumes.arrays import ArrayVolume
from volumes.base import SizeNm
from volumes.derived import preprocess_array, preprocessed
from volumes.errors import NoVoxelSizeError
from volumes.phantom import PhantomSpec, make_phantom


class Annotated(NamedTuple):
    """An image with its objects on one grid, for reading; each (z, y, x) from (0, 0, 0) on.

    `raw` is preprocessed, not normalised, and states the voxel size; `mask` is not 0 where nothing counts.
    """

    raw: Volume
    labels: Volume
    mask: Volume | None = None


class Source(NamedTuple):
    """Training data that is yet to be opened: its name in messages, its weight, and how to open it.

    `open` takes the voxel size (zyx, nm) that is wanted, None for its own, and has checked what it returns:
    it raises a `ReconstructionError` for data that cannot be read or trained on.
    """

    name: str
    weight: float
    open: Callable[[SizeNm | None], Annotated]


def training_sources(
    volumes: Iterable[ConfigView], phantoms: Iterable[ConfigView], preprocessing: ConfigView, run_dir: Path
) -> list[Source]:
    """What is yet to be opened of a config's annotated volumes and phantoms.

    Args:
      volumes: messages `TrainingVolume`.
      phantoms: messages `TrainingPhantoms`.
      preprocessing: of the images of both.
      run_dir: where phantoms are kept.
    """
    sources = [Source(v.raw.spec, v.weight, partial(_annotated, v, preprocessing)) for v in volumes]
    for group in phantoms:
        for seed in group.seeds:
            spec = PhantomSpec(group.shape, group.voxel_size_nm, seed, **group.parameters.to_dict())
            kept = run_dir / "phantoms" / f"{seed}.npz"
            sources.append(
                Source(f"phantom {seed}", group.weight, partial(_phantom, spec, kept, preprocessing))
            )
    return sources


def read_volumes(
    sources: Sequence[Source],
    training: ConfigView,
    architecture: Architecture,
    examples: ExampleSettings,
    run_dir: Path | None = None,
) -> tuple[list[TrainingVolume], SizeNm | None]:
    """All training volumes, ready to draw examples from.

    Args:
      sources: where they come from.
      training: the config's section: its resolution, and the memory that volumes may take.
      architecture: of the network.
      examples: how examples are made.
      run_dir: where classes of centres are kept for the next start; None: nowhere.

    Returns:
      The volumes, and their voxel size (zyx, nm) where all have the same, else None.

    Raises:
      ReconstructionError: data that cannot be read or trained on.
    """
    volumes, sizes, left = [], set(), training.memory_gb * 1e9
    folder = None if run_dir is None else run_dir / "centres"
    with Progress(len(sources), "volume", description="training data") as progress:
        for source in sources:
            found = source.open(training.voxel_size_nm)
            needed = bytes_of(*found)
            if needed <= left:
                left -= needed
                found = Annotated(*(part and held_in_memory(part) for part in found))  # type: ignore[arg-type]
            raw, labels, mask = found
            volumes.append(TrainingVolume(source.name, raw, labels, architecture, examples, mask, folder))
            sizes.add(raw.voxel_size_nm)
            progress.advance()
    return volumes, sizes.pop() if len(sizes) == 1 else None


def _annotated(volume: ConfigView, preprocessing: ConfigView, wanted: SizeNm | None) -> Annotated:
    stored = open_volume(volume.raw.spec, voxel_size_nm=_size(volume.raw))
    labels = _open_beside(volume.labels, stored)
    mask = _open_beside(volume.mask, stored) if volume.mask else None
    box = _common_box(volume, stored, [each for each in (labels, mask) if each is not None])
    _require_trainable(volume, stored, labels, box)
    raw = preprocessed(stored, preprocessing)
    return _at_voxel_size(Annotated(raw, labels, mask), box, wanted, volume.raw.spec)


def _open_beside(source: ConfigView, raw: Volume) -> Volume:
    """Labels or a mask; without a voxel size of their own they have the image's."""
    try:
        found = open_volume(source.spec, voxel_size_nm=_size(source))
    except NoVoxelSizeError:
        found = open_volume(source.spec, voxel_size_nm=raw.voxel_size_nm)
    if not np.allclose(found.voxel_size_nm, raw.voxel_size_nm, rtol=1e-3):
        raise VolumeError(
            f"training volume {source.spec} has voxels of {found.voxel_size_nm} nm (zyx), its image "
            f"{raw.spec} of {raw.voxel_size_nm}; resample one of them, or correct voxel_size_nm"
        )
    return found


def _common_box(volume: ConfigView, raw: Volume, others: Sequence[Volume]) -> Box:
    """The box to train on; without one in the config all volumes must be equally large."""
    if volume.box:
        box = Box(*box_bounds(volume.box))
        for each in (raw, *others):
            if not each.bounds.contains_box(box):
                raise VolumeError(
                    f"box {box} of training volume {raw.spec} leaves '{each.spec}' ({each.bounds}); "
                    f"shrink it to those bounds"
                )
        return box
    for other in others:
        if other.bounds != raw.bounds:
            raise VolumeError(
                f"training volume {other.spec} ({other.bounds}) and its image {raw.spec} ({raw.bounds}) "
                f"differ in shape or place; give volumes on one grid, or a box that lies in both"
            )
    return raw.bounds


def _require_trainable(volume: ConfigView, stored: Volume, labels: Volume, box: Box) -> None:
    """Looks at every voxel before anything else is done, block by block.

    The image is looked at as it is stored: preprocessing spreads a value that is not finite over a section or
    turns it into a number.
    """
    for block in blocks_of(box, BLOCK):
        if stored.dtype.kind == "f":
            require_finite(volume.raw.spec, stored.read(block), block.start)
        if labels.dtype.kind in "if":
            require_object_ids(volume.labels.spec, labels.read(block), block.start)


def _at_voxel_size(found: Annotated, box: Box, wanted: SizeNm | None, name: str) -> Annotated:
    """The box as volumes of their own, with voxels of the wanted size (None: as they are)."""
    size_nm = found.raw.voxel_size_nm
    factors = whole_factors(size_nm, size_nm if wanted is None else wanted, f"training data {name}")
    mask = found.mask and VolumePart(found.mask, box, factors, any_of_block)
    return Annotated(
        VolumePart(found.raw, box, factors, downsample_image),
        VolumePart(found.labels, box, factors, downsample_labels),
        mask,
    )


def _size(source: ConfigView) -> SizeNm | None:
    return None if source.voxel_size_nm is None else tuple(source.voxel_size_nm)


def _phantom(spec: PhantomSpec, kept: Path, preprocessing: ConfigView, wanted: SizeNm | None) -> Annotated:
    """The phantom of a spec, made unless it is kept already."""
    arrays = load_npz(kept) if kept.exists() else {"spec": np.array("")}
    if str(arrays["spec"]) != repr(spec):
        phantom = make_phantom(spec)
        arrays = {"spec": np.array(repr(spec)), "raw": phantom.raw, "labels": phantom.labels}
        save_npz(kept, arrays)
    raw = preprocess_array(arrays["raw"], spec.voxel_size_nm, preprocessing)
    found = Annotated(
        ArrayVolume(raw, voxel_size_nm=spec.voxel_size_nm),
        ArrayVolume(arrays["labels"], voxel_size_nm=spec.voxel_size_nm),
    )
    return _at_voxel_size(found, found.raw.bounds, wanted, f"phantom {spec.seed}")
