"""Tasks about supervoxels that were split since: they are about the parts at their points, as merges are.

A task keeps its number, and the supervoxels that it was found with; `routed` says what it is about now.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from proofreading.tasks import Candidate, Point

# The supervoxel that is now where one was, at a point of it.
NowAt = Callable[[int, Point], int]


def routed(candidate: Candidate, now_at: NowAt) -> Candidate:
    """A task with the parts of split supervoxels in their place; its `id` is another one then.

    Args:
      candidate: of the task.
      now_at: gives the part of a supervoxel at a point, itself as long as it is whole; 0 for 0.
    """
    first, second = candidate.supervoxels
    now = now_at(first, candidate.point_nm), now_at(second, candidate.point_nm)
    told: dict[str, Any] = {}
    for name in ("side_a", "side_b"):
        if name in candidate.evidence:
            told[name] = [_placed(int(each), point, now_at) for each, point in candidate.evidence[name]]
    if "loses" in candidate.evidence:
        told["loses"] = str(now[0] if candidate.evidence["loses"] == str(first) else now[1])
    same = now == candidate.supervoxels and all(
        candidate.evidence[name] == each for name, each in told.items()
    )
    return candidate if same else replace(candidate, supervoxels=now, evidence={**candidate.evidence, **told})


def _placed(supervoxel: int, point: list[float], now_at: NowAt) -> list[Any]:
    z, y, x = map(float, point)
    return [str(now_at(supervoxel, (z, y, x))), point]
