"""Runs google/ffn's `InferenceRequest` as google/ffn would: same settings, same place on disk.

What a request asks for and this release does not do is refused with a message, never passed over.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from configs import ConfigError, ConfigView, volume_spec
from evaluation.slices import write_slices_png
from ffn.flood import FloodOptions
from ffn.tf1_checkpoint import import_checkpoint
from ffn.weights import NetworkFile
from inference.checkpoints import Report
from inference.identity import require_same_settings
from inference.masks import build_mask, check_masks
from inference.results import UNFINISHED, SubvolumeResult, load_result, save_result, subvolume_path
from inference.shift_masks import check_request_shift_mask, request_shift_mask
from inference.subject import (
    Obstacles,
    PassSettings,
    Subject,
    Surroundings,
    load_subject,
    require_segmentable,
)
from inference.subvolume import segment_subvolume
from jobs.pieces import require_writable_file
from jobs.run_progress import RunProgress
from volumes import Box, Volume, open_volume

SEGMENTING = "segmenting"
_PICTURE = ".png"
_NOT_DONE = ("reference_histogram", "histogram_masks", "movement_policy_name", "self_prediction")
_MASKS = ("masks", "seed_masks", "shift_mask", "shift_mask_fov", "shift_mask_scale", "shift_mask_threshold")


def run_request(
    request: ConfigView, box: Box, compute_dtype: str = "float32", progress: RunProgress | None = None
) -> tuple[Path, SubvolumeResult]:
    """Segments one box and writes `<segmentation_output_dir>/<x>/<y>/seg-<x>_<y>_<z>.npz` and a .png.

    A result that is there already, made with the same settings, is returned as it is; a picture that is
    missing beside it is made. `concurrent_requests` says how many subvolumes run beside each other; this is
    one.

    Args:
      request: a view of an `InferenceRequest`.
      box: the subvolume, voxels of the whole image.
      compute_dtype: float32 unless the caller wants otherwise (requests do not say).
      progress: shows how far it is; its one stage is `SEGMENTING`.

    Returns:
      Where the segmentation lies, and the result.

    Raises:
      ReconstructionError: anything in the request that cannot be used or is not supported; a result of other
        settings in its place, or a place that cannot be written.
    """
    image, network, settings, surroundings = open_request(request, compute_dtype)
    # Requests count voxels from the corner of the file, whatever offset it states.
    where = box.shift(image.bounds.start)
    subject = Subject(image, where, where, network, settings, surroundings)
    require_segmentable(subject)
    directory = request.segmentation_output_dir
    path = subvolume_path(directory, box.start)
    found = load_result(directory, box.start)
    if found is not None:
        require_same_settings(found.settings, load_subject(subject).made_from, path)
        if not path.with_suffix(_PICTURE).exists():
            _write_picture(path, image, where, found)
        return path, found
    _require_places(path)
    interval = request.checkpoint_interval
    result = segment_subvolume(
        image,
        where,
        network,
        settings,
        surroundings=surroundings,
        report=None if progress is None else _shown(progress, box.size),
        checkpoint=path.with_suffix(UNFINISHED) if interval else None,
        checkpoint_seconds=interval,
    )
    result = replace(result, box=box)
    save_result(directory, result)
    _write_picture(path, image, where, result)
    return path, result


class OpenedRequest(NamedTuple):
    """What an `InferenceRequest` names, opened.

    Attributes:
      image: what is segmented; its voxels have no size.
      network: weights and architecture.
      settings: resolved.
      surroundings: masks and objects that are there before, for boxes in the image's own coordinates.
    """

    image: Volume
    network: NetworkFile
    settings: PassSettings
    surroundings: Surroundings


def open_request(request: ConfigView, compute_dtype: str) -> OpenedRequest:
    """Opens what a request names.

    Args:
      request: a view of an `InferenceRequest`.
      compute_dtype: float32, bfloat16 or auto.

    Raises:
      ReconstructionError: anything in the request that cannot be used or is not supported.
    """
    _require_supported(request)
    # google/ffn's requests never state a voxel size; nothing here depends on it.
    image = open_volume(volume_spec(request.image), voxel_size_nm=(1.0, 1.0, 1.0))
    network = _network(request)
    settings = _pass_settings(request, network, compute_dtype).resolved()
    return OpenedRequest(image, network, settings, _surroundings(request, image, network))


def _require_places(path: Path) -> None:
    """Notices before any work that a result and what lies beside it could not be written in the end."""
    require_writable_file(path)
    for each in (path, path.with_suffix(".prob"), path.with_suffix(_PICTURE)):
        if each.is_dir():
            raise ConfigError(
                f"'{each}' is a directory, where a file is to be written; move it away or choose another "
                "segmentation_output_dir"
            )


def _write_picture(path: Path, image: Volume, where: Box, result: SubvolumeResult) -> None:
    """The picture beside a result; `where` is its box in voxels of the volume's own coordinates."""
    picture, size_nm = path.with_suffix(_PICTURE), image.voxel_size_nm
    write_slices_png(picture, image.read(where), result.segmentation, size_nm, str(path), result.box.start)


def _require_supported(request: ConfigView) -> None:
    for name in _NOT_DONE:
        if getattr(request, name):
            raise ConfigError(f"inference request: {name} is not supported; leave it out")
    if json.loads(request.movement_policy_args or "{}"):
        raise ConfigError(
            "inference request: movement_policy_args other than {} are not supported; leave them out"
        )
    alignment = request.alignment_options
    if alignment is not None and alignment.type != "no_alignment":
        raise ConfigError(
            "inference request: alignment_options.type must be NO_ALIGNMENT; align the volume first"
        )
    if request.inference_options.consistency_threshold:
        raise ConfigError("inference request: inference_options.consistency_threshold must be 0 or left out")


def _network(request: ConfigView) -> NetworkFile:
    options = request.inference_options
    return import_checkpoint(
        request.model_checkpoint_path,
        request.model_name,
        request.model_args or "{}",
        image_mean=request.image_mean,
        image_stddev=request.image_stddev,
        init_activation=options.init_activation,
        pad_value=options.pad_value,
        move_threshold=options.move_threshold,
        segment_threshold=options.segment_threshold,
    )


def _pass_settings(request: ConfigView, network: NetworkFile, compute_dtype: str) -> PassSettings:
    options, architecture = request.inference_options, network.info.architecture
    flood = FloodOptions(
        fov_zyx=architecture.fov_zyx,
        deltas_zyx=architecture.deltas_zyx,
        init_activation=options.init_activation,
        pad_value=options.pad_value,
        move_threshold=options.move_threshold,
        segment_threshold=options.segment_threshold,
        disco_seed_threshold=options.disco_seed_threshold,
        min_boundary_dist_zyx=options.min_boundary_dist,
        min_segment_size=options.min_segment_size,
    )
    return PassSettings(
        options=flood,
        image_mean=request.image_mean,
        image_stddev=request.image_stddev,
        seed_policy=request.seed_policy,
        seed_policy_args=request.seed_policy_args or "{}",
        compute_dtype=compute_dtype,
    )


def _surroundings(request: ConfigView, image: Volume, network: NetworkFile) -> Surroundings:
    """The masks of a request, and the objects that are there before; coordinates count from the file's
    corner.

    Raises:
      ReconstructionError: a mask, or the segmentation, that cannot be opened or has no voxels there.
    """
    check_masks(request.masks, None, from_corner=True)
    check_masks(request.seed_masks, None, from_corner=True)
    check_request_shift_mask(request)
    objects = None
    if request.init_segmentation is not None:
        objects = open_volume(volume_spec(request.init_segmentation), voxel_size_nm=(1.0, 1.0, 1.0))
    fov = network.info.architecture.fov_zyx
    texts = {name: str(getattr(request, name)) for name in _MASKS}
    made_from: dict[str, object] = {"masks": texts}
    if objects is not None:
        made_from["init_segmentation"] = objects.spec

    def obstacles(box: Box) -> Obstacles:
        at = box.shift([-n for n in image.bounds.start])
        raw = image.read(box) if request.masks or request.seed_masks else None
        movement = build_mask(request.masks, at, raw, (1.0, 1.0, 1.0), from_corner=True)
        shifts = request_shift_mask(request, at, fov)
        if shifts is not None:
            movement = shifts if movement is None else movement | shifts
        return Obstacles(
            None if objects is None else objects.read(at.shift(objects.bounds.start)),
            movement,
            build_mask(request.seed_masks, at, raw, (1.0, 1.0, 1.0), from_corner=True),
        )

    return Surroundings(obstacles, made_from)


def _shown(progress: RunProgress, voxels: int) -> Report:
    """Shows the voxels filled, of so many, and the rate."""
    progress.begin(SEGMENTING, units=voxels)
    done = 0

    def show(filled: int, found: int, fovs: int) -> None:
        nonlocal done
        progress.advance(filled - done, found=found if done == 0 else 0)
        progress.note(fov_per_s=f"{fovs / max(progress.stage_elapsed_s, 1e-9):.0f}")
        done = filled

    return show
