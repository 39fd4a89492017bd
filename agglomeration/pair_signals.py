"""What a probability is made of: signals of a scored pair that do not know which of the two is called A.

Which supervoxel of a pair has the smaller ID is chance, so that scores of A and B enter as the lower and the
higher of the two. What spans orders of magnitude enters as a logarithm.

A score that is NaN (an object that could not be seeded) counts as `agglomeration.scoring` counts a flood
that was not made: it recovered nothing, has no depth and gave up everything it had. The pair then has one
flood less (`failed_floods`), which a calibration weighs like any other signal.

Input: a table of scores. Output: float64, one column for each name in `SIGNALS`.
"""

from __future__ import annotations

import numpy as np

from agglomeration.errors import AgglomerationError
from agglomeration.scoring import FEATURES, ScoreTable

# Signals by name, in order: 1 where a higher value can only speak for a merge, -1 where it can only speak
# against one, 0 where either may be.
SIGNALS: dict[str, int] = {
    "iou": 1,
    "own_share_low": 1,
    "other_share_low": 1,
    "other_share_high": 1,
    "log_deleted_low": -1,
    "log_deleted_high": -1,
    "failed_floods": -1,
    "log_contact_faces": 0,
    "log_distance_nm": -1,
    "log_depth_low": 0,
    "log_depth_high": 0,
    "log_growth_high": 0,
    "log_voxels_low": 0,
    "log_voxels_high": 0,
    "log_size_low": 0,
    "log_size_high": 0,
    "direction_agreement": 1,
    "joined_in_passes": 1,
    "parted_in_passes": -1,
}

# What takes the place of NaN; a pair without any of the other scores cannot be judged.
_UNKNOWN = {
    **dict.fromkeys(("iou", "a_from_a", "a_from_b", "b_from_a", "b_from_b"), 0.0),
    **dict.fromkeys(("deleted_from_a", "deleted_from_b"), 1.0),
    **dict.fromkeys(("max_depth_a_nm", "max_depth_b_nm", "flood_depth_a_nm", "flood_depth_b_nm"), 0.0),
    **dict.fromkeys(("direction_agreement", "joined_in_passes", "parted_in_passes"), 0.0),
}
# Below this share of voxels given up, differences are noise.
_LEAST_DELETED = 1e-3


def signals(table: ScoreTable) -> np.ndarray:
    """The signals of all pairs.

    Args:
      table: n scored pairs.

    Returns:
      float64 (n, len(SIGNALS)), finite.

    Raises:
      AgglomerationError: a score without which a pair cannot be judged is NaN, or one is infinite.
    """
    scores = {name: _known(table, name) for name in FEATURES}
    a_from_a, b_from_b = scores["a_from_a"], scores["b_from_b"]
    a_from_b, b_from_a = scores["a_from_b"], scores["b_from_a"]
    deleted = np.stack([scores["deleted_from_a"], scores["deleted_from_b"]]) + _LEAST_DELETED
    depths = np.stack([scores["max_depth_a_nm"], scores["max_depth_b_nm"]])
    floods = np.stack([scores["flood_depth_a_nm"], scores["flood_depth_b_nm"]])
    voxels = np.stack([scores["voxels_a"], scores["voxels_b"]])
    sizes = np.stack([scores["size_a"], scores["size_b"]])
    columns = {
        "iou": scores["iou"],
        "own_share_low": np.minimum(a_from_a, b_from_b),
        "other_share_low": np.minimum(a_from_b, b_from_a),
        "other_share_high": np.maximum(a_from_b, b_from_a),
        "log_deleted_low": np.log(deleted.min(axis=0)),
        "log_deleted_high": np.log(deleted.max(axis=0)),
        "failed_floods": np.sum(floods <= 0, axis=0).astype(np.float64),
        "log_contact_faces": np.log1p(scores["contact_faces"]),
        "log_distance_nm": np.log1p(scores["distance_nm"]),
        "log_depth_low": np.log1p(depths.min(axis=0)),
        "log_depth_high": np.log1p(depths.max(axis=0)),
        "log_growth_high": np.log1p(floods.max(axis=0)) - np.log1p(depths.max(axis=0)),
        "log_voxels_low": np.log1p(voxels.min(axis=0)),
        "log_voxels_high": np.log1p(voxels.max(axis=0)),
        "log_size_low": np.log1p(sizes.min(axis=0)),
        "log_size_high": np.log1p(sizes.max(axis=0)),
        **{name: scores[name] for name in ("direction_agreement", "joined_in_passes", "parted_in_passes")},
    }
    return np.stack([columns[name] for name in SIGNALS], axis=1)


def _known(table: ScoreTable, name: str) -> np.ndarray:
    """A score of all pairs, float64, with what takes the place of NaN."""
    column = table[name].astype(np.float64)
    if name in _UNKNOWN:
        column = np.where(np.isnan(column), _UNKNOWN[name], column)
    wrong = ~np.isfinite(column)
    # Counts and lengths are never below 0, directions and shares never below -1.
    wrong |= column < (-1 if name == "direction_agreement" else 0)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise AgglomerationError(
            f"pair {table.id_a[at]}-{table.id_b[at]} has {name} = {table[name][at]:g}; score it anew"
        )
    return column
