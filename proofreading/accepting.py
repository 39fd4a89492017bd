"""What accepting a task does to the neurons.

| kind | edits |
| --- | --- |
| `join` | a merge of the two supervoxels |
| `refused` | a split between the supervoxel and the cell body of its neuron, and the merge: both or neither |
| `merger` | a split between the two sides of the evidence; none where it names none: people cut by hand |
| `end` | a merge with the supervoxel that the answer names |

Every edit has a client key that follows from the answer's number, so that carrying out an answer again does
nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from proofreading.answers import Answer
from proofreading.edits import Edit, Kind, Placed
from proofreading.errors import ProofreadingError
from proofreading.routing import routed
from proofreading.state import ProofreadingState
from proofreading.tasks import Candidate, TaskKind, Verdict


def changes_neurons(candidate: Candidate, verdict: Verdict) -> bool:
    """Whether an answer is carried out by an edit.

    Args:
      candidate: of the task.
      verdict: the answer.
    """
    by_hand = candidate.kind is TaskKind.MERGER and not _has_sides(candidate)
    return verdict is Verdict.ACCEPT and not by_hand


def require_partner(candidate: Candidate, verdict: Verdict, partner: int | None) -> None:
    """Refuses to accept a loose end without the supervoxel that it goes on in, and a partner elsewhere.

    Args:
      candidate: of the task.
      verdict: the answer.
      partner: the supervoxel.

    Raises:
      ProofreadingError: one of these.
    """
    wanted = candidate.kind is TaskKind.END and verdict is Verdict.ACCEPT
    if wanted and partner is None:
        raise ProofreadingError("a loose end goes on in another supervoxel; name it, or reject the task")
    if not wanted and partner is not None:
        raise ProofreadingError("only an accepted loose end is joined with a supervoxel of one's own choice")


def require_cut(candidate: Candidate, verdict: Verdict, cut: Edit | None, person: str, neuron: int) -> None:
    """Refuses an edit that is not the cut which somebody made by hand to accept this task.

    Args:
      candidate: of the task.
      verdict: the answer.
      cut: the edit that it names; None = none.
      person: who answers.
      neuron: of the task's first supervoxel now.

    Raises:
      ProofreadingError: it is none.
    """
    if cut is None:
        return
    by_hand = candidate.kind is TaskKind.MERGER and not _has_sides(candidate)
    if not by_hand or verdict is not Verdict.ACCEPT:
        raise ProofreadingError("only a task that is accepted by a cut of one's own names an edit")
    is_split = cut.kind in (Kind.SPLIT, Kind.SUPERVOXEL_SPLIT) and cut.undone_by is None
    if not is_split or cut.person != person or neuron not in cut.neurons_after:
        raise ProofreadingError(f"edit {cut.id} is no cut of yours of this task's neuron; name that one")


def carry_out(state: ProofreadingState, candidate: Candidate, answer: Answer) -> Edit:
    """Makes the edits of an accepted task, those that are not there yet.

    Args:
      state: of the neurons.
      candidate: of the task.
      answer: for which `changes_neurons` holds.

    Returns:
      The last one.

    Raises:
      ConflictError: a neuron has changed since the person saw it.
      SomaError: two cell bodies would be joined.
      UnknownError: a supervoxel is no more.
    """
    if (before := _made_by_earlier_release(state, answer)) is not None:
        return before
    candidate = routed(candidate, state.now_at)
    told: dict[str, Any] = {"person": answer.person, "reason": answer.comment, "task": answer.task}
    first, second = candidate.supervoxels
    seen: Mapping[int, int] | None = answer.versions
    if candidate.kind is TaskKind.MERGER:
        side_a, side_b = _sides(candidate.evidence)
        told |= {"client_key": _key(answer), "expected": seen}
        return state.split(state.neuron_of(first), side_a, side_b, **told)
    if candidate.kind is TaskKind.END:
        second = answer.partner or 0
    point = None if candidate.kind is TaskKind.END else candidate.point_nm
    merge = {**told, "client_key": _key(answer), "force": answer.forced}
    if candidate.kind is not TaskKind.REFUSED or not _has_sides(candidate) or answer.forced:
        return state.merge(first, second, candidate.point_nm, point, expected=seen, **merge)
    side_a, side_b = _sides(candidate.evidence)
    if _are_apart(state, side_a, side_b):
        return state.merge(first, second, candidate.point_nm, point, expected=seen, **merge)
    neuron = state.neuron_of(int(candidate.evidence["loses"]))
    cut = (neuron, side_a, side_b)
    return state.cut_and_merge(cut, first, second, candidate.point_nm, point, expected=seen, **merge)


def _made_by_earlier_release(state: ProofreadingState, answer: Answer) -> Edit | None:
    """The edit of an answer that an earlier release left half-finished; keys had no slash there.

    A client may have chosen such a key for another edit, so person and task have to be the answer's.
    """
    edit = state.edit_of_key(f"answer-{answer.id}")
    if edit is None or (edit.person, edit.task) != (answer.person, answer.task):
        return None
    return edit


def _are_apart(state: ProofreadingState, side_a: Iterable[Placed], side_b: Iterable[Placed]) -> bool:
    """Whether somebody has made the cut already, or an earlier answer whose merge was undone."""
    a, b = ({state.neuron_of(supervoxel) for supervoxel, _ in side} for side in (side_a, side_b))
    return a.isdisjoint(b)


def _key(answer: Answer) -> str:
    """No client can choose such a key: the server takes no slash in one."""
    return f"answer/{answer.id}"


def _has_sides(candidate: Candidate) -> bool:
    return bool(candidate.evidence.get("side_a")) and bool(candidate.evidence.get("side_b"))


def _sides(evidence: Mapping[str, Any]) -> tuple[list[Placed], list[Placed]]:
    """The points to cut between."""
    first, second = (
        [(int(supervoxel), (float(z), float(y), float(x))) for supervoxel, (z, y, x) in evidence[side]]
        for side in ("side_a", "side_b")
    )
    return first, second
