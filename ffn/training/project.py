"""Trains the network that a config's `training` section describes.

Training data are annotated volumes and phantoms; phantoms are kept in the output directory between starts.
The network file is renewed with every checkpoint, so that it can be tried while the training goes on.
Volumes that cannot be trained on are refused before anything is written.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from configs import ConfigView, save_resolved
from ffn.backend import resolve_compute_dtype
from ffn.network import Architecture
from ffn.training.example_settings import example_settings
from ffn.training.optimisers import OptimizerSettings
from ffn.training.sources import Size, read_volumes, training_sources
from ffn.training.trainer import TrainSettings, train
from ffn.weights import NetworkFile, NetworkInfo, WeightsError, load_network, save_network
from jobs.pieces import require_writable_file


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
    sources = training_sources(training.volumes, training.phantoms, config.preprocessing, run_dir)
    volumes, voxel_size_nm = read_volumes(sources, training, architecture, settings.examples)

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
    optimizer = training.optimizer
    return TrainSettings(
        total_fovs=training.total_fovs,
        batch_size=training.batch_size,
        optimizer=OptimizerSettings(**optimizer.to_dict()),
        ema_decay=training.ema_decay,
        compute_dtype=resolve_compute_dtype(training.compute_dtype),
        seed=training.seed,
        segment_threshold=training.segment_threshold,
        devices=training.devices,
        checkpoint_minutes=training.checkpoint_minutes,
        checkpoint_steps=training.checkpoint_steps,
        keep_every_steps=training.keep_every_steps,
        divergence_factor=training.divergence_factor,
        tensorboard=training.tensorboard,
        examples=example_settings(training),
    )


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
