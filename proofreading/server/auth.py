"""Who asks: sessions in a cookie, and the rights that an address needs.

A login gives a cookie that scripts cannot read (`HttpOnly`), that no other site's requests carry
(`SameSite=Strict`), and that is named after the server's port, since cookies of one host are shared by all
servers on it. Names and passwords that failed are counted for each address and each name.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from proofreading.server import accounts
from proofreading.server.accounts import Person
from proofreading.server.guards import address_of, refuse_for
from proofreading.server.logs import event
from proofreading.server.refusals import Refused
from proofreading.server.served import Project, ServedProject

_COOKIE = "proofread"
_WRONG = "name, password or token is wrong"


def log_in(
    request: Request, project: ServedProject, name: str | None, password: str | None, token: str | None
) -> tuple[Person, str]:
    """Begins a session of whoever has this name and password, or this token.

    Args:
      request: for its address.
      project: that is served.
      name, password: of a person; or
      token: of one.

    Returns:
      The person, and what the browser is to hold.

    Raises:
      Refused: 401 for a wrong one, 429 after too many wrong ones.
    """
    rate = project.limits.failed_logins
    buckets = [("login", address_of(request.scope))]
    buckets += [("login name", name)] if name is not None else []
    for kind, who in buckets:
        refuse_for(project.limiter.wait_s(kind, who, rate, take=0))
    if token is not None:
        person = accounts.check_token(project.state.database, token)
    else:
        person = accounts.check_password(project.state.database, name or "", password or "")
    if person is None:
        for kind, who in buckets:
            project.limiter.wait_s(kind, who, rate)
        raise Refused(401, _WRONG)
    event("login", person=person.name, role=person.role, address=address_of(request.scope))
    return person, project.sessions.start(person)


def give_cookie(request: Request, response: Response, held: str) -> None:
    """Has the browser hold a session.

    Args:
      request: the login.
      response: to it.
      held: what `log_in` gave.
    """
    response.set_cookie(
        cookie_of(request),
        held,
        max_age=int(accounts.SESSION_S),
        path="/",
        secure=request.headers.get("origin", "").startswith("https://"),
        httponly=True,
        samesite="strict",
    )


def cookie_of(request: Request) -> str:
    """The name of the cookie."""
    return f"{_COOKIE}_{request.url.port or 'default'}"


def held_by(request: Request) -> str | None:
    """What the browser holds of a session; None without one."""
    return request.cookies.get(cookie_of(request))


async def person_of(request: Request, project: Project) -> Person:
    """Who asks; what a path depends on that needs a login.

    Args:
      request: with the cookie.
      project: that is served.

    Raises:
      Refused: 401, not logged in or no longer; 429, too many requests.
    """
    held = held_by(request)
    if held is None:
        raise Refused(401, "not logged in; open the link that `proofread serve` printed, or log in")
    person = project.sessions.remembered(held)
    if person is None:
        person = await run_in_threadpool(project.sessions.find, held)
    if person is None:
        raise Refused(401, "the session has ended; log in again")
    request.state.person = person.name
    if request.url.path.startswith("/api/"):
        refuse_for(project.limiter.wait_s("person", person.name, project.limits.person))
    return person


async def require_proofreader(person: Annotated[Person, Depends(person_of)]) -> Person:
    """Who asks, once it is known that they may edit.

    Args:
      person: who is logged in.

    Raises:
      Refused: 403, a role that may not.
    """
    return _require(person, "proofread")


async def _admin(person: Annotated[Person, Depends(person_of)]) -> Person:
    return _require(person, "admin")


def _require(person: Person, role: str) -> Person:
    if not person.may(role):
        raise Refused(403, f"this needs the role '{role}'; {person.name} has '{person.role}'")
    return person


Reader = Annotated[Person, Depends(person_of)]
Proofreader = Annotated[Person, Depends(require_proofreader)]
Admin = Annotated[Person, Depends(_admin)]
