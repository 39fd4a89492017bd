"""How long supervoxels are, and where they end: what the worth of an answer is made of.

Every supervoxel is skeletonised once (`evaluation.teasar`), and its length is that of its skeleton. One too
small for a skeleton is as long as the diagonal of its bounding box times what that ratio is for the others;
without kimimaro, which makes skeletons, that holds for all. A neuron is as long as its supervoxels together:
an approximation that leaves out the gaps between them, but follows every edit without a voxel being read.

Kept in `<output_dir>/proofreading/lengths.npz` with a digest of what it follows from.

Inputs: supervoxels (zyx). Outputs: lengths and points in nm (zyx).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import sqlalchemy as sql

from agglomeration import tables
from agglomeration.database import Database
from agglomeration.end_points import skeleton_tips
from agglomeration.pair_pieces import open_supervoxels
from agglomeration.rows import joined, read_arrays
from configs import ConfigView
from evaluation.teasar import skeletonise_volume
from inference.identity import settings_digest
from jobs.pieces import PieceError, load_npz, save_npz
from jobs.progress import Progress
from proofreading.crossings import Crossings, find_crossings, joined_crossings
from volumes import Volume

FILE = "lengths.npz"
_STRETCH_NM = 300.0
# Of a box' diagonal, where no skeleton is known.
_PLAIN_RATIO = 0.8


@dataclass(frozen=True, eq=False)
class Lengths:
    """Supervoxels and their lengths.

    Attributes:
      supervoxels: (n,) uint64, ascending.
      nm: (n,) float64.
      tip_of: (t,) uint64, supervoxels that end at a tip inside the volume.
      tips_nm: (t, 3) float64, zyx.
      crossings: places where the skeleton of one supervoxel looks like two that cross.
    """

    supervoxels: np.ndarray
    nm: np.ndarray
    tip_of: np.ndarray
    tips_nm: np.ndarray
    crossings: Crossings

    @property
    def total_nm(self) -> float:
        """Of all supervoxels; at least 1, since it divides."""
        return max(float(self.nm.sum()), 1.0)

    def of(self, supervoxels: np.ndarray, otherwise: float = 0.0) -> np.ndarray:
        """Lengths of some supervoxels, (k,) float64.

        Args:
          supervoxels: (k,) uint64.
          otherwise: of those that are not known.
        """
        if self.supervoxels.size == 0:
            return np.full(len(supervoxels), otherwise)
        wanted = np.asarray(supervoxels, np.uint64)
        at = np.minimum(np.searchsorted(self.supervoxels, wanted), self.supervoxels.size - 1)
        return np.where(self.supervoxels[at] == wanted, self.nm[at], otherwise)

    def save(self, path: Path, follows: str) -> None:
        """Writes all as one `.npz` piece.

        Args:
          path: ends in `.npz`.
          follows: digest of what it follows from.

        Raises:
          PieceError: the file cannot be written.
        """
        arrays = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "crossings"}
        save_npz(path, {**arrays, **self.crossings._asdict(), "follows": np.array(follows)})

    @classmethod
    def load(cls, path: Path, follows: str) -> Lengths | None:
        """Reads what `save` wrote; None where that is missing, damaged, or of something else.

        Args:
          path: of the file.
          follows: digest of what it has to follow from.
        """
        try:
            arrays = load_npz(path)
        except PieceError:
            return None
        if str(arrays.pop("follows", "")) != follows:
            return None
        crossings = Crossings(*(arrays.pop(name) for name in Crossings._fields))
        return cls(**arrays, crossings=crossings)


@dataclass(frozen=True, eq=False)
class Boxes:
    """The supervoxels of a database, as far as lengths need them.

    Attributes:
      ids: (n,) uint64, ascending.
      diagonal_nm: (n,) float64, of the bounding boxes.
    """

    ids: np.ndarray
    diagonal_nm: np.ndarray


def lengths_of(
    config: ConfigView, database: Database, *, keep: bool = True, progress: Progress | None = None
) -> Lengths:
    """The lengths of a project's supervoxels, made where they are missing.

    Args:
      config: of the project, with `agglomeration`.
      database: its decisions.
      keep: write what was made into the output directory.
      progress: counts supervoxels.

    Raises:
      ReconstructionError: supervoxels that cannot be read, or lengths that cannot be written.
    """
    path = Path(config.output_dir) / "proofreading" / FILE
    follows = _follows(config, database)
    kept = Lengths.load(path, follows)
    if kept is None:
        volume = open_supervoxels(config)
        kept = measure(config, volume, read_boxes(database, volume.voxel_size_nm), progress=progress)
        if keep:
            kept.save(path, follows)
    return kept


def measure(config: ConfigView, volume: Volume, boxes: Boxes, *, progress: Progress | None = None) -> Lengths:
    """Measures supervoxels.

    Args:
      config: of the project, with `agglomeration`.
      volume: the supervoxels.
      boxes: all of them.
      progress: counts supervoxels.

    Raises:
      ReconstructionError: voxels that cannot be read.
    """
    section = config.agglomeration
    made = section.neurons.skeletonisation
    if find_spec("kimimaro") is None:
        skeletons = {}
    else:
        skeletons = skeletonise_volume(
            volume, scale=made.scale, const_nm=made.const_nm, min_voxels=made.min_voxels, progress=progress
        )
    nm, tips, owners, crossings = np.full(boxes.ids.size, np.nan), [np.zeros((0, 3))], [], []
    margin_nm = section.resegmentation.analysis_radius_nm
    size_nm = np.asarray(volume.voxel_size_nm)
    low_nm, high_nm = volume.bounds.start * size_nm + margin_nm, volume.bounds.stop * size_nm - margin_nm
    for identity, skeleton in skeletons.items():
        nm[np.searchsorted(boxes.ids, np.uint64(identity))] = float(skeleton.edge_lengths_nm.sum())
        nodes, _ = skeleton_tips(skeleton, _STRETCH_NM)
        points = skeleton.nodes_nm[nodes]
        inside = points[((points > low_nm) & (points < high_nm)).all(axis=1)]
        tips.append(inside)
        owners.append(np.full(len(inside), identity, np.uint64))
        crossings.append(find_crossings(identity, skeleton))
    return Lengths(
        boxes.ids,
        filled_in(nm, boxes.diagonal_nm),
        np.concatenate([np.zeros(0, np.uint64), *owners]),
        np.concatenate(tips),
        joined_crossings(crossings),
    )


def filled_in(nm: np.ndarray, diagonal_nm: np.ndarray) -> np.ndarray:
    """Lengths with those that are not known taken from the bounding boxes.

    Args:
      nm: (n,) float64, NaN where there is no skeleton.
      diagonal_nm: (n,) float64.
    """
    known = np.isfinite(nm) & (diagonal_nm > 0)
    ratio = float(np.median(nm[known] / diagonal_nm[known])) if known.any() else _PLAIN_RATIO
    # A bounding box holds much more than a straight line of a branched object, but not of a fragment.
    return np.where(np.isfinite(nm), nm, min(ratio, 1.0) * diagonal_nm)


def read_boxes(database: Database, voxel_size_nm: tuple[float, float, float]) -> Boxes:
    """All supervoxels of a database.

    Args:
      database: the decisions.
      voxel_size_nm: zyx.

    Raises:
      DatabaseError: it cannot be read.
    """
    columns = tables.supervoxels.c
    names = [f"{end}_{axis}" for end in ("start", "stop") for axis in "zyx"]
    dtypes = {"id": np.uint64, **dict.fromkeys(names, np.float64)}
    query = sql.select(columns.id, *(columns[name] for name in names)).order_by(columns.id)
    found = joined(read_arrays(database, query, dtypes), dtypes)
    edges = [
        (found[f"stop_{axis}"] - found[f"start_{axis}"]) * size
        for axis, size in zip("zyx", voxel_size_nm, strict=True)
    ]
    return Boxes(found["id"], np.sqrt(np.sum(np.square(edges), axis=0)))


def _follows(config: ConfigView, database: Database) -> str:
    with database.reading() as connection:
        query = sql.select(tables.project.c.value).where(tables.project.c.name == "supervoxels")
        identity = connection.execute(query).scalar()
    section = config.agglomeration
    return settings_digest(
        {
            "version": 1,
            "supervoxels": identity,
            "made": section.neurons.skeletonisation.to_text(),
            "margin_nm": section.resegmentation.analysis_radius_nm,
            "skeletons": find_spec("kimimaro") is not None,
        }
    )
