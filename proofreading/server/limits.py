"""How much one person or one address may ask for: size of bodies, and requests per second.

A body that says that it is too large is refused before any of it is read, one that does not say so as soon as
it has become too large; nothing of it is kept. Requests are counted in leaky buckets (as many at once as
`burst`, then `per_second`), one for each person and each address.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from proofreading.server.refusals import refusal

# More buckets than this, and those that are full again are forgotten.
_MOST_BUCKETS = 10_000


@dataclass(frozen=True)
class Rate:
    """So many at once, and so many a second after that."""

    per_second: float
    burst: float


@dataclass(frozen=True)
class Limits:
    """What the server puts up with.

    Attributes:
      body_bytes: most of a body.
      upload_bytes: most of a body at `upload_paths`.
      upload_paths: beginnings of paths at which files are uploaded.
      person: requests of one person at `/api`.
      address: requests of one address at `/api`, by whomever.
      files: requests of one address for data and for files of the page.
      failed_logins: logins under one name from one address that failed.
      failed_logins_of_address: logins from one address that failed, under whatever names.
      logins_at_once: whose passwords or tokens are checked at the same time; each takes 16 MiB and a core.
      previews: previews of splits and other slow questions, of one person.
    """

    body_bytes: int = 1 << 20
    upload_bytes: int = 1 << 28
    upload_paths: tuple[str, ...] = ("/api/pictures",)
    person: Rate = Rate(20, 200)
    address: Rate = Rate(400, 2000)
    files: Rate = Rate(2000, 10_000)
    failed_logins: Rate = Rate(0.1, 10)
    failed_logins_of_address: Rate = Rate(1, 100)
    logins_at_once: int = 2
    previews: Rate = Rate(2, 10)


@dataclass
class RateLimiter:
    """Buckets of all persons and addresses; safe in threads.

    Attributes:
      clock: seconds, monotonic.
    """

    clock: Callable[[], float] = time.monotonic
    _levels: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait_s(self, kind: str, who: str, rate: Rate, take: float = 1.0) -> float:
        """Takes from a bucket.

        Args:
          kind: of bucket.
          who: person or address.
          rate: of this kind.
          take: how much; 0 only asks.

        Returns:
          0 when there was enough; else seconds until there is, and nothing was taken.
        """
        with self._lock:
            now = self.clock()
            level, since = self._levels.get((kind, who), (0.0, now))
            level = max(0.0, level - (now - since) * rate.per_second)
            over = level + max(take, 1.0) - rate.burst
            if over > 0:
                return over / rate.per_second
            if take:
                self._forget(now)
                self._levels[kind, who] = level + take, now
            return 0.0

    def give_back(self, kind: str, who: str) -> None:
        """Puts what was taken last back into a bucket.

        Args:
          kind: of bucket.
          who: person or address.
        """
        with self._lock:
            level, since = self._levels.get((kind, who), (0.0, 0.0))
            self._levels[kind, who] = max(0.0, level - 1), since

    def _forget(self, now: float) -> None:
        if len(self._levels) >= _MOST_BUCKETS:
            newest = sorted(self._levels.items(), key=lambda item: item[1][1])[_MOST_BUCKETS // 2 :]
            self._levels = dict(newest)


def limit_bodies(app: ASGIApp, limits: Limits) -> ASGIApp:
    """Refuses bodies that are too large, with 413.

    Args:
      app: what is behind it.
      limits: how large they may be.
    """

    async def limited(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        most = _most_bytes(scope["path"], limits)
        said = _said_bytes(scope)
        if said is None:
            await refusal(scope, 400, "Content-Length is no number", kind="malformed")(scope, receive, send)
        elif said > most:
            await _too_large(scope, most)(scope, receive, send)
        else:
            await _read_up_to(most, app, scope, receive, send)

    return limited


class _TooLargeError(Exception):
    """More of a body arrived than is allowed."""


async def _read_up_to(most: int, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Runs the application on a body that is counted while it arrives."""
    arrived, answering, is_over = 0, False, False

    async def counted() -> Message:
        nonlocal arrived, is_over
        message = await receive()
        if message["type"] == "http.request":
            arrived += len(message.get("body", b""))
            if arrived > most:
                is_over = True
                raise _TooLargeError
        return message

    async def noted(message: Message) -> None:
        nonlocal answering
        # The framework turns what `counted` raises into an answer of its own; ours is the better one.
        if is_over and not answering:
            return
        answering = True
        await send(message)

    with suppress(_TooLargeError):
        await app(scope, counted, noted)
    if is_over and not answering:
        await _too_large(scope, most)(scope, receive, send)


def _too_large(scope: Scope, most: int) -> ASGIApp:
    line = f"the body is larger than the {most} bytes that are allowed here; nothing of it was kept"
    return refusal(scope, 413, line, kind="too_large", headers={"Connection": "close"})


def _most_bytes(path: str, limits: Limits) -> int:
    is_upload = any(path == each or path.startswith(f"{each}/") for each in limits.upload_paths)
    return limits.upload_bytes if is_upload else limits.body_bytes


def _said_bytes(scope: Scope) -> int | None:
    """What a request says of its length; 0 where it says nothing, None where that is no number."""
    said: Mapping[bytes, bytes] = dict(scope["headers"])
    text = said.get(b"content-length", b"0")
    return int(text) if text.isdigit() else None
