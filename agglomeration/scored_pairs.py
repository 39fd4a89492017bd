"""From supervoxels to scored pairs: candidates are found and flooded in pieces over a run's workers.

| file in `agglomeration/` | holds |
| --- | --- |
| `settings.json` | what all of it follows from; other settings are refused by name |
| `candidates/<x>_<y>_<z>.npz` | the pairs of a block |
| `scores/<n>.npz` | the scores of a batch of pairs |
| `extensions/<n>.npz` | those of pairs across gaps (`agglomeration.extensions`) |

The table depends neither on the blocks and batches nor on the order in which workers finish them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from agglomeration.candidate_pairs import CandidatePairs
from agglomeration.candidates import candidate_blocks, find_candidates
from agglomeration.extensions import find_extensions
from agglomeration.pair_pieces import describe, score_pairs
from agglomeration.scoring import ScoreTable
from agglomeration.segmentation import Segmentation, folder_of
from configs import ConfigView
from inference.identity import check_directory, claim_directory
from jobs.dispatch import Piece
from jobs.run_progress import RunProgress
from jobs.workers import Pool

# What may differ between projects without changing what a score means.
_OWN = {"volume", "image", "region_zyx", "bounds", "supervoxels", "masks"}
CANDIDATES = "candidate pairs"
SCORES = "resegmentation"
Tell = Callable[[str], None]


def describe_scores(config: ConfigView) -> dict[str, object]:
    """What candidates and scores of a project follow from, besides the supervoxels' voxels.

    Args:
      config: of the project, with `agglomeration`.

    Returns:
      Plain values by name.
    """
    section = config.agglomeration
    return {
        **describe(config),
        "resegmentation": section.resegmentation.replace(pairs_per_piece=None).to_dict(),
        "candidates": section.candidates.replace(block=None, end_points=None).to_dict(),
    }


def shared_by_scores(described: Mapping[str, object]) -> dict[str, Any]:
    """What scores of several projects have to have in common to mean the same.

    Args:
      described: of one project, see `describe_scores`.

    Returns:
      Plain JSON values by name.
    """
    plain: dict[str, Any] = json.loads(json.dumps(described))
    return {name: value for name, value in plain.items() if name not in _OWN}


def check_scores(config: ConfigView) -> None:
    """Refuses scores of other settings in the project's directory.

    Args:
      config: of the project, with `agglomeration`.

    Raises:
      ReconstructionError: names the first setting that differs.
    """
    check_directory(folder_of(config), describe_scores(config))


def find_scores(
    config: ConfigView,
    segmentation: Segmentation,
    pool: Pool,
    progress: RunProgress,
    tell: Tell = lambda _: None,
) -> ScoreTable:
    """Finds and scores all candidate pairs, but those that are there.

    Args:
      config: of the project, with `agglomeration`, and compute type and batch size stated.
      segmentation: its supervoxels.
      pool: the workers.
      progress: of a run that planned `CANDIDATES`, `SCORES` and, for end points, `ENDS`.
      tell: takes a line about each piece that was made anew.

    Returns:
      A row for each pair, ascending by (id_a, id_b).

    Raises:
      ReconstructionError: scores of other settings are there, or pieces failed.
    """
    folder = folder_of(config)
    claim_directory(folder, describe_scores(config))
    pairs = _find_pairs(config, segmentation, pool, progress, tell)
    pieces = _pieces(config, segmentation, pairs, "scores")
    if config.agglomeration.candidates.end_points:
        beyond = find_extensions(config, segmentation, pairs, pool, progress, tell)
        pieces += _pieces(config, segmentation, beyond, "extensions")
    progress.begin(SCORES, units=sum(piece.weight for piece in pieces), pieces=len(pieces))
    for report in pool.map(score_pairs, pieces, progress=progress):
        if report.note:
            tell(report.note)
    return ScoreTable.concatenate(ScoreTable.load(piece.arguments[2]) for piece in pieces).sorted()


def _find_pairs(
    config: ConfigView, segmentation: Segmentation, pool: Pool, progress: RunProgress, tell: Tell
) -> CandidatePairs:
    section, box = config.agglomeration.candidates, segmentation.box
    progress.begin(CANDIDATES, units=box.size, pieces=len(candidate_blocks(box, section.block)))
    return find_candidates(
        segmentation.volume,
        box,
        section=section,
        directory=folder_of(config) / "candidates",
        sizes=segmentation.table,
        identity=segmentation.identity,
        pool=pool,
        progress=progress,
        tell=tell,
    )


def _pieces(
    config: ConfigView, segmentation: Segmentation, pairs: CandidatePairs, folder: str
) -> list[Piece]:
    """Batches of pairs in the table's order, their scores in a folder."""
    at_once = config.agglomeration.resegmentation.pairs_per_piece
    pieces = []
    for number, start in enumerate(range(0, len(pairs), at_once)):
        part = pairs.select(np.arange(start, min(start + at_once, len(pairs))))
        path: Path = folder_of(config) / folder / f"{number}.npz"
        pieces.append(
            Piece(
                f"{folder} {start} to {start + len(part)}",
                (config, part, path, segmentation.identity),
                len(part),
            )
        )
    return pieces
