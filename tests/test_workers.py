"""Workers: results in order, bounded retries, failures by name, one loading per worker, no unseen hole."""

from __future__ import annotations

import io
import logging
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from distributed import LocalCluster

from configs.errors import ConfigError, ReconstructionError
from jobs import (
    CorruptPieceError,
    Failure,
    Piece,
    PieceFailures,
    PieceStopped,
    Pool,
    RunProgress,
    Stage,
    WorkerError,
    WorkerSettings,
    current_reporter,
    dispatch,
    per_worker,
    report_found,
    report_progress,
    worker_pool,
    workers,
)
from jobs.in_worker import forget_kept
from volumes import VolumeError

# What pieces that run in this process leave behind; the fixture empties it.
SEEN: Counter[object] = Counter()
GO_ON = threading.Event()


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    SEEN.clear()
    GO_ON.clear()
    yield
    GO_ON.set()
    forget_kept(close=False)


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """Two threads of this process, two retries."""
    with worker_pool(WorkerSettings(threads_per_worker=2)) as threads:
        yield threads


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """A scheduler of somebody else, with a worker of two threads."""
    with LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, protocol="tcp://", dashboard_address="127.0.0.1:0"
    ) as running:
        yield running


class Shown(RunProgress):
    """A progress display that remembers what it was told."""

    def __init__(self, total: int) -> None:
        super().__init__([Stage("work", 1)], stream=io.StringIO())
        self.begin("work", units=total)
        self.notes: list[dict[str, float | int | str]] = []
        self.lines: list[str] = []
        self.done = self.found = self.most = self.ended = 0

    def note(self, **figures: float | int | str) -> None:
        self.notes.append(figures)

    def write(self, line: str) -> None:
        self.lines.append(line)

    def advance(self, units: int = 1, *, found: int = 0) -> None:
        super().advance(units, found=found)
        self.done += units
        self.found += found
        self.most = max(self.most, self.done)

    def end_piece(self) -> None:
        super().end_piece()
        self.ended += 1


def pieces(count: int, weight: int = 1) -> list[Piece]:
    return [Piece(f"piece {number}", (number,), weight) for number in range(count)]


def double(number: int) -> int:
    SEEN["calls"] += 1
    time.sleep(0.002 * (3 - number % 4))
    return 2 * number


def test_results_come_in_the_order_of_the_pieces_and_each_is_told_once(pool: Pool) -> None:
    told: list[tuple[str, int, int]] = []
    here = threading.get_ident()
    results = pool.map(
        double, pieces(30), on_result=lambda piece, result: told.append((piece.name, result, here))
    )
    assert results == list(range(0, 60, 2))
    assert sorted(told) == sorted((f"piece {n}", 2 * n, threading.get_ident()) for n in range(30))
    assert SEEN["calls"] == 30


def test_no_pieces_are_no_work(pool: Pool) -> None:
    assert pool.map(double, []) == []


def fail_some(number: int) -> int:
    SEEN[number] += 1
    if number == 1:
        raise ValueError("a value\nthat is wrong")
    if number == 3 and SEEN[number] == 1:
        raise OSError("the disk was away")
    if number == 4:
        raise VolumeError("volume 'a' has no such box; give another")
    if number == 5 and SEEN[number] < 3:
        raise CorruptPieceError("piece b is cut short; delete it")
    return number


def test_what_fails_is_tried_again_and_then_listed_when_all_others_are_done(pool: Pool) -> None:
    told, shown = [], Shown(80)
    with pytest.raises(PieceFailures) as caught:
        pool.map(fail_some, pieces(8, weight=10), progress=shown, on_result=lambda _, done: told.append(done))
    assert caught.value.failures == [
        Failure("piece 1", "ValueError: a value that is wrong", 3),
        Failure("piece 4", "volume 'a' has no such box; give another", 3),
    ]
    assert str(caught.value).splitlines() == [
        "2 of 8 pieces failed; run the same command again for these alone:",
        "  piece 1 (tried 3 times): ValueError: a value that is wrong",
        "  piece 4 (tried 3 times): volume 'a' has no such box; give another",
    ]
    assert isinstance(caught.value, ReconstructionError)
    assert isinstance(caught.value.__cause__, ValueError)
    assert sorted(told) == [0, 2, 3, 5, 6, 7]
    assert [SEEN[n] for n in range(8)] == [1, 3, 1, 2, 3, 3, 1, 1]
    assert (shown.done, shown.found, shown.ended) == (60, 0, 6)
    assert "note: piece 3: OSError: the disk was away; trying again (1 of 3 failed)" in shown.lines
    assert len(shown.lines) == 2 + 1 + 2 + 2


def test_without_retries_a_piece_is_tried_once() -> None:
    with (
        worker_pool(WorkerSettings(retries=0)) as once,
        pytest.raises(PieceFailures, match="tried 1 times"),
    ):
        once.map(fail_some, pieces(2))
    assert SEEN[1] == 1


def misconfigured(number: int) -> None:
    SEEN[number] += 1
    if number == 2:
        raise ConfigError("my.textproto: no such network; give another")
    time.sleep(0.01)


def test_an_error_that_all_pieces_share_ends_the_run_at_once(pool: Pool) -> None:
    with pytest.raises(ConfigError, match="no such network"):
        pool.map(misconfigured, pieces(1000))
    assert SEEN[2] == 1
    assert len(SEEN) < 10, "pieces are handed out as threads get free"


def unable_to_travel(number: int) -> object:
    return threading.Lock() if number == 1 else number


def test_a_result_that_cannot_be_sent_is_a_failure_of_its_piece(cluster: LocalCluster) -> None:
    settings = WorkerSettings(scheduler=cluster.scheduler_address, retries=0)
    with worker_pool(settings) as elsewhere, pytest.raises(PieceFailures, match=r"piece 1 .*pickle"):
        elsewhere.map(unable_to_travel, pieces(3))


def load_network() -> object:
    SEEN["loads"] += 1
    time.sleep(0.05)
    return object()


def use_network(_number: int) -> int:
    return id(per_worker("network", load_network, close=lambda _: SEEN.update(["closes"])))


def test_a_worker_loads_once_for_all_its_threads_and_closes_in_the_end() -> None:
    with worker_pool(WorkerSettings(threads_per_worker=4)) as four:
        assert len(set(four.map(use_network, pieces(12)))) == 1
        assert (SEEN["loads"], SEEN["closes"]) == (1, 0)
    assert (SEEN["loads"], SEEN["closes"]) == (1, 1)


def test_what_could_not_be_made_or_used_is_made_anew() -> None:
    def fails() -> int:
        raise OSError("not now")

    with pytest.raises(OSError, match="not now"):
        per_worker("thing", fails)
    assert per_worker("thing", lambda: 1) == 1
    assert per_worker("thing", lambda: 2) == 1
    assert per_worker("thing", lambda: 3, usable=lambda value: value > 1) == 3
    assert per_worker("other thing", lambda: 4) == 4


def report_and_wait(number: int) -> None:
    report_progress(6 + number, fov=np.int64(10 * (number + 1)), steps=np.float32(0.5))
    assert GO_ON.wait(20)
    report_progress(7 + number, fov=100)


def test_running_pieces_show_how_far_they_are(pool: Pool) -> None:
    shown = Shown(20)
    sums: list[dict[str, float]] = []

    def show(figures: dict[str, float]) -> dict[str, float]:
        sums.append(figures)
        if figures.get("fov") == 30:
            GO_ON.set()
        return {"fov": figures["fov"]}

    pool.map(report_and_wait, pieces(2, weight=10), progress=shown, show=show)
    assert {"fov": 30.0, "steps": 1.0} in sums, "the figures of two running pieces together"
    assert sums[-1] == {"fov": 200.0, "steps": 0}, "the last figures count, however fast they followed"
    assert shown.notes[-1] == {"fov": 200}
    assert (shown.done, shown.most) == (20, 20)


def report_and_fail(number: int) -> None:
    SEEN[number] += 1
    report_progress(400, fov=7)
    if SEEN[number] == 1:
        assert GO_ON.wait(20)
        raise OSError("away")


def test_what_a_failed_piece_had_reported_is_taken_back_and_no_piece_counts_more_than_its_weight(
    pool: Pool,
) -> None:
    shown = Shown(10)
    seen: list[float] = []

    def show(figures: dict[str, float]) -> dict[str, float]:
        seen.append(figures.get("fov", 0))
        if figures.get("fov"):
            GO_ON.set()
        return {}

    pool.map(report_and_fail, pieces(1, weight=10), progress=shown, show=show)
    assert seen[0] == 7 and 0 in seen and seen[-1] == 7
    assert (shown.done, shown.most) == (10, 10)


def find_or_go_on(number: int) -> None:
    if number == 0:
        report_found()
    if number == 1:
        report_progress(8, found=6.5)


def test_what_was_done_before_is_told_apart(pool: Pool) -> None:
    shown = Shown(30)
    pool.map(find_or_go_on, pieces(3, weight=10), progress=shown)
    assert (shown.done, shown.found, shown.ended) == (30, 10 + 6, 3)


def report_from_another_thread(number: int) -> None:
    reporter = current_reporter()
    thread = threading.Thread(target=lambda: reporter(1, objects=number))
    thread.start()
    thread.join()


def test_another_thread_can_report_for_the_piece_that_started_it(pool: Pool) -> None:
    shown = Shown(10)
    pool.map(report_from_another_thread, pieces(5, weight=2), progress=shown)
    assert shown.notes[-1] == {"objects": 0 + 1 + 2 + 3 + 4}


def test_outside_a_piece_reports_go_nowhere() -> None:
    report_progress(3, fov=4)
    report_found()
    current_reporter()(5)


def report_until_stopped(number: int) -> None:
    SEEN["started"] += 1
    try:
        while not GO_ON.wait(0.05):
            report_progress(0)
    except PieceStopped:
        SEEN["stopped"] += 1
        raise


def interrupt_when_started(_figures: dict[str, float]) -> dict[str, float]:
    raise KeyboardInterrupt


def test_an_interrupt_ends_the_run_and_its_pieces() -> None:
    with pytest.raises(KeyboardInterrupt), worker_pool(WorkerSettings()) as own:
        own.map(report_until_stopped, pieces(9), progress=Shown(9), show=interrupt_when_started)
    wait_for("stopped", 1)
    assert SEEN["started"] == 1


def test_an_interrupt_frees_the_workers_of_a_scheduler(cluster: LocalCluster) -> None:
    settings = WorkerSettings(scheduler=cluster.scheduler_address)
    with pytest.raises(KeyboardInterrupt), worker_pool(settings) as theirs:
        theirs.map(report_until_stopped, pieces(9), progress=Shown(9), show=interrupt_when_started)
    wait_for("stopped", SEEN["started"])
    with worker_pool(settings) as theirs:
        assert theirs.map(double, pieces(5)) == [0, 2, 4, 6, 8]


def wait_for(event: str, count: int) -> None:
    deadline = time.monotonic() + 20
    while SEEN[event] < count:
        assert time.monotonic() < deadline, f"{event}: {SEEN[event]} of {count}"
        time.sleep(0.05)


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_CONNECT_S", 0.5)
    with (
        pytest.raises(
            WorkerError, match="no Dask scheduler answers at tcp://127.0.0.1:1: .*check the address"
        ),
        worker_pool(WorkerSettings(scheduler="tcp://127.0.0.1:1")),
    ):
        pass


def test_a_scheduler_that_goes_away_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_LOOK_EVERY_S", 0.1)
    theirs = LocalCluster(n_workers=1, processes=False, protocol="tcp://", dashboard_address="127.0.0.1:0")
    closing = threading.Thread(target=theirs.close)

    def close(_figures: dict[str, float]) -> dict[str, float]:
        if not closing.ident:
            closing.start()
        return {}

    with (
        pytest.raises(WorkerError, match="scheduler is gone"),
        worker_pool(WorkerSettings(scheduler=theirs.scheduler_address)) as pool_of_theirs,
    ):
        pool_of_theirs.map(report_until_stopped, pieces(3), progress=Shown(3), show=close)
    GO_ON.set()
    closing.join()


def test_a_scheduler_without_workers_is_waited_for_and_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_LOOK_EVERY_S", 0.1)
    with LocalCluster(
        n_workers=0, processes=False, protocol="tcp://", dashboard_address="127.0.0.1:0"
    ) as theirs:
        shown = Shown(3)
        shown.write = lambda line: (shown.lines.append(line), theirs.scale(1))  # type: ignore[method-assign]
        with worker_pool(WorkerSettings(scheduler=theirs.scheduler_address)) as joined:
            assert joined.map(double, pieces(3), progress=shown) == [0, 2, 4]
    assert shown.lines == ["note: the scheduler has no workers; waiting for some to join"]


def listening() -> set[tuple[str, int]]:
    here = psutil.Process()
    family = [here, *here.children(recursive=True)]
    return {tuple(c.laddr) for each in family for c in each.net_connections() if c.status == "LISTEN"}


def test_nothing_outside_this_machine_can_connect() -> None:
    before = listening()
    with worker_pool(WorkerSettings()):
        assert {host for host, _ in listening() - before} <= {"127.0.0.1"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"workers": 0}, "0 workers .*give at least 1 worker"),
        ({"threads_per_worker": 0}, "workers of 0 threads"),
        ({"retries": -1}, "-1 retries"),
        ({"scheduler": "host:8786"}, "'host:8786' is no scheduler's address; give one like tcp://host:8786"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        WorkerSettings(**wrong)


def test_what_dask_logs_does_not_reach_handlers_of_others() -> None:
    """TensorFlow, loaded before Dask, gives the root logger a handler that would print all of it."""
    dask, taken = logging.getLogger("distributed"), io.StringIO()
    own, handler = list(dask.handlers), logging.StreamHandler(taken)
    dask.handlers[:] = []
    dask.setLevel(logging.INFO)
    before, dask.propagate = dask.propagate, True
    logging.getLogger().addHandler(handler)
    try:
        with worker_pool(WorkerSettings()) as pool:
            pool.map(abs, [Piece("one", (-1,))])
        assert dask.propagate and not dask.handlers
    finally:
        logging.getLogger().removeHandler(handler)
        dask.handlers[:], dask.propagate = own, before
    assert taken.getvalue() == ""


def work_or_die(number: int, folder: str) -> tuple[int, int, str]:
    """Piece 2 kills its worker the first time, piece 5 always, and piece 6 fails."""
    (Path(folder) / f"{number}-{time.monotonic_ns()}").touch()
    before = len(list(Path(folder).glob(f"{number}-*")))
    if number == 5 or (number == 2 and before == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 6:
        raise ValueError("no")
    load = per_worker("load", lambda: time.monotonic_ns())
    time.sleep(0.2)
    return os.getpid(), load, os.environ["TF_NUM_INTRAOP_THREADS"]


@pytest.mark.slow
def test_processes_that_are_killed_come_back_and_their_pieces_are_tried_again_or_listed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    done: dict[str, tuple[int, int, str]] = {}
    calls = [Piece(f"piece {number}", (number, str(tmp_path))) for number in range(12)]
    with (
        pytest.raises(PieceFailures) as caught,
        worker_pool(WorkerSettings(workers=2, retries=1)) as processes,
    ):
        processes.map(work_or_die, calls, on_result=lambda piece, result: done.update({piece.name: result}))
    assert caught.value.failures == [
        Failure("piece 5", "the worker died (out of memory, or killed)", 2),
        Failure("piece 6", "ValueError: no", 2),
    ]
    assert set(done) == {f"piece {number}" for number in range(12)} - {"piece 5", "piece 6"}
    loads = {(process, load) for process, load, _ in done.values()}
    assert len(loads) == len({process for process, _ in loads}), "each process loads once"
    assert os.getpid() not in {process for process, _ in loads}
    assert capfd.readouterr() == ("", "")
