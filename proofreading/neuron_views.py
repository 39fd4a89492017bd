"""Neurons as they are now, to look at: their supervoxels and cell bodies, and what was done to them.

Everything follows from the last finished agglomeration and the log of edits (`proofreading.edit_log`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from agglomeration.database import Database
from agglomeration.neurons import NeuronMap
from agglomeration.runs import finished_run
from jobs.pieces import PieceError
from proofreading import supervoxel_facts
from proofreading.base_graph import FIRST_NEW_ID
from proofreading.bases import FIRST_VERSION, open_base
from proofreading.edit_log import EditLog, make_durable
from proofreading.edits import Edit, Point, SupervoxelSplit
from proofreading.errors import ProofreadingError, UnknownError
from proofreading.graph import MergeGraph
from proofreading.migrations import bring_up_to_date
from proofreading.state_lock import StateLock
from proofreading.supervoxel_split import KeptSplit, edited_labels, part_at, piece_path
from volumes import Box, Volume


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


class NeuronViews:
    """Neurons to look at; `proofreading.state.ProofreadingState` also changes them.

    Attributes:
      database: the decisions and the log; for tables of one's own, too.
      output_dir: of the project.
      run: number of the agglomeration that it starts from.
      base: that agglomeration, with what people's answers left out of it or put into it.
    """

    def __init__(
        self, database: Database, output_dir: Path, open_labels: Callable[[], Volume] | None = None
    ) -> None:
        """`open_labels` opens the supervoxels; without it none can be split."""
        self.database = database
        self.output_dir = output_dir
        self._open_labels = open_labels
        self._voxel_size_nm: Sequence[float] | None = None
        self._lock = StateLock(database)
        make_durable(database)
        bring_up_to_date(database)
        self.run = finished_run(database)
        self.base = open_base(database, self.run, self._part_at)
        self._graph = MergeGraph(self.base.graph)
        # At once: a later agglomeration takes the rows of this one away.
        self._soma_centres = supervoxel_facts.read_soma_centres(database, self.run)
        self._log = EditLog(database, self._graph)
        self._log.catch_up()

    def held(self) -> StateLock:
        """Keeps the neurons as they are in a `with` block; taken before a transaction that writes."""
        return self._lock

    @property
    def last_edit(self) -> int:
        """Number of the last edit; 0 = none."""
        with self._lock:
            return len(self._log)

    @property
    def last_voxel_edit(self) -> int:
        """Number of the last edit that split a supervoxel, or took such a split back; 0 = none."""
        with self._lock:
            return self._log.voxels

    @property
    def has_newer_run(self) -> bool:
        """Whether another agglomeration was finished since; it counts from the next opening on."""
        return finished_run(self.database) != self.run

    def close(self) -> None:
        """Closes the database."""
        self.database.close()

    def neuron_of(self, supervoxel: int) -> int:
        """The neuron of a supervoxel. Raises UnknownError: there is none of this ID (any more)."""
        with self._lock:
            return self._graph.neuron_of(supervoxel)

    def supervoxels_of(self, neuron: int) -> np.ndarray:
        """(n,) uint64, ascending. Raises UnknownError: no neuron has this ID now."""
        with self._lock:
            return np.sort(self._graph.ids_of(self._members(neuron)))

    def resolve(self, neuron: int) -> tuple[int, ...]:
        """The neurons, ascending, that now hold what this one last held; itself as long as it is one.

        Raises UnknownError: no neuron ever had this ID.
        """
        with self._lock:
            return self._log.lineage.resolve(neuron, self._log.replay.splits)

    def version_of(self, neuron: int) -> int:
        """Changes with every edit of a neuron, and with another agglomeration. Raises UnknownError.

        The number of the last edit that changed it, 0 = none did; from `FIRST_VERSION` on with later bases.
        """
        with self._lock:
            self._members(neuron)
            return self._version(neuron)

    def voxels_of(self, neuron: int) -> int:
        """How many voxels a neuron has. Raises UnknownError."""
        with self._lock:
            return int(self._graph.voxels_of(self._members(neuron)).sum())

    def somas_of(self, neuron: int) -> tuple[int, ...]:
        """The cell bodies in a neuron, ascending. Raises UnknownError."""
        with self._lock:
            return tuple(sorted(self._graph.somas_at(self._members(neuron))))

    def point_of(self, neuron: int) -> Point | None:
        """A point (nm, zyx) in the largest supervoxel of a neuron; None = not known. Raises UnknownError."""
        with self._lock:
            members = self._members(neuron)
            ids, voxels = self._graph.ids_of(members), self._graph.voxels_of(members)
            largest = int(ids[np.lexsort((ids, -voxels))[0]])
            parts = [part for _, split in self._log.replay.splits.values() for part in split.parts]
        of_parts = {part.id: part.point_nm for part in parts if part.id == largest}
        if largest in of_parts:
            return of_parts[largest]
        return supervoxel_facts.read_point(self.database, [largest])

    def shares_of(self, supervoxels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What supervoxels were split from, and the share of its voxels that they have.

        Args:
          supervoxels: (k,) uint64.

        Returns:
          (k,) uint64, supervoxels of the agglomeration, and (k,) float64; one that is none has itself, and 1.
        """
        origins, shares = np.array(supervoxels, np.uint64), np.ones(len(supervoxels))
        with self._lock:
            for i in np.flatnonzero(origins >= FIRST_NEW_ID).tolist():
                at = self._graph.find(int(origins[i]))
                origin = at
                while origin is not None and (above := self._graph.made_of(origin)) is not None:
                    origin = above
                if at is not None and origin is not None and origin != at:
                    whole, part = self._graph.voxels_of(np.array([origin, at])).tolist()
                    origins[i], shares[i] = self._graph.ids_of(np.array([origin]))[0], part / max(whole, 1)
        return origins, shares

    def now_at(self, supervoxel: int, point_nm: Point) -> int:
        """The supervoxel that is now where one was: of one that was split the part nearest to a point.

        Args:
          supervoxel: its ID, or 0, which stays.
          point_nm: zyx.

        Returns:
          Its ID; itself where it is whole, or its voxels are not there.
        """
        with self._lock:
            splits = self._log.replay.splits
            while supervoxel in splits:
                part = self._part_at(*splits[supervoxel], point_nm)
                if part is None:
                    return supervoxel
                supervoxel = part
        return supervoxel

    def is_joined_near(self, supervoxel: int, point_nm: Point) -> bool:
        """Whether people joined something with a supervoxel within `REACH_NM` of a point of it.

        Args:
          supervoxel: its ID.
          point_nm: zyx.
        """
        with self._lock:
            near = [each for edit, each in self._log.places.near(point_nm) if edit in self._log.replay.active]
            ends = [(each.a, each.point_a_nm) for each in near] + [(each.b, each.point_b_nm) for each in near]
            return any(self.now_at(end, point or point_nm) == supervoxel for end, point in ends)

    def edges_of(self, neuron: int) -> NeuronEdges:
        """The merges inside a neuron. Raises UnknownError."""
        with self._lock:
            members = self._members(neuron)
            ids = self._graph.ids_of(members)
            ends, certainty = self._graph.edges_among(members)
        pairs = np.sort(ids[ends].reshape(-1, 2), axis=1)
        order = np.lexsort((pairs[:, 1], pairs[:, 0]))
        return NeuronEdges(pairs[order, 0], pairs[order, 1], certainty[order])

    def neurons(self) -> NeuronMap:
        """The neuron of every supervoxel now."""
        with self._lock:
            return self._as_map(self._graph.labels())

    def at(self, edit: int) -> NeuronMap:
        """The neuron of every supervoxel right after an edit; 0 = before the first. Raises UnknownError.

        Of this agglomeration: what an edit did on an earlier one is in its row (`Edit.run`).
        """
        with self._lock:
            self._require_edit(edit)
            neurons = self._graph.labels().copy()
            for effect in reversed(self._log.effects[edit:]):
                neurons[effect.positions] = effect.before
            return self._as_map(neurons)

    def supervoxels_at(self, neuron: int, edit: int) -> np.ndarray:
        """The supervoxels that a neuron had right after an edit.

        Args:
          neuron: its ID then.
          edit: number of the edit; 0 = before the first.

        Returns:
          (n,) uint64, ascending.

        Raises:
          UnknownError: no neuron had this ID then, or there is no such edit.
        """
        with self._lock:
            self._require_edit(edit)
            then: dict[int, int] = {}
            for effect in reversed(self._log.effects[edit:]):
                then |= dict(zip(effect.positions.tolist(), effect.before.tolist(), strict=True))
            moved = np.fromiter(then, np.int64, len(then))
            was_in = np.fromiter(then.values(), np.uint64, len(then)) == np.uint64(neuron)
            stayed = np.setdiff1d(self._graph.members(neuron), moved)
            found = self._graph.ids_of(np.concatenate([stayed, moved[was_in]]))
        if found.size == 0:
            raise UnknownError(f"after edit {edit} no neuron was called {neuron}")
        return np.sort(found)

    def edit_named(self, text: str) -> int:
        """The edit that a text names: by its number, or by a time, the last one until then; 0 = none.

        Args:
          text: a number, or a time as ISO 8601 has it; UTC unless it says otherwise.

        Raises:
          ProofreadingError: it is neither.
          UnknownError: there is no edit of this number.
        """
        if text.isascii() and text.isdigit() and len(text) < 19:
            with self._lock:
                self._require_edit(int(text))
            return int(text)
        try:
            when = _time(text)
        except ValueError as error:
            raise ProofreadingError(
                f"'{text[:40]}' is neither the number of an edit nor a time; write 12 or 2026-01-31T09:00"
            ) from error
        with self._lock:
            return sum(_time(row_at) <= when for row_at in self._log.times())

    def _require_edit(self, edit: int) -> None:
        if not 0 <= edit <= len(self._log):
            raise UnknownError(f"there is no edit {edit}; the last is {len(self._log)}")

    def edit(self, number: int) -> Edit:
        """An edit of the log. Raises UnknownError: there is none of this number."""
        with self._lock:
            return self._log.described(number)

    def edit_of_key(self, client_key: str) -> Edit | None:
        """The edit that was done under a client's key; None where none was."""
        with self._lock:
            number = self._log.keys.get(client_key)
            return None if number is None else self._log.described(number)

    def history(
        self,
        before: int | None = None,
        limit: int = 50,
        neuron: int | None = None,
        after: int = 0,
        *,
        person: str | None = None,
        undoable: bool = False,
    ) -> list[Edit]:
        """The latest edits first.

        Args:
          before: only those numbered below it.
          limit: so many at most.
          neuron: only those that changed the neuron of this ID, when they were made or as they are now.
          after: only those numbered above it.
          person: only theirs.
          undoable: only those that are not undone, without those that undo or do again.
        """
        found: list[Edit] = []
        with self._lock:
            top = len(self._log) if before is None else min(before - 1, len(self._log))
            for number in range(top, after, -1):
                if len(found) >= limit:
                    break
                if person not in (None, self._log.person(number)):
                    continue
                if undoable and not self._log.is_undoable(number):
                    continue
                effect, (old, new) = self._log.effects[number - 1], self._log.neurons_of(number)
                named = {*old, *new, *effect.neurons_before, *effect.neurons_after}
                if neuron is None or neuron in named:
                    found.append(self._log.described(number))
        return found

    def labels(self) -> Volume:
        """The supervoxels of the segmentation, without splits of supervoxels (see `read_labels`)."""
        if self._open_labels is None:
            raise ProofreadingError("this state was opened without the voxels of its supervoxels")
        return self._open_labels()

    def supervoxel_splits(self) -> tuple[KeptSplit, ...]:
        """The splits of supervoxels that are not undone, in the order of their numbers."""
        with self._lock:
            return self._log.kept_splits(self.output_dir)

    def read_labels(self, box: Box) -> np.ndarray:
        """(z, y, x) uint64: supervoxels of a box (absolute), with the parts of those that were split."""
        return edited_labels(self.labels(), box, self.supervoxel_splits())

    def _part_at(self, edit: int, split: SupervoxelSplit, point_nm: Point) -> int | None:
        """The part of a split supervoxel that is nearest to a point; None where its voxels are not there."""
        if self._open_labels is None:
            return None
        if self._voxel_size_nm is None:
            self._voxel_size_nm = self.labels().voxel_size_nm
        try:
            kept = KeptSplit(edit, split, piece_path(self.output_dir, edit))
            return part_at(kept, point_nm, self._voxel_size_nm)
        except PieceError:
            return None

    def _version(self, neuron: int) -> int:
        return self.base.number * FIRST_VERSION + self._log.versions.get(neuron, 0)

    def _members(self, neuron: int) -> np.ndarray:
        members = self._graph.members(neuron)
        if members.size == 0:
            now_in = ", ".join(map(str, self._log.lineage.resolve(neuron, self._log.replay.splits)))
            raise UnknownError(f"neuron {neuron} is no more; what it held is in {now_in}")
        return members

    def _as_map(self, neurons: np.ndarray) -> NeuronMap:
        there = np.flatnonzero(neurons)
        ids = self._graph.ids_of(there)
        order = np.argsort(ids, kind="stable")
        return NeuronMap(ids[order], neurons[there[order]])


def _time(text: str) -> datetime:
    """A time of ISO 8601; UTC where it names no zone."""
    found = datetime.fromisoformat(text.removesuffix("Z") + ("+00:00" if text.endswith("Z") else ""))
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
