"""train_ffn --config C: trains a flood-filling network as the config's `training` section says.

Checkpoints and the log go to the config's output_dir; the same command continues an interrupted run.
The network file is renewed with every checkpoint, so that it can be tried while the training goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from absl import flags

from commands._entry import load_keras_quietly, no_arguments, run_command
from configs import ConfigView, box_bounds, load_config, save_resolved

FLAGS = flags.FlagValues()
_CONFIG = flags.DEFINE_string("config", None, "path or shipped name of the config", flag_values=FLAGS)


def run(arguments: Sequence[str] | None = None) -> int:
    """The console script; returns the exit code."""
    return run_command(FLAGS, __doc__ or "", _main, arguments)


def _main(rest: Sequence[str]) -> None:
    no_arguments(rest)
    if not _CONFIG.value:
        raise flags.Error("--config is missing; give a path or a shipped name such as train_phantom")
    config = load_config(_CONFIG.value, require=("training",))
    output = Path(config.output_dir)
    save_resolved(config, output / "config.textproto")
    load_keras_quietly()
    train_from_config(config)
    print(f"trained network: {config.training.output_weights}\nlog and checkpoint: {output}")


def train_from_config(config: ConfigView) -> None:
    """Trains and writes the network file of a config with a `training` section.

    Raises:
      ReconstructionError: data that cannot be read or trained on.
    """
    from ffn.network import Architecture
    from ffn.training.trainer import train
    from ffn.weights import NetworkFile, NetworkInfo, save_network

    training = config.training
    shape = training.architecture
    architecture = Architecture(shape.depth, shape.features, shape.fov, shape.deltas, shape.name)
    settings = _settings(training)
    data, weights, voxel_size_nm = _volumes(training, architecture, settings, Path(config.output_dir))

    def write(averaged: dict[str, np.ndarray], figures: dict[str, float]) -> None:
        info = NetworkInfo(
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
                "figures": figures,
            },
            licence=training.licence,
        )
        save_network(training.output_weights, NetworkFile(info, averaged))

    result = train(architecture, data, weights, settings, Path(config.output_dir), write)
    write(result.weights, result.figures)


def _settings(training: ConfigView):
    """The trainer's settings out of the config's section."""
    from ffn.backend import resolve_compute_dtype
    from ffn.training.augmentation import Augmentation
    from ffn.training.examples import ExampleSettings
    from ffn.training.trainer import TrainSettings

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
            permute_axes=_exchangeable(shape.fov, shape.deltas) if augmentation.permute_axes else (),
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


def _exchangeable(fov: tuple[int, ...], deltas: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Groups of axes alike in field of view and deltas."""
    alike: dict[tuple[int, int], list[int]] = {}
    for axis, key in enumerate(zip(fov, deltas, strict=True)):
        alike.setdefault(key, []).append(axis)
    return tuple(tuple(group) for group in alike.values() if len(group) > 1)


def _volumes(training: ConfigView, architecture, settings, run_dir: Path):
    """All training volumes with their weights, and the voxel size they share (None when they differ)."""
    from ffn.training.examples import TrainingVolume
    from jobs.progress import Progress

    sources = [(f"{v.raw.spec}", v.weight, lambda v=v: _annotated(v)) for v in training.volumes]
    for group in training.phantoms:
        for seed in group.seeds:
            sources.append((f"phantom {seed}", group.weight, lambda g=group, s=seed: _phantom(g, s, run_dir)))
    volumes, weights, sizes = [], [], set()
    with Progress(len(sources), "volume", description="training data") as progress:
        for name, weight, read in sources:
            raw, labels, voxel_size_nm = read()
            image = (raw.astype(np.float32) - training.image_mean) / np.float32(training.image_stddev)
            example_settings = _for_voxel_size(settings.examples, voxel_size_nm)
            volumes.append(TrainingVolume(name, image, labels, architecture, example_settings))
            weights.append(weight)
            sizes.add(tuple(voxel_size_nm))
            progress.advance()
    return volumes, weights, sizes.pop() if len(sizes) == 1 else None


def _for_voxel_size(examples, voxel_size_nm: tuple[float, float, float]):
    """Axes are exchanged only where the voxels are equally long."""
    groups = [
        tuple(a for a in group if voxel_size_nm[a] == voxel_size_nm[first])
        for group in examples.augmentation.permute_axes
        for first in group
    ]
    alike = tuple(sorted({g for g in groups if len(g) > 1}))
    return replace(examples, augmentation=replace(examples.augmentation, permute_axes=alike))


def _annotated(volume: ConfigView):
    """Raw, labels and voxel size of one annotated volume."""
    from volumes import Box, open_volume

    raw = open_volume(volume.raw.spec, voxel_size_nm=_size(volume.raw))
    labels = open_volume(volume.labels.spec, voxel_size_nm=_size(volume.labels) or raw.voxel_size_nm)
    box = Box(*box_bounds(volume.box)) if volume.box else labels.bounds
    return raw.read(box), labels.read(box), raw.voxel_size_nm


def _size(source: ConfigView) -> tuple[float, float, float] | None:
    size = source.voxel_size_nm
    return None if size is None else tuple(size)


def _phantom(group: ConfigView, seed: int, run_dir: Path):
    """Raw, labels and voxel size of one phantom, kept in the run's folder between starts."""
    from jobs.pieces import load_npz, save_npz
    from volumes.phantom import PhantomSpec, make_phantom

    spec = PhantomSpec(group.shape, group.voxel_size_nm, seed, **group.parameters.to_dict())
    kept = run_dir / "phantoms" / f"{seed}.npz"
    if kept.exists():
        arrays = load_npz(kept)
        if str(arrays["spec"]) == repr(spec):
            return arrays["raw"], arrays["labels"], spec.voxel_size_nm
    phantom = make_phantom(spec)
    save_npz(kept, {"spec": np.array(repr(spec)), "raw": phantom.raw, "labels": phantom.labels})
    return phantom.raw, phantom.labels, spec.voxel_size_nm
