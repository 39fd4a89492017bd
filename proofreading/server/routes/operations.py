"""What those who run the server ask for: health, figures, a backup."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse
from starlette.concurrency import run_in_threadpool

from proofreading.server.auth import Admin, person_of
from proofreading.server.backup import back_up
from proofreading.server.guards import address_of, is_loopback
from proofreading.server.logs import event
from proofreading.server.metrics import MEDIA_TYPE
from proofreading.server.served import Project

router = APIRouter(tags=["operations"])


@router.get("/health")
def _health(project: Project) -> dict[str, object]:
    """Whether the server works and its database answers."""
    with project.state.database.reading() as connection:
        connection.exec_driver_sql("SELECT 1")
    return {"status": "ok", "last_edit": project.state.last_edit}


@router.get("/metrics")
async def _metrics(request: Request, project: Project) -> PlainTextResponse:
    """Figures for Prometheus; from another machine only after a login."""
    if not is_loopback(address_of(request.scope)) or "x-forwarded-for" in request.headers:
        await person_of(request, project)
    progress = await run_in_threadpool(project.queue.progress, "")
    gauges = {
        "proofread_last_edit": ("Number of the last edit.", float(project.state.last_edit)),
        "proofread_open_tasks": ("Tasks that are open.", float(progress["open"])),
        "proofread_left_nm": ("Run length that the open tasks are worth, nm.", float(progress["left_nm"])),
    }
    return PlainTextResponse(project.metrics.text(gauges), media_type=MEDIA_TYPE)


@router.post("/api/backup")
def _make_backup(project: Project, person: Admin) -> dict[str, str]:
    """Copies the database and the pieces of split supervoxels, while people go on working."""
    folder = back_up(project.config, project.state.database)
    event("backup", person=person.name, folder=str(folder))
    return {"folder": str(folder)}
