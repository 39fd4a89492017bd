"""Trains the network that a config's `training` section describes.

Training data are annotated volumes and phantoms; phantoms are kept in the output directory between starts.
The network file is renewed with every checkpoint, so that it can be tried while the training goes on; others
are kept in the output directory, every so many steps and where the validation loss is lowest.
Volumes that cannot be trained on are refused before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from configs import ConfigView, save_resolved
from ffn.backend import resolve_compute_dtype
from ffn.network import Architecture
from ffn.training.centre_draw import CentreDraw
from ffn.training.checkpoints import stamp_of, start_of
from ffn.training.example_settings import example_settings
from ffn.training.grey_sample import about_normalisation, contents_digest, sample_greys
from ffn.training.optimisers import OptimizerSettings
from ffn.training.setting_checks import cautions, require_sense
from ffn.training.sources import read_volumes, training_sources
from ffn.training.train_settings import TrainSettings, identity_of
from ffn.training.trainer import BEST, train
from ffn.training.validation import Validation, ValidationSettings
from ffn.weights import (
    SUFFIX,
    NetworkFile,
    NetworkInfo,
    WeightsError,
    check_weights,
    load_network,
    save_network,
)
from jobs.lock import only_run_in
from jobs.pieces import require_writable_file
from volumes.base import SizeNm

# What weights must have in common with the network they are put into; field of view and deltas may differ.
_OF_THE_WEIGHTS = ("name", "depth", "features", "normalisation", "arguments")

Tell: TypeAlias = Callable[[str], None]


def _silently(line: str) -> None:
    """Tells nobody."""


def train_project(config: ConfigView, tell: Tell = _silently) -> None:
    """Trains and writes the network file of a config with a `training` section.

    Args:
      config: `training` says what; checkpoints, the log and networks that are kept go to `output_dir`, and an
        interrupted run is continued from there.
      tell: takes lines about the data and what is probably not meant, once everything was read.

    Raises:
      ReconstructionError: data that cannot be read or trained on, or another training in the output
        directory; nothing was written then but phantoms and classes of centres.
    """
    training, run_dir = config.training, Path(config.output_dir)
    require_writable_file(Path(training.output_weights))
    architecture, settings = architecture_of(training.architecture), train_settings(training)
    require_sense(training, settings)
    initial = _initial_network(training, architecture)
    sources = training_sources(training.volumes, training.phantoms, config.preprocessing, run_dir)
    volumes, voxel_size_nm = read_volumes(sources, training, architecture, settings.examples, run_dir)
    greys = [sample_greys(volume) for volume in volumes]
    validation = _validation(config, architecture, settings)

    data, contents = _describe_data(config), contents_digest(volumes)
    weights = initial.weights if initial else None
    run = stamp_of(identity_of(architecture, settings, data, start_of(weights), contents))

    def save(path: Path, averaged: dict[str, np.ndarray], figures: dict[str, float]) -> None:
        info = _info(config, architecture, voxel_size_nm, figures, initial, run)
        save_network(path, NetworkFile(info, averaged))

    def renew(averaged: dict[str, np.ndarray], figures: dict[str, float]) -> None:
        save_resolved(config, run_dir / "config.textproto")
        save(Path(training.output_weights), averaged, figures)

    centres = CentreDraw(volumes, [source.weight for source in sources], settings.examples.min_class_voxels)
    tell(centres.describe())
    for line in cautions(training, settings, initial.info if initial else None):
        tell(line)
    for volume, found in zip(volumes, greys, strict=True):
        if line := about_normalisation(volume.name, found, training.image_mean, training.image_stddev):
            tell(line)
        if volume.centres.without:
            tell(
                f"training volume {volume.name}: {volume.centres.without} objects of at least "
                f"{settings.examples.min_object_voxels} voxels have no centre, since no example fits around "
                f"them, or they are masked"
            )
    run_dir.mkdir(parents=True, exist_ok=True)
    with only_run_in(run_dir):
        result = train(
            architecture,
            volumes,
            [source.weight for source in sources],
            settings,
            run_dir,
            renew,
            data,
            weights,
            validation,
            lambda name, averaged, figures: save(kept_network(run_dir, name), averaged, figures),
            contents,
        )
        renew(result.weights, result.figures)


def architecture_of(message: ConfigView) -> Architecture:
    """The architecture that a config's message of that name describes."""
    return Architecture(
        message.depth,
        message.features,
        message.fov,
        message.deltas,
        message.name,
        message.normalisation,
        tuple(message.arguments),
    )


def kept_network(run_dir: Path, name: str) -> Path:
    """Where a network is that was kept.

    Args:
      run_dir: of the run.
      name: under which the trainer kept it.
    """
    return (run_dir if name == BEST else run_dir / "checkpoints") / f"{name}{SUFFIX}"


def kept_networks(run_dir: Path) -> list[Path]:
    """All networks that were kept: those of every so many steps in their order, then the best."""
    best = kept_network(run_dir, BEST)
    return [*sorted((run_dir / "checkpoints").glob(f"step-*{SUFFIX}")), *([best] if best.exists() else [])]


def _initial_network(training: ConfigView, architecture: Architecture) -> NetworkFile | None:
    """The network that the training starts from, or None for random weights."""
    if not training.initial_weights:
        return None
    where = f"training.initial_weights {training.initial_weights}"
    network = load_network(training.initial_weights)
    found = network.info.architecture
    for name in _OF_THE_WEIGHTS:
        theirs, mine = getattr(found, name), getattr(architecture, name)
        if theirs != mine:
            raise WeightsError(
                f"{where} has {name} {theirs}, training.architecture has {mine}; make them alike or leave "
                f"initial_weights out"
            )
    check_weights(replace(network, info=replace(network.info, architecture=architecture)), where)
    return network


def _validation(config: ConfigView, architecture: Architecture, settings: TrainSettings) -> Validation | None:
    """The data that are not trained on, if the config names any."""
    training, section, run_dir = config.training, config.training.validation_loss, Path(config.output_dir)
    if not training.validation:
        return None
    sources = training_sources(training.validation, (), config.preprocessing, run_dir)
    volumes, _ = read_volumes(sources, training, architecture, settings.examples, run_dir)
    return Validation(
        volumes,
        [source.weight for source in sources],
        architecture,
        settings.examples,
        ValidationSettings(section.fovs, section.every_steps, section.keep_best),
    )


def _describe_data(config: ConfigView) -> str:
    """What the data are made from: volumes, phantoms, resolution, preprocessing, normalisation."""
    training = config.training
    parts = [each.to_text() for each in (*training.volumes, *training.phantoms, config.preprocessing)]
    if training.voxel_size_nm is not None:
        parts.append(f"voxel size {tuple(training.voxel_size_nm)}")
    return "\n".join([*parts, f"mean {training.image_mean} stddev {training.image_stddev}"])


def train_settings(training: ConfigView) -> TrainSettings:
    """The trainer's settings out of the config's `training` section."""
    return TrainSettings(
        total_fovs=training.total_fovs,
        batch_size=training.batch_size,
        optimizer=OptimizerSettings(**training.optimizer.to_dict()),
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
        read_ahead=training.read_ahead,
        read_threads=training.read_threads,
        examples=example_settings(training),
    )


def _info(
    config: ConfigView,
    architecture: Architecture,
    voxel_size_nm: SizeNm | None,
    figures: dict[str, float],
    initial: NetworkFile | None,
    run: str,
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
            "run": run,
            **({"started_from": dict(initial.info.training)} if initial else {}),
        },
        licence=training.licence,
    )
