"""The state of the neurons: the graph of merges, kept up to date with the log of edits.

One process writes. Every change is checked, appended to the log in one transaction, and acknowledged once
that is committed; the same client key again gives the same edit. Rows that another process appended in the
meantime are noticed: they are replayed, and the change is checked again.

The state follows from the last finished agglomeration and the log alone, so a process that was killed goes
on where it was. It keeps to that agglomeration until it is opened again; edits hold for a later one of the
same supervoxels, too, and so does what people said no to (`proofreading.bases`).
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agglomeration.database import Database, now, open_database
from agglomeration.decided_pairs import database_of
from agglomeration.pair_pieces import open_supervoxels
from configs import ConfigView
from proofreading.bases import FIRST_VERSION
from proofreading.edit_log import Wanted
from proofreading.edit_requests import Request, require_same, require_words
from proofreading.edits import (
    Change,
    Edit,
    Kind,
    LogRow,
    Merge,
    Placed,
    Point,
    Split,
    SupervoxelSplit,
    Toggle,
)
from proofreading.errors import ConflictError, SomaError
from proofreading.neuron_views import NeuronEdges
from proofreading.replay import Effect
from proofreading.soma_check import require_one_cell_body
from proofreading.split_plan import require_point
from proofreading.split_views import SplitPreview, SplitViews
from proofreading.supervoxel_split import SupervoxelParts, piece_path, save_parts
from volumes import Volume

__all__ = ["NeuronEdges", "ProofreadingState", "SplitPreview", "open_state"]

# Called with an edit and the neurons that it changed, ascending: those before and those after it.
Callback = Callable[[Edit, tuple[int, ...]], None]
# What an edit does as the row of this number, and the voxels of a supervoxel that it splits; may refuse it.
_PlanChange = Callable[[int], tuple[Change, SupervoxelParts | None]]
# How often an edit is tried while other processes append to the log.
_TRIES = 5
_SPLITS = (Kind.SPLIT, Kind.SUPERVOXEL_SPLIT)
_LOG = logging.getLogger(__name__)


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


class ProofreadingState(SplitViews):
    """Neurons, and edits of them; made by `open_state`. Methods may be called from several threads.

    Attributes:
      database: the decisions and the log; for tables of one's own, too.
      output_dir: of the project.
      run: number of the agglomeration that it starts from.
    """

    def __init__(
        self, database: Database, output_dir: Path, open_labels: Callable[[], Volume] | None = None
    ) -> None:
        """`open_labels` opens the supervoxels; without it none can be split."""
        self._callbacks: list[Callback] = []
        self._undelivered: deque[int] = deque()
        self._delivering = threading.Lock()
        super().__init__(database, output_dir, open_labels)

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
        about = Request((Kind.MERGE,), person, client_key, expected or {}, reason, force, task)
        asked = _same_merge(supervoxel_a, supervoxel_b)
        return self._do(
            _Step(about, self._merging(supervoxel_a, supervoxel_b, point_a_nm, point_b_nm), asked)
        )

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
        about = Request(_SPLITS, person, client_key, expected or {}, reason, force, task)
        asked = _same_split(points_a, points_b)
        return self._do(_Step(about, self._splitting(neuron, points_a, points_b), asked))

    def cut_and_merge(
        self,
        cut: tuple[int, Sequence[Placed], Sequence[Placed]],
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
        """Splits a neuron, then merges two supervoxels: two edits in one transaction, both or neither.

        Args:
          cut: the neuron that is split, and points on either side (see `split`).
          supervoxel_a, supervoxel_b, point_a_nm, point_b_nm: what is merged then (see `merge`).
          person: who does it.
          client_key: chosen anew for every edit; the same again gives the edit that was done under it.
          expected: versions of neurons that the decision was made on, by ID.
          reason: why, in a person's words.
          force: merge although both have a cell body; that is logged.
          task: that it answers.

        Returns:
          The merge; the split is the edit before it.

        Raises:
          ReconstructionError: what `split` and `merge` raise; nothing was done then.
        """
        first = Request(_SPLITS, person, f"{client_key}-cut", expected or {}, reason, False, task)
        second = Request((Kind.MERGE,), person, client_key, {}, reason, force, task)
        return self._do(
            _Step(first, self._splitting(*cut), _same_split(*cut[1:])),
            _Step(
                second,
                self._merging(supervoxel_a, supervoxel_b, point_a_nm, point_b_nm),
                _same_merge(supervoxel_a, supervoxel_b),
            ),
        )

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
        about = Request((Kind.UNDO,), person, client_key, expected or {}, reason, force, task)
        return self._do(
            _Step(about, lambda _: (Toggle(edit, False), None), lambda change: change == Toggle(edit, False))
        )

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
        about = Request((Kind.REDO,), person, client_key, expected or {}, reason, force, task)
        return self._do(
            _Step(about, lambda _: (Toggle(edit, True), None), lambda change: change == Toggle(edit, True))
        )

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

    def _merging(self, a: int, b: int, point_a_nm: Point | None, point_b_nm: Point | None) -> _PlanChange:
        for point in (point_a_nm, point_b_nm):
            if point is not None:
                require_point(point)

        def plan(_: int) -> tuple[Change, None]:
            if self._graph.neuron_of(a) == (neuron := self._graph.neuron_of(b)):
                raise ConflictError(f"supervoxels {a} and {b} are in one neuron already ({neuron})")
            return Merge(a, b, point_a_nm, point_b_nm), None

        return plan

    def _splitting(self, neuron: int, points_a: Sequence[Placed], points_b: Sequence[Placed]) -> _PlanChange:
        def plan(number: int) -> tuple[Change, SupervoxelParts | None]:
            planned = self._plan_split(neuron, points_a, points_b, number)
            return planned.change, planned.voxels

        return plan

    def _do(self, *steps: _Step) -> Edit:
        """Makes edits that belong together, in one transaction; gives the last one."""
        for step in steps:
            require_words(step.about)
        with self._lock:
            edit = self._try_to_do(steps)
        self._deliver()
        return edit

    def _try_to_do(self, steps: Sequence[_Step]) -> Edit:
        for _ in range(_TRIES):
            self._catch_up()
            last = steps[-1].about
            if last.client_key in self._log.keys:
                number = self._log.keys[last.client_key]
                is_same = steps[-1].is_same(self._log.change(number))
                return require_same(last, self._log.described(number), is_same_change=is_same)
            left = [step for step in steps if step.about.client_key not in self._log.keys]
            for step in left:
                self._require_versions(step.about.expected)
            before = len(self._log)
            if self._log.add([partial(self._wanted, step) for step in left]):
                self._undelivered += range(before + 1, len(self._log) + 1)
                return self._log.described(len(self._log))
        raise ConflictError("other processes keep editing this project; try again, or end them")

    def _wanted(self, step: _Step, number: int) -> Wanted:
        change, voxels = step.plan(number)
        make_row = partial(self._row, step.about, number, change)
        return Wanted(change, make_row, partial(self._save, number, voxels))

    def _row(self, about: Request, number: int, change: Change, effect: Effect) -> LogRow:
        is_forced = self._is_forced(effect, about.force)
        told = (number, now(), about.person, change, about.reason, is_forced, about.client_key, about.task)
        return LogRow(*told, self.run, effect.neurons_before, effect.neurons_after)

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
                    edit = self.edit(number := self._undelivered.popleft())
                    effect = self._log.effects[number - 1]
                    changed = tuple(sorted({*effect.neurons_before, *effect.neurons_after}))
                    for callback in tuple(self._callbacks):
                        _call(callback, edit, changed)
            finally:
                self._delivering.release()

    def _require_versions(self, expected: Mapping[int, int]) -> None:
        for neuron, version in expected.items():
            if self._graph.members(neuron).size == 0:
                raise ConflictError(f"neuron {neuron} is no more; look at it again")
            if self._version(neuron) != version:
                found = self._log.versions.get(neuron, 0)
                by = f"edit {found}" if version // FIRST_VERSION == self.base.number else "an agglomeration"
                raise ConflictError(f"neuron {neuron} was changed by {by}; look at it again")


@dataclass(frozen=True)
class _Step:
    """An edit that is asked for.

    Attributes:
      about: by whom, and on which conditions.
      plan: what is done, as the row of a number.
      is_same: whether a change of the log is what is asked for.
    """

    about: Request
    plan: _PlanChange
    is_same: Callable[[Change], bool]


def _same_merge(a: int, b: int) -> Callable[[Change], bool]:
    return lambda change: isinstance(change, Merge) and (change.a, change.b) == (a, b)


def _same_split(points_a: Sequence[Placed], points_b: Sequence[Placed]) -> Callable[[Change], bool]:
    """The points are all that says where a neuron was to be cut."""

    def is_same(change: Change) -> bool:
        if not isinstance(change, Split | SupervoxelSplit):
            return False
        return (_plain(change.side_a), _plain(change.side_b)) == (_plain(points_a), _plain(points_b))

    return is_same


def _plain(points: Sequence[Placed]) -> list[tuple[int, tuple[float, ...]]]:
    return [(int(supervoxel), tuple(map(float, point))) for supervoxel, point in points]


def _call(callback: Callback, edit: Edit, changed: tuple[int, ...]) -> None:
    """The edit is committed, whatever becomes of those who want to hear of it."""
    try:
        callback(edit, changed)
    except Exception:
        _LOG.exception("a subscriber failed on edit %d", edit.id)
