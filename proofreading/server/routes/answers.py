"""What was answered: the history of answers, and taking back one that changed no neuron."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from proofreading.answer_history import PastAnswer
from proofreading.server.auth import Proofreader, Reader
from proofreading.server.bodies import Id, PathId, Withdrawal
from proofreading.server.served import Project

router = APIRouter(prefix="/api/answers", tags=["answers"])


@router.get("")
def _answers(
    project: Project,
    person: Reader,
    before: Annotated[int | None, Query(ge=1)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    task: Annotated[Id | None, Query()] = None,
    by: Annotated[str | None, Query(max_length=200)] = None,
) -> dict[str, Any]:
    """The latest answers first, without skipped tasks; below `before`, about a task, by a person."""
    found = project.queue.past_answers(before, limit, task, by)
    return {"answers": [as_json(each) for each in found]}


@router.post("/{answer}/withdraw")
def _withdraw(answer: PathId, body: Withdrawal, project: Project, person: Proofreader) -> dict[str, Any]:
    """Takes back an answer that changed no neuron, such as a "no"; a task that it settled is asked again."""
    of_others = person.may("admin")
    done = project.queue.withdraw(answer, body.key, person.name, of_others=of_others, reason=body.reason)
    return {"answer": str(done.answer), "person": done.person, "at": done.at, "task": done.task.to_dict()}


def as_json(given: PastAnswer) -> dict[str, Any]:
    """An answer as the page gets it."""
    return {
        **vars(given),
        "id": str(given.id),
        "task": str(given.task),
        "kind": given.kind.value,
        "supervoxels": [str(each) for each in given.supervoxels],
        "verdict": given.verdict.value,
        "edit": None if given.edit is None else str(given.edit),
    }
