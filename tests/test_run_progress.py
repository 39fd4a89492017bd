"""One display for a whole run: honest shares and times left, whatever was done before; silence elsewhere."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_project import CUT, REQUEST, TINY, make_bars, run, write_checkpoint

from inference import checkpoints, stage_reports
from jobs import RunProgress, Stage, Work, run_progress

STAGES = [Stage("forward", 60), Stage("reversed", 30), Stage("blocks", 10)]


def test_a_stage_has_the_share_that_was_planned_whatever_it_counts() -> None:
    work = Work(STAGES)
    assert (work.share, work.label) == (0, "")
    work.begin("forward", 1000, 4, 0)
    work.advance(250, 0, 1)
    assert work.share == pytest.approx(0.15)
    work.advance(750, 0, 2)
    work.begin("reversed", 2, 2, 2)
    assert work.share == pytest.approx(0.6)
    work.advance(1, 0, 3)
    work.advance(-1, 0, 4)
    assert work.share == pytest.approx(0.6), "a piece that failed is taken back"
    work.begin("blocks", 0, 0, 4)
    assert work.share == 1, "a stage with nothing to do is done, and so are those before it"


def test_the_label_names_the_stage_and_the_pieces_it_is_at() -> None:
    work = Work(STAGES)
    work.begin("forward", 80, 8, 0)
    for _ in range(3):
        work.end_piece()
    assert work.label == "forward 3/8 pieces"
    work.begin("blocks", 5, 1, 0)
    assert work.label == "blocks"


def test_time_left_follows_from_the_pace() -> None:
    work = Work(STAGES)
    work.begin("forward", 100, 1, 100)
    assert work.seconds_left(130) is None, "nothing is known yet"
    work.advance(50, 0, 160)
    # 30 of 100 took 60 s.
    assert work.seconds_left(160) == pytest.approx(140)
    work.advance(50, 0, 220)
    assert work.seconds_left(220) == pytest.approx(80)


def test_a_stage_that_is_slower_than_planned_is_expected_to_stay_so() -> None:
    work = Work([Stage("fast", 50), Stage("slow", 50)])
    work.begin("fast", 10, 1, 0)
    work.advance(10, 0, 50)
    work.begin("slow", 10, 1, 50)
    assert work.seconds_left(50) == pytest.approx(50), "as fast as the first, as far as anyone knows"
    work.advance(5, 0, 300)
    # Half of it took 250 s; the expectation that it takes 50 s in all still counts a little.
    assert 200 < work.seconds_left(300) < 250


def test_what_was_found_counts_as_done_and_says_nothing_of_the_pace() -> None:
    work = Work([Stage("forward", 100)])
    work.begin("forward", 100, 10, 0)
    for second in range(6):
        work.advance(10, 10, second)
    assert work.share == pytest.approx(0.6) and work.seconds_left(5) is None
    work.advance(20, 0, 25)
    assert work.seconds_left(25) == pytest.approx(20), "20 units took 20 s, and 20 are left"
    assert work.stage_seconds(25) == 20


def test_a_piece_that_goes_on_in_its_middle_says_only_what_it_did_since() -> None:
    work = Work([Stage("forward", 100)])
    work.begin("forward", 100, 1, 0)
    work.advance(70, 60, 10)
    assert work.seconds_left(10) == pytest.approx(30)


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 9), st.floats(0.1, 5)), min_size=1, max_size=5),
    st.floats(0.5, 4),
)
def test_at_an_even_pace_every_forecast_is_right(
    planned: list[tuple[int, int, float]], seconds_of_work: float
) -> None:
    """Stages of any sizes and units whose work takes as long as planned, times one number."""
    stages = [Stage(str(n), weight) for n, (_, _, weight) in enumerate(planned)]
    work, now = Work(stages), 7.0
    end = now + seconds_of_work * sum(weight for _, _, weight in planned)
    for stage, (units, pieces, weight) in zip(stages, planned, strict=True):
        work.begin(stage.name, units, pieces, now)
        for _ in range(units):
            now += seconds_of_work * weight / units
            work.advance(1, 0, now)
            assert work.seconds_left(now) == pytest.approx(end - now, abs=1e-6 * end)
    assert work.share == pytest.approx(1)


def shown_by(act: Callable[[RunProgress], None]) -> str:
    stream = io.StringIO()
    with RunProgress(STAGES, enabled=True, stream=stream) as progress:
        act(progress)
    return stream.getvalue()


def test_the_bar_shows_stage_pieces_time_left_and_figures() -> None:
    def act(progress: RunProgress) -> None:
        progress.begin("forward", units=4, pieces=2)
        progress.note(fov_per_s="85")
        progress.advance(2)
        progress.end_piece()
        progress.write("note: a line")
        progress.close()

    frames = shown_by(act).split("\r")
    assert frames[-1].startswith("forward 1/2 pieces:  30%|")
    assert " left, fov_per_s=85" in frames[-1] and "note: a line\n" in "".join(frames)


def test_a_run_that_ends_well_is_done_and_one_that_fails_stays_where_it_was() -> None:
    with RunProgress(STAGES, stream=io.StringIO()) as progress:
        progress.begin("blocks", units=3)
    assert progress.share == 1 and progress.elapsed_s >= progress.stage_elapsed_s >= 0
    with pytest.raises(OSError), RunProgress(STAGES, stream=io.StringIO()) as progress:
        progress.begin("reversed", units=2)
        raise OSError
    assert progress.share == pytest.approx(0.6)


def test_nothing_is_shown_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    with RunProgress(STAGES, stream=stream) as progress:
        progress.begin("forward", units=3, pieces=3)
        progress.advance(2)
    assert stream.getvalue() == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[RunProgress, Terminal]]:
    """The displays of runs that follow, on terminals of their own; the working directory has a project."""
    monkeypatch.chdir(tmp_path)
    made: list[tuple[RunProgress, Terminal]] = []

    class OnTerminal(RunProgress):
        def __init__(self, stages: list[Stage], *, enabled: bool | None = None) -> None:
            self.stages, self.begun = [stage.name for stage in stages], []
            self.found: dict[str, int] = {}
            self.pieces: dict[str, int] = {}
            made.append((self, Terminal()))
            super().__init__(stages, enabled=enabled, stream=made[-1][1])

        def begin(self, stage: str, *, units: int, pieces: int = 1) -> None:
            if self.begun:
                assert self.done == self.units, f"{self.begun[-1]} counted what it said it would"
            self.begun.append(stage)
            self.units, self.done = units, 0
            super().begin(stage, units=units, pieces=pieces)

        def advance(self, units: int = 1, *, found: int = 0) -> None:
            self.done += units
            self.found[self.begun[-1]] = self.found.get(self.begun[-1], 0) + found
            super().advance(units, found=found)

        def end_piece(self) -> None:
            self.pieces[self.begun[-1]] = self.pieces.get(self.begun[-1], 0) + 1
            super().end_piece()

    monkeypatch.setattr(stage_reports, "RunProgress", OnTerminal)
    monkeypatch.setattr(run_progress, "_DRAW_EVERY_S", 0)
    return made


def test_a_request_shows_the_voxels_it_has_filled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_bars()
    write_checkpoint("model.ckpt-7", TINY)
    monkeypatch.setattr(run_progress, "_DRAW_EVERY_S", 0)
    monkeypatch.setattr(checkpoints, "_LOOK_EVERY_S", 0)
    monkeypatch.setattr(sys, "stderr", Terminal())
    box = "size { x: 24 y: 22 z: 20 }"
    assert run("--inference_request", REQUEST.replace("DEPTH", "1"), "--bounding_box", box) == 0
    frames = sys.stderr.getvalue().split("\r")  # type: ignore[attr-defined]
    assert len({frame.split("|")[0] for frame in frames}) > 3, "it moves"
    assert all(frame.startswith("segmenting:") for frame in frames if frame.strip())
    assert "fov_per_s=" in frames[-2] and "100%" in frames[-1]


PASSES = 'passes { name: "forward" } passes { name: "reversed" seed_order: REVERSED }'
OF_PASSES = ["forward", "forward: reconciliation", "forward: supervoxels"]


@pytest.mark.slow
def test_one_bar_goes_over_all_stages_of_a_project_and_of_its_reseeding(
    runs: list, capsys: pytest.CaptureFixture[str]
) -> None:
    make_bars(inference=PASSES + CUT + "batch_size: 2", outputs="{ hdf5: true zarr: true }")
    assert run("--config", "c.textproto") == 0
    assert run("--config", "c.textproto") == 0
    assert run("reseed", "--config", "c.textproto") == 0
    (first, screen), (second, _), (third, _) = runs
    expected = [s.replace("forward", n) for n in ("forward", "reversed", "consensus") for s in OF_PASSES]
    # There is no coarser scale of so small a volume.
    assert first.begun == [*expected, "coarser scales", "other formats"] == first.stages
    assert first.pieces["forward"] == first.pieces["consensus"] == 8
    assert not any(first.found.values()) and first.share == second.share == 1
    last = screen.getvalue().split("\r")[-1]
    assert "100%" in last and "forward 8/8 pieces" in screen.getvalue() and "fov_per_s=" in screen.getvalue()
    # Only what is written by this very process, or not at all, is left to a rerun.
    assert all(second.found[stage] > 0 for stage in expected)
    assert third.stages[:4] == ["before", "reseeded", "reseeded: reconciliation", "reseeded: supervoxels"]
    assert third.begun == third.stages
    printed = capsys.readouterr()
    assert "reversed: " in printed.out and printed.err.count("%|") == 0


def test_the_display_can_be_switched_off_and_its_figures_stay(runs: list) -> None:
    make_bars(inference="batch_size: 2", run="{ progress: false }")
    assert run("--config", "c.textproto") == 0
    ((progress, screen),) = runs
    assert screen.getvalue() == "" and progress.share == 1 and progress.elapsed_s > 0
