"""Points that someone chose as seeds: read from a file, looked up among objects, and told of in the end.

A file of points is what `ffn.seed_points` reads, in voxels of the raw volume, or has the header

    z_nm,y_nm,x_nm            (the columns in any order)

and positions in nanometres, in which voxel i reaches from i to i + 1 times its size.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from configs import ConfigError
from ffn.seed_points import AXES, read_points
from jobs.pieces import atomic_path
from volumes import Box, Volume

OUTSIDE = "outside"
TAKEN = "in an existing object"
NO_ROOM = "too near a face"
SEED = "seed"
NEW = "in a new object"
NOTHING = "no object"

COLUMNS = (*AXES, "outcome", "id")
_NM = tuple(f"{axis}_nm" for axis in AXES)
_EDGE = 256


def read_seed_points(path: str, voxel_size_nm: Sequence[float]) -> np.ndarray:
    """The points in a file.

    Args:
        path: from the working directory; see the module for its format.
        voxel_size_nm: zyx, of the raw volume.

    Returns:
        int64 (n, 3), voxels z, y, x of the raw volume, in the order of the lines.

    Raises:
        ConfigError: no such file, no text, no points, or a line that is none.
    """
    rows = _rows_in_nm(path)
    if rows is None:
        points = read_points(path)
    else:
        header, *lines = rows
        columns = [name.strip().lower() for name in header[1]]
        points_nm = [_point_nm(row, columns, f"{path}:{line}") for line, row in lines]
        points = np.floor(np.array(points_nm).reshape(-1, 3) / np.asarray(voxel_size_nm)).astype(np.int64)
    if not len(points):
        raise ConfigError(f"there are no points in '{path}'; give one a line, z,y,x in voxels")
    return points


def labels_at(volume: Volume, points: np.ndarray) -> np.ndarray:
    """The labels at some voxels.

    Args:
        volume: of labels.
        points: int64 (n, 3), z, y, x, inside its bounds.

    Returns:
        uint64 (n,).
    """
    found = np.zeros(len(points), np.uint64)
    blocks, which = np.unique(points // _EDGE, axis=0, return_inverse=True)
    for block in range(len(blocks)):
        mine = np.flatnonzero(which.reshape(-1) == block)
        here = points[mine]
        box = Box(tuple(here.min(axis=0)), tuple(here.max(axis=0) + 1))
        found[mine] = volume.read(box)[tuple((here - box.start).T)]
    return found


def describe_outcomes(outcomes: Iterable[str]) -> str:
    """How many points came to what, as words."""
    return ", ".join(f"{count} {outcome}" for outcome, count in Counter(outcomes).most_common())


def final_outcomes(outcomes: Sequence[str], ids: np.ndarray, highest: int) -> list[str]:
    """What came of points whose seeds have been tried.

    Args:
        outcomes: as sorted before; those of seeds are replaced.
        ids: (n,) supervoxels at the points.
        highest: the highest ID there was before.
    """
    seeds = [NEW if i > highest else NOTHING if i == 0 else TAKEN for i in ids.tolist()]
    return [seed if outcome == SEED else outcome for outcome, seed in zip(outcomes, seeds, strict=True)]


def write_outcomes(path: Path, points: np.ndarray, outcomes: Sequence[str], ids: np.ndarray) -> None:
    """Writes a CSV table: each point (voxels), what came of it, and the supervoxel there (0 = none).

    Args:
        path: the file; appears whole.
        points: integers (n, 3) in the order of the columns.
        outcomes: one word for each.
        ids: integers (n,).
    """
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for point, outcome, i in zip(points.tolist(), outcomes, ids.tolist(), strict=True):
            writer.writerow([*point, outcome, i])


def _rows_in_nm(path: str) -> list[tuple[int, list[str]]] | None:
    """The lines of a file whose header names nanometres, the header first; None for any other file."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, ValueError):
        return None  # `read_points` says so
    rows = list(_filled(text.splitlines()))
    names = sorted(name.strip().lower() for name in rows[0][1]) if rows else []
    return rows if names == sorted(_NM) else None


def _filled(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines, 1):
        if text := line.partition("#")[0].strip():
            yield number, text.split(",")


def _point_nm(row: list[str], columns: list[str], where: str) -> list[float]:
    try:
        named = dict(zip(columns, map(float, row), strict=True))
        point = [named[name] for name in _NM]
    except ValueError:
        point = [math.nan]
    if not all(map(math.isfinite, point)):
        raise ConfigError(f"{where}: '{','.join(row)}' is no point; give three numbers {','.join(columns)}")
    return point
