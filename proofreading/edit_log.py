"""The log of edits and the neurons that follow from it, kept together.

A change, or several that belong together, is done to the neurons in memory, appended to the log in one
transaction, and kept when that is committed; else all of it is taken back. Rows that another process appended
are replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import IntegrityError

from agglomeration.database import Database, DatabaseError
from proofreading.edits import (
    Change,
    Edit,
    LogRow,
    Merge,
    Primary,
    SupervoxelSplit,
    Toggle,
    append,
    last_number,
    named_by,
    read_log,
)
from proofreading.errors import UnknownError
from proofreading.graph import MergeGraph
from proofreading.lineage import Lineage
from proofreading.merge_places import MergePlaces
from proofreading.replay import Effect, Replay
from proofreading.supervoxel_split import KeptSplit, piece_path


@dataclass(frozen=True)
class Wanted:
    """A change that is to be made.

    Attributes:
      change: what is done.
      make_row: gives its row once it is known what it does; may refuse it.
      also: called before the row is committed.
    """

    change: Change
    make_row: Callable[[Effect], LogRow]
    also: Callable[[], None]


# Plans a change as the row of this number, on the neurons as those before it leave them; may refuse it.
Plan = Callable[[int], Wanted]


class EditLog:
    """The rows of the log, and what each of them did.

    Attributes:
      graph: the neurons.
      replay: the edits that are not undone.
      lineage: what became of neuron IDs.
      effects: what each row changed.
      versions: by neuron, the row that changed it last.
      keys: the row of each client key.
      places: where merges were made, of all rows.
      voxels: the row that last changed what supervoxels the voxels have; 0 = none did.
    """

    def __init__(self, database: Database, graph: MergeGraph) -> None:
        self._database = database
        self.graph, self.replay, self.lineage = graph, Replay(graph), Lineage(graph)
        self.effects: list[Effect] = []
        self.versions: dict[int, int] = {}
        self.keys: dict[str, int] = {}
        self.voxels = 0
        self.places = MergePlaces()
        self._rows: list[LogRow] = []
        self._undone_by: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def catch_up(self) -> list[int]:
        """Replays rows that are in the log and not yet here; gives their numbers.

        Raises:
          DatabaseError: the log cannot be read, or lost rows.
        """
        here = len(self._rows)
        with self._database.reading() as connection:
            last = last_number(connection)
        if last < here:
            raise DatabaseError(
                f"{self._database.name} has lost edits {last + 1} to {here}; restore a copy and start again"
            )
        new = read_log(self._database, here) if last > here else []
        for row in new:
            effect = self.replay.do(row.id, row.change)
            self.replay.keep()
            self._keep(row, effect)
        return [row.id for row in new]

    def add(self, plans: Sequence[Plan]) -> bool:
        """Does changes one after the other and appends them to the log, all of them or none.

        Args:
          plans: of the changes, the first one as the row after the last.

        Returns:
          False where another process has appended a row in the meantime; nothing is done then.

        Raises:
          ProofreadingError: one of them cannot be done.
          DatabaseError: the log cannot be written. Neither changes anything.
        """
        done: list[tuple[LogRow, Effect]] = []
        also: list[Callable[[], None]] = []
        try:
            for number, plan in enumerate(plans, len(self._rows) + 1):
                wanted = plan(number)
                effect = self.replay.do(number, wanted.change)
                done.append((wanted.make_row(effect), effect))
                also.append(wanted.also)
            is_written = self._append([row for row, _ in done], also)
        except BaseException:
            self.replay.drop()
            raise
        if is_written:
            self.replay.keep()
            for row, effect in done:
                self._keep(row, effect)
        else:
            self.replay.drop()
        return is_written

    def described(self, number: int) -> Edit:
        """An edit of the log. Raises UnknownError: there is none of this number."""
        if not 1 <= number <= len(self._rows):
            raise UnknownError(f"there is no edit {number}; the last is {len(self._rows)}")
        row = self._rows[number - 1]
        target = row.change.target if isinstance(row.change, Toggle) else None
        return Edit(
            row.id,
            row.at,
            row.person,
            row.kind,
            named_by(self._primary(row)),
            *self.neurons_of(number),
            row.reason,
            row.forced,
            row.client_key,
            self._undone_by.get(number),
            row.task,
            target,
            row.run,
        )

    def neurons_of(self, number: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The neurons that a row changed, as they were called before and after, when it was made."""
        row, effect = self._rows[number - 1], self.effects[number - 1]
        if row.neurons_before is None or row.neurons_after is None:
            return effect.neurons_before, effect.neurons_after
        return row.neurons_before, row.neurons_after

    def is_undoable(self, number: int) -> bool:
        """Whether an edit is neither undone nor one that undoes or does again."""
        return number not in self._undone_by and not isinstance(self._rows[number - 1].change, Toggle)

    def person(self, number: int) -> str:
        """Who made an edit of the log."""
        return self._rows[number - 1].person

    def change(self, number: int) -> Change:
        """What an edit of the log does."""
        return self._rows[number - 1].change

    def times(self) -> list[str]:
        """When each row was made, UTC, ISO 8601, in their order."""
        return [row.at for row in self._rows]

    def merges(self) -> list[Merge]:
        """All merges that people ever made, in their order."""
        return [row.change for row in self._rows if isinstance(row.change, Merge)]

    def kept_splits(self, output_dir: Path) -> tuple[KeptSplit, ...]:
        """The splits of supervoxels that are not undone, in their order, and where their voxels are."""
        numbered = sorted(self.replay.splits.values(), key=lambda each: each[0])
        return tuple(KeptSplit(number, split, piece_path(output_dir, number)) for number, split in numbered)

    def _primary(self, row: LogRow) -> Primary:
        """What a row does, undoes or does again."""
        return self.replay.target(row.change.target) if isinstance(row.change, Toggle) else row.change

    def _append(self, rows: Sequence[LogRow], also: Sequence[Callable[[], None]]) -> bool:
        try:
            with self._database.writing() as connection:
                if last_number(connection) != rows[0].id - 1:
                    return False
                for row in rows:
                    append(connection, row)
                for call in also:
                    call()
        except DatabaseError as error:
            if isinstance(error.__cause__, IntegrityError):
                return False
            raise
        return True

    def _keep(self, row: LogRow, effect: Effect) -> None:
        self._rows.append(row)
        self.effects.append(effect)
        self.keys[row.client_key] = row.id
        self.lineage.note(effect.positions, effect.before)
        for neuron in {*effect.neurons_before, *effect.neurons_after}:
            self.versions[neuron] = row.id
        if isinstance(row.change, Merge):
            self.places.add(row.id, row.change)
        if isinstance(self._primary(row), SupervoxelSplit):
            self.voxels = row.id
        if isinstance(row.change, Toggle):
            if row.change.active:
                self._undone_by.pop(row.change.target, None)
            else:
                self._undone_by[row.change.target] = row.id


def make_durable(database: Database) -> None:
    """Has SQLite wait for the disk at every commit: hours of people's work, a few commits a minute."""
    if database.engine.dialect.name != "sqlite":
        return

    @sql.event.listens_for(database.engine, "connect")
    def wait_for_the_disk(connection: Any, _: object) -> None:
        connection.execute("PRAGMA synchronous=FULL").close()

    database.engine.dispose()
