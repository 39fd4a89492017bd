"""The application: routes, and what every request passes before and after them.

From the outside: log and figures, host and origin and rate, size of the body, routes. Routes that touch the
state are plain functions, which the framework runs in threads.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from proofreading.pictures import PictureQueue
from proofreading.pictures.routes import picture_routes
from proofreading.server.auth import Reader, person_of, require_proofreader
from proofreading.server.guards import guard
from proofreading.server.limits import limit_bodies
from proofreading.server.logs import log_requests
from proofreading.server.refusals import HANDLED, answer_refused
from proofreading.server.routes import answers, edits, files, neurons, operations, session, tasks
from proofreading.server.served import Project, ServedProject


async def _pictures_of(project: Project) -> PictureQueue:
    return project.pictures


_ROUTERS = (
    session.router,
    tasks.router,
    answers.router,
    neurons.router,
    edits.router,
    operations.router,
    picture_routes(_pictures_of, person_of, require_proofreader),
    files.router,
)


def make_app(project: ServedProject) -> FastAPI:
    """The application that serves a project.

    Args:
      project: opened; the caller closes it.
    """
    app = FastAPI(
        title="proofread",
        description="Tasks, edits and data of one project. Lengths are nm, axes z, y, x, IDs text.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=_name_of,
    )
    app.state.project = project
    for router in _ROUTERS:
        app.include_router(router)

    @app.get("/api/openapi.json", include_in_schema=False)
    def openapi(person: Reader) -> dict[str, Any]:
        return app.openapi()

    for error in HANDLED:
        app.add_exception_handler(error, _answer)
    # The last one added is the outermost.
    app.add_middleware(partial(limit_bodies, limits=project.limits))
    app.add_middleware(
        partial(
            guard,
            hosts=project.hosts,
            limits=project.limits,
            limiter=project.limiter,
            proxies=project.proxies,
        )
    )
    app.add_middleware(partial(log_requests, note=project.metrics.note))
    return app


def _name_of(route: APIRoute) -> str:
    return route.name.strip("_")


async def _answer(request: Any, error: Exception) -> Any:
    return answer_refused(request, error)
