"""The log of edits and the neurons that follow from it, kept together.

A change is done to the neurons in memory, appended to the log in one transaction, and kept when that is
committed; else it is taken back. Rows that another process appended are replayed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.exc import IntegrityError

from agglomeration.database import Database, DatabaseError
from proofreading.edits import Change, Edit, LogRow, Merge, Toggle, append, last_number, named_by, read_log
from proofreading.errors import UnknownError
from proofreading.graph import MergeGraph
from proofreading.lineage import Lineage
from proofreading.replay import Effect, Replay
from proofreading.supervoxel_split import KeptSplit, piece_path

# Makes a row of an edit once it is known what it does; may refuse it.
MakeRow = Callable[[Effect], LogRow]


class EditLog:
    """The rows of the log, and what each of them did.

    Attributes:
      graph: the neurons.
      replay: the edits that are not undone.
      lineage: what became of neuron IDs.
      effects: what each row changed.
      versions: by neuron, the row that changed it last.
      keys: the row of each client key.
    """

    def __init__(self, database: Database, graph: MergeGraph) -> None:
        self._database = database
        self.graph, self.replay, self.lineage = graph, Replay(graph), Lineage(graph)
        self.effects: list[Effect] = []
        self.versions: dict[int, int] = {}
        self.keys: dict[str, int] = {}
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
            self._keep(row, self.replay.do(row.id, row.change))
        return [row.id for row in new]

    def add(self, change: Change, make_row: MakeRow, also: Callable[[], None]) -> bool:
        """Does a change and appends it to the log.

        Args:
          change: what is done, as the row after the last.
          make_row: gives the row.
          also: called before the row is committed.

        Returns:
          False where another process has appended a row in the meantime; nothing is done then.

        Raises:
          ProofreadingError: it cannot be done.
          DatabaseError: the log cannot be written. Neither changes anything.
        """
        effect = self.replay.do(len(self._rows) + 1, change)
        try:
            row = make_row(effect)
            is_written = self._append(row, also)
        except BaseException:
            self.replay.drop()
            raise
        if is_written:
            self._keep(row, effect)
        else:
            self.replay.drop()
        return is_written

    def described(self, number: int) -> Edit:
        """An edit of the log. Raises UnknownError: there is none of this number."""
        if not 1 <= number <= len(self._rows):
            raise UnknownError(f"there is no edit {number}; the last is {len(self._rows)}")
        row, effect = self._rows[number - 1], self.effects[number - 1]
        target = row.change.target if isinstance(row.change, Toggle) else None
        primary = self.replay.target(number if target is None else target)
        return Edit(
            row.id,
            row.at,
            row.person,
            row.kind,
            named_by(primary),
            effect.neurons_before,
            effect.neurons_after,
            row.reason,
            row.forced,
            row.client_key,
            self._undone_by.get(number),
            row.task,
            target,
        )

    def merges(self) -> list[Merge]:
        """All merges that people ever made, in their order."""
        return [row.change for row in self._rows if isinstance(row.change, Merge)]

    def kept_splits(self, output_dir: Path) -> tuple[KeptSplit, ...]:
        """The splits of supervoxels that are not undone, in their order, and where their voxels are."""
        numbered = sorted(self.replay.splits.values(), key=lambda each: each[0])
        return tuple(KeptSplit(number, split, piece_path(output_dir, number)) for number, split in numbered)

    def _append(self, row: LogRow, also: Callable[[], None]) -> bool:
        try:
            with self._database.writing() as connection:
                if last_number(connection) != row.id - 1:
                    return False
                append(connection, row)
                also()
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
