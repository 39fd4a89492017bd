"""Seeds that someone chose: a list of positions, or a text file of them.

Positions are voxels of the whole volume at the resolution of the pass, z, y, x. A file has one a line:

    # comments and blank lines are passed over
    z,y,x                     a header, which may name the columns in another order
    120,2048,1999
    [121, 2050, 1998]         or JSON: a list z, y, x
    {"z": 121, "y": 2050, "x": 1998}      or an object
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import numpy as np

from configs.errors import ConfigError

AXES = ("z", "y", "x")
_LARGEST = 2**53  # beyond it JSON's numbers are no longer exact elsewhere


def is_point(value: object) -> bool:
    """Whether a JSON value is a position: a list of three whole numbers."""
    return isinstance(value, list) and len(value) == 3 and all(map(_is_coordinate, value))


def read_points(path: str) -> np.ndarray:
    """The positions in a text file.

    Args:
        path: the file, from the working directory; its format is this module's docstring.

    Returns:
        int64 (n, 3), z, y, x, in the order of the lines.

    Raises:
        ConfigError: no such file, no text, or a line that is no position; names the file and the line.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot read seed points '{path}' ({error}); give a text file of lines z,y,x"
        ) from error
    rows = [(i, text) for i, line in enumerate(lines, 1) if (text := line.partition("#")[0].strip())]
    columns = _header(rows[0][1]) if rows else None
    points = [_point(text, columns or AXES, f"{path}:{i}") for i, text in rows[bool(columns) :]]
    return np.array(points, np.int64).reshape(-1, 3)


def _header(text: str) -> tuple[str, ...] | None:
    """The axes of the columns, or None where the first line is a position."""
    names = tuple(name.strip().lower() for name in text.split(","))
    return names if sorted(names) == sorted(AXES) else None


def _point(text: str, columns: tuple[str, ...], where: str) -> list[int]:
    try:
        point = _parsed(text, columns)
    except (ValueError, KeyError, RecursionError):
        point = None
    if not is_point(point):
        raise ConfigError(f"{where}: '{text}' is no seed point; give three whole numbers z,y,x (voxels)")
    return cast(list[int], point)


def _parsed(text: str, columns: tuple[str, ...]) -> object:
    if text.startswith("["):
        return json.loads(text)
    if text.startswith("{"):
        named = json.loads(text)
    else:
        named = dict(zip(columns, map(int, text.split(",")), strict=True))
    return [named[axis] for axis in AXES] if len(named) == len(AXES) else None


def _is_coordinate(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST
