"""What google/ffn stores of a point that was flooded again, and where.

For every point there is `<output_directory>/<id_a>-<id_b>_at_<x>_<y>_<z>.npz` (id_b 0 at an end point); with
`subdir_digits` of 2 and more, in a folder named by so many digits of the MD5 of both IDs. It holds what
google/ffn puts there, but ragged lists are padded, since only pickle could store them:

| array | holds |
| --- | --- |
| `probs`, `raw_probs` | uint8 (floods, z, y, x), quantised probability of each flood made, from A first |
| `histories` | int64 (floods, steps, 3), centres z, y, x in the box; rows of shorter floods end in -1 |
| `deletes` | int64 (floods, steps), voxels that each step deleted; those of shorter floods end in 0 |
| `start_points` | int64 (objects, starts, 3), x, y, z in the box; the last one counts, fewer begin with -1 |
| `corner_zyx` | of the box, voxels from the corner of the file |
| `request`, `counters`, `is_shift` | the message, JSON text, whether shifts kept fields of view out |
| `settings` | JSON text of what the result follows from |

The same name ending in `.textproto` is a `PairResegmentationResult`, without `eval` where a flood is missing,
or an `EndpointResegmentationResult`. Lengths in it are nm where `init_segmentation` states a voxel size, else
voxels.

Source: resegmentation.py and resegmentation_analysis.py of google/ffn.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.special import expit

from agglomeration.pair_box import PairBox
from agglomeration.resegmentation import EndpointFlood, ObjectFlood, PairFloods, ResegmentationSettings
from agglomeration.scoring import PairScores, deleted_voxels, score_pair
from configs import ConfigView
from configs.requests import endpoint_result, pair_result
from ffn.canvas import quantise_probability
from volumes.box import Box, Zyx


def target_path(request: ConfigView, point: ConfigView) -> Path:
    """Where google/ffn puts the result of a point.

    Args:
      request: a view of a `ResegmentationRequest`.
      point: one of its points.
    """
    directory, (z, y, x) = Path(request.output_directory), point.point
    id_a, id_b = point.id_a, point.id_b or 0
    if request.subdir_digits > 1:
        name = hashlib.md5(f"{id_a}{id_b}".encode(), usedforsecurity=False).hexdigest()
        directory /= name[: request.subdir_digits]
    return directory / f"{id_a}-{id_b}_at_{x}_{y}_{z}.npz"


def result_arrays(box: PairBox, floods: Sequence[ObjectFlood | None]) -> dict[str, np.ndarray]:
    """The arrays of a point but for `request`, `is_shift` and `settings`.

    Args:
      box: what was flooded.
      floods: from each of the objects; None where none was made.
    """
    made = [flood for flood in floods if flood is not None]
    probability = np.zeros((len(made), *box.image.shape), np.uint8)
    steps = max((len(flood.visited) for flood in made), default=0)
    histories, deletes = np.full((len(made), steps, 3), -1), np.zeros((len(made), steps), np.int64)
    for i, flood in enumerate(made):
        probability[i] = quantise_probability(expit(flood.logits))
        histories[i, : len(flood.visited)] = flood.visited
        deletes[i, : len(flood.deleted)] = flood.deleted
    tried = [() if flood is None else flood.starts for flood in floods]
    starts = np.full((len(tried), max(map(len, tried)), 3), -1)
    for i, points in enumerate(tried):
        if points:
            starts[i, -len(points) :] = np.array(points)[:, ::-1]
    counters = {"fovs": sum(flood.fovs for flood in made), "starts": sum(map(len, tried))}
    return {
        "probs": probability,
        "raw_probs": probability,
        "deletes": deletes,
        "histories": histories,
        "start_points": starts,
        "counters": np.array(json.dumps(counters)),
        "corner_zyx": np.array(box.origin_zyx),
    }


def pair_scores(box: PairBox, floods: PairFloods, settings: ResegmentationSettings) -> ConfigView:
    """The scores of a pair, a view of a `PairResegmentationResult`.

    Args:
      box: what was flooded.
      floods: of the pair.
      settings: of the resegmentation.
    """
    assert box.b is not None
    stated = {
        "point": _plus(box.point, box.origin_zyx),
        "id_a": int(box.ids[box.a - 1]),
        "id_b": int(box.ids[box.b - 1]),
        "segmentation_radius": settings.radius_zyx,
    }
    if floods.from_a is None or floods.from_b is None:
        return pair_result(**stated)
    scores = score_pair(floods, box, contact_faces=0, distance_nm=0, size_a=0, size_b=0)
    evaluated = {
        "radius": settings.analysis_radius_zyx,
        "iou": scores.iou,
        "from_a": _segment(scores, "a", floods.from_a, box, floods.analysis),
        "from_b": _segment(scores, "b", floods.from_b, box, floods.analysis),
        "max_edt_a": scores.max_depth_a_nm,
        "max_edt_b": scores.max_depth_b_nm,
        "num_voxels_a": scores.voxels_a,
        "num_voxels_b": scores.voxels_b,
    }
    return pair_result(**stated, eval=evaluated)


def endpoint_scores(box: PairBox, found: EndpointFlood, settings: ResegmentationSettings) -> ConfigView:
    """Where an object goes on, a view of an `EndpointResegmentationResult`.

    Args:
      box: what was flooded.
      found: the flood.
      settings: of the resegmentation.
    """
    own = int(box.ids[box.a - 1])
    names = box.ids[found.ids - 1].tolist()
    counts = list(zip(found.overlapping.tolist(), found.original.tolist(), strict=True))
    overlaps = dict(zip(names, counts, strict=True))
    shared, original = overlaps.get(own, (0, int(np.count_nonzero(box.labels == box.a))))
    return endpoint_result(
        overlaps,
        id=own,
        start=_plus(box.point, box.origin_zyx),
        num_voxels=found.voxels,
        source={"num_overlapping": shared, "num_original": original},
        segmentation_radius=settings.radius_zyx,
    )


def _segment(
    scores: PairScores, side: str, flood: ObjectFlood, box: PairBox, analysis: Box
) -> dict[str, object]:
    """The scores of one flood, from object 'a' or 'b'."""
    values = scores.to_dict()
    return {
        "origin": _plus(flood.start, box.origin_zyx),
        "num_voxels": int(np.count_nonzero(flood.mask(analysis))),
        "deleted_voxels": deleted_voxels(flood, analysis),
        "segment_a_consistency": values[f"a_from_{side}"],
        "segment_b_consistency": values[f"b_from_{side}"],
        "max_edt": values[f"flood_depth_{side}_nm"],
    }


def _plus(point: Zyx, start: Zyx) -> Zyx:
    z, y, x = (p + s for p, s in zip(point, start, strict=True))
    return z, y, x
