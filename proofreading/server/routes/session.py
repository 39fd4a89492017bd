"""Logging in and out."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from proofreading.server.auth import Reader, cookie_of, give_cookie, held_by, log_in
from proofreading.server.bodies import Login
from proofreading.server.refusals import Refused
from proofreading.server.served import Project

router = APIRouter(prefix="/api", tags=["session"])


@router.post("/session")
async def _start_session(
    body: Login, request: Request, response: Response, project: Project
) -> dict[str, str]:
    """Logs in by `{name, password}` or `{token}`; gives a cookie."""
    by_password = body.name is not None and body.password is not None and body.token is None
    by_token = body.token is not None and body.name is None and body.password is None
    if not by_password and not by_token:
        raise Refused(422, "give either name and password, or a token")
    person, held = await log_in(request, project, body.name, body.password, body.token)
    request.state.person = person.name
    give_cookie(request, response, held)
    return {"name": person.name, "role": person.role}


@router.delete("/session", status_code=204, response_class=Response)
def _end_session(request: Request, project: Project) -> Response:
    """Logs out."""
    held = held_by(request)
    if held is not None:
        project.sessions.end(held)
    response = Response(status_code=204)
    response.delete_cookie(cookie_of(request), path="/", httponly=True, samesite="strict")
    return response


@router.get("/me")
async def _who_am_i(person: Reader) -> dict[str, str]:
    """Who is logged in, and with which role."""
    return {"name": person.name, "role": person.role}
