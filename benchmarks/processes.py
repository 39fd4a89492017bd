"""`run_inference` as processes of its own, which a benchmark watches, measures and kills.

A run is started as the leader of a session, so that it and every process it starts can be found by that, even
when the run itself is dead. Linux only: memory is read from `/proc`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import psutil  # type: ignore[import-untyped]

_REPOSITORY = Path(__file__).resolve().parent.parent
_SCRIPT = "import sys; from commands.run_inference import run; sys.exit(run())"
_WORKER_MARK = "spawn_main"
_LOOK_EVERY_S = 0.5


class Run:
    """One `run_inference --config …`, started.

    Args:
        config: path of the config.
        folder: working directory, which the paths in the config are relative to.
        log: file that its output and errors are appended to.
        workers: overrides the config's.
    """

    def __init__(self, config: str, folder: Path, log: Path, workers: int | None = None) -> None:
        arguments = ["--config", config, *([] if workers is None else ["--workers", str(workers)])]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SCRIPT, *arguments],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(_REPOSITORY)},
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.pid = self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float | None = None) -> int:
        """Waits for its end; the exit code. `subprocess.TimeoutExpired` where that takes too long."""
        return self._process.wait(timeout_s)

    def family(self) -> list[psutil.Process]:
        """All living processes of its session: itself, workers, and Python's own helpers."""
        return [process for process in psutil.process_iter() if _session_of(process) == self.pid]

    def workers(self) -> list[psutil.Process]:
        """Its worker processes."""
        return [process for process in self.family() if _is_worker(process)]

    def kill_all(self) -> None:
        """SIGKILL to the run and everything it started, as when a machine goes down."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def kill_leader(self) -> None:
        """SIGKILL to the run alone; its workers are orphans then."""
        self._process.kill()
        self._process.wait()


def seconds_until_gone(run: Run, timeout_s: float) -> float | None:
    """Waits until no process of a run's session is left; the seconds that took, or None after `timeout_s`."""
    started = time.monotonic()
    while run.family():
        if time.monotonic() - started > timeout_s:
            return None
        time.sleep(0.05)
    return time.monotonic() - started


class Peaks(NamedTuple):
    """What a run took: wall time (s), and the most memory of the run itself and of any worker (bytes)."""

    seconds: float
    leader_bytes: int
    worker_bytes: int


def measure(run: Run) -> Peaks:
    """Waits for a run's end and notes the memory of its processes.

    The figure of a process is the highest resident memory that the kernel has noted for it (`VmHWM`), read
    every half second, so that no peak before the last look is missed.
    """
    started = time.monotonic()
    leader, worker = 0, 0
    while run.exit_code is None:
        for process in run.family():
            if process.pid == run.pid:
                leader = max(leader, _peak_bytes(process.pid))
            elif _is_worker(process):
                worker = max(worker, _peak_bytes(process.pid))
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(_LOOK_EVERY_S)
    return Peaks(time.monotonic() - started, leader, worker)


def measured(config: str, folder: Path, what: str) -> Peaks:
    """Runs a config to its end, measured; ends this process with the run's last words where it fails.

    Args:
        config: path of the config, in the folder.
        folder: working directory; gets `log`.
        what: names the run in the message.
    """
    run = Run(config, folder, folder / "log")
    try:
        peaks = measure(run)
    finally:
        run.kill_all()
    if run.exit_code:
        sys.exit(f"{what}: {(folder / 'log').read_text(errors='replace')[-2000:]}")
    return peaks


def _session_of(process: psutil.Process) -> int | None:
    """The session of a process; None of one that is gone, or that ended and was not yet waited for."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return os.getsid(process.pid)
    except (psutil.Error, OSError):
        return None


def _is_worker(process: psutil.Process) -> bool:
    try:
        return any(_WORKER_MARK in argument for argument in process.cmdline())
    except psutil.Error:
        return False


def _peak_bytes(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return int(lines.get("VmHWM", "0 kB").split()[0]) * 1024
