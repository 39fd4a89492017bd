"""Runs the passes of a `ReconstructionConfig` and writes what it asks for.

Into the output directory go the resolved config, each pass (`passes/<name>/…`), and of the last pass a
Precomputed segmentation, an HDF5 file, a picture and the figures against ground truth, as the config says.
A pass whose result is there already, from the same settings, is not run again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from configs import ConfigError, ConfigView, region_bounds, save_resolved
from evaluation import overlap_metrics
from evaluation.slices import write_slices_png
from ffn.flood import FloodOptions
from ffn.tf1_checkpoint import import_checkpoint
from ffn.weights import NetworkFile, load_network
from inference.results import SubvolumeResult, load_result, require_same_settings, save_result, subvolume_path
from inference.subvolume import PassSettings, describe, require_segmentable, segment_subvolume
from jobs.pieces import atomic_path
from jobs.progress import Progress
from volumes import Box, Volume, VolumeError, create_volume, open_volume


@dataclass(frozen=True)
class Inputs:
    """What a project starts from: the image, its ground truth (None = there is none), the box to segment."""

    image: Volume
    labels: Volume | None
    box: Box


@dataclass(frozen=True)
class PassReport:
    """One finished pass: its result, its figures (None without ground truth), whether it was there before."""

    name: str
    result: SubvolumeResult
    metrics: dict[str, Any] | None
    reused: bool


def run_project(config: ConfigView, report: Callable[[PassReport], None] = lambda _: None) -> Inputs:
    """Segments the project's box in every pass and writes the outputs.

    Args:
      config: with `network`, `inference` and `raw` or `phantom`.
      report: called after each pass.

    Returns:
      What it worked on.

    Raises:
      ReconstructionError: anything in config, network, image or output directory that cannot be used; nothing
        has been computed then.
    """
    network = read_network(config.network)
    inputs = open_inputs(config)
    settings = [
        pass_settings(config, network, inputs.image, each).resolved() for each in config.inference.passes
    ]
    for each in settings:
        require_segmentable(inputs.image, inputs.box, network, each)
    output = Path(config.output_dir)
    _require_outputs_free(config, output)
    save_resolved(config, output / "config.textproto")
    stages: dict[str, Any] = {}
    for named, each in zip(config.inference.passes, settings, strict=True):
        finished = _run_pass(config, named.name, inputs, network, each)
        stages[named.name] = {**(finished.metrics or {}), **finished.result.counts}
        _write_json(output / "metrics.json", {"stages": stages, "config": "config.textproto"})
        report(finished)
    _write_outputs(config, output, inputs, finished.result)
    return inputs


def read_network(section: ConfigView) -> NetworkFile:
    """The network of a config's `network` section: a network file, a shipped one, or a google/ffn checkpoint.

    Raises:
      WeightsError: it cannot be used.
    """
    if section.weights is not None:
        return load_network(section.weights)
    source = section.checkpoint
    return import_checkpoint(
        source.model_checkpoint_path,
        source.model_name,
        source.model_args,
        image_mean=source.image_mean,
        image_stddev=source.image_stddev,
        init_activation=source.init_activation,
        pad_value=source.pad_value,
        move_threshold=source.move_threshold,
        segment_threshold=source.segment_threshold,
        voxel_size_nm=_nm(source),
        licence=source.licence or "",
    )


def open_inputs(config: ConfigView) -> Inputs:
    """Opens the raw volume (or makes the phantom) and the ground truth of a config.

    Raises:
      VolumeError: a volume that is missing, malformed, or does not contain the box; labels whose bounds or
        voxel size do not fit the image.
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


def _phantom_volumes(section: ConfigView, output: Path) -> tuple[Volume, Volume]:
    """Image and labels of the config's phantom, kept as HDF5 in the output directory (CREMI layout)."""
    from volumes.phantom import GENERATOR_VERSION, PhantomSpec, make_phantom

    spec = PhantomSpec(section.shape, section.voxel_size_nm, section.seed, **section.parameters.to_dict())
    kept = output / f"phantom-v{GENERATOR_VERSION}-seed{spec.seed}.h5"
    names = {"raw": f"{kept}:volumes/raw", "labels": f"{kept}:volumes/labels/neuron_ids"}
    if kept.exists():
        found = open_volume(names["labels"])
        if found.shape == spec.shape and np.allclose(found.voxel_size_nm, spec.voxel_size_nm):
            return open_volume(names["raw"]), found
        kept.unlink()
    phantom = make_phantom(spec)
    box = Box.from_shape(spec.shape)
    arrays = {"raw": phantom.raw, "labels": phantom.labels.astype(np.uint64)}
    with atomic_path(kept) as temporary:
        temporary.unlink()
        for name, array in arrays.items():
            place = names[name].replace(str(kept), str(temporary))
            with create_volume(
                place, bounds=box, dtype=array.dtype, voxel_size_nm=spec.voxel_size_nm
            ) as volume:
                volume.write(box, array)
    return open_volume(names["raw"]), open_volume(names["labels"])


def pass_settings(config: ConfigView, network: NetworkFile, image: Volume, named: ConfigView) -> PassSettings:
    """The settings of one pass: the config's where it says something, else the network's own.

    Raises:
      ConfigError: a resolution or seed policy that is not supported.
    """
    options, info = config.inference.options, network.info
    if named.voxel_size_nm is not None and not np.allclose(named.voxel_size_nm, image.voxel_size_nm):
        raise ConfigError(
            f"pass {named.name!r} works at {tuple(named.voxel_size_nm)} nm but the image has "
            f"{image.voxel_size_nm} nm (z, y, x); leave voxel_size_nm out"
        )

    def chosen(name: str) -> float:
        asked = getattr(options, name)
        return getattr(info, name) if asked is None else asked

    flood = FloodOptions(
        fov_zyx=info.architecture.fov_zyx,
        deltas_zyx=info.architecture.deltas_zyx,
        init_activation=chosen("init_activation"),
        pad_value=chosen("pad_value"),
        move_threshold=chosen("move_threshold"),
        segment_threshold=chosen("segment_threshold"),
        disco_seed_threshold=options.disco_seed_threshold,
        min_boundary_dist_zyx=options.min_boundary_dist,
        min_segment_size=options.min_segment_size,
    )
    mean, stddev = config.network.image_mean, config.network.image_stddev
    return PassSettings(
        options=flood,
        image_mean=info.image_mean if mean is None else mean,
        image_stddev=info.image_stddev if stddev is None else stddev,
        reversed_seeds=named.seed_order == "reversed",
        seed_policy=named.seed_policy,
        seed_voxel_size_nm=image.voxel_size_nm,
        mirror_margin=config.inference.edge_context == "mirror",
        compute_dtype=config.inference.compute_dtype,
    )


def _run_pass(
    config: ConfigView, name: str, inputs: Inputs, network: NetworkFile, settings: PassSettings
) -> PassReport:
    directory = Path(config.output_dir) / "passes" / name
    found = load_result(directory, inputs.box.start)
    reused = found is not None
    if found is not None:
        require_same_settings(
            found,
            describe(inputs.image, inputs.box, network, settings),
            subvolume_path(directory, inputs.box.start),
        )
        result = found
    else:
        voxels = int(np.prod(inputs.box.shape))
        with Progress(
            voxels, "voxel", description=name, enabled=None if config.run.progress else False
        ) as progress:
            result = segment_subvolume(inputs.image, inputs.box, network, settings, progress)
        save_result(directory, result)
    metrics = None
    if inputs.labels is not None:
        metrics = overlap_metrics(result.segmentation, inputs.labels.read(inputs.box))
    return PassReport(name, result, metrics, reused)


def _require_outputs_free(config: ConfigView, output: Path) -> None:
    """Makes the output directory, and notices before the work that it cannot be written.

    Raises:
      ConfigError: it cannot.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        probe = output / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"output_dir '{output}' cannot be written ({error.strerror}); choose another"
        ) from error


def _write_outputs(config: ConfigView, output: Path, inputs: Inputs, result: SubvolumeResult) -> None:
    """The files a user opens, of the last pass."""
    asked, size = config.outputs, inputs.image.voxel_size_nm
    ids = result.segmentation.astype(np.uint64)
    if asked.precomputed:
        _write_volume(f"precomputed://file://{(output / 'supervoxels').resolve()}", inputs.box, ids, size)
        _write_volume(
            f"precomputed://file://{(output / 'image').resolve()}",
            inputs.box,
            inputs.image.read(inputs.box),
            size,
        )
    if asked.hdf5:
        _write_volume(f"{output / 'supervoxels.h5'}:segmentation", inputs.box, ids, size)
    if asked.png:
        title = f"{config.name}: {inputs.image.spec}, {inputs.box}"
        write_slices_png(output / "slices.png", inputs.image.read(inputs.box), ids, size, title)


def _write_volume(spec: str, box: Box, array: np.ndarray, voxel_size_nm: tuple[float, float, float]) -> None:
    with create_volume(
        spec, bounds=box, dtype=array.dtype, voxel_size_nm=voxel_size_nm, overwrite=True
    ) as volume:
        volume.write(box, array)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
