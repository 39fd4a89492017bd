"""Simulated people at a proofreading server: each takes a task, thinks, answers, and takes the next one.

They do what the page does, and what goes wrong there: some answers are sent twice, some leases are kept
alive, some tasks are given back, and what was sent when the server died is sent again until somebody says
what became of it. A journal holds all that was acknowledged (`benchmarks.proofreading_checks`).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

_HEADERS = {"X-Requested-By": "proofread"}
_VERDICTS = ("accept", "reject", "unknown", "skip")
_SHARES = (0.45, 0.4, 0.05, 0.1)
# Shares of tasks that are kept alive, given back, and of answers that are sent twice.
_KEPT, _RETURNED, _TWICE = 0.1, 0.03, 0.05
_AGAIN_S = 0.5
_TIMEOUT_S = 60.0
Task = dict[str, Any]


@dataclass(frozen=True)
class Acknowledged:
    """An answer, and what the server said to it last.

    Attributes:
        key: of the client.
        task: its number.
        kind: of the task.
        supervoxels: of the task.
        lease: the word.
        person: who.
        verdict: what.
        status: of HTTP.
        settled: the task is decided by it.
        edit: its number; None = it changed nothing.
    """

    key: str
    task: int
    kind: str
    supervoxels: tuple[int, int]
    lease: str
    person: str
    verdict: str
    status: int
    settled: bool
    edit: int | None


@dataclass(frozen=True)
class Held:
    """A time in which a task was certainly with a person, seconds since the epoch.

    Attributes:
        task: its number.
        lease: the word.
        since: when the person had heard of it.
        until: when the lease ran out, or the person sent what ended it.
    """

    task: int
    lease: str
    since: float
    until: float


@dataclass
class Journal:
    """What all clients saw.

    Attributes:
        answers: that the server said something to, in the order of that.
        held: times in which tasks were with people.
        seconds: of `answer`, `next`, and both together (`answer_to_next`), where nothing was lost between.
        statuses: how often each was answered.
        wrong: answers of the server that should not be, in words.
        lost: requests that died with the server.
        idle: how often there was no task.
    """

    answers: list[Acknowledged] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(
        default_factory=lambda: {"answer": [], "next": [], "answer_to_next": []}
    )
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lost: int = 0
    idle: int = 0


async def crowd(
    address: str,
    cookies: Mapping[str, Mapping[str, str]],
    think_s: float,
    journal: Journal,
    is_over: asyncio.Event,
    seed: int = 1,
) -> None:
    """Works with all clients until it is over; what is under way then is brought to its end.

    Args:
        address: of the server.
        cookies: what each person holds of a session, by name.
        think_s: mean of the seconds from getting a task to the answer, which are half as many to half as many
            more.
        journal: filled.
        is_over: set by the caller.
        seed: of the random numbers.
    """
    clients = [
        _Client(address, name, held, think_s, journal, is_over, np.random.default_rng([seed, number]))
        for number, (name, held) in enumerate(cookies.items())
    ]
    await asyncio.gather(*(client.work() for client in clients))


class _Client:
    """One person."""

    def __init__(
        self,
        address: str,
        name: str,
        held: Mapping[str, str],
        think_s: float,
        journal: Journal,
        is_over: asyncio.Event,
        random: np.random.Generator,
    ) -> None:
        self._name, self._think_s, self._journal = name, think_s, journal
        self._is_over, self._random = is_over, random
        self._lost, self._sent, self._took_s = 0, 0, 0.0
        # Nothing here is encrypted; making a context for it takes longer than all else.
        self._http = httpx.AsyncClient(
            base_url=address, headers=_HEADERS, cookies=dict(held), timeout=_TIMEOUT_S, verify=False
        )

    async def work(self) -> None:
        """Answers until it is over."""
        async with self._http:
            await self._pause(self._random.uniform(0, self._think_s))
            task, _ = await self._next()
            while not self._is_over.is_set():
                if task is None:
                    self._journal.idle += 1
                    await self._pause(self._think_s)
                    task, _ = await self._next()
                    continue
                await self._think(task)
                task = await self._go_on(task)

    async def _go_on(self, task: Task) -> Task | None:
        """Answers a task and gets the next one, both timed."""
        lost = self._lost
        if self._random.random() < _RETURNED:
            self._note_held(task)
            await self._ask("POST", self._path(task, "release"), {"lease": task["lease"]}, {200, 410})
            return (await self._next())[0]
        answer_s, is_plain = await self._answer(task)
        if self._is_over.is_set():
            return None
        found, next_s = await self._next()
        if lost == self._lost:
            times = self._journal.seconds
            times["next"].append(next_s)
            if is_plain:
                times["answer"].append(answer_s)
                times["answer_to_next"].append(answer_s + next_s)
        return found

    async def _think(self, task: Task) -> None:
        await self._pause(self._think_s * self._random.uniform(0.5, 1.5))
        if self._random.random() < _KEPT:
            kept = await self._ask(
                "POST", self._path(task, "heartbeat"), {"lease": task["lease"]}, {200, 410}
            )
            task["until"] = kept.json().get("until", task["until"])

    async def _next(self) -> tuple[Task | None, float]:
        """The next task; None = there is none now. And the seconds that this took."""
        found = await self._ask("POST", "/api/tasks/next", None, {200})
        tasks = found.json().get("tasks", [])
        if not tasks:
            return None, self._took_s
        return {**tasks[0], "since": time.time()}, self._took_s

    async def _answer(self, task: Task) -> tuple[float, bool]:
        """Answers until the task is done with; the seconds of that, and whether once was enough."""
        verdict, tries, seconds = str(self._random.choice(_VERDICTS, p=_SHARES)), 0, 0.0
        self._note_held(task)
        while True:
            tries, self._sent = tries + 1, self._sent + 1
            body = {
                "lease": task["lease"],
                "verdict": verdict,
                "versions": task["versions"],
                "key": f"{self._name}-{self._sent}-{task['id']}",
                "seconds": max(self._think_s, 0.01),
            }
            found = await self._ask("POST", self._path(task, "answer"), body, {200, 409, 410})
            seconds += self._took_s
            self._note_answer(task, body, found)
            if self._random.random() < _TWICE:
                await self._send_again(task, body, found)
            if found.status_code != 409:
                return seconds, tries == 1
            fresh = found.json()["task"]
            # Two cell bodies stay two; what is stale is no question.
            verdict = "reject" if found.json()["kind"] == "soma" else verdict
            if fresh["state"] == "stale":
                await self._ask("POST", self._path(task, "release"), {"lease": task["lease"]}, {200, 410})
                return seconds, False
            task = {**task, "versions": fresh["versions"]}

    async def _send_again(self, task: Task, body: Mapping[str, Any], before: httpx.Response) -> None:
        again = await self._ask("POST", self._path(task, "answer"), body, {200, 409, 410})
        said = [each.json().get("edit") for each in (before, again)]
        if before.status_code == 200 and (again.status_code != 200 or said[0] != said[1]):
            self._journal.wrong.append(f"{body['key']} again: {before.text[:200]}, then {again.text[:200]}")

    async def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None, expected: set[int]
    ) -> httpx.Response:
        """Sends a request until something answers; `_took_s` is then how long the last one took."""
        while True:
            begun = time.perf_counter()
            try:
                found = await self._http.request(method, path, json=body)
            except httpx.TransportError:
                self._lost += 1
                self._journal.lost += 1
                await asyncio.sleep(_AGAIN_S)
                continue
            self._took_s = time.perf_counter() - begun
            self._journal.statuses[found.status_code] += 1
            if found.status_code not in expected:
                self._journal.wrong.append(f"{method} {path}: {found.status_code} {found.text[:200]}")
            return found

    async def _pause(self, seconds: float) -> None:
        """Sleeps; less when it is over before."""
        try:
            await asyncio.wait_for(self._is_over.wait(), seconds)
        except asyncio.TimeoutError:
            return

    def _note_held(self, task: Task) -> None:
        """Called before anything is sent that may end a lease."""
        until = min(task["until"], time.time())
        self._journal.held.append(Held(int(task["id"]), task["lease"], task["since"], until))

    def _note_answer(self, task: Task, body: Mapping[str, Any], found: httpx.Response) -> None:
        said = found.json() if found.status_code == 200 else {}
        edit = said.get("edit")
        first, second = (int(each) for each in task["supervoxels"])
        self._journal.answers.append(
            Acknowledged(
                *(body["key"], int(task["id"]), task["kind"], (first, second), task["lease"], self._name),
                *(body["verdict"], found.status_code, bool(said.get("settled"))),
                None if edit is None else int(edit),
            )
        )

    def _path(self, task: Task, what: str) -> str:
        return f"/api/tasks/{task['id']}/{what}"
