"""Trains the network that a config's `training` section describes.

Training data are annotated volumes and phantoms; phantoms are kept in the output directory between starts.
The network file is renewed with every checkpoint, so that it can be tried while the training goes on.
Volumes that cannot be trained on are refused before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from configs import ConfigView, box_bounds, save_resolved
from ffn.backend import resolve_compute_dtype
from ffn.network import Architecture
from ffn.training.annotated import require_finite, require_object_ids
from ffn.training.augmentation import Augmentation
from ffn.training.examples import ExampleSettings, TrainingVolume
from ffn.training.trainer import TrainSettings, train
from ffn.weights import NetworkFile, NetworkInfo, WeightsError, load_network, save_network
from jobs.pieces import load_npz, require_writable_file, save_npz
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


def train_project(config: ConfigView) -> None:
    """Trains and writes the network file of a config with a `training` section.

    Args:
      config: `training` says what; checkpoints and the log go to `output_dir`, and an interrupted run is
        continued from there.

    Raises:
      ReconstructionError: data that cannot be read or trained on; nothing was written then but phantoms.
    """
    training, run_dir = config.training, Path(config.output_dir)
    require_writable_file(Path(training.output_weights))
    shape = training.architecture
    architecture = Architecture(shape.depth, shape.features, shape.fov, shape.deltas, shape.name)
    settings = train_settings(training)
    initial = _initial_network(training, architecture)
    sources = [*_annotated_sources(config), *_phantom_sources(config, run_dir)]
    volumes, sizes = _read_all(sources, training, architecture, settings)
    voxel_size_nm = sizes.pop() if len(sizes) == 1 else None

    def write(averaged: dict[str, np.ndarray], figures: dict[str, float]) -> None:
        save_resolved(config, run_dir / "config.textproto")
        info = _info(config, architecture, voxel_size_nm, figures, initial)
        save_network(training.output_weights, NetworkFile(info, averaged))

    weights = [source.weight for source in sources]
    data = _describe_data(config)
    start = initial.weights if initial else None
    result = train(architecture, volumes, weights, settings, run_dir, write, data, start)
    write(result.weights, result.figures)


def _initial_network(training: ConfigView, architecture: Architecture) -> NetworkFile | None:
    """The network that the training starts from, or None for random weights."""
    if not training.initial_weights:
        return None
    network = load_network(training.initial_weights)
    found = network.info.architecture
    for name in ("name", "depth", "features"):
        theirs, mine = getattr(found, name), getattr(architecture, name)
        if theirs != mine:
            raise WeightsError(
                f"training.initial_weights {training.initial_weights} has {name} {theirs}, "
                f"training.architecture has {mine}; make them alike or leave initial_weights out"
            )
    return network


def _describe_data(config: ConfigView) -> str:
    """What the training data are made from: volumes, phantoms, resolution, preprocessing, normalisation."""
    training = config.training
    parts = [each.to_text() for each in (*training.volumes, *training.phantoms, config.preprocessing)]
    if training.voxel_size_nm is not None:
        parts.append(f"voxel size {tuple(training.voxel_size_nm)}")
    return "\n".join([*parts, f"mean {training.image_mean} stddev {training.image_stddev}"])


def train_settings(training: ConfigView) -> TrainSettings:
    """The trainer's settings out of the config's `training` section."""
    shape, optimizer, augmentation = training.architecture, training.optimizer, training.augmentation
    examples = ExampleSettings(
        init_activation=training.init_activation,
        pad_value=training.pad_value,
        move_threshold=training.move_threshold,
        target_inside=training.target_inside,
        target_outside=training.target_outside,
        moves=(training.fov_moves,) * 3,
        partition_thresholds=tuple(training.partition_thresholds),
        min_object_voxels=training.min_object_voxels,
        clearance=training.centre_clearance_voxels,
        augmentation=Augmentation(
            permute_axes=_alike(list(zip(shape.fov, shape.deltas, strict=True)))
            if augmentation.permute_axes
            else (),
            reflect=augmentation.reflect,
            contrast=augmentation.contrast,
            brightness=augmentation.brightness,
            noise=augmentation.noise,
        ),
    )
    return TrainSettings(
        total_fovs=training.total_fovs,
        batch_size=training.batch_size,
        learning_rate=optimizer.learning_rate,
        warmup_steps=optimizer.warmup_steps,
        decay_share=optimizer.decay_share,
        clip=optimizer.gradient_clip,
        ema_decay=training.ema_decay,
        compute_dtype=resolve_compute_dtype(training.compute_dtype),
        seed=training.seed,
        checkpoint_minutes=training.checkpoint_minutes,
        examples=examples,
    )


def _alike(keys: list[tuple]) -> tuple[tuple[int, ...], ...]:
    """Groups of two or more axes with equal keys."""
    groups: dict[tuple, list[int]] = {}
    for axis, key in enumerate(keys):
        groups.setdefault(key, []).append(axis)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def _read_all(
    sources: list[Source], training: ConfigView, architecture: Architecture, settings: TrainSettings
) -> tuple[list[TrainingVolume], set[Size]]:
    """All training volumes, normalised and ready to draw from, and the voxel sizes there are."""
    volumes, sizes = [], set()
    with Progress(len(sources), "volume", description="training data") as progress:
        for source in sources:
            found = _at_voxel_size(source.read(), training.voxel_size_nm, source.name)
            image = (found.raw.astype(np.float32) - training.image_mean) / np.float32(training.image_stddev)
            fitting = _for_voxel_size(settings.examples, architecture, found.voxel_size_nm)
            volumes.append(TrainingVolume(source.name, image, found.labels, architecture, fitting))
            sizes.add(found.voxel_size_nm)
            progress.advance()
    return volumes, sizes


def _at_voxel_size(found: Annotated, wanted: Size | None, name: str) -> Annotated:
    """The same data, resampled to voxels of the wanted size (None: as they are)."""
    if wanted is None or tuple(wanted) == tuple(found.voxel_size_nm):
        return found
    factors = whole_factors(found.voxel_size_nm, wanted, f"training data {name}")
    return Annotated(downsample_image(found.raw, factors), downsample_labels(found.labels, factors), wanted)


def _for_voxel_size(
    examples: ExampleSettings, architecture: Architecture, voxel_size_nm: Size
) -> ExampleSettings:
    """The settings with axes exchanged only where voxels are equally long too."""
    if not examples.augmentation.permute_axes:
        return examples
    keys = list(zip(architecture.fov_zyx, architecture.deltas_zyx, voxel_size_nm, strict=True))
    return replace(examples, augmentation=replace(examples.augmentation, permute_axes=_alike(keys)))


def _annotated_sources(config: ConfigView) -> Iterator[Source]:
    for volume in config.training.volumes:
        read = partial(_read_annotated, volume, config.preprocessing)
        yield Source(volume.raw.spec, volume.weight, read)


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


def _phantom_sources(config: ConfigView, run_dir: Path) -> Iterator[Source]:
    for group in config.training.phantoms:
        for seed in group.seeds:
            spec = PhantomSpec(group.shape, group.voxel_size_nm, seed, **group.parameters.to_dict())
            kept = run_dir / "phantoms" / f"{seed}.npz"
            read = partial(_read_phantom, spec, kept, config.preprocessing)
            yield Source(f"phantom {seed}", group.weight, read)


def _read_phantom(spec: PhantomSpec, kept: Path, preprocessing: ConfigView) -> Annotated:
    """The phantom of a spec, made unless it is kept already."""
    arrays = load_npz(kept) if kept.exists() else {"spec": np.array("")}
    if str(arrays["spec"]) != repr(spec):
        phantom = make_phantom(spec)
        arrays = {"spec": np.array(repr(spec)), "raw": phantom.raw, "labels": phantom.labels}
        save_npz(kept, arrays)
    raw = preprocess_array(arrays["raw"], spec.voxel_size_nm, preprocessing)
    return Annotated(raw, arrays["labels"], spec.voxel_size_nm)


def _info(
    config: ConfigView,
    architecture: Architecture,
    voxel_size_nm: Size | None,
    figures: dict[str, float],
    initial: NetworkFile | None,
) -> NetworkInfo:
    """What the network file says of its network."""
    training = config.training
    return NetworkInfo(
        architecture=architecture,
        image_mean=training.image_mean,
        image_stddev=training.image_stddev,
        init_activation=training.init_activation,
        pad_value=training.pad_value,
        move_threshold=training.move_threshold,
        segment_threshold=training.segment_threshold,
        voxel_size_nm=voxel_size_nm,
        training={
            "description": training.description or "",
            "settings": training.to_text(),
            "preprocessing": config.preprocessing.to_text(),
            "figures": figures,
            **({"started_from": dict(initial.info.training)} if initial else {}),
        },
        licence=training.licence,
    )
