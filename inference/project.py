"""Runs the passes of a `ReconstructionConfig` and writes what it asks for.

Into the output directory go the resolved config, each pass (`passes/<name>/…`), and of the last pass a
Precomputed segmentation, an HDF5 file, a picture and the figures against ground truth, as the config says.
A pass whose result is there already, from the same settings, is not run again; an interrupted one goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from configs import ConfigError, ConfigView, save_resolved
from evaluation import overlap_metrics
from ffn.flood import FloodOptions
from ffn.weights import NetworkFile
from inference.inputs import Inputs, open_inputs, read_network
from inference.outputs import require_supported, require_writable, write_outputs
from inference.results import SubvolumeResult, load_result, require_same_settings, save_result, subvolume_path
from inference.subvolume import PassSettings, describe, require_segmentable, segment_subvolume
from jobs.pieces import atomic_path
from jobs.progress import Progress
from volumes import Volume

_CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class PassReport:
    """One finished pass: its result, its figures (None without ground truth), whether it was there before."""

    name: str
    result: SubvolumeResult
    metrics: dict[str, Any] | None
    reused: bool


@dataclass(frozen=True)
class _Pass:
    """One pass to run: name, directory, settings, and the result that is there already."""

    name: str
    directory: Path
    settings: PassSettings
    found: SubvolumeResult | None


def run_project(
    config: ConfigView,
    report: Callable[[PassReport], None] = lambda _: None,
    caution: Callable[[str], None] = lambda _: None,
) -> Inputs:
    """Segments the project's box in every pass and writes the outputs.

    Args:
      config: with `network`, `inference` and `raw` or `phantom`.
      report: called after each pass.
      caution: called with a line about anything that is allowed but probably not meant.

    Returns:
      What it worked on.

    Raises:
      ReconstructionError: anything in config, network, image, ground truth or output directory that cannot be
        used, or results of other settings in it; nothing has been computed or changed then.
    """
    require_supported(config.outputs)
    network = read_network(config.network)
    inputs = open_inputs(config, network.info.architecture.fov_zyx)
    passes = [_prepare(config, named, inputs, network) for named in config.inference.passes]
    for line in _cautions(inputs, network):
        caution(line)
    output = Path(config.output_dir)
    require_writable(output)
    save_resolved(config, output / "config.textproto")
    stages: dict[str, Any] = {}
    for each in passes:
        finished = _run(config, each, inputs, network)
        stages[each.name] = {**(finished.metrics or {}), **finished.result.counts}
        _write_json(output / "metrics.json", {"stages": stages, "config": "config.textproto"})
        report(finished)
    write_outputs(config, inputs, finished.result)
    return inputs


def _prepare(config: ConfigView, named: ConfigView, inputs: Inputs, network: NetworkFile) -> _Pass:
    """Checks a pass and looks for its result.

    Raises:
      ReconstructionError: it cannot be run, or other settings made the result that is there.
    """
    settings = pass_settings(config, network, inputs.image, named).resolved()
    require_segmentable(inputs.image, inputs.box, network, settings)
    directory = Path(config.output_dir) / "passes" / named.name
    found = load_result(directory, inputs.box.start)
    if found is not None:
        path = subvolume_path(directory, inputs.box.start)
        require_same_settings(found, describe(inputs.image, inputs.box, network, settings), path)
    return _Pass(named.name, directory, settings, found)


def _cautions(inputs: Inputs, network: NetworkFile) -> list[str]:
    """What is allowed and probably not meant."""
    trained, given = network.info.voxel_size_nm, inputs.image.voxel_size_nm
    if trained is not None and not np.allclose(trained, given, rtol=0.25):
        return [f"the network was trained at voxels of {trained} nm, this image has {given} nm (z, y, x)"]
    return []


def pass_settings(config: ConfigView, network: NetworkFile, image: Volume, named: ConfigView) -> PassSettings:
    """The settings of one pass: the config's where it says something, else the network's own.

    Raises:
      ConfigError: a resolution, seed policy or arguments of one that are not supported.
    """
    if json.loads(named.seed_policy_args or "{}"):
        raise ConfigError(f"pass {named.name!r}: seed_policy_args are not supported for {named.seed_policy}")
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


def _run(config: ConfigView, each: _Pass, inputs: Inputs, network: NetworkFile) -> PassReport:
    result = each.found
    if result is None:
        shown = None if config.run.progress else False
        with Progress(
            int(np.prod(inputs.box.shape)), "voxel", description=each.name, enabled=shown
        ) as progress:
            result = segment_subvolume(
                inputs.image,
                inputs.box,
                network,
                each.settings,
                progress,
                batch_size=config.inference.batch_size,
                checkpoint=subvolume_path(each.directory, inputs.box.start).with_suffix(".unfinished"),
                checkpoint_seconds=_CHECKPOINT_SECONDS,
            )
        save_result(each.directory, result)
    metrics = None
    if inputs.labels is not None:
        metrics = overlap_metrics(result.segmentation, inputs.labels.read(inputs.box))
    return PassReport(each.name, result, metrics, each.found is not None)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
