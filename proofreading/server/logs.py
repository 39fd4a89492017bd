"""The server's log: a JSON object on each line.

Every request leaves one line: when, who, from where, what, how long, and why it was refused. Bodies, queries,
cookies, passwords and tokens never enter it. The file is turned over when it is large, a few are kept.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable
from datetime import datetime, timezone
from logging.handlers import RotatingFileHandler
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from proofreading.server.guards import address_of
from proofreading.server.refusals import refusal

LOGGER = logging.getLogger("proofreading.server")
_FILE_BYTES = 10 << 20
_FILES = 5
# Called with method, route, status and seconds of every request.
Note = Callable[[str, str, int, float], None]


class JsonLines(logging.Formatter):
    """A record as one line: `at` (UTC), `level`, `event`, and the fields that it was logged with."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        at = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        line = {"at": at, "level": record.levelname.lower(), "event": record.getMessage()}
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def open_log(path: Path) -> logging.Handler:
    """Sends the log of this server, and of the HTTP library under it, to a file.

    Args:
      path: of the file; its folder is made.

    Returns:
      What writes it; `close_log` ends it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = RotatingFileHandler(path, maxBytes=_FILE_BYTES, backupCount=_FILES, encoding="utf-8")
    handler.setFormatter(JsonLines())
    for logger in (LOGGER, logging.getLogger("uvicorn.error")):
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    return handler


def close_log(handler: logging.Handler) -> None:
    """Ends what `open_log` began."""
    for logger in (LOGGER, logging.getLogger("uvicorn.error")):
        logger.removeHandler(handler)
        logger.propagate = True
    handler.close()


def event(name: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Writes a line.

    Args:
      name: what happened.
      level: of `logging`.
      **fields: plain values.
    """
    LOGGER.log(level, name, extra={"fields": fields})


def log_requests(app: ASGIApp, note: Note) -> ASGIApp:
    """Writes a line for every request, and answers those that ended in a defect of ours.

    Args:
      app: what is behind it.
      note: takes the figures of each request.
    """

    async def logged(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        status, begun, number = 0, time.perf_counter(), secrets.token_hex(6)
        scope.setdefault("state", {})

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await app(scope, receive, noted)
        except Exception:
            LOGGER.exception("defect", extra={"fields": {"request": number}})
            if not status:
                line = f"the server failed; the log has the cause under request {number}"
                await refusal(scope, 500, line, kind="defect")(scope, receive, noted)
        finally:
            seconds = time.perf_counter() - begun
            note(scope["method"], _route(scope), status, seconds)
            _write(scope, number, status, seconds)

    return logged


def _write(scope: Scope, number: str, status: int, seconds: float) -> None:
    state = scope["state"]
    fields = {
        "request": number,
        "method": scope["method"],
        "path": scope["path"][:300],
        "status": status,
        "ms": round(seconds * 1e3, 2),
        "address": address_of(scope),
    }
    fields |= {name: state[name] for name in ("person", "refused") if state.get(name)}
    is_quiet = status < 400 and scope["path"].startswith(("/data/", "/ng/", "/static/"))
    event("request", level=logging.DEBUG if is_quiet else _level(status), **fields)


def _level(status: int) -> int:
    if status >= 500 or not status:
        return logging.ERROR
    return logging.WARNING if status >= 400 else logging.INFO


def _route(scope: Scope) -> str:
    """The pattern of a path, of which there are few; what matches none is one of them."""
    path = getattr(scope.get("route"), "path", None)
    return str(path) if path else "other"
