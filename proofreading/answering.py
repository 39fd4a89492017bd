"""Taking an answer: what has to hold before it is written, and what is done after it is.

The two steps are transactions of their own, with the edit between them (`proofreading.answers`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import Connection

from agglomeration.database import DatabaseError
from configs.errors import ReconstructionError
from proofreading import answers, leases, task_rows
from proofreading.accepting import changes_neurons, require_cut, require_partner
from proofreading.answer_history import is_named
from proofreading.answers import Answer
from proofreading.edits import Edit
from proofreading.errors import ConflictError, LeaseError, UnknownError
from proofreading.queue_memory import QueueMemory
from proofreading.state import ProofreadingState
from proofreading.tasks import Candidate, Verdict

_DECIDING = (Verdict.ACCEPT, Verdict.REJECT)


def write_answer(
    connection: Connection,
    memory: QueueMemory,
    given: Answer,
    reviews: int,
    now: float,
    cut: Edit | None = None,
) -> Answer:
    """Checks an answer and writes it; settles its task unless that takes an edit.

    An earlier answer of another person agrees whatever has become of the neurons since: the question is the
    same, and the last one to answer has seen them as they are. That a loose end goes on is agreed on where
    both name the same neuron, and saw both neurons as they are now.

    Args:
      connection: in a transaction that writes, begun with the state held (`proofreading.state_lock`).
      memory: of the queue.
      given: the answer.
      reviews: how many people have to agree.
      now: the time, seconds since the epoch.
      cut: the edit by which the person has cut by hand what the task is about.

    Returns:
      The answer with its number: pending if it takes an edit, else counted.

    Raises:
      LeaseError: the task is not with this person (any more).
      ConflictError: its neurons have changed since.
      ProofreadingError: an answer that makes no sense.
    """
    row = task_rows.read_one(connection, given.task, for_update=True)
    held = leases.require(connection, given.task, given.lease, now)
    entry = memory.agenda.entries.get(given.task)
    if held.person != given.person or row is None or entry is None:
        raise LeaseError(f"task {given.task} is not with you any more; take the next one")
    require_partner(entry.candidate, given.verdict, given.partner)
    require_cut(entry.candidate, given.verdict, cut, given.person, entry.neurons[0])
    seen = memory.versions(entry, given.partner)
    if given.verdict in _DECIDING and (entry.is_stale or seen != given.versions):
        raise ConflictError(f"the neurons of task {given.task} have changed since; look at it again")
    before = answers.of_task(connection, given.task)
    if given.partner is not None:
        before = [each for each in before if _goes_on_alike(memory, each, given)]
    enough = answers.agreeing(before, given.verdict, given.person) + 1 >= reviews
    decides = given.verdict in _DECIDING and enough
    if decides and changes_neurons(entry.candidate, given.verdict):
        gained_nm = memory.agenda.gain_of(given.task, given.partner)
        return answers.add(connection, replace(given, state="pending", gained_nm=gained_nm))
    # One cut may answer several tasks; what it adds is added once.
    if cut is not None and not is_named(connection, cut.id, cut.person):
        given = replace(given, gained_nm=memory.agenda.gain_of_cut(cut.neurons_after))
    written = answers.add(connection, given)
    if decides:
        made = [given.edit, *(each.edit for each in before if each.verdict is given.verdict)]
        answers.settle(connection, given.task, given.verdict, next(filter(None, made), None))
    else:
        leases.end(connection, given.lease)
    return written


def _goes_on_alike(memory: QueueMemory, earlier: Answer, given: Answer) -> bool:
    """Whether an earlier answer says of a loose end what this one does, of the same neurons."""
    alike = (earlier.verdict, earlier.versions) == (given.verdict, given.versions)
    return alike and memory.neuron_of(earlier.partner) == memory.neuron_of(given.partner)


def finish_answer(
    state: ProofreadingState,
    candidate: Candidate,
    given: Answer,
    carry_out: Callable[[ProofreadingState, Candidate, Answer], Edit],
) -> int:
    """Makes the edit of a pending answer, and counts it; one that cannot be made is void.

    Where it is not known whether it was made, since the database failed, the answer stays pending.

    Args:
      state: of the neurons.
      candidate: of the task.
      given: pending.
      carry_out: makes the edit, however often it is called.

    Returns:
      Number of the edit.

    Raises:
      ConflictError: the neurons have changed since.
      SomaError: two cell bodies would be joined.
      ReconstructionError: the edit cannot be made.
    """
    try:
        edit = carry_out(state, candidate, given)
    except DatabaseError:
        raise
    except ReconstructionError as error:
        with state.database.writing() as connection:
            answers.void(connection, given)
        if isinstance(error, UnknownError):
            raise ConflictError(f"task {given.task} is about what is no more: {error}") from error
        raise
    with state.database.writing() as connection:
        answers.count(connection, given, edit.id)
        answers.settle(connection, given.task, given.verdict, edit.id)
    return edit.id
