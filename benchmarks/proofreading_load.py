"""A crowd at one server, which is killed at random moments, and what is in the database afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.proofreading_checks import findings, lost_tasks, wrong_neurons
from benchmarks.proofreading_clients import Journal, crowd
from benchmarks.proofreading_server import Server, enrol
from configs import load_config
from proofreading.queue_opening import open_queue
from proofreading.state import open_state

_LONG_AFTER_S = 3600.0
_LOOK_EVERY_S = 0.02


@dataclass(frozen=True)
class Load:
    """What a server is put to.

    Attributes:
        clients: how many.
        think_s: mean of what each thinks before an answer.
        seconds: that the server is at work, starts left out.
        kills: so many, at random moments of these.
        seed: of the random numbers.
    """

    clients: int = 50
    think_s: float = 2.0
    seconds: float = 600.0
    kills: int = 0
    seed: int = 1


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        journal: of all clients.
        wall_s: from the first moment to the last, starts included.
        start_seconds: of each start of the server.
        cpu_s: processor time of the server for all requests; None where it was killed in between.
        findings: what should not be; empty = nothing.
    """

    journal: Journal
    wall_s: float
    start_seconds: list[float]
    cpu_s: float | None
    findings: list[str] = field(default_factory=list)


def put_to(config: Path, load: Load, say: Callable[[str], None] = lambda _: None) -> Outcome:
    """Lets a crowd work, and compares.

    Args:
        config: path of a project's config.
        load: the crowd.
        say: told of kills.

    Raises:
        NoServerError: the server does not start (again).
    """
    server = Server(config, config.parent / "server.err")
    try:
        server.start()
        with closing(open_state(load_config(str(config)))) as state:
            cookies = enrol(state.database, load.clients, server.port)
        begun, cpu_s = time.monotonic(), server.cpu_s
        journal = asyncio.run(_work(server, cookies, load, say))
        wall_s = time.monotonic() - begun
        used_s = None if load.kills else server.cpu_s - cpu_s
    finally:
        # The last kill comes when nothing is under way: the log alone has to do.
        server.kill()
    return Outcome(journal, wall_s, server.start_seconds, used_s, compared(config, journal))


def compared(config: Path, journal: Journal) -> list[str]:
    """What should not be; empty = nothing.

    Args:
        config: path of a project's config; its server has ended.
        journal: of all clients.
    """
    project = load_config(str(config))
    with closing(open_state(project)) as state:
        found = findings(state.database, journal) + wrong_neurons(state, journal)
        queue = open_queue(project, state, lambda: time.time() + _LONG_AFTER_S)
        return found + lost_tasks(queue, journal, state.database)


async def _work(server: Server, cookies: Any, load: Load, say: Callable[[str], None]) -> Journal:
    journal, is_over = Journal(), asyncio.Event()
    moments = np.sort(np.random.default_rng(load.seed).uniform(0, load.seconds, load.kills))
    stretches = np.diff(moments, prepend=0.0, append=load.seconds).tolist()
    working = asyncio.create_task(crowd(server.address, cookies, load.think_s, journal, is_over, load.seed))
    try:
        for seconds in stretches[:-1]:
            await _worked(working, journal, seconds)
            server.kill()
            say(f"killed after {len(journal.answers)} answers")
            await asyncio.to_thread(server.start)
        await _worked(working, journal, stretches[-1])
    finally:
        is_over.set()
        if working.done() or server.is_up:
            await working
        else:
            working.cancel()
    return journal


async def _worked(working: asyncio.Task[None], journal: Journal, seconds: float) -> None:
    """Waits so many seconds from the first answer on, so that a slow machine has some between two kills."""
    before = len(journal.answers) + journal.idle
    while len(journal.answers) + journal.idle == before and not working.done():
        await asyncio.sleep(_LOOK_EVERY_S)
    await asyncio.wait([working], timeout=seconds)
