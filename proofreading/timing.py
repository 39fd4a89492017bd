"""How long an answer takes, learnt from the answers that were given.

Each kind of task starts from the time that the settings say. With every answer the median of the last ones
counts more: the settings weigh as much as `_PRIOR_ANSWERS` answers. A median does not follow a person who
went for a coffee.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping

from configs import ConfigView
from proofreading.tasks import TaskKind

_PRIOR_ANSWERS = 5
_REMEMBERED = 201
_SHORTEST_S = 0.2
_LONGEST_S = 3600.0


class ExpectedSeconds:
    """The time that answers of each kind are expected to take.

    Args:
      seconds: by kind, before any answer is known.
    """

    def __init__(self, seconds: Mapping[TaskKind, float]) -> None:
        self._start = dict(seconds)
        self._known = {kind: deque[float](maxlen=_REMEMBERED) for kind in seconds}

    @classmethod
    def of(cls, section: ConfigView) -> ExpectedSeconds:
        """Those of the settings.

        Args:
          section: the config's `proofreading`.
        """
        join, cut, end = section.join_seconds, section.cut_seconds, section.end_seconds
        return cls({TaskKind.JOIN: join, TaskKind.REFUSED: cut, TaskKind.MERGER: cut, TaskKind.END: end})

    def learn(self, kind: TaskKind, seconds: float) -> None:
        """Takes an answer into account.

        Args:
          kind: of its task.
          seconds: from showing the task to the answer; put between a fifth of a second and an hour.
        """
        self._known[kind].append(min(max(seconds, _SHORTEST_S), _LONGEST_S))

    def of_kind(self, kind: TaskKind) -> float:
        """Seconds that an answer is expected to take.

        Args:
          kind: of the task.
        """
        known = self._known[kind]
        if not known:
            return self._start[kind]
        weight = len(known) / (len(known) + _PRIOR_ANSWERS)
        return weight * statistics.median(known) + (1 - weight) * self._start[kind]
