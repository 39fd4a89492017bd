"""The pieces of work of resegmentation: a batch of pairs, or of end points, flooded and scored.

Runs in a worker. Image, objects and network are opened once per worker; the pairs of a piece, and of other
pieces in the same worker, share the network's batches. What a piece gives is one checksummed file; one that
is there, whole and made from the same, is kept.

| piece | writes |
| --- | --- |
| `score_pairs` | the `ScoreTable` of its pairs |
| `flood_ends` | the `EndTable` of its end points |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

import numpy as np

from agglomeration.candidate_pairs import CandidatePairs
from agglomeration.end_table import EndTable
from agglomeration.pair_box import PairBox, PairVolumes, read_pair_box, require_supervoxels
from agglomeration.pass_agreement import PassAgreement, agreement, passes_around
from agglomeration.resegmentation import (
    ResegmentationSettings,
    require_room,
    resegment_end,
    resegment_pair,
    resegmentation_settings,
)
from agglomeration.scoring import SCORES, PairScores, ScoreTable, score_pair
from configs import ConfigError, ConfigView
from inference.flooding import PieceReport, service_of, workspace_of
from inference.freshness import Stamp, stamps_of_volume
from inference.identity import array_digest, settings_digest
from inference.label_stages import kept_piece
from inference.workspace import BYTES_PER_VOXEL
from jobs.in_worker import current_reporter, per_worker
from volumes import Box, Volume, open_volume
from volumes.box import Zyx

T = TypeVar("T")

_OWN = "supervoxels"


def score_pairs(config: ConfigView, pairs: CandidatePairs, path: Path, follows: str = "") -> PieceReport:
    """Floods pairs and stores their scores, unless they are there.

    Args:
      config: of the project, with `agglomeration`.
      pairs: what to flood, not many.
      path: the file; ends in `.npz`.
      follows: names what image and objects follow from, where their SPECs do not.

    Returns:
      Pairs, fields of view (0 of a piece that was there), and a note where a damaged file was replaced.

    Raises:
      ReconstructionError: image, objects, network or settings that cannot be used; pairs of other objects.
    """
    volumes, settings = opened(config)
    columns = {each.name: array_digest(getattr(pairs, each.name)) for each in fields(pairs)}
    known = {"pairs": columns, "follows": follows, "scores": SCORES}
    made_from = settings_digest({**describe(config), **known})
    fovs = 0

    def make() -> dict[str, np.ndarray]:
        nonlocal fovs
        scores = _side_by_side(
            volumes, settings, len(pairs), lambda row: _scores(volumes, settings, config, pairs, row)
        )
        table = ScoreTable.of(pairs.id_a, pairs.id_b, pairs.points_zyx, scores)
        fovs = int(table["fovs"].sum())
        return table.to_arrays()

    report = kept_piece(path, made_from, make)
    return report._replace(counts={"pairs": len(pairs), "fovs": fovs})


def flood_ends(
    config: ConfigView, ids: np.ndarray, points_zyx: np.ndarray, path: Path, follows: str = ""
) -> PieceReport:
    """Floods objects beyond their ends and stores where they go on, unless that is there.

    Args:
      config: of the project, with `agglomeration`.
      ids: (n,) uint64, the objects.
      points_zyx: (n, 3) integers, their end points, absolute voxels.
      path: the file; ends in `.npz`.
      follows: names what image and objects follow from, where their SPECs do not.

    Returns:
      End points, fields of view, and a note, as `score_pairs`.

    Raises:
      ReconstructionError: see `score_pairs`.
    """
    volumes, settings = opened(config)
    columns = {"ids": array_digest(ids), "points_zyx": array_digest(points_zyx)}
    made_from = settings_digest({**describe(config), "ends": columns, "follows": follows})
    fovs = 0

    def make() -> dict[str, np.ndarray]:
        nonlocal fovs
        found = _side_by_side(
            volumes,
            settings,
            len(ids),
            lambda row: _end(volumes, settings, int(ids[row]), points_zyx[row].tolist()),
        )
        table = EndTable.concatenate(found)
        fovs = int(table.fovs.sum())
        return table.to_arrays()

    report = kept_piece(path, made_from, make)
    return report._replace(counts={"ends": len(ids), "fovs": fovs})


def opened(config: ConfigView) -> tuple[PairVolumes, ResegmentationSettings]:
    """What pairs are flooded in, opened once per worker, and how.

    Args:
      config: of the project, with `agglomeration`.

    Raises:
      ReconstructionError: anything that cannot be opened, objects that are not on the image's grid, or a box
        that is smaller than the field of view.
    """
    workspace = workspace_of(resegmentation_config(config))
    (each,) = workspace.passes.values()
    volumes = PairVolumes(workspace, each, open_supervoxels(config))
    require_supervoxels(volumes.supervoxels, each.image)
    settings = resegmentation_settings(config.agglomeration.resegmentation, each.image.voxel_size_nm)
    require_room(settings, each.settings.options)
    return volumes, settings


def resegmentation_config(config: ConfigView) -> ConfigView:
    """A config whose one pass states network and options of the agglomeration, in place of its own passes.

    What `agglomeration` leaves out is that of `network` and `inference.options`; all else stays.

    Args:
      config: of the project, with `agglomeration`.
    """
    section, inference = config.agglomeration, config.inference
    if inference is None:
        inference = config.replace(inference={}).inference
    inference = inference.replace(passes=[{"name": "resegmentation"}])
    chosen = inference.passes[0].replace(network=section.network, options=section.options)
    return config.replace(inference=inference.replace(passes=[chosen]), consensus=None, evaluation=None)


def describe(config: ConfigView) -> dict[str, object]:
    """What all scores of a project follow from besides the pairs, as plain JSON values.

    Args:
      config: of the project, with `agglomeration`.
    """
    volumes, _ = opened(config)
    section = config.agglomeration.resegmentation
    return {
        **volumes.workspace.describe_pass(volumes.each),
        "supervoxels": volumes.supervoxels.spec,
        "resegmentation": section.replace(pairs_per_piece=None).to_text(),
    }


def open_supervoxels(config: ConfigView) -> Volume:
    """The objects whose pairs are flooded, opened once per worker, and anew when they were replaced.

    Args:
      config: of the project, with `agglomeration`.

    Raises:
      ConfigError: the project has none yet, and names no others.
      VolumeError: they cannot be opened.
    """
    source = config.agglomeration.supervoxels
    folder = Path(config.output_dir) / _OWN
    if source is None and not (folder / "info").exists():
        raise ConfigError(
            f"there are no supervoxels in '{folder}'; make them with run_inference --config, or name others "
            "in agglomeration.supervoxels"
        )
    spec = f"precomputed://file://{folder.resolve()}" if source is None else source.spec
    size_nm = None if source is None or source.voxel_size_nm is None else tuple(source.voxel_size_nm)
    stamps = stamps_of_volume(spec)

    def open_it() -> tuple[Volume, tuple[Stamp, ...]]:
        return open_volume(spec, voxel_size_nm=size_nm), stamps

    return per_worker(("supervoxels", spec, size_nm), open_it, usable=lambda kept: kept[1] == stamps)[0]


def _scores(
    volumes: PairVolumes,
    settings: ResegmentationSettings,
    config: ConfigView,
    pairs: CandidatePairs,
    row: int,
) -> PairScores:
    """Floods one pair."""
    each, (z, y, x) = volumes.each, pairs.points_zyx[row].tolist()
    id_a, id_b = int(pairs.id_a[row]), int(pairs.id_b[row])
    box = read_pair_box(volumes, id_a, id_b, (z, y, x), settings.radius_zyx)
    service = service_of(volumes.workspace.config, each)
    floods = service.run(resegment_pair(box, each.settings.options, settings))
    return score_pair(
        floods,
        box,
        passes=_passes(config, box, floods.analysis.shift(box.origin_zyx), (z, y, x)),
        contact_faces=int(pairs.contact_faces[row]),
        distance_nm=float(pairs.distance_nm[row]),
        size_a=int(pairs.size_a[row]),
        size_b=int(pairs.size_b[row]),
        direction_radius_nm=config.agglomeration.resegmentation.analysis_radius_nm,
    )


def _passes(config: ConfigView, box: PairBox, around: Box, point: Zyx) -> PassAgreement:
    """What the passes of the project say about a pair in a part of its box (absolute)."""
    labels, part = passes_around(config, point, around)
    objects = box.labels[part.slices(box.origin_zyx)]
    return agreement(objects == box.a, objects == box.b, labels)


def _end(
    volumes: PairVolumes, settings: ResegmentationSettings, object_id: int, point_zyx: Sequence[int]
) -> EndTable:
    """Floods one object beyond one end."""
    each, (z, y, x) = volumes.each, point_zyx
    box = read_pair_box(volumes, object_id, None, (z, y, x), settings.radius_zyx)
    service = service_of(volumes.workspace.config, each)
    found = service.run(resegment_end(box, each.settings.options, settings))
    return EndTable.of(object_id, (z, y, x), found, box.ids)


def _side_by_side(
    volumes: PairVolumes, settings: ResegmentationSettings, count: int, work: Callable[[int], T]
) -> list[T]:
    """Calls a function for 0, 1, … in as many threads as fill the batches and fit the memory."""
    inference, reporter = volumes.workspace.config.inference, current_reporter()
    voxels = int(np.prod([2 * r + 1 for r in settings.radius_zyx]))
    fitting = int(inference.subvolumes.memory_gb * 1e9 / (BYTES_PER_VOXEL * voxels))
    at_once = max(1, min(2 * (inference.batch_size or 1), fitting, count))
    results: list[T] = []
    with ThreadPoolExecutor(at_once, thread_name_prefix="pairs") as threads:
        waiting = [threads.submit(work, row) for row in range(count)]
        try:
            for future in waiting:
                results.append(future.result())
                reporter(len(results))
        finally:
            for future in waiting:
                future.cancel()
    return results
