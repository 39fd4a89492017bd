"""Figures of the server in the text format of Prometheus.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# A method is whatever a client writes; only these are told apart.
_METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"}
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass
class Metrics:
    """Counts and durations of requests; safe in threads."""

    started: float = field(default_factory=time.time)
    _counts: dict[tuple[str, str, int], int] = field(default_factory=lambda: defaultdict(int))
    _buckets: dict[str, list[int]] = field(default_factory=dict)
    _seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts a request.

        Args:
          method, route, status: of HTTP; the route is the pattern of the path.
          seconds: that it took.
        """
        with self._lock:
            self._counts[method if method in _METHODS else "OTHER", route, status] += 1
            buckets = self._buckets.setdefault(route, [0] * (len(_BUCKETS_S) + 1))
            buckets[bisect_left(_BUCKETS_S, seconds)] += 1
            self._seconds[route] += seconds

    def text(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """All figures.

        Args:
          gauges: further ones, by name: what they are, and their value now.
        """
        with self._lock:
            lines = [*self._requests(), *self._durations()]
        lines += _family("proofread_start_time_seconds", "gauge", "When the server started, Unix time.")
        lines.append(f"proofread_start_time_seconds {self.started:.3f}")
        for name, (meaning, value) in gauges.items():
            lines += [*_family(name, "gauge", meaning), f"{name} {value:g}"]
        return "\n".join(lines) + "\n"

    def _requests(self) -> Iterable[str]:
        name = "proofread_requests_total"
        yield from _family(name, "counter", "Requests answered.")
        for (method, route, status), count in sorted(self._counts.items()):
            yield f'{name}{{method="{_quoted(method)}",route="{_quoted(route)}",status="{status}"}} {count}'

    def _durations(self) -> Iterable[str]:
        name = "proofread_request_seconds"
        yield from _family(name, "histogram", "Seconds from request to answer.")
        for route, buckets in sorted(self._buckets.items()):
            label, total = f'route="{_quoted(route)}"', 0
            for limit, count in zip((*map(str, _BUCKETS_S), "+Inf"), buckets, strict=True):
                total += count
                yield f'{name}_bucket{{{label},le="{limit}"}} {total}'
            yield f"{name}_sum{{{label}}} {self._seconds[route]:.6f}"
            yield f"{name}_count{{{label}}} {total}"


def _family(name: str, kind: str, meaning: str) -> list[str]:
    return [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
