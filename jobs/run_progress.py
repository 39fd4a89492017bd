"""How far a run of several stages is: one bar for all of them, with the time left.

Every stage is listed before the run with the work that it is expected to be, so that the share that is done
means something from the first minute on. While a stage runs it counts in a unit of its own, voxels or pieces,
and each unit is an equal part of the stage's work. What an earlier run had done counts as done, but says
nothing about how fast this one is.

`Work` is the account, a pure one: times come in as arguments (seconds of any clock). `RunProgress` keeps one
and draws it on standard error, on a terminal only.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import NamedTuple, TextIO

from tqdm import tqdm

# A stage that has just begun is thought to be as fast as those before it, until this share of it is done.
_PRIOR = 0.1
_DRAW_EVERY_S = 0.1
_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}{postfix}"


class Stage(NamedTuple):
    """One stage of a run, planned.

    Attributes:
        name: shown while it runs; unique in a run.
        work: what it is expected to be, relative to the other stages; > 0.
    """

    name: str
    work: float


class _Account:
    """What is known of one stage; counts in its own unit."""

    def __init__(self, work: float) -> None:
        self.work, self.units, self.done, self.found = work, 0, 0, 0
        self.pieces = self.ended = 0
        self.seconds = 0.0
        self.is_over = False

    @property
    def share(self) -> float:
        """The part of it that is done."""
        return 1.0 if self.is_over else min(1.0, self.done / self.units) if self.units else 0.0

    @property
    def worked(self) -> float:
        """The work of it that this run has done."""
        return self.work * (self.done - self.found) / self.units if self.units else 0.0


class Work:
    """The account of a run: which stage it is at, what is done, and how long the rest will take.

    Args:
        stages: in the order in which they run.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._accounts = {stage.name: _Account(stage.work) for stage in stages}
        assert len(self._accounts) == len(stages), "two stages of one name"
        self._name, self._since_s = "", 0.0

    def begin(self, name: str, units: int, pieces: int, now_s: float) -> None:
        """The next stage begins; those before it are over, also those that never began.

        Args:
            name: of a stage that was planned.
            units: how many of its own units it is.
            pieces: in how many pieces it is worked on.
            now_s: the time.
        """
        self._leave(now_s)
        for earlier, account in self._accounts.items():
            if earlier == name:
                break
            account.is_over = True
        self._name, self._since_s = name, now_s
        account = self._accounts[name]
        account.units, account.pieces = units, pieces
        account.is_over = units == 0

    def advance(self, units: int, found: int, now_s: float) -> None:
        """Counts units of the stage at hand as done; a negative number takes them back.

        Args:
            units: that many.
            found: those of them that an earlier run had done.
            now_s: the time.
        """
        account = self._accounts[self._name]
        account.done += units
        account.found += found
        if found > 0 and not account.worked:
            # Looking through what is there is no work, and its time says nothing of the rest.
            self._since_s = now_s

    def end_piece(self) -> None:
        """A piece of the stage at hand is done."""
        self._accounts[self._name].ended += 1

    def end(self, now_s: float) -> None:
        """All of it is done."""
        self._leave(now_s)
        for account in self._accounts.values():
            account.is_over = True

    @property
    def share(self) -> float:
        """The part of all work that is done, 0 to 1."""
        every = self._accounts.values()
        return sum(each.work * each.share for each in every) / sum(each.work for each in every)

    @property
    def label(self) -> str:
        """The stage at hand and, if it has several, its pieces: "forward 3/8 pieces"."""
        account = self._accounts.get(self._name)
        if account is None or account.pieces < 2:
            return self._name
        return f"{self._name} {account.ended}/{account.pieces} pieces"

    def stage_seconds(self, now_s: float) -> float:
        """Seconds that the stage at hand has been worked on."""
        return now_s - self._since_s

    def seconds_left(self, now_s: float) -> float | None:
        """Seconds until all is done at the pace so far; None before there is any.

        A stage goes on at its own pace, mixed with that of all of them together as long as little of it is
        done.
        """
        took = {name: account.seconds for name, account in self._accounts.items()}
        if self._name:
            took[self._name] += self.stage_seconds(now_s)
        worked = sum(account.worked for account in self._accounts.values())
        if worked <= 0:
            return None
        pace = sum(took[name] for name, account in self._accounts.items() if account.worked > 0) / worked
        left = 0.0
        for name, account in self._accounts.items():
            prior, own = _PRIOR * account.work, max(account.worked, 0.0)
            own_s = took[name] if own else 0.0
            left += account.work * (1 - account.share) * (own_s + prior * pace) / (own + prior)
        return left

    def _leave(self, now_s: float) -> None:
        if self._name:
            self._accounts[self._name].seconds += self.stage_seconds(now_s)
            self._since_s = now_s


class RunProgress:
    """The display of a run; counting goes on where nothing is shown.

        with RunProgress([Stage("forward", 60), Stage("blocks", 2)]) as progress:
            progress.begin("forward", units=mask.size, pieces=len(floods))
            pool.map(flood, floods, progress=progress)
            progress.begin("blocks", units=len(blocks), pieces=len(blocks))
            pool.map(write, blocks, progress=progress)

    Args:
        stages: in the order in which they run.
        enabled: True and False force the bar on and off; None shows it on a terminal only.
        stream: where the bar is drawn; standard error by default.
    """

    def __init__(
        self, stages: Sequence[Stage], *, enabled: bool | None = None, stream: TextIO | None = None
    ) -> None:
        stream = sys.stderr if stream is None else stream
        shown = stream.isatty() if enabled is None else enabled
        self._work = Work(stages)
        self._started = time.monotonic()
        self._figures: dict[str, float | int | str] = {}
        self._drawn = -_DRAW_EVERY_S
        self._bar = tqdm(
            total=100,
            desc=stages[0].name,
            bar_format=_FORMAT,
            disable=not shown,
            file=stream,
            dynamic_ncols=True,
        )

    @property
    def share(self) -> float:
        """The part of all work that is done, 0 to 1."""
        return self._work.share

    @property
    def elapsed_s(self) -> float:
        """Seconds since the display was made."""
        return time.monotonic() - self._started

    @property
    def stage_elapsed_s(self) -> float:
        """Seconds that the stage at hand has been worked on."""
        return self._work.stage_seconds(time.monotonic())

    def begin(self, stage: str, *, units: int, pieces: int = 1) -> None:
        """The next stage begins, and those before it are over.

        Args:
            stage: name of one that was planned.
            units: how many of its own units it is.
            pieces: in how many pieces it is worked on.
        """
        self._figures = {}
        self._work.begin(stage, units, pieces, time.monotonic())
        self._draw(at_once=True)

    def advance(self, units: int = 1, *, found: int = 0) -> None:
        """Counts units of the stage at hand as done; a negative number takes them back.

        Args:
            units: that many.
            found: those of them that an earlier run had done.
        """
        self._work.advance(units, found, time.monotonic())
        self._draw()

    def end_piece(self) -> None:
        """A piece of the stage at hand is done."""
        self._work.end_piece()
        self._draw()

    def note(self, **figures: float | int | str) -> None:
        """Shows named figures behind the time left; they replace those noted before in this stage."""
        self._figures = figures

    def write(self, line: str) -> None:
        """Prints a line above the bar without tearing it; printed on standard error without a bar too."""
        tqdm.write(line, file=sys.stderr if self._bar.disable else self._bar.fp)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Takes the bar away while others print."""
        with tqdm.external_write_mode(file=sys.stdout):
            yield

    def close(self) -> None:
        """Leaves the bar as it stands; counting on afterwards shows nothing."""
        self._draw(at_once=True)
        self._bar.close()

    def __enter__(self) -> RunProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._work.end(time.monotonic())
        self.close()

    def _draw(self, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if self._bar.disable or (now - self._drawn < _DRAW_EVERY_S and not at_once):
            return
        self._drawn = now
        left = self._work.seconds_left(now)
        told = [] if left is None else [f"{tqdm.format_interval(left)} left"]
        told += [f"{name}={value}" for name, value in self._figures.items()]
        self._bar.n = 100 * self._work.share
        self._bar.set_description_str(self._work.label, refresh=False)
        self._bar.set_postfix_str(", ".join(told), refresh=False)
        self._bar.refresh()
