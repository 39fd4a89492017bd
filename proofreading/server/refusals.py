"""Requests that are refused: a status and one line, as JSON `{"error": "…"}`.

Whatever goes wrong reaches the page in this one shape: a wrong body, a missing right, an unknown neuron, a
conflict with somebody else's edit. The line says what was wrong and what to do; it also goes into the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import Scope

from agglomeration.database import DatabaseError
from configs.errors import ReconstructionError
from proofreading.errors import ConflictError, LeaseError, SomaError, UnknownError

_LONGEST = 500
_WORDS = {
    400: "the body is no JSON that can be read",
    404: "there is no such address",
    405: "this address takes no such method",
}
# What a status is called in the answer; all others are "refused".
_KIND_OF = {
    400: "malformed",
    404: "unknown",
    405: "unknown",
    413: "too_large",
    415: "malformed",
    422: "malformed",
}
# The same, where one status has several causes; first match counts.
_KINDS: tuple[tuple[type[ReconstructionError], int, str], ...] = (
    (SomaError, 409, "soma"),
    (ConflictError, 409, "conflict"),
    (LeaseError, 410, "lease"),
    (UnknownError, 404, "unknown"),
    (DatabaseError, 503, "database"),
    (ReconstructionError, 400, "refused"),
)


class Refused(Exception):
    """A request that the server itself refuses.

    Args:
      status: of HTTP, 4xx or 503.
      line: what was wrong, and what to do.
      headers: of the answer.
    """

    def __init__(self, status: int, line: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(line)
        self.status = status
        self.headers = dict(headers or {})


def refusal(
    scope: Scope,
    status: int,
    line: str,
    *,
    kind: str = "refused",
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, object] | None = None,
) -> JSONResponse:
    """The answer to a request that is refused; its line is noted for the log.

    Args:
      scope: of the request.
      status: of HTTP.
      line: what was wrong.
      kind: a word by which a program tells refusals of one status apart.
      headers: further ones.
      more: plain values that the answer has besides.
    """
    line = " ".join(line.split())[:_LONGEST]
    scope.setdefault("state", {})["refused"] = line
    return JSONResponse({"error": line, "kind": kind, **(more or {})}, status, headers=dict(headers or {}))


def answer_refused(
    request: Request, error: Exception, more: Mapping[str, object] | None = None
) -> JSONResponse:
    """What the handlers of errors do.

    Args:
      request: that caused it.
      error: a `Refused`, `ReconstructionError`, `RequestValidationError` or `HTTPException`.
      more: plain values that the answer to a `ReconstructionError` has besides.
    """
    if isinstance(error, Refused):
        kind = _KIND_OF.get(error.status, "refused")
        return refusal(request.scope, error.status, str(error), kind=kind, headers=error.headers)
    if isinstance(error, RequestValidationError):
        return refusal(request.scope, 422, _flaw(error.errors()), kind="malformed")
    if isinstance(error, HTTPException):
        line = _WORDS.get(error.status_code, str(error.detail))
        kind = _KIND_OF.get(error.status_code, "refused")
        return refusal(request.scope, error.status_code, line, kind=kind, headers=error.headers)
    status, kind = next((status, kind) for cause, status, kind in _KINDS if isinstance(error, cause))
    return refusal(request.scope, status, str(error), kind=kind, more=more)


HANDLED: tuple[type[Exception], ...] = (Refused, ReconstructionError, RequestValidationError, HTTPException)


def _flaw(errors: Any) -> str:
    """The first flaw of a body or a query, in a line."""
    first = errors[0]
    place = ".".join(str(each) for each in first["loc"] if each != "body")
    words = str(first["msg"]).removeprefix("Value error, ")
    if place == "" and first["type"] in ("model_attributes_type", "missing"):
        return "the body is no JSON object, or is not sent as Content-Type: application/json"
    if first["type"] == "json_invalid":
        return (
            f"the body is no JSON (character {first['loc'][-1]}: {first.get('ctx', {}).get('error', words)})"
        )
    return f"{place or 'the body'}: {words}"
