"""What a run does now and then: by time, by steps, or by both."""

from __future__ import annotations

import time


class Clock:
    """What has come due since it last did.

    Args:
      step: where the run goes on.
    """

    def __init__(self, step: int) -> None:
        now = time.monotonic()
        self._ticked, self._start = now, now
        self._last: dict[str, float] = {}
        self._counted = (now, step)

    def tick(self) -> float:
        """Seconds since the tick before."""
        now = time.monotonic()
        passed, self._ticked = now - self._ticked, now
        return passed

    def is_due(self, what: str, step: int, seconds: float, steps: int) -> bool:
        """Whether it is time for something.

        Args:
          what: its name.
          step: now.
          seconds: that pass from one time to the next; 0: it does not go by them.
          steps: that a step is a multiple of; 0: it does not go by them.
        """
        passed = self._ticked - self._last.get(what, self._start)
        due = bool(seconds and passed > seconds) or bool(steps and step % steps == 0)
        if due:
            self._last[what] = self._ticked
        return due

    def rate(self, step: int) -> float:
        """Steps per second since the call before."""
        now = time.monotonic()
        (then, before), self._counted = self._counted, (now, step)
        return (step - before) / max(now - then, 1e-9)
