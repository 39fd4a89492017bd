"""What edits, their undoing and a kill mean for the tasks that were settled by them."""

from __future__ import annotations

from collections.abc import Callable

from agglomeration.database import Database, DatabaseError
from configs.errors import ReconstructionError
from proofreading import answers, task_rows
from proofreading.answers import Answer
from proofreading.edits import Edit, Kind
from proofreading.queue_memory import QueueMemory
from proofreading.state import ProofreadingState
from proofreading.tasks import Verdict


def follow(database: Database, memory: QueueMemory, edit: Edit, changed: tuple[int, ...]) -> None:
    """Brings the tasks up to date with an edit.

    Args:
      database: of the queue.
      memory: of the queue.
      edit: the latest that they do not know of.
      changed: the neurons that it changed, as they were called before it and after it.
    """
    if edit.kind in (Kind.UNDO, Kind.REDO) and edit.target is not None:
        follow_undo(database, memory, edit.target, undone=edit.kind is Kind.UNDO)
    memory.agenda.refresh(changed)


def follow_undo(database: Database, memory: QueueMemory, edit: int, *, undone: bool) -> None:
    """Opens the tasks that an edit had settled again, or settles them again.

    Args:
      database: of the queue.
      memory: of the queue.
      edit: its number.
      undone: it is undone now; else it is done again.
    """
    before = "settled" if undone else "open"
    with database.writing() as connection:
        concerned = [row.candidate for row in task_rows.read_by_edit(connection, edit) if row.state == before]
        for each in concerned:
            if undone:
                answers.reopen(connection, each.id)
            else:
                answers.settle(connection, each.id, Verdict.ACCEPT, edit)
    # Not before: to value a task takes the lock of the neurons (`proofreading.state_lock`).
    for each in concerned:
        if undone:
            memory.opened(each)
        else:
            memory.closed(each.id)


def reconcile(state: ProofreadingState, memory: QueueMemory, carry_out: Callable[[Answer], object]) -> None:
    """Does what a kill left undone: pending answers, and undos whose tasks were not opened.

    Args:
      state: of the neurons.
      memory: of the queue.
      carry_out: makes the edit of a pending answer.
    """
    with state.database.reading() as connection:
        left = answers.pending(connection)
        rows = [row for row in task_rows.read(connection) if row.edit is not None]
    for given in left:
        try:
            carry_out(given)
        except DatabaseError:
            raise
        except ReconstructionError:
            # It is void now, and its task is asked again.
            continue
    for row in rows:
        undone = state.edit(row.edit or 0).undone_by is not None
        if undone == (row.state == "settled"):
            follow_undo(state.database, memory, row.edit or 0, undone=undone)
