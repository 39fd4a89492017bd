"""Pairs across gaps: an object that ends inside the volume is flooded on, and what that reaches is its pair.

Skeleton tips at which no other supervoxel is near (`agglomeration.end_points`) are flooded without obstacles.
Another object that the flood recovers to a large part becomes a pair, whose decision point is in the middle
of the gap, and is then scored like any other. Pairs that touch are left to `agglomeration.candidates`.

| file in `agglomeration/` | holds |
| --- | --- |
| `end_points.npz` | the tips |
| `ends/<n>.npz` | what the floods of a batch of tips reached |

Inputs: `Segmentation`, the pairs that are known. Outputs: `CandidatePairs`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from agglomeration.candidate_pairs import CandidatePairs
from agglomeration.end_points import EndPoints, find_end_points
from agglomeration.end_table import EndTable
from agglomeration.pair_pieces import describe, flood_ends, opened
from agglomeration.segmentation import Segmentation, folder_of
from configs import ConfigView
from evaluation import skeletonise_volume
from inference.identity import settings_digest
from inference.label_stages import kept_piece
from jobs.dispatch import Piece
from jobs.pieces import load_npz
from jobs.run_progress import RunProgress
from jobs.workers import Pool
from volumes import Box

ENDS = "ends"
Tell = Callable[[str], None]


def find_extensions(
    config: ConfigView,
    segmentation: Segmentation,
    known: CandidatePairs,
    pool: Pool,
    progress: RunProgress,
    tell: Tell = lambda _: None,
) -> CandidatePairs:
    """Floods objects beyond their ends, but those that were; the pairs that follow.

    Args:
      config: of the project, with `agglomeration`, and compute type and batch size stated.
      segmentation: its supervoxels.
      known: pairs that are candidates already.
      pool: the workers.
      progress: of a run that planned `ENDS`.
      tell: takes a line about each piece that was made anew.

    Raises:
      EvaluationError: kimimaro, which makes skeletons, is not installed.
      ReconstructionError: pieces that failed.
    """
    tips = _tips(config, segmentation)
    at_once, folder = config.agglomeration.resegmentation.pairs_per_piece, folder_of(config) / "ends"
    pieces = []
    for number, start in enumerate(range(0, len(tips), at_once)):
        part = slice(start, start + at_once)
        place = (folder / f"{number}.npz", segmentation.identity)
        count = len(tips.ids[part])
        pieces.append(
            Piece(
                f"ends {start} to {start + count}",
                (config, tips.ids[part], tips.points_zyx[part], *place),
                count,
            )
        )
    progress.begin(ENDS, units=len(tips), pieces=len(pieces))
    for report in pool.map(flood_ends, pieces, progress=progress):
        if report.note:
            tell(report.note)
    found = EndTable.concatenate(EndTable.load(piece.arguments[3]) for piece in pieces)
    share = config.agglomeration.conservative_rule.min_share
    _, settings = opened(config)
    return extension_pairs(found, segmentation, known, min_share=share, radius_zyx=settings.radius_zyx)


def extension_pairs(
    ends: EndTable,
    segmentation: Segmentation,
    known: CandidatePairs,
    *,
    min_share: float,
    radius_zyx: tuple[int, int, int],
) -> CandidatePairs:
    """The pairs of flooded ends and what their floods reached; of several places the one that shares most.

    Args:
      ends: flooded end points.
      segmentation: the supervoxels.
      known: pairs that are left out.
      min_share: of the other object's voxels in the box, that the flood has to share.
      radius_zyx: half the box in which the gap is measured, voxels.
    """
    own = ends.ids[ends.ends]
    reached = (ends.others != own) & (ends.overlapping >= min_share * np.maximum(ends.original, 1))
    rows = np.flatnonzero(reached)
    id_a = np.minimum(own, ends.others)[rows]
    id_b = np.maximum(own, ends.others)[rows]
    points = ends.points_zyx[ends.ends[rows]]
    order = np.lexsort((*points.T[::-1], -ends.overlapping[rows], id_b, id_a))
    there = {*zip(known.id_a.tolist(), known.id_b.tolist(), strict=True)}
    kept: list[int] = []
    for row in order.tolist():
        pair = (int(id_a[row]), int(id_b[row]))
        if pair not in there:
            there.add(pair)
            kept.append(row)
    chosen = np.array(kept, np.int64)
    others = ends.others[rows][chosen]
    tips = points[chosen]
    nearest = [
        _nearest(segmentation, tip, other, radius_zyx)
        for tip, other in zip(tips.tolist(), others.tolist(), strict=True)
    ]
    across = np.array(nearest, np.int64).reshape(-1, 3) - tips
    ids, voxels = segmentation.table.ids, segmentation.table.voxels
    return CandidatePairs(
        id_a[chosen],
        id_b[chosen],
        tips + across // 2,
        np.linalg.norm(across * segmentation.volume.voxel_size_nm, axis=1),
        np.zeros(chosen.size, np.int64),
        voxels[np.searchsorted(ids, id_a[chosen])],
        voxels[np.searchsorted(ids, id_b[chosen])],
    )


def _tips(config: ConfigView, segmentation: Segmentation) -> EndPoints:
    """The end points of all supervoxels that are large enough for a skeleton, kept in a file."""
    section, path = config.agglomeration, folder_of(config) / "end_points.npz"
    made, distance_nm = section.neurons.skeletonisation, section.candidates.max_distance_nm
    margin_nm = section.resegmentation.analysis_radius_nm
    follows = {**describe(config), "made": made.to_text(), "max_distance_nm": distance_nm}

    def make() -> dict[str, np.ndarray]:
        skeletons = skeletonise_volume(
            segmentation.volume, scale=made.scale, const_nm=made.const_nm, min_voxels=made.min_voxels
        )
        found = find_end_points(
            segmentation.volume,
            segmentation.box,
            skeletons.items(),
            max_distance_nm=distance_nm,
            margin_nm=margin_nm,
        )
        return dict(vars(found))

    kept_piece(path, settings_digest({**follows, "supervoxels": segmentation.identity}), make)
    return EndPoints(**load_npz(path, ["ids", "points_zyx", "directions"]))


def _nearest(
    segmentation: Segmentation, tip: list[int], other: int, radius_zyx: tuple[int, int, int]
) -> np.ndarray:
    """(3,) int64, the voxel of another object, in the box around a tip, that is nearest to it."""
    box = Box.from_shape((1, 1, 1), tip).grow(radius_zyx).intersect(segmentation.box)
    places = np.argwhere(segmentation.volume.read(box) == other) + box.start
    lengths = np.linalg.norm((places - tip) * segmentation.volume.voxel_size_nm, axis=1)
    found: np.ndarray = places[np.argmin(lengths)]
    return found
