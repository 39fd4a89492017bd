"""`proofread serve` as a process of its own, which is killed and started again at the same address."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from agglomeration.database import Database
from proofreading.server import accounts
from proofreading.server.accounts import Person

_REPOSITORY = Path(__file__).resolve().parent.parent
_SCRIPT = "import sys; from commands import proofread; sys.exit(proofread.run(sys.argv[1:]))"
_LINK = re.compile(r"open http://127\.0\.0\.1:(\d+)/#token=\S+\n")


class NoServerError(Exception):
    """A server that does not start."""


class Server:
    """A server of a project; `start` it.

    Args:
        config: path of the config.
        log: file that its errors are appended to.

    Attributes:
        port: that it listens at; 0 before the first start.
        start_seconds: what each start took, up to the first moment that a request could be sent.
    """

    def __init__(self, config: Path, log: Path) -> None:
        self._config, self._log = config, log
        self._process: subprocess.Popen[str] | None = None
        self.port = 0
        self.start_seconds: list[float] = []

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_up(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def cpu_s(self) -> float:
        """Processor time that it has taken, its start included; 0 when it is not up."""
        if self._process is None or self._process.poll() is not None:
            return 0.0
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    @property
    def log(self) -> str:
        """The end of what it said of errors."""
        return self._log.read_text("utf-8", errors="replace")[-2000:]

    def start(self) -> None:
        """Starts it, at the port that it had before.

        Raises:
            NoServerError: it ended instead.
        """
        begun = time.monotonic()
        arguments = ["serve", "--config", str(self._config), "--nomeshes", "--port", str(self.port)]
        with self._log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SCRIPT, *arguments],
                cwd=_REPOSITORY,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                # An interrupt in the terminal is for the benchmark, which ends the server then.
                start_new_session=True,
            )
        assert self._process.stdout is not None
        found = _LINK.fullmatch(self._process.stdout.readline())
        if found is None:
            self.kill()
            raise NoServerError(self.log)
        self.port = int(found[1])
        self.start_seconds.append(time.monotonic() - begun)

    def kill(self) -> None:
        """SIGKILL; one that is dead stays so."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def end(self) -> int:
        """SIGTERM; its exit code."""
        assert self._process is not None
        self._process.terminate()
        self._process.communicate()
        return self._process.returncode


def enrol(database: Database, count: int, port: int) -> dict[str, dict[str, str]]:
    """Adds people who may answer, each logged in.

    Args:
        database: of the project, with the tables of proofreading.
        count: how many.
        port: of the server.

    Returns:
        The cookie of each, by name.
    """
    cookies = {}
    for number in range(count):
        person = Person(f"client-{number:03d}", "proofread")
        accounts.add_person(database, *person)
        cookies[person.name] = {f"proofread_{port}": accounts.start_session(database, person, time.time())}
    return cookies
