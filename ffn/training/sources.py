"""Training data as a config names them: annotated volumes and phantoms.

Phantoms are kept in the output directory between starts.
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
from ffn.training.example_settings import ExampleSettings, for_voxel_size
from ffn.training.training_volume import TrainingVolume
from jobs.pieces import load_npz, save_npz
from jobs.progress import Progress
from volumes import Box, downsample_image, downsample_labels, open_volume, whole_factors
from volumes.derived import preprocess_array, preprocessed
from volumes.phantom import PhantomSpec, make_phantom

Size = tuple[float, float, float]


class Annotated(NamedTuple):
    """An image with its objects: raw (z, y, x), integer labels like it, and the voxel size (zyx)."""

    raw: np.ndarray
    labels: np.ndarray
    voxel_size_nm: Size


class Source(NamedTuple):
    """Training data that is yet to be read: its name in messages, its weight, and how to read it."""

    name: str
    weight: float
    read: Callable[[], Annotated]


def training_sources(
    volumes: Iterable[ConfigView], phantoms: Iterable[ConfigView], preprocessing: ConfigView, run_dir: Path
) -> list[Source]:
    """What is yet to be read of a config's annotated volumes and phantoms.

    Args:
      volumes: messages `TrainingVolume`.
      phantoms: messages `TrainingPhantoms`.
      preprocessing: of the images of both.
      run_dir: where phantoms are kept.
    """
    sources = [Source(v.raw.spec, v.weight, partial(_read_annotated, v, preprocessing)) for v in volumes]
    for group in phantoms:
        for seed in group.seeds:
            spec = PhantomSpec(group.shape, group.voxel_size_nm, seed, **group.parameters.to_dict())
            kept = run_dir / "phantoms" / f"{seed}.npz"
            read = partial(_read_phantom, spec, kept, preprocessing)
            sources.append(Source(f"phantom {seed}", group.weight, read))
    return sources


def read_volumes(
    sources: Sequence[Source], training: ConfigView, architecture: Architecture, examples: ExampleSettings
) -> tuple[list[TrainingVolume], Size | None]:
    """All training volumes, ready to draw examples from.

    Args:
      sources: where they come from.
      training: the config's section: its normalisation of greys and its resolution.
      architecture: of the network.
      examples: how examples are made.

    Returns:
      The volumes, and their voxel size (zyx, nm) where all have the same, else None.

    Raises:
      ReconstructionError: data that cannot be read or trained on.
    """
    volumes, sizes = [], set()
    with Progress(len(sources), "volume", description="training data") as progress:
        for source in sources:
            found = _at_voxel_size(source.read(), training.voxel_size_nm, source.name)
            image = (found.raw.astype(np.float32) - training.image_mean) / np.float32(training.image_stddev)
            fitting = for_voxel_size(examples, architecture, found.voxel_size_nm)
            volumes.append(TrainingVolume(source.name, image, found.labels, architecture, fitting))
            sizes.add(found.voxel_size_nm)
            progress.advance()
    return volumes, sizes.pop() if len(sizes) == 1 else None


def _at_voxel_size(found: Annotated, wanted: Size | None, name: str) -> Annotated:
    """The same data, resampled to voxels of the wanted size (None: as they are)."""
    if wanted is None or tuple(wanted) == tuple(found.voxel_size_nm):
        return found
    factors = whole_factors(found.voxel_size_nm, wanted, f"training data {name}")
    return Annotated(downsample_image(found.raw, factors), downsample_labels(found.labels, factors), wanted)


def _read_annotated(volume: ConfigView, preprocessing: ConfigView) -> Annotated:
    stored = open_volume(volume.raw.spec, voxel_size_nm=_size(volume.raw))
    raw = preprocessed(stored, preprocessing)
    labels = open_volume(volume.labels.spec, voxel_size_nm=_size(volume.labels) or raw.voxel_size_nm)
    box = Box(*box_bounds(volume.box)) if volume.box else labels.bounds
    if raw is not stored and stored.dtype.kind == "f":
        # Preprocessing spreads one such voxel over a section or turns it into a number.
        require_finite(volume.raw.spec, stored.read(box), box.start)
    found = Annotated(raw.read(box), labels.read(box), raw.voxel_size_nm)
    require_finite(volume.raw.spec, found.raw, box.start)
    require_object_ids(volume.labels.spec, found.labels, box.start)
    return found


def _size(source: ConfigView) -> Size | None:
    return None if source.voxel_size_nm is None else tuple(source.voxel_size_nm)


def _read_phantom(spec: PhantomSpec, kept: Path, preprocessing: ConfigView) -> Annotated:
    """The phantom of a spec, made unless it is kept already."""
    arrays = load_npz(kept) if kept.exists() else {"spec": np.array("")}
    if str(arrays["spec"]) != repr(spec):
        phantom = make_phantom(spec)
        arrays = {"spec": np.array(repr(spec)), "raw": phantom.raw, "labels": phantom.labels}
        save_npz(kept, arrays)
    raw = preprocess_array(arrays["raw"], spec.voxel_size_nm, preprocessing)
    return Annotated(raw, arrays["labels"], spec.voxel_size_nm)
