"""Runs that are killed at random moments, and what they end in.

    python -m benchmarks.faults --kills 20 --seed 1 --json out/faults.json

A small project (`benchmarks.fault_cases`) is run once undisturbed. Then the same command is given again and
again while something is killed with SIGKILL, until all kills are made and the run has ended well:

- `all`: the run and its workers, as when a machine goes down;
- `leader`: the run alone; its workers have to go by themselves, and the command is given again at once;
- `worker`: one worker process, which the run survives.

A moment is a number of files that the run makes or replaces, drawn up to a share of those of an undisturbed
run, and a fraction of a second more; so it does not depend on the machine's speed, and the short stages are
met as often as the long ones. A run that ends before its moment is compared and begun anew.

Compared are the decoded contents of all files, see `fault_cases.decoded`. Exit code 1 when any differ.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.fault_cases import decoded, differences, leftovers, make_project, write_config
from benchmarks.processes import Run, seconds_until_gone

HOWS = ("all", "leader", "worker")
KILLS_PER_RUN = 4
_DELAY_S = 0.2
_LOOK_EVERY_S = 0.005
_STUCK_S = 600.0
_ORPHANS_S = 30.0
_PIECES_FAILED = 1


class StuckError(Exception):
    """A run in which nothing happens any more, or that ended in a way no kill explains."""


@dataclass(frozen=True)
class Kill:
    """One kill.

    Attributes:
      how: one of `HOWS`.
      files: how many the run had made or replaced since its start.
      delay_s: after the last of these.
      orphans_s: how long its workers lived on; None = longer than was waited for.
    """

    how: str
    files: int
    delay_s: float
    orphans_s: float | None


@dataclass
class Outcome:
    """What came of the kills.

    Attributes:
      kills: them, in order.
      starts: how often the command was given.
      finished: how many runs ended well.
      differences: what was not as in the undisturbed run, over all of these.
      leftovers: files in their output directories that nobody needs.
    """

    kills: list[Kill] = field(default_factory=list)
    starts: int = 0
    finished: int = 0
    differences: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)


def run_undisturbed(folder: Path) -> tuple[dict[str, np.ndarray], int]:
    """Runs the project of a folder; its decoded result, and how many files the run made or replaced."""
    run, output = _start(folder, "calm"), folder / "calm"
    files = _Files(output)
    try:
        _wait(run, files, None)
    finally:
        run.kill_all()
    if run.exit_code:
        raise StuckError(_end_of_log(folder, "calm"))
    return decoded(output), files.count


class Disturbed:
    """A project that is run again and again, and killed in between.

    Args:
      folder: what `make_project` filled.
      expected: the decoded result of an undisturbed run.
      most_files: a kill comes after so many files of a start, or fewer.
      seed: of moments and victims.
      say: told of every kill and every end.
    """

    def __init__(
        self,
        folder: Path,
        expected: Mapping[str, np.ndarray],
        most_files: int,
        seed: int,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._folder, self._expected, self._most, self._say = folder, expected, most_files, say
        self._output = folder / "killed"
        self._random = np.random.default_rng(seed)
        self.outcome = Outcome()

    def go(self, kills: int) -> Outcome:
        """Runs until so many kills are made and the run has ended well.

        Raises:
          StuckError: see there.
        """
        self._begin()
        try:
            while True:
                is_due = len(self.outcome.kills) < kills
                files = int(self._random.integers(1, self._most + 1)) if is_due else None
                if _wait(self._run, _Files(self._output), files):
                    self._strike(files or 0)
                elif self._has_ended_well() and not is_due:
                    return self.outcome
                else:
                    self._begin()
        finally:
            self._run.kill_all()

    def _begin(self) -> None:
        self._run, self._is_hurt = _start(self._folder, self._output.name), False
        self.outcome.starts += 1

    def _strike(self, files: int) -> None:
        delay_s = float(self._random.uniform(0, _DELAY_S))
        how = str(self._random.choice(HOWS))
        time.sleep(delay_s)
        workers, struck, orphans_s = self._run.workers(), self._run, 0.0
        if how == "worker" and workers:
            workers[int(self._random.integers(len(workers)))].kill()
            self._is_hurt = True
        else:
            how = "leader" if how == "leader" else "all"
            struck.kill_leader() if how == "leader" else struck.kill_all()
            self._begin()
            orphans_s = seconds_until_gone(struck, _ORPHANS_S)  # type: ignore[assignment]
        self.outcome.kills.append(Kill(how, files, delay_s, orphans_s))
        self._say(f"kill {len(self.outcome.kills)}: {how}, after {files} files and {delay_s:.2f} s")

    def _has_ended_well(self) -> bool:
        """Compares a run that ended; False when it only has to be started again."""
        if self._run.exit_code == _PIECES_FAILED and self._is_hurt:
            self._say("pieces failed as often as they may")
            return False
        if self._run.exit_code:
            raise StuckError(f"exit code {self._run.exit_code}: {_end_of_log(self._folder, 'killed')}")
        different = differences(decoded(self._output), self._expected)
        self.outcome.finished += 1
        self.outcome.differences += different
        self.outcome.leftovers += leftovers(self._output)
        self._say(f"run {self.outcome.finished} ended: {len(different)} differences")
        shutil.rmtree(self._output)
        return True


class _Files:
    """Counts the files that appear in a folder, those that take another's place included."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.count = folder, 0
        self._known = set(_inodes(folder))

    def look(self) -> None:
        now = set(_inodes(self._folder))
        self.count += len(now - self._known)
        self._known |= now


def _inodes(folder: Path) -> Iterator[tuple[str, int]]:
    """Names and inodes of all files in a folder that others work in; what has just gone is passed over."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _inodes(Path(entry.path))
        else:
            yield entry.path, entry.inode()


def _wait(run: Run, files: _Files, until: int | None) -> bool:
    """Waits for so many files (None: for the end); whether the run is still there then."""
    seen, since = -1, time.monotonic()
    while run.exit_code is None:
        files.look()
        if until is not None and files.count >= until:
            return True
        if files.count > seen:
            seen, since = files.count, time.monotonic()
        elif time.monotonic() - since > _STUCK_S:
            raise StuckError(f"nothing happened for {_STUCK_S:.0f} s after {seen} files")
        time.sleep(_LOOK_EVERY_S)
    files.look()
    return False


def _start(folder: Path, output: str) -> Run:
    return Run(write_config(folder, output), folder, folder / f"{output}.log", workers=2)


def _end_of_log(folder: Path, output: str) -> str:
    return (folder / f"{output}.log").read_text(errors="replace")[-2000:]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1, help="of moments and victims")
    parser.add_argument("--json", type=Path, default=Path("out/faults.json"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_project(folder)
        started = time.monotonic()
        expected, files = run_undisturbed(folder)
        print(f"undisturbed: {files} files, {len(expected)} arrays, {time.monotonic() - started:.0f} s")
        most_files = max(1, 2 * files // KILLS_PER_RUN)
        disturbed = Disturbed(
            folder, expected, most_files, options.seed, lambda line: print(line, flush=True)
        )
        outcome = disturbed.go(options.kills)
    _print(outcome)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"seed": options.seed, **asdict(outcome)}, indent=2) + "\n")
    return 1 if outcome.differences else 0


def _print(outcome: Outcome) -> None:
    orphans = [kill.orphans_s for kill in outcome.kills]
    longest = "forever" if None in orphans else f"{max(filter(None, orphans), default=0.0):.1f} s"
    print(f"kills          {len(outcome.kills)}")
    print(f"starts         {outcome.starts}, of which {outcome.finished} ended well")
    print(f"orphans lived  {longest} at most")
    print(f"left over      {len(outcome.leftovers)} files")
    print(f"differences    {len(outcome.differences)}")
    for line in outcome.differences:
        print(f"  {line}")


if __name__ == "__main__":
    sys.exit(main())
