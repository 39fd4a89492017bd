"""The state of the neurons: the graph of merges, kept up to date with the log of edits.

One process writes. Every change is checked, appended to the log in one transaction, and acknowledged once
that is committed; the same client key again gives the same edit. Rows that another process appended in the
meantime are noticed: they are replayed, and the change is checked again.

The state follows from the last finished agglomeration and the log alone, so a process that was killed goes
on where it was. It keeps to that agglomeration until it is opened again; edits hold for a later one of the
same supervoxels, too.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from agglomeration.database import Database, now, open_database
from agglomeration.decided_pairs import database_of
from agglomeration.neurons import NeuronMap
from agglomeration.pair_pieces import open_supervoxels
from agglomeration.runs import finished_run
from configs import ConfigView
from proofreading import supervoxel_facts
from proofreading.base_graph import read_base_graph
from proofreading.edit_log import EditLog, make_durable
from proofreading.edits import (
    Change,
    Edit,
    Kind,
    LogRow,
    Merge,
    Placed,
    Point,
    Toggle,
)
from proofreading.errors import ConflictError, ProofreadingError, SomaError, UnknownError
from proofreading.graph import MergeGraph
from proofreading.migrations import bring_up_to_date
from proofreading.replay import Effect
from proofreading.soma_check import require_one_cell_body
from proofreading.split_plan import (
    PlannedSplit,
    SupervoxelFacts,
    plan_cut,
    plan_supervoxel_split,
    require_point,
    shared_supervoxel,
)
from proofreading.supervoxel_split import (
    KeptSplit,
    SupervoxelParts,
    edited_labels,
    piece_path,
    save_parts,
)
from volumes import Box, Volume

# Called with an edit and the neurons that it changed, ascending: those before and those after it.
Callback = Callable[[Edit, tuple[int, ...]], None]
# How often an edit is tried while other processes append to the log.
_TRIES = 5
_LONGEST_NAME = 200
_LONGEST_REASON = 10_000
_LOG = logging.getLogger(__name__)


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
    database = open_database(database_of(config), create=False)
    try:
        return ProofreadingState(database, Path(config.output_dir), partial(open_supervoxels, config))
    except BaseException:
        database.close()
        raise


class ProofreadingState:
    """Neurons as they are now; made by `open_state`. Methods may be called from several threads.

    Attributes:
      database: the decisions and the log; for tables of one's own, too.
      output_dir: of the project.
      run: number of the agglomeration that it starts from.
    """

    def __init__(
        self, database: Database, output_dir: Path, open_labels: Callable[[], Volume] | None = None
    ) -> None:
        """`open_labels` opens the supervoxels; without it none can be split."""
        self.database = database
        self.output_dir = output_dir
        self._open_labels = open_labels
        self._lock = threading.RLock()
        make_durable(database)
        bring_up_to_date(database)
        self.run = finished_run(database)
        self._graph = MergeGraph(read_base_graph(database, self.run))
        self._log = EditLog(database, self._graph)
        self._callbacks: list[Callback] = []
        self._undelivered: deque[int] = deque()
        self._delivering = threading.Lock()
        self._log.catch_up()

    @property
    def last_edit(self) -> int:
        """Number of the last edit; 0 = none."""
        with self._lock:
            return len(self._log)

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
        """Number of the last edit that changed a neuron; 0 = none did. Raises UnknownError."""
        with self._lock:
            self._members(neuron)
            return self._log.versions.get(neuron, 0)

    def voxels_of(self, neuron: int) -> int:
        """How many voxels a neuron has. Raises UnknownError."""
        with self._lock:
            return int(self._graph.voxels_of(self._members(neuron)).sum())

    def somas_of(self, neuron: int) -> tuple[int, ...]:
        """The cell bodies in a neuron, ascending. Raises UnknownError."""
        with self._lock:
            return tuple(sorted(self._graph.somas_at(self._members(neuron))))

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
        """The neuron of every supervoxel right after an edit; 0 = before the first. Raises UnknownError."""
        with self._lock:
            if not 0 <= edit <= len(self._log):
                raise UnknownError(f"there is no edit {edit}; the last is {len(self._log)}")
            neurons = self._graph.labels().copy()
            for effect in reversed(self._log.effects[edit:]):
                neurons[effect.positions] = effect.before
            return self._as_map(neurons)

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
        """Joins the neurons of two supervoxels by an edge between these.

        Args:
          supervoxel_a, supervoxel_b: of the two neurons.
          point_a_nm, point_b_nm: where they were seen to be one (nm, zyx), if that is known.
          person: who does it.
          client_key: chosen anew for every edit; the same again gives the edit that was done under it.
          expected: versions of neurons that the decision was made on, by ID.
          reason: why, in a person's words.
          force: done although both have a cell body; that is logged.
          task: that it answers.

        Raises:
          ConflictError: a neuron has another version than expected, or the two are one already.
          ProofreadingError: a point that is none.
          SomaError: both have a cell body.
          UnknownError: there is no such supervoxel.
          ReconstructionError: the database cannot be written; nothing was done then.
        """

        for point in (point_a_nm, point_b_nm):
            if point is not None:
                require_point(point)

        def plan(_: int) -> tuple[Change, None]:
            if self._graph.neuron_of(supervoxel_a) == (neuron := self._graph.neuron_of(supervoxel_b)):
                raise ConflictError(
                    f"supervoxels {supervoxel_a} and {supervoxel_b} are in one neuron already ({neuron})"
                )
            return Merge(supervoxel_a, supervoxel_b, point_a_nm, point_b_nm), None

        about = _Request((Kind.MERGE,), person, client_key, expected or {}, reason, force, task)
        return self._do(about, plan)

    def preview_split(
        self, neuron: int, points_a: Sequence[Placed], points_b: Sequence[Placed]
    ) -> SplitPreview:
        """What `split` would do; changes nothing.

        Args:
          neuron: that is to be split.
          points_a, points_b: supervoxels of it and points in them (nm, zyx), on either side.

        Raises:
          ConflictError: a supervoxel that is not in the neuron.
          ProofreadingError: a side without points, or points that cannot be parted.
          UnknownError: there is no such neuron or supervoxel.
        """
        with self._lock:
            planned = self._plan_split(neuron, points_a, points_b, len(self._log) + 1)
        removed = np.array(planned.change.removed, np.uint64).reshape(-1, 2)
        shared = planned.voxels.supervoxel if planned.voxels else None
        return SplitPreview(planned.parts, removed, planned.cost, shared, planned.voxels)

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
        """Parts a neuron between two sets of points, where its merges are least certain.

        A supervoxel with points of both sides is split itself.

        Args:
          neuron: that is to be split.
          points_a, points_b: supervoxels of it and points in them (nm, zyx), on either side.
          person: who does it.
          client_key: chosen anew for every edit; the same again gives the edit that was done under it.
          expected: versions of neurons that the decision was made on, by ID.
          reason: why, in a person's words.
          force: as for other edits; a split joins no cell bodies.
          task: that it answers.

        Raises:
          ConflictError: a neuron has another version than expected, or a supervoxel is not in it.
          ProofreadingError: a side without points, or points that cannot be parted.
          UnknownError: there is no such neuron or supervoxel.
          ReconstructionError: the labels cannot be read, or the database not be written; nothing was done.
        """

        def plan(number: int) -> tuple[Change, SupervoxelParts | None]:
            planned = self._plan_split(neuron, points_a, points_b, number)
            return planned.change, planned.voxels

        kinds = (Kind.SPLIT, Kind.SUPERVOXEL_SPLIT)
        return self._do(_Request(kinds, person, client_key, expected or {}, reason, force, task), plan)

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
        """Takes any edit back; the neurons are then those of all other edits in their order.

        Args:
          edit: its number; a merge or a split.
          person: who does it.
          client_key: chosen anew for every edit; the same again gives the edit that was done under it.
          expected: versions of neurons that the decision was made on, by ID.
          reason: why, in a person's words.
          force: done although a neuron gets two cell bodies by it; that is logged.
          task: that it answers.

        Raises:
          ConflictError: a neuron has another version than expected, or the edit is undone already.
          ProofreadingError: a later edit needs a supervoxel that this one made.
          SomaError: a neuron would get two cell bodies.
          UnknownError: there is no such edit.
          ReconstructionError: the database cannot be written; nothing was done then.
        """
        about = _Request((Kind.UNDO,), person, client_key, expected or {}, reason, force, task)
        return self._do(about, lambda _: (Toggle(edit, False), None))

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
        """Does an undone edit again, at its old place in the order.

        Args:
          edit: its number; a merge or a split.
          person: who does it.
          client_key: chosen anew for every edit; the same again gives the edit that was done under it.
          expected: versions of neurons that the decision was made on, by ID.
          reason: why, in a person's words.
          force: done although a neuron gets two cell bodies by it; that is logged.
          task: that it answers.

        Raises:
          ConflictError: a neuron has another version than expected, or the edit is not undone.
          ProofreadingError: a supervoxel that it needs is not there, or one that later edits need would go.
          SomaError: a neuron would get two cell bodies.
          UnknownError: there is no such edit.
          ReconstructionError: the database cannot be written; nothing was done then.
        """
        about = _Request((Kind.REDO,), person, client_key, expected or {}, reason, force, task)
        return self._do(about, lambda _: (Toggle(edit, True), None))

    def edit(self, number: int) -> Edit:
        """An edit of the log. Raises UnknownError: there is none of this number."""
        with self._lock:
            return self._log.described(number)

    def history(self, before: int | None = None, limit: int = 50, neuron: int | None = None) -> list[Edit]:
        """The latest edits first.

        Args:
          before: only those numbered below it.
          limit: so many at most.
          neuron: only those that changed the neuron of this ID.
        """
        found: list[Edit] = []
        with self._lock:
            top = len(self._log) if before is None else min(before - 1, len(self._log))
            for number in range(top, 0, -1):
                if len(found) >= limit:
                    break
                effect = self._log.effects[number - 1]
                if neuron is None or neuron in effect.neurons_before or neuron in effect.neurons_after:
                    found.append(self._log.described(number))
        return found

    def refresh(self) -> int:
        """Replays what other processes appended; gives the number of the last edit."""
        with self._lock:
            self._catch_up()
            last = len(self._log)
        self._deliver()
        return last

    def subscribe(self, callback: Callback) -> None:
        """Has `callback(edit, changed neurons)` called after every edit, in their order, outside the lock.

        While one thread calls callbacks, those for edits of other threads are left to it: they may come
        shortly after such an edit was acknowledged.
        """
        with self._lock:
            self._callbacks.append(callback)

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

    def _do(self, about: _Request, plan: Callable[[int], tuple[Change, SupervoxelParts | None]]) -> Edit:
        _check_words(about)
        with self._lock:
            edit = self._try_to_do(about, plan)
        self._deliver()
        return edit

    def _try_to_do(
        self, about: _Request, plan: Callable[[int], tuple[Change, SupervoxelParts | None]]
    ) -> Edit:
        for _ in range(_TRIES):
            self._catch_up()
            if about.client_key in self._log.keys:
                return self._repeated(about)
            self._require_versions(about.expected)
            number = len(self._log) + 1
            change, voxels = plan(number)
            row = partial(self._row, about, number, change)
            if self._log.add(change, row, partial(self._save, number, voxels)):
                self._undelivered.append(number)
                return self._log.described(number)
        raise ConflictError("other processes keep editing this project; try again, or end them")

    def _row(self, about: _Request, number: int, change: Change, effect: Effect) -> LogRow:
        is_forced = self._is_forced(effect, about.force)
        return LogRow(
            number, now(), about.person, change, about.reason, is_forced, about.client_key, about.task
        )

    def _save(self, number: int, voxels: SupervoxelParts | None) -> None:
        """Keeps the voxels of a split; while its row waits to be committed nobody else can write them."""
        if voxels is not None:
            save_parts(piece_path(self.output_dir, number), voxels)

    def _is_forced(self, effect: Effect, force: bool) -> bool:
        try:
            require_one_cell_body(self._graph, effect)
        except SomaError:
            if not force:
                raise
            return True
        return False

    def _catch_up(self) -> None:
        self._undelivered += self._log.catch_up()

    def _deliver(self) -> None:
        """Calls callbacks; never waits for another thread that does so, which could wait for this one."""
        while self._undelivered and self._delivering.acquire(blocking=False):
            try:
                while self._undelivered:
                    edit = self.edit(self._undelivered.popleft())
                    changed = tuple(sorted({*edit.neurons_before, *edit.neurons_after}))
                    for callback in tuple(self._callbacks):
                        _call(callback, edit, changed)
            finally:
                self._delivering.release()

    def _repeated(self, about: _Request) -> Edit:
        edit = self._log.described(self._log.keys[about.client_key])
        if edit.kind not in about.kinds or edit.person != about.person:
            raise ConflictError(
                f"client key '{about.client_key}' was used for edit {edit.id}; choose another for each edit"
            )
        return edit

    def _require_versions(self, expected: Mapping[int, int]) -> None:
        for neuron, version in expected.items():
            if self._graph.members(neuron).size == 0:
                raise ConflictError(f"neuron {neuron} is no more; look at it again")
            found = self._log.versions.get(neuron, 0)
            if found != version:
                raise ConflictError(f"neuron {neuron} was changed by edit {found}; look at it again")

    def _plan_split(
        self, neuron: int, points_a: Sequence[Placed], points_b: Sequence[Placed], number: int
    ) -> PlannedSplit:
        self._members(neuron)
        shared = shared_supervoxel(self._graph, neuron, points_a, points_b)
        if shared is None:
            return plan_cut(self._graph, neuron, points_a, points_b)
        return plan_supervoxel_split(self._graph, shared, points_a, points_b, self._facts_of(shared), number)

    def _facts_of(self, supervoxel: int) -> SupervoxelFacts:
        """What is known of a supervoxel; of one that edits made also what is known of its origin."""
        position: int | None = self._graph.position(supervoxel)
        points: dict[int, Point] = {}
        bodies = self._graph.somas_at(np.array([position]))
        while position is not None:
            number = int(self._graph.ids_of(np.array([position]))[0])
            found = supervoxel_facts.read_edge_points(self.database, self.run, number)
            points = {**found, **supervoxel_facts.merge_points(self._log.merges(), number), **points}
            position = self._graph.made_of(position)
        return SupervoxelFacts(
            self.labels(),
            self._log.kept_splits(self.output_dir),
            self._box_of(supervoxel),
            points,
            supervoxel_facts.read_soma_centres(self.database, self.run, bodies),
        )

    def _box_of(self, supervoxel: int) -> Box:
        for _, split in self._log.replay.splits.values():
            for part in split.parts:
                if part.id == supervoxel:
                    return part.box
        return supervoxel_facts.read_box(self.database, supervoxel)


@dataclass(frozen=True)
class _Request:
    """Who asks for what kinds of edit, and on which conditions."""

    kinds: tuple[Kind, ...]
    person: str
    client_key: str
    expected: Mapping[int, int]
    reason: str
    force: bool
    task: int | None


def _call(callback: Callback, edit: Edit, changed: tuple[int, ...]) -> None:
    """The edit is committed, whatever becomes of those who want to hear of it."""
    try:
        callback(edit, changed)
    except Exception:
        _LOG.exception("a subscriber failed on edit %d", edit.id)


def _check_words(about: _Request) -> None:
    for name, text in (("person", about.person), ("client key", about.client_key)):
        if not 0 < len(text) <= _LONGEST_NAME or "\0" in text:
            raise ProofreadingError(f"the {name} of an edit needs 1 to {_LONGEST_NAME} characters")
    if len(about.reason) > _LONGEST_REASON or "\0" in about.reason:
        raise ProofreadingError(
            f"the reason of an edit may have {_LONGEST_REASON} characters, none of them 0"
        )
