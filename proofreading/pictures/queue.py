"""The queue of pictures: how many wait, which one is worked on, and what is kept of those that are over.

One process at a time works on one picture (`proofreading.pictures.worker`), so that neither a network's
library nor a file that somebody sent is ever in the server's own process; cancelling a job ends it. Jobs lie
in folders of their own, which a server that starts again finds: what waited or ran then waits again.

What is over is removed after a week, and the oldest of more than a hundred earlier.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from configs import ConfigView
from ffn.weights import builtin_networks
from proofreading.errors import ProofreadingError, UnknownError
from proofreading.pictures.jobs import LOG, RESULT, UPLOAD, Job, JobState, Wanted, load_job
from proofreading.pictures.reading import HEAD_BYTES, PictureError, kind_of

_KEPT_S = 7 * 86_400.0
_MOST_KEPT = 100
_LONGEST_NAME = 200
_ENDING_S = 5.0


@dataclass(frozen=True)
class PictureLimits:
    """What is allowed.

    Attributes:
      waiting: pictures that are uploaded, wait or are worked on, of all people.
      uploading: pictures of one person that are uploaded at the same time.
      voxels: of one picture.
      upload_bytes: of one file.
      kept_s: seconds after which what is over is removed.
      kept: jobs that are over and kept.
    """

    waiting: int = 8
    uploading: int = 2
    voxels: int = 1 << 26
    upload_bytes: int = 1 << 28
    kept_s: float = _KEPT_S
    kept: int = _MOST_KEPT


def open_pictures(config: ConfigView) -> PictureQueue:
    """The queue of a project, in its output directory; close it in the end.

    Args:
      config: of the project; `proofreading` has the limits.
    """
    section = config.proofreading
    waiting, voxels, upload_bytes = section.waiting_pictures, section.picture_voxels, section.upload_bytes
    limits = PictureLimits(waiting, voxels=voxels, upload_bytes=upload_bytes)
    return PictureQueue(Path(config.output_dir) / "proofreading" / "pictures", limits)


class TooManyError(PictureError):
    """As many pictures wait as are allowed."""


class PictureQueue:
    """Pictures of all people; methods may be called from several threads.

    Args:
      folder: of all jobs; made when the first one comes.
      limits: what is allowed.
      command: begins the command line of a worker; for tests.
      clock: seconds since the epoch.
    """

    def __init__(
        self,
        folder: Path,
        limits: PictureLimits | None = None,
        *,
        command: tuple[str, ...] = (sys.executable, "-m", "proofreading.pictures.worker"),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder, self.limits = folder, limits or PictureLimits()
        self._command, self._clock = command, clock
        self._jobs: dict[str, Job] = {}
        self._changed = threading.Condition(threading.RLock())
        self._process: subprocess.Popen[str] | None = None
        self._running = ""
        self._is_closed = False
        self._thread: threading.Thread | None = None
        self._find_jobs()
        self._work_on()

    def reserve(self, person: str, name: str, wanted: Wanted) -> Job:
        """A place in the queue, before the file is there.

        Args:
          person: whose it is.
          name: of the file.
          wanted: of it.

        Returns:
          The job, in state UPLOADING; the file goes to `upload_path`, then call `submit` or `remove`.

        Raises:
          TooManyError: as many wait, or are being uploaded by this person, as are allowed.
          PictureError: there is no such network.
        """
        if wanted.network not in builtin_networks():
            known = ", ".join(builtin_networks())
            raise PictureError(f"there is no network '{wanted.network[:40]}'; there are: {known}")
        with self._changed:
            self._clean()
            if sum(not job.state.is_over for job in self._jobs.values()) >= self.limits.waiting:
                raise TooManyError(
                    f"{self.limits.waiting} pictures are waiting already; try again when one of them is done"
                )
            mine = [job for job in self._jobs.values() if job.person == person]
            if sum(job.state is JobState.UPLOADING for job in mine) >= self.limits.uploading:
                raise TooManyError(
                    f"{self.limits.uploading} pictures of yours are being uploaded; wait for one of them"
                )
            shown = "".join(c for c in Path(name).name if c.isprintable())[:_LONGEST_NAME] or "picture"
            job = Job(secrets.token_hex(8), person, shown, wanted, JobState.UPLOADING, self._clock())
            self._folder_of(job.id).mkdir(parents=True)
            self._jobs[job.id] = job
            return job

    def upload_path(self, job: Job) -> Path:
        """Where the file of a job goes."""
        return self._folder_of(job.id) / UPLOAD

    def submit(self, job: Job) -> Job:
        """Lets a job wait whose file is there.

        Args:
          job: that was reserved.

        Raises:
          PictureError: a file of another format.
        """
        with self.upload_path(job).open("rb") as file:
            kind_of(file.read(HEAD_BYTES))
        with self._changed:
            found = self._update(job.id, state=JobState.WAITING)
            self._work_on()
            return found

    def get(self, number: str, person: str | None = None) -> Job:
        """A job.

        Args:
          number: its ID.
          person: whose it has to be; None = anybody's.

        Raises:
          UnknownError: there is none, or it is somebody else's.
        """
        with self._changed:
            job = self._jobs.get(number)
            if job is None or person not in (None, job.person):
                raise UnknownError(f"there is no picture '{number[:40]}' of yours; it may have been removed")
            return job

    def jobs(self, person: str | None = None) -> list[Job]:
        """The jobs of a person, or all, the latest first.

        Args:
          person: whose; None = all.
        """
        with self._changed:
            found = [job for job in self._jobs.values() if person in (None, job.person)]
        return sorted(found, key=lambda job: (-job.created, job.id))

    def ahead_of(self, job: Job) -> int:
        """How many are worked on before a job that waits."""
        with self._changed:
            return sum(
                each.state is JobState.RUNNING
                or (each.state is JobState.WAITING and _order(each) < _order(job))
                for each in self._jobs.values()
                if each.id != job.id
            )

    def result_path(self, job: Job) -> Path:
        """Where the result of a job lies.

        Args:
          job: that is done.

        Raises:
          PictureError: it is not.
        """
        if job.state is not JobState.DONE:
            raise PictureError(f"this picture is {job.state.value}; its result is there when it is done")
        return self._folder_of(job.id) / RESULT

    def cancel(self, number: str, person: str | None = None) -> Job:
        """Ends a job that is not over; nothing happens to one that is.

        Args:
          number: its ID.
          person: whose it has to be; None = anybody's.

        Raises:
          UnknownError: there is none.
        """
        with self._changed:
            job = self.get(number, person)
            if not job.state.is_over:
                job = self._finish(number, JobState.CANCELLED)
                if self._running == number:
                    self._kill()
            return job

    def remove(self, number: str, person: str | None = None) -> None:
        """Ends a job and removes all that is kept of it.

        Args:
          number: its ID.
          person: whose it has to be; None = anybody's.

        Raises:
          UnknownError: there is none.
        """
        with self._changed:
            self.cancel(number, person)
            del self._jobs[number]
            # A worker that is ending may still write; what it leaves is removed when the queue starts again.
            shutil.rmtree(self._folder_of(number), ignore_errors=True)

    def wait(self, number: str, timeout_s: float) -> Job:
        """Waits until a job is over, or for so long; gives the job as it is then."""
        with self._changed:
            self._changed.wait_for(lambda: self.get(number).state.is_over, timeout_s)
            return self.get(number)

    def close(self) -> None:
        """Ends the worker; what it worked on waits for the next start. May be called twice."""
        with self._changed:
            self._is_closed = True
            self._kill()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_ENDING_S)

    def _find_jobs(self) -> None:
        """Takes up the jobs of an earlier start, and removes what it left unfinished."""
        if not self.folder.is_dir():
            return
        for folder in self.folder.iterdir():
            try:
                job = load_job(folder)
            except ProofreadingError:
                shutil.rmtree(folder, ignore_errors=True)
                continue
            if job.state is JobState.RUNNING:
                job = replace(job, state=JobState.WAITING, progress=0.0, stage="")
            self._jobs[job.id] = job
        self._clean()

    def _clean(self) -> None:
        over = sorted(
            (job for job in self._jobs.values() if job.state.is_over),
            key=lambda job: job.finished or job.created,
            reverse=True,
        )
        for place, job in enumerate(over):
            if (
                place >= self.limits.kept
                or self._clock() - (job.finished or job.created) > self.limits.kept_s
            ):
                self.remove(job.id)

    def _work_on(self) -> None:
        """Wakes the thread that works off the queue, or starts it."""
        self._changed.notify_all() if self._thread is not None else None
        if self._thread is None and any(job.state is JobState.WAITING for job in self._jobs.values()):
            self._thread = threading.Thread(target=self._work, name="pictures", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed or self._next() is not None)
                job = self._next()
                if self._is_closed or job is None:
                    return
                self._running = job.id
                self._update(job.id, state=JobState.RUNNING)
            try:
                said = self._run(job)
            except OSError as error:
                said = {"error": f"the worker cannot be started: {error.strerror}"}
            with self._changed:
                self._running, self._process = "", None
                is_there = job.id in self._jobs and not self._jobs[job.id].state.is_over
                if is_there and not self._is_closed:
                    state = JobState.DONE if said.get("done") else JobState.FAILED
                    self._finish(job.id, state, error=str(said.get("error", "")))

    def _next(self) -> Job | None:
        waiting = [job for job in self._jobs.values() if job.state is JobState.WAITING]
        return min(waiting, key=_order, default=None)

    def _run(self, job: Job) -> Mapping[str, Any]:
        """Runs a worker to its end; what it said last."""
        folder = self._folder_of(job.id)
        with (folder / LOG).open("wb") as log:
            process = subprocess.Popen(
                [*self._command, str(folder), str(self.limits.voxels)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        with self._changed:
            self._process = process
            if self._is_closed or self._jobs.get(job.id, job).state.is_over:
                self._kill()
        said: dict[str, Any] = {}
        assert process.stdout is not None
        for line in process.stdout:
            with suppress(ValueError):
                said = dict(json.loads(line))
                with self._changed:
                    if job.id in self._jobs and not self._jobs[job.id].state.is_over:
                        self._jobs[job.id] = self._jobs[job.id].told(said)
        code = process.wait()
        process.stdout.close()
        if process.stdin is not None:
            process.stdin.close()
        if "error" in said or (said.get("done") and code == 0):
            return said
        return {"error": f"the worker ended unexpectedly (exit code {code}); its log is '{folder / LOG}'"}

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _finish(self, number: str, state: JobState, **values: Any) -> Job:
        job = self._update(number, state=state, finished=self._clock(), stage="", **values)
        with suppress(OSError):
            self.upload_path(job).unlink()
        return job

    def _update(self, number: str, **values: Any) -> Job:
        job = self._jobs[number] = replace(self._jobs[number], **values)
        job.save(self._folder_of(number))
        self._changed.notify_all()
        return job

    def _folder_of(self, number: str) -> Path:
        return self.folder / number


def _order(job: Job) -> tuple[float, str]:
    """Jobs are worked on in the order in which they came."""
    return job.created, job.id
