"""Tasks: handed out, kept alive, answered; and how far the work is."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from proofreading.errors import ConflictError, SomaError
from proofreading.queue_results import LeasedTask
from proofreading.server.auth import Proofreader, Reader
from proofreading.server.bodies import Answer, Comment, Lease, PathId
from proofreading.server.refusals import Refused, answer_refused
from proofreading.server.served import Project
from proofreading.tasks import TaskKind, TaskState, Verdict

router = APIRouter(prefix="/api", tags=["tasks"])
_MOST_AT_ONCE = 20


@router.post("/tasks/next")
def _next_tasks(
    project: Project,
    person: Proofreader,
    n: Annotated[int, Query(ge=1, le=_MOST_AT_ONCE)] = 1,
    kinds: Annotated[str | None, Query(max_length=100)] = None,
) -> dict[str, Any]:
    """Leases the tasks that are worth most; `kinds` are separated by commas, without them any."""
    wanted = None if not kinds else [_one_of(TaskKind, word, "kind") for word in kinds.split(",")]
    # Before the tasks are: a page is told of an edit again rather than not at all.
    now = project.now()
    leased = project.queue.next(person.name, n, wanted)
    return {"tasks": [_leased_json(each) for each in leased], **now}


@router.get("/tasks")
def _list_tasks(
    project: Project,
    person: Reader,
    state: Annotated[str | None, Query(max_length=20)] = None,
    kind: Annotated[str | None, Query(max_length=20)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """Tasks, those worth most first; of one state or kind, if these are given."""
    wanted_state = None if not state else _one_of(TaskState, state, "state")
    wanted_kind = None if not kind else _one_of(TaskKind, kind, "kind")
    return {"tasks": [each.to_dict() for each in project.queue.tasks(wanted_state, wanted_kind, limit)]}


@router.get("/tasks/{task}")
def _show_task(task: PathId, project: Project, person: Reader) -> dict[str, Any]:
    """A task as it is now."""
    return project.queue.task(task).to_dict()


@router.post("/tasks/{task}/lease")
def _lease(task: PathId, project: Project, person: Proofreader) -> dict[str, Any]:
    """Leases a certain task, such as one whose answer was taken back."""
    return _leased_json(project.queue.lease(task, person.name))


@router.post("/tasks/{task}/heartbeat")
def _heartbeat(task: PathId, body: Lease, project: Project, person: Proofreader) -> dict[str, float]:
    """Puts the end of a lease off."""
    return {**_until(project.queue.heartbeat(task, body.lease)), **project.now()}


@router.post("/tasks/{task}/release")
def _release(task: PathId, body: Lease, project: Project, person: Proofreader) -> dict[str, str]:
    """Gives a task back unanswered."""
    project.queue.release(task, body.lease)
    return {"id": str(task)}


@router.post("/tasks/{task}/answer")
def _answer_task(task: PathId, body: Answer, request: Request, project: Project, person: Proofreader) -> Any:
    """Answers a task. At a conflict (409) nothing is done, the lease goes on, and `task` is as it is now."""
    try:
        outcome = project.queue.answer(
            task,
            body.lease,
            Verdict(body.verdict),
            body.versions,
            body.key,
            person.name,
            seconds=body.seconds,
            comment=body.comment,
            force=body.force,
            partner=body.partner,
            edit=body.edit,
        )
    except (ConflictError, SomaError) as error:
        return answer_refused(request, error, {"task": project.queue.task(task).to_dict()})
    return {
        "task": outcome.task.to_dict(),
        "settled": outcome.settled,
        "edit": None if outcome.edit is None else str(outcome.edit),
        "shown_again": outcome.shown_again,
        "gained_nm": outcome.gained_nm,
    }


@router.get("/tasks/{task}/comments")
def _comments(task: PathId, project: Project, person: Reader) -> dict[str, Any]:
    """What was written about a task, the first one first."""
    return {"comments": project.queue.comments(task)}


@router.post("/tasks/{task}/comments")
def _comment(task: PathId, body: Comment, project: Project, person: Proofreader) -> dict[str, Any]:
    """Writes a comment on a task."""
    project.queue.comment(task, person.name, body.comment)
    return project.queue.task(task).to_dict()


@router.get("/progress")
def _progress(project: Project, person: Reader) -> dict[str, Any]:
    """How far the work is: open tasks, answers and run length (nm) by me and today, and what is left."""
    return {**project.queue.progress(person.name), **project.now()}


def _leased_json(leased: LeasedTask) -> dict[str, Any]:
    return {**leased.task.to_dict(), "lease": leased.lease, **_until(leased.until)}


def _until(until: float) -> dict[str, float]:
    """When a lease ends: by the server's clock, and in seconds from now, since a browser's may be wrong."""
    return {"until": until, "lease_seconds": max(0.0, until - time.time())}


def _one_of(kinds: Any, word: str, what: str) -> Any:
    try:
        return kinds(word.strip())
    except ValueError:
        known = ", ".join(each.value for each in kinds)
        raise Refused(422, f"'{word[:20]}' is no {what} of task; there are {known}") from None
