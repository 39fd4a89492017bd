"""Cell bodies: where they are and how large, read from a table.

A table is a CSV file with the columns `z_nm`, `y_nm`, `x_nm` and `radius_nm`, a row for each cell body, its
centre counted from the corner of voxel (0, 0, 0). A column `id` numbers them; without it they are numbered
from 1 in the order of the rows.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agglomeration.errors import AgglomerationError
from volumes import Volume

COLUMNS = ("z_nm", "y_nm", "x_nm", "radius_nm")
# Room for those of cell bodies that the table missed.
_LARGEST_ID = 2**62


@dataclass(frozen=True)
class CellBodies:
    """Cell bodies, one row each.

    Attributes:
      ids: (n,) int64, from 1, none twice.
      centres_nm: (n, 3) float64, z, y, x.
      radius_nm: (n,) float64.
      source: what they were found in: "table", "volume" or "depth".
    """

    ids: np.ndarray
    centres_nm: np.ndarray
    radius_nm: np.ndarray
    source: str

    def __len__(self) -> int:
        return len(self.ids)


def read_cell_bodies(path: str | os.PathLike[str], volume: Volume) -> CellBodies:
    """Reads and checks a table of cell bodies.

    Args:
      path: the CSV file.
      volume: that they lie in.

    Raises:
      AgglomerationError: the file cannot be read, lacks a column, has no rows, or a row with something else
        than numbers, a radius that is not above 0, a centre outside the volume, or an ID that is no whole
        number from 1 or stands twice; names the row.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream, skipinitialspace=True)
            columns = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AgglomerationError(f"cannot read the table of cell bodies {path}: {error}") from error
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise AgglomerationError(
            f"{path} lacks the column {missing[0]}; a table of cell bodies has {', '.join(COLUMNS)}, and id "
            f"if wanted (columns there: {', '.join(columns) or 'none'})"
        )
    if not rows:
        raise AgglomerationError(f"{path} holds no cell bodies; leave somas.table out where there are none")
    places = [_numbers(row, f"{path}, line {line}", volume) for line, row in rows]
    ids = range(1, len(rows) + 1) if "id" not in columns else _ids(path, rows)
    values = np.array(places, np.float64)
    return CellBodies(np.array(ids, np.int64), values[:, :3], values[:, 3], "table")


def _numbers(row: dict[str, str], where: str, volume: Volume) -> list[float]:
    """Centre and radius of one row."""
    values = []
    for name in COLUMNS:
        try:
            values.append(float(row[name]))
        except (TypeError, ValueError):
            values.append(math.nan)
        if not math.isfinite(values[-1]):
            raise AgglomerationError(f"{where}: {name} is '{row[name] or ''}'; give a number of nanometres")
    *centre, radius = values
    if radius <= 0:
        raise AgglomerationError(f"{where}: radius_nm is {radius:g}; a cell body has one above 0")
    sizes = volume.voxel_size_nm
    largest = max(n * size for n, size in zip(volume.shape, sizes, strict=True))
    if radius > largest:
        raise AgglomerationError(
            f"{where}: radius_nm is {radius:g}, more than volume '{volume.spec}' is long ({largest:g} nm); "
            "give nanometres"
        )
    for name, at, low, high, size in zip(
        COLUMNS, centre, volume.bounds.start, volume.bounds.stop, sizes, strict=False
    ):
        if not low * size <= at < high * size:
            raise AgglomerationError(
                f"{where}: {name} = {at:g} lies outside volume '{volume.spec}' ({low * size:g} to "
                f"{high * size:g} nm); correct the row, or the volume's voxel size"
            )
    return values


def _ids(path: str | os.PathLike[str], rows: Iterable[tuple[int, dict[str, str]]]) -> list[int]:
    seen: dict[int, int] = {}
    for line, row in rows:
        text = (row["id"] or "").strip()
        number = int(text) if text.isascii() and text.isdigit() else 0
        if not 0 < number <= _LARGEST_ID:
            raise AgglomerationError(f"{path}, line {line}: id is '{text}'; give a whole number from 1")
        if number in seen:
            raise AgglomerationError(
                f"{path}, line {line}: cell body {number} stands in line {seen[number]} already; give each "
                "an id of its own"
            )
        seen[number] = line
    return list(seen)
