"""What people decided about pairs of supervoxels, as a file: training data for a calibration.

`proofread export` writes it, `run_agglomeration calibrate` reads it. It is one checksummed `.npz` piece
(`jobs.pieces`) with `id_a` and `id_b` (uint64, the smaller one first, rows ascending, no pair twice), `truth`
(bool, both are one neuron) and `supervoxels`, which names the voxels that the IDs are of.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from agglomeration.errors import AgglomerationError
from agglomeration.pair_truth import PairTruth
from jobs.pieces import load_npz, save_npz

_COLUMNS = ("id_a", "id_b", "truth", "supervoxels")


@dataclass(frozen=True, eq=False)
class PairAnswers:
    """Pairs that people decided about; one row each.

    Attributes:
      id_a, id_b: (n,) uint64, the smaller one first; rows ascend, no pair stands twice.
      truth: (n,) bool, both are parts of one neuron.
      supervoxels: names the voxels that the IDs are of (`Segmentation.identity`).

    Raises:
      AgglomerationError: columns that are not so.
    """

    id_a: np.ndarray
    id_b: np.ndarray
    truth: np.ndarray
    supervoxels: str

    def __post_init__(self) -> None:
        columns = (self.id_a, self.id_b, self.truth)
        dtypes = [column.dtype for column in columns]
        shapes = {column.shape for column in columns}
        is_table = dtypes == [np.uint64, np.uint64, bool] and shapes == {(len(self.id_a),)}
        if not is_table or not np.all(self.id_a < self.id_b) or not self._ascends():
            raise AgglomerationError(
                "these are no pairs that people decided about (id_a below id_b, ascending, each once); "
                "export them again"
            )

    def __len__(self) -> int:
        return len(self.id_a)

    def _ascends(self) -> bool:
        later, equal = self.id_a[1:] > self.id_a[:-1], self.id_a[1:] == self.id_a[:-1]
        return bool(np.all(later | (equal & (self.id_b[1:] > self.id_b[:-1]))))

    def of_pairs(self, id_a: np.ndarray, id_b: np.ndarray) -> PairTruth:
        """What is known of pairs.

        Args:
          id_a, id_b: (m,) uint64, the smaller one first.
        """
        if not len(self):
            none = np.zeros(len(id_a), bool)
            return PairTruth(none, none.copy())
        names = np.unique(np.concatenate([self.id_a, self.id_b, id_a, id_b]).astype(np.uint64))

        def numbered(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return np.searchsorted(names, a) * np.int64(names.size) + np.searchsorted(names, b)

        mine, theirs = numbered(self.id_a, self.id_b), numbered(id_a, id_b)
        at = np.minimum(np.searchsorted(mine, theirs), len(self) - 1)
        known = mine[at] == theirs
        return PairTruth(self.truth[at] & known, known)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes them as one `.npz` piece.

        Raises:
          PieceError: the file cannot be written.
        """
        columns = {name: np.asarray(getattr(self, name)) for name in _COLUMNS}
        save_npz(path, columns)


def load_answers(path: str | os.PathLike[str]) -> PairAnswers:
    """Reads what `PairAnswers.save` wrote.

    Args:
      path: of the file.

    Raises:
      PieceError: there is no such file, or it is damaged.
      AgglomerationError: it holds something else.
    """
    arrays = load_npz(path, _COLUMNS)
    missing = [name for name in _COLUMNS if name not in arrays]
    if missing:
        raise AgglomerationError(
            f"'{path}' has no '{missing[0]}', so it holds no decisions of people; give a decisions.npz of "
            "`proofread export`"
        )
    return PairAnswers(arrays["id_a"], arrays["id_b"], arrays["truth"], str(arrays["supervoxels"]))
