"""Runs google/ffn's `ResegmentationRequest` as google/ffn would: same settings, same files.

What is stored is described in `agglomeration.google_results`. Points whose box leaves the volume, or lacks
one of the objects, are left out with a note, as in google/ffn.

Source: resegmentation.py of google/ffn.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agglomeration.google_results import endpoint_scores, pair_scores, result_arrays, target_path
from agglomeration.pair_box import PairBox, numbered
from agglomeration.resegmentation import (
    ObjectFlood,
    ResegmentationSettings,
    require_room,
    resegment_end,
    resegment_pair,
)
from configs import ConfigError, ConfigView, parse_resegmentation_request, volume_spec
from ffn.backend import make_predictor
from ffn.flood import FovRequest
from ffn.weights import instantiate
from inference.context import normalise
from inference.executor import run_floods
from inference.google_request import OpenedRequest, open_request
from inference.identity import require_same_settings
from inference.shift_masks import request_shift_mask
from inference.subject import describe_pass
from jobs.pieces import atomic_path, load_npz, save_npz
from jobs.run_progress import RunProgress
from volumes import Box, VolumeError, open_volume
from volumes.base import SizeNm

RESEGMENTING = "resegmenting"
SCORES_SUFFIX = ".textproto"


class PointResult(NamedTuple):
    """What became of a point of a request.

    Attributes:
      path: of its `.npz` file.
      note: why it was left out, or empty.
      reused: whether the file was there already.
    """

    path: Path
    note: str = ""
    reused: bool = False


def run_resegmentation_request(
    request: ConfigView | str | os.PathLike[str],
    compute_dtype: str = "float32",
    progress: RunProgress | None = None,
) -> list[PointResult]:
    """Floods all points of a request; files that are there, made with the same settings, stay.

    Args:
      request: a view of a `ResegmentationRequest`, its text, or a file with it.
      compute_dtype: float32 unless the caller wants otherwise (requests do not say).
      progress: shows how far it is; its one stage is `RESEGMENTING`.

    Returns:
      What became of each point, in the order of the request; a point that stands there twice is there once.

    Raises:
      ReconstructionError: anything in the request that cannot be used or is not supported; a result of other
        settings, or a damaged one, in the place of a result.
    """
    if not isinstance(request, ConfigView):
        request = parse_resegmentation_request(request)
    job = _open(request, compute_dtype)
    points = {target_path(request, point): point for point in request.points}
    results = {path: PointResult(path, reused=True) for path in points if _is_there(job, path)}
    if progress is not None:
        progress.begin(RESEGMENTING, units=len(points))
        progress.advance(len(results), found=len(results))
    missing = [path for path in points if path not in results]
    if missing:
        predictor = make_predictor(instantiate(job.opened.network, job.opened.settings.compute_dtype))
        batch_size = request.inference.batch_size
        for result in run_floods(
            (_resegmented(job, points[path], path) for path in missing),
            predictor,
            job.opened.settings.options.fov_zyx,
            batch_size=batch_size,
            tasks_in_flight=max(batch_size, request.inference.concurrent_requests),
        ):
            results[result.path] = result
            if progress is not None:
                progress.advance(1)
    return [results[path] for path in points]


@dataclass(frozen=True)
class _Job:
    """A request, opened."""

    request: ConfigView
    opened: OpenedRequest
    settings: ResegmentationSettings
    voxel_size_nm: SizeNm
    made_from: dict[str, object]


def _open(request: ConfigView, compute_dtype: str) -> _Job:
    inference = request.inference
    if inference.init_segmentation is None:
        raise ConfigError("resegmentation request: inference.init_segmentation is missing; give the objects")
    opened = open_request(inference, compute_dtype)
    settings = _settings(request)
    require_room(settings, opened.settings.options)
    made_from = {
        **describe_pass(opened.image, opened.network, opened.settings),
        **opened.surroundings.made_from,
        "resegmentation": asdict(settings),
    }
    size_nm = _voxel_size_nm(volume_spec(inference.init_segmentation))
    return _Job(request, opened, settings, size_nm, made_from)


def _settings(request: ConfigView) -> ResegmentationSettings:
    share = request.segment_recovery_fraction
    return ResegmentationSettings(
        radius_zyx=request.radius,
        analysis_radius_zyx=request.analysis_radius or request.radius,
        max_starts=request.max_retry_iters,
        exclusion_radius_zyx=request.exclusion_radius or (0, 0, 0),
        min_recovered=share,
        terminate_early=request.terminate_early,
        point_exclusion_zyx=request.init_exclusion_radius,
        min_recovered_voxels=0 if share else request.inference.inference_options.min_segment_size,
        keep_last=True,
    )


def _voxel_size_nm(spec: str) -> SizeNm:
    """That of a volume; voxels of length 1 where it states none."""
    try:
        return open_volume(spec).voxel_size_nm
    except VolumeError:
        # Whatever else is wrong with it has been found before.
        return 1.0, 1.0, 1.0


def _is_there(job: _Job, path: Path) -> bool:
    """Whether a point is done; refuses a result of other settings."""
    if not path.exists() or not path.with_suffix(SCORES_SUFFIX).exists():
        return False
    theirs = json.loads(str(load_npz(path, ("settings",))["settings"]))
    require_same_settings(theirs, job.made_from, path)
    return True


def _resegmented(job: _Job, point: ConfigView, path: Path) -> Generator[FovRequest, np.ndarray, PointResult]:
    """Floods one point and writes its files, the arrays last."""
    box, note = _pair_box(job, point)
    if box is None:
        return PointResult(path, note)
    options = job.opened.settings.options
    floods: list[ObjectFlood | None]
    if box.b is None:
        end = yield from resegment_end(box, options, job.settings)
        floods, scores = [end.flood], endpoint_scores(box, end, job.settings)
    else:
        pair = yield from resegment_pair(box, options, job.settings)
        floods, scores = [pair.from_a, pair.from_b], pair_scores(box, pair, job.settings)
    with atomic_path(path.with_suffix(SCORES_SUFFIX)) as temporary:
        temporary.write_text(scores.to_text(), encoding="utf-8")
    described = {
        "request": np.array(job.request.to_message().SerializeToString()),
        "is_shift": np.array(_is_shifted(job, box)),
        "settings": np.array(json.dumps(job.made_from, sort_keys=True)),
    }
    save_npz(path, {**result_arrays(box, floods), **described})
    return PointResult(path)


def _pair_box(job: _Job, point: ConfigView) -> tuple[PairBox | None, str]:
    """Image and objects around a point; None and a note where there are not enough of them."""
    (z, y, x), settings, opened = point.point, job.settings, job.opened
    # Requests count voxels from the corner of the file, whatever offset it states.
    box = Box.from_shape((1, 1, 1), (z, y, x)).grow(settings.radius_zyx)
    where = box.shift(opened.image.bounds.start)
    named = f"point x {x}, y {y}, z {z} of {point.id_a}-{point.id_b or 0} is left out:"
    if not opened.image.bounds.contains_box(where):
        return None, f"{named} the box around it ({box}) leaves the volume; lower the radius"
    obstacles = opened.surroundings.obstacles(where)
    assert obstacles.segmentation is not None
    labels, ids = numbered(obstacles.segmentation)
    local = {int(name): i for i, name in enumerate(ids, 1)}
    absent = [name for name in (point.id_a, point.id_b) if name and name not in local]
    if absent:
        return None, f"{named} object {absent[0]} has no voxel in the box around it ({box})"
    mean, stddev = opened.settings.image_mean, opened.settings.image_stddev
    return PairBox(
        image=normalise(opened.image.read(where), mean, stddev, opened.image.spec),
        labels=labels,
        a=local[point.id_a],
        b=local[point.id_b] if point.id_b else None,
        point=settings.radius_zyx,
        voxel_size_nm=job.voxel_size_nm,
        inner=Box.from_shape(box.shape),
        ids=ids,
        origin_zyx=box.start,
        movement_mask=obstacles.movement,
    ), ""


def _is_shifted(job: _Job, box: PairBox) -> bool:
    """Whether shifts between sections kept fields of view out."""
    where = Box.from_shape(box.image.shape, box.origin_zyx)
    mask = request_shift_mask(job.request.inference, where, job.opened.settings.options.fov_zyx)
    return mask is not None and bool(mask.any())
