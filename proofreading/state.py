"""The state of the neurons: the graph of merges, kept up to date with the log of edits.

One process writes. Every change is checked, appended to the log in one transaction and only then
acknowledged; the same client key again gives the same edit. Another process that appended in the meantime is
noticed: its rows are replayed first, then the change is checked again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agglomeration.database import Database
from agglomeration.neurons import NeuronMap
from configs import ConfigView
from proofreading.edits import Edit, Placed, Point
from proofreading.supervoxel_split import SupervoxelParts
from volumes import Volume

# Called with an edit and the neurons that it changed, ascending: those before and those after it.
Callback = Callable[[Edit, tuple[int, ...]], None]


@dataclass(frozen=True)
class NeuronEdges:
    """The merges inside a neuron.

    Attributes:
      id_a, id_b: (m,) uint64, the smaller one first.
      certainty: (m,) float64, 0 to 1; 1 for merges by people.
    """

    id_a: np.ndarray
    id_b: np.ndarray
    certainty: np.ndarray


@dataclass(frozen=True)
class SplitPreview:
    """What a split would do.

    Attributes:
      parts: two (n,) uint64, ascending, the supervoxels on the sides of points_a and points_b.
      edges: (k, 2) uint64, the merges that would be taken away.
      cost: their weights added up; the higher, the less likely is the split by what the graph knows.
      needs_supervoxel_split: the supervoxel with points of both sides; None = there is none.
      supervoxel_parts: its voxels on either side, where there is one. Its two parts stand in `parts` under
        the IDs that they would get if nobody else edits before.
    """

    parts: tuple[np.ndarray, np.ndarray]
    edges: np.ndarray
    cost: float
    needs_supervoxel_split: int | None
    supervoxel_parts: SupervoxelParts | None


def open_state(config: ConfigView) -> ProofreadingState:
    """The state of a project: its last finished agglomeration, and all edits since.

    Args:
      config: of the project, with `agglomeration`.

    Raises:
      ReconstructionError: there is no finished agglomeration, or its database cannot be used.
    """
    raise NotImplementedError


class ProofreadingState:
    """Neurons as they are now; made by `open_state`. Methods may be called from several threads.

    Attributes:
      database: the decisions and the log; for tables of one's own, too.
      output_dir: of the project.
    """

    def __init__(
        self, database: Database, output_dir: Path, open_labels: Callable[[], Volume] | None = None
    ) -> None:
        """`open_labels` opens the supervoxels; without it none can be split."""
        self.database = database
        self.output_dir = output_dir

    @property
    def last_edit(self) -> int:
        """Number of the last edit; 0 = none."""
        raise NotImplementedError

    def close(self) -> None:
        """Closes the database."""

    def neuron_of(self, supervoxel: int) -> int:
        """The neuron of a supervoxel. Raises UnknownError: there is none of this ID (any more)."""
        raise NotImplementedError

    def supervoxels_of(self, neuron: int) -> np.ndarray:
        """(n,) uint64, ascending. Raises UnknownError: no neuron has this ID now."""
        raise NotImplementedError

    def resolve(self, neuron: int) -> tuple[int, ...]:
        """The neurons, ascending, that now hold what this one last held; itself as long as it is one.

        Raises UnknownError: no neuron ever had this ID.
        """
        raise NotImplementedError

    def version_of(self, neuron: int) -> int:
        """Number of the last edit that changed a neuron; 0 = none did. Raises UnknownError."""
        raise NotImplementedError

    def voxels_of(self, neuron: int) -> int:
        """How many voxels a neuron has. Raises UnknownError."""
        raise NotImplementedError

    def somas_of(self, neuron: int) -> tuple[int, ...]:
        """The cell bodies in a neuron, ascending. Raises UnknownError."""
        raise NotImplementedError

    def edges_of(self, neuron: int) -> NeuronEdges:
        """The merges inside a neuron. Raises UnknownError."""
        raise NotImplementedError

    def neurons(self) -> NeuronMap:
        """The neuron of every supervoxel now."""
        raise NotImplementedError

    def at(self, edit: int) -> NeuronMap:
        """The neuron of every supervoxel right after an edit; 0 = before the first. Raises UnknownError."""
        raise NotImplementedError

    def merge(
        self,
        supervoxel_a: int,
        supervoxel_b: int,
        point_a_nm: Point | None = None,
        point_b_nm: Point | None = None,
        *,
        person: str,
        client_key: str,
        expected: Mapping[int, int] | None = None,
        reason: str = "",
        force: bool = False,
        task: int | None = None,
    ) -> Edit:
        """Joins the neurons of two supervoxels by an edge between these."""
        raise NotImplementedError

    def preview_split(
        self, neuron: int, points_a: Sequence[Placed], points_b: Sequence[Placed]
    ) -> SplitPreview:
        """What `split` would do; changes nothing."""
        raise NotImplementedError

    def split(
        self,
        neuron: int,
        points_a: Sequence[Placed],
        points_b: Sequence[Placed],
        *,
        person: str,
        client_key: str,
        expected: Mapping[int, int] | None = None,
        reason: str = "",
        force: bool = False,
        task: int | None = None,
    ) -> Edit:
        """Parts a neuron between two sets of points, where its merges are least certain."""
        raise NotImplementedError

    def undo(
        self,
        edit: int,
        *,
        person: str,
        client_key: str,
        expected: Mapping[int, int] | None = None,
        reason: str = "",
        force: bool = False,
        task: int | None = None,
    ) -> Edit:
        """Takes any edit back; the neurons are then those of all other edits in their order."""
        raise NotImplementedError

    def redo(
        self,
        edit: int,
        *,
        person: str,
        client_key: str,
        expected: Mapping[int, int] | None = None,
        reason: str = "",
        force: bool = False,
        task: int | None = None,
    ) -> Edit:
        """Does an undone edit again, at its old place in the order."""
        raise NotImplementedError

    def edit(self, number: int) -> Edit:
        """An edit of the log. Raises UnknownError: there is none of this number."""
        raise NotImplementedError

    def history(self, before: int | None = None, limit: int = 50, neuron: int | None = None) -> list[Edit]:
        """The latest edits first: those numbered below `before`, and of one neuron if it is given."""
        raise NotImplementedError

    def refresh(self) -> int:
        """Replays what other processes appended; gives the number of the last edit."""
        raise NotImplementedError

    def subscribe(self, callback: Callback) -> None:
        """Has `callback(edit, changed neurons)` called after every edit, in their order, outside the lock."""
        raise NotImplementedError

    def labels(self) -> Volume:
        """The supervoxels of the segmentation, without splits of supervoxels (see `edited_labels`)."""
        raise NotImplementedError
