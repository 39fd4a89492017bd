"""The sessions of a running server: those of the database, of which a few are remembered for a moment.

A page asks for hundreds of chunks in a second, each with its cookie.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from agglomeration.database import Database
from proofreading.server import accounts
from proofreading.server.accounts import Person

# A change of a role, or the end of a session by another process, counts after so long at the latest.
_REMEMBERED_S = 5.0
_MOST_REMEMBERED = 1000


@dataclass
class Sessions:
    """The sessions of a server, a few of them remembered; safe in threads.

    Attributes:
      database: of the project.
      clock: seconds since the epoch.
    """

    database: Database
    clock: Callable[[], float] = time.time
    _remembered: dict[str, tuple[Person, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, person: Person) -> str:
        """Begins a session; gives what the browser holds."""
        return accounts.start_session(self.database, person, self.clock())

    def remembered(self, held: str) -> Person | None:
        """Who a session is of, if that was asked a moment ago."""
        with self._lock:
            person, until = self._remembered.get(held, (None, 0.0))
        return person if until > self.clock() else None

    def find(self, held: str) -> Person | None:
        """Who a session is of; None for one that ended."""
        person = accounts.find_session(self.database, held, self.clock())
        with self._lock:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            if person is not None:
                self._remembered[held] = person, self.clock() + _REMEMBERED_S
        return person

    def end(self, held: str) -> None:
        """Ends a session."""
        with self._lock:
            self._remembered.pop(held, None)
        accounts.end_session(self.database, held)
