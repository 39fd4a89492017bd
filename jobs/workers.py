"""Workers: pieces of work on all cores, or on a cluster, through Dask distributed.

There is one way through for a single process, several processes on this machine and the workers of a
scheduler elsewhere. A piece that fails is tried again a bounded number of times (`jobs.dispatch`); what still
fails is listed when all others are done. Errors about what all pieces share (a config, a network) end the run
at once; those of files (`VolumeError`, `PieceError`) are tried again like any other, since shared storage
fails and comes back.

    with worker_pool(WorkerSettings(workers=4)) as pool:
        paths = pool.map(segment, [Piece(s.name, (s.box,), s.box.size) for s in plan])

Functions, arguments and results travel pickled between processes, over encrypted connections on this machine
alone unless a scheduler is named; keep them small, and let results be files. In a script the pool belongs
under `if __name__ == "__main__":`, since new processes import the script.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster, Security
from distributed.utils import silence_logging_cmgr

from configs.errors import ConfigError
from jobs.dispatch import Figures, Piece, Run, Tally, WorkerError, one_line
from jobs.in_worker import forget_kept
from jobs.run_progress import RunProgress

_CONNECT_S = 10.0
_GRACE_S = 1.0
_SCHEMES = ("tcp://", "tls://", "ws://", "wss://", "ucx://")

# What Dask does on this machine. Every death of a worker is told at once, and the pool counts; a worker is
# dead when its process is, not when it is busy; nothing is measured or served that nobody looks at.
_LOCAL: dict[str, object] = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-ttl": None,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.worker.profile.enabled": False,
    "distributed.diagnostics.nvml": False,
    "distributed.worker.multiprocessing-method": "spawn",
}


@dataclass(frozen=True)
class WorkerSettings:
    """Where pieces are worked on.

    Attributes:
        workers: processes on this machine; 1 works in a thread of this process.
        scheduler: address of a running Dask scheduler whose workers are used instead, "tcp://host:8786".
        retries: a piece that fails is tried again this many times.
        threads_per_worker: pieces at a time in each process on this machine; workers of a scheduler have
            their own number.

    Raises:
        ConfigError: a number out of range, or no address.
    """

    workers: int = 1
    scheduler: str | None = None
    retries: int = 2
    threads_per_worker: int = 1

    def __post_init__(self) -> None:
        if self.workers < 1 or self.threads_per_worker < 1 or self.retries < 0:
            raise ConfigError(
                f"{self.workers} workers of {self.threads_per_worker} threads with {self.retries} retries; "
                "give at least 1 worker, 1 thread and 0 retries"
            )
        if self.scheduler is not None and not self.scheduler.startswith(_SCHEMES):
            raise ConfigError(f"{self.scheduler!r} is no scheduler's address; give one like tcp://host:8786")


@contextmanager
def worker_pool(settings: WorkerSettings) -> Iterator[Pool]:
    """Starts workers, or joins those of a scheduler; stops what it started when the block ends.

    When the block ends with an error, an interrupt included, running pieces are not waited for. Where
    processes can be ended they are; elsewhere a piece ends when it next reports its progress.

    Args:
        settings: where and how many.

    Yields:
        The pool.

    Raises:
        WorkerError: the scheduler does not answer, or no process starts.
    """
    with _quiet(), ExitStack() as stack:
        if settings.scheduler is not None:
            client = stack.enter_context(_connected(settings.scheduler))
        else:
            client = stack.enter_context(_started(settings))
        yield Pool(client, settings)


class Pool:
    """Workers that are there; made by `worker_pool`."""

    def __init__(self, client: Client, settings: WorkerSettings) -> None:
        self._client = client
        self._settings = settings

    def map(
        self,
        function: Callable[..., Any],
        pieces: Sequence[Piece],
        *,
        progress: RunProgress | None = None,
        on_result: Callable[[Piece, Any], None] | None = None,
        show: Callable[[dict[str, float]], Figures] = dict,
    ) -> list[Any]:
        """Runs a function on every piece; returns when all are done or have failed for good.

        Args:
            function: the work; importable in a worker, that is, defined at the top of a module.
            pieces: its calls; begun in this order.
            progress: has begun a stage; advanced by the weight of each piece, and by what running pieces
                report.
            on_result: called with a piece and its result as soon as it is done, in this thread.
            show: makes the figures that are shown from the sums of those that pieces reported.

        Returns:
            The results, in the order of the pieces.

        Raises:
            PieceFailures: pieces that failed for good; all others are done by then.
            ReconstructionError: what all pieces share is wrong; raised as soon as a piece finds it.
            WorkerError: the scheduler, or the last worker of this machine, is gone.
        """
        is_local = self._settings.scheduler is None
        tally = Tally(progress, pieces, show)
        run = Run(self._client, is_local, self._settings.retries, function, pieces, tally)
        return run.go(on_result)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Dask's messages off the terminal, on which only we write.

    Dask has handlers of its own unless another library gave the root logger one before, which takes its
    messages then.
    """
    logger, nowhere = logging.getLogger("distributed"), logging.NullHandler()
    before = logger.propagate
    logger.propagate = False
    logger.addHandler(nowhere)
    try:
        with silence_logging_cmgr(logging.CRITICAL):
            yield
    finally:
        logger.removeHandler(nowhere)
        logger.propagate = before


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    """The client of a scheduler elsewhere, whose workers stay when it goes."""
    try:
        client = Client(address, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError, RuntimeError, asyncio.TimeoutError) as error:
        raise WorkerError(
            f"no Dask scheduler answers at {address}: {one_line(error)}; check the address and that it runs"
        ) from error
    with client:
        yield client


@contextmanager
def _started(settings: WorkerSettings) -> Iterator[Client]:
    """The client of workers on this machine, in this process or in others."""
    with dask.config.set(_LOCAL):
        cluster = _local_cluster(settings)
        is_well = False
        try:
            with Client(cluster, set_as_default=False) as client:
                yield client
            is_well = True
        finally:
            _stop(cluster, is_well)
            if settings.workers == 1:
                forget_kept(close=is_well)


def _local_cluster(settings: WorkerSettings) -> LocalCluster:
    """Workers on this machine. Memory is not watched: a worker is neither paused nor killed at some limit."""
    options: dict[str, Any] = {"processes": False}
    if settings.workers > 1:
        options = {"processes": True, "security": _temporary_keys(), "env": _shared_cores(settings.workers)}
    try:
        return LocalCluster(
            n_workers=settings.workers,
            threads_per_worker=settings.threads_per_worker,
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0", "dashboard": False},
            worker_dashboard_address="127.0.0.1:0",
            memory_limit=0,
            silence_logs=logging.CRITICAL,
            **options,
        )
    except (OSError, RuntimeError, asyncio.TimeoutError) as error:
        raise WorkerError(
            f"{settings.workers} worker processes do not start: {one_line(error)}; give fewer"
        ) from error


def _stop(cluster: LocalCluster, is_well: bool) -> None:
    """Ends the workers, waiting for nothing when something went wrong."""
    if not is_well:
        with suppress(Exception):
            cluster.sync(_end_now, list(cluster.workers.values()))
    with suppress(TimeoutError, asyncio.TimeoutError):
        cluster.close(timeout=_CONNECT_S)


async def _end_now(workers: list[Any]) -> None:
    """Closes workers at once, and kills their processes when they do not follow."""
    await asyncio.gather(*(worker.close(timeout=_GRACE_S) for worker in workers), return_exceptions=True)


def _temporary_keys() -> Security:
    """Keys that live as long as the pool; without them anybody on this machine could run code as its user."""
    import cryptography  # noqa: F401  what the next line needs and Dask does not install

    return Security.temporary()


def _shared_cores(workers: int) -> dict[str, str]:
    """Environment of a worker process: its share of the cores for the network, if the user does not say."""
    share = str(max(1, CPU_COUNT // workers))
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    return {name: share for name in names if name not in os.environ}
