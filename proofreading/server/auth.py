"""Who asks: sessions in a cookie, and the rights that an address needs.

A login gives a cookie that scripts cannot read (`HttpOnly`), that no other site's requests carry
(`SameSite=Strict`), and that is named after the server's port, since cookies of one host are shared by all
servers on it.

Logins that fail are counted for each name and address together, so that who guesses somebody's password keeps
that person from nothing, and for each address. Each is counted before it is looked at, and no more once it
was right: of many that come at once no more are looked at than of as many one after the other.
"""

from __future__ import annotations

import asyncio
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


async def log_in(
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
    address, limits = address_of(request.scope), project.limits
    who = (token or "").rpartition(":")[0] if name is None else name
    buckets = (
        ("login", f"{address} {who}", limits.failed_logins),
        ("login address", address, limits.failed_logins_of_address),
    )
    for kind, whose, rate in buckets:
        refuse_for(project.limiter.wait_s(kind, whose, rate))
    # In threads of their own: those that wait hold none that others need.
    loop = asyncio.get_running_loop()
    person = await loop.run_in_executor(project.hashing, _checked, project, name, password, token)
    if person is None:
        raise Refused(401, _WRONG)
    for kind, whose, _ in buckets:
        project.limiter.give_back(kind, whose)
    event("login", person=person.name, role=person.role, address=address)
    return person, await run_in_threadpool(project.sessions.start, person)


def _checked(
    project: ServedProject, name: str | None, password: str | None, token: str | None
) -> Person | None:
    if token is not None:
        return accounts.check_token(project.state.database, token)
    return accounts.check_password(project.state.database, name or "", password or "")


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
