"""What the floods of a pair say about whether it is one neurite: scores, their table, the conservative rule.

All scores are measured in the analysis box around the decision point. A flood's voxels are those with
p >= 0.5. A flood that was not made has recovered nothing and given up everything it had.

Inputs: floods (`agglomeration.resegmentation`), objects int32 (z, y, x), lengths nm. Outputs: plain numbers,
one row for each pair.

Source of the scores and the rule: resegmentation_analysis.py of google/ffn; Januszewski et al. 2018,
doi:10.1038/s41592-018-0049-4.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from agglomeration.directions import direction_agreement
from agglomeration.errors import AgglomerationError
from agglomeration.pair_box import PairBox
from agglomeration.pass_agreement import NO_PASSES, PassAgreement
from agglomeration.resegmentation import ObjectFlood, PairFloods
from agglomeration.starts import depths_nm
from configs import ConfigView
from jobs.pieces import load_npz, save_npz
from volumes.base import SizeNm
from volumes.box import Box


@dataclass(frozen=True)
class PairScores:
    """The scores of one pair; as a dictionary they are its evidence.

    Attributes:
      iou: of the two floods, voxels in both by voxels in either.
      a_from_a, b_from_a: shares of the objects A and B in the flood from A.
      a_from_b, b_from_b: shares of them in the flood from B.
      deleted_from_a, deleted_from_b: voxels that the steps of a flood gave up again (those centred in the
        analysis box), by the voxels it has there; may exceed 1. 1 = there is no flood.
      max_depth_a_nm, max_depth_b_nm: depth of the deepest voxel of each object.
      flood_depth_a_nm, flood_depth_b_nm: the same of the floods from A and from B.
      voxels_a, voxels_b: of the objects in the analysis box.
      contact_faces: faces that a voxel of A shares with one of B, once both have grown towards each other.
      distance_nm: gap between the two at the decision point.
      size_a, size_b: voxels of the whole objects.
      direction_agreement: 1 = one goes on straight where the other ends, -1 = both come from the same side,
        0 = at least one does not end here; see `direction_agreement`.
      joined_in_passes, parted_in_passes: how far the project's passes have both in one object, and in
        several; NaN = no passes made the objects; see `agglomeration.pass_agreement`.
      fovs: fields of view that it took to know.
    """

    iou: float
    a_from_a: float
    a_from_b: float
    b_from_a: float
    b_from_b: float
    deleted_from_a: float
    deleted_from_b: float
    max_depth_a_nm: float
    max_depth_b_nm: float
    flood_depth_a_nm: float
    flood_depth_b_nm: float
    voxels_a: int
    voxels_b: int
    contact_faces: int
    distance_nm: float
    size_a: int
    size_b: int
    direction_agreement: float
    joined_in_passes: float
    parted_in_passes: float
    fovs: int

    def to_dict(self) -> dict[str, float]:
        """The scores by name."""
        return asdict(self)


SCORES = tuple(field.name for field in fields(PairScores))
# What a probability is made of: everything but the effort, which is no property of the pair.
FEATURES = tuple(name for name in SCORES if name != "fovs")
_WHOLE = {"voxels_a", "voxels_b", "contact_faces", "size_a", "size_b", "fovs"}


def score_pair(
    floods: PairFloods,
    box: PairBox,
    *,
    contact_faces: int,
    distance_nm: float,
    size_a: int,
    size_b: int,
    direction_radius_nm: float = 340.0,
    passes: PassAgreement = NO_PASSES,
) -> PairScores:
    """The scores of a pair that has been flooded.

    Args:
      floods: of the pair.
      box: what they were made in.
      contact_faces: as found with the pair.
      distance_nm: gap at the decision point, as found with the pair.
      size_a, size_b: voxels of the whole objects.
      direction_radius_nm: the objects' directions are those of their voxels so near to the decision point.
      passes: what the project's passes say about the pair.
    """
    where = floods.analysis.slices()
    labels, size_nm = box.labels[where], box.voxel_size_nm
    own, other = labels == box.a, labels == box.b
    from_a, from_b = (_mask(each, floods.analysis) for each in (floods.from_a, floods.from_b))
    point = np.array(box.point) - floods.analysis.start
    return PairScores(
        iou=_share(from_a & from_b, from_a | from_b),
        a_from_a=_share(from_a & own, own),
        a_from_b=_share(from_b & own, own),
        b_from_a=_share(from_a & other, other),
        b_from_b=_share(from_b & other, other),
        deleted_from_a=_deleted_share(floods.from_a, from_a, floods.analysis),
        deleted_from_b=_deleted_share(floods.from_b, from_b, floods.analysis),
        max_depth_a_nm=max_depth_nm(own, size_nm),
        max_depth_b_nm=max_depth_nm(other, size_nm),
        flood_depth_a_nm=max_depth_nm(from_a, size_nm),
        flood_depth_b_nm=max_depth_nm(from_b, size_nm),
        voxels_a=int(np.count_nonzero(own)),
        voxels_b=int(np.count_nonzero(other)),
        contact_faces=int(contact_faces),
        distance_nm=float(distance_nm),
        size_a=int(size_a),
        size_b=int(size_b),
        direction_agreement=direction_agreement(own, other, point, size_nm, direction_radius_nm),
        joined_in_passes=passes.joined,
        parted_in_passes=passes.parted,
        fovs=floods.fovs,
    )


def deleted_voxels(flood: ObjectFlood, analysis: Box) -> int:
    """The voxels that the steps of a flood centred in the analysis box gave up.

    Args:
      flood: of one object.
      analysis: in voxels of the flooded box.
    """
    inside = np.all((flood.visited >= analysis.start) & (flood.visited < analysis.stop), axis=1)
    return int(flood.deleted[inside].sum())


def max_depth_nm(mask: np.ndarray, voxel_size_nm: SizeNm) -> float:
    """Depth of the deepest voxel in nm, 0 where there is none.

    Args:
      mask: bool (z, y, x).
      voxel_size_nm: edges of a voxel (z, y, x).
    """
    return float(depths_nm(mask, voxel_size_nm).max(initial=0.0))


@dataclass(frozen=True)
class ScoreTable:
    """The scores of many pairs; one row each.

    Attributes:
      id_a, id_b: (n,) uint64, the supervoxels.
      points_zyx: (n, 3) int64, decision points, absolute voxels.
      columns: (n,) float64 or int64 for each name of `SCORES`.
    """

    id_a: np.ndarray
    id_b: np.ndarray
    points_zyx: np.ndarray
    columns: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.id_a)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def row(self, index: int) -> PairScores:
        """The scores of one pair."""
        return PairScores(**{name: column[index].item() for name, column in self.columns.items()})

    def select(self, chosen: np.ndarray) -> ScoreTable:
        """The rows that a mask or indices choose, in their order."""
        columns = {name: column[chosen] for name, column in self.columns.items()}
        return ScoreTable(self.id_a[chosen], self.id_b[chosen], self.points_zyx[chosen], columns)

    def sorted(self) -> ScoreTable:
        """The rows by (id_a, id_b), so that a table does not depend on the order of its pieces."""
        z, y, x = self.points_zyx.T
        return self.select(np.lexsort((x, y, z, self.id_b, self.id_a)))

    def features(self) -> np.ndarray:
        """float64 (n, len(FEATURES)), the columns that `FEATURES` names."""
        return np.stack([self.columns[name].astype(np.float64) for name in FEATURES], axis=1)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The table as named arrays, for `from_arrays`."""
        return {"id_a": self.id_a, "id_b": self.id_b, "points_zyx": self.points_zyx, **self.columns}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes it as a checksummed `.npz` file."""
        save_npz(path, self.to_arrays())

    @staticmethod
    def from_arrays(arrays: Mapping[str, np.ndarray]) -> ScoreTable:
        """The table in arrays made by `to_arrays`; others among them are passed over.

        Raises:
          AgglomerationError: a column is missing.
        """
        missing = {"id_a", "id_b", "points_zyx", *SCORES} - set(arrays)
        if missing:
            raise AgglomerationError(f"a table of scores lacks {', '.join(sorted(missing))}; score anew")
        columns = {name: arrays[name] for name in SCORES}
        return ScoreTable(arrays["id_a"], arrays["id_b"], arrays["points_zyx"], columns)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> ScoreTable:
        """Reads what `save` wrote.

        Raises:
          PieceError: there is no such file, or a damaged one.
          AgglomerationError: it is no table of scores.
        """
        return ScoreTable.from_arrays(load_npz(Path(path)))

    @staticmethod
    def of(
        id_a: np.ndarray, id_b: np.ndarray, points_zyx: np.ndarray, scores: Iterable[PairScores]
    ) -> ScoreTable:
        """The table of pairs and their scores, in the same order."""
        rows = list(scores)
        columns = {
            name: np.array([getattr(row, name) for row in rows], np.int64 if name in _WHOLE else np.float64)
            for name in SCORES
        }
        points = np.asarray(points_zyx, np.int64).reshape(-1, 3)
        return ScoreTable(np.asarray(id_a, np.uint64), np.asarray(id_b, np.uint64), points, columns)

    @staticmethod
    def concatenate(tables: Iterable[ScoreTable]) -> ScoreTable:
        """All rows of several tables, one after the other."""
        parts = [ScoreTable.of(*_NO_ROWS, ()), *tables]
        columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in SCORES}
        return ScoreTable(
            np.concatenate([part.id_a for part in parts]),
            np.concatenate([part.id_b for part in parts]),
            np.concatenate([part.points_zyx for part in parts]),
            columns,
        )


_NO_ROWS = (np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros((0, 3), np.int64))


def conservative(scores: ScoreTable | PairScores, rule: ConfigView) -> np.ndarray:
    """Which pairs are one by the conservative rule.

    The overlap of both floods and all four shares exceed their limits, and from one of the objects at least
    the share given up stays below its limit.

    Args:
      scores: of many pairs, or of one.
      rule: the config's `agglomeration.conservative_rule`.

    Returns:
      (n,) bool; of one pair a single bool of NumPy.
    """
    table = scores.columns if isinstance(scores, ScoreTable) else scores.to_dict()
    shares = ("a_from_a", "a_from_b", "b_from_a", "b_from_b")
    holds = np.asarray(table["iou"]) > rule.min_iou
    for name in shares:
        holds = holds & (np.asarray(table[name]) > rule.min_share)
    deleted = np.minimum(table["deleted_from_a"], table["deleted_from_b"])
    verdict: np.ndarray = holds & (deleted < rule.max_deleted_share)
    return verdict


def _mask(flood: ObjectFlood | None, analysis: Box) -> np.ndarray:
    return np.zeros(analysis.shape, bool) if flood is None else flood.mask(analysis)


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    """Voxels of one mask by those of another; 0 where that has none."""
    voxels = int(np.count_nonzero(whole))
    return int(np.count_nonzero(part)) / voxels if voxels else 0.0


def _deleted_share(flood: ObjectFlood | None, mask: np.ndarray, analysis: Box) -> float:
    voxels = int(np.count_nonzero(mask))
    return deleted_voxels(flood, analysis) / voxels if flood is not None and voxels else 1.0
