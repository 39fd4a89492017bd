"""What commands print about a finished stage."""

from __future__ import annotations

import pytest

from commands._tables import stage_line
from inference.flooding import PieceReport
from inference.stage_reports import Pace, StageReport, pace_of

COUNTS = {"objects": 7, "subvolumes": 2, "voxels": 1000, "seeds": 30, "fovs": 600, "seconds": 90.0}


@pytest.mark.parametrize(
    "pace, reused, says",
    [
        # Two subvolumes took 45 s each, side by side: the stage took as long as one.
        (
            Pace(600, 45.0),
            False,
            "forward: 7 objects; 2 subvolumes; 600 fields of view in 45 s (13 per second)",
        ),
        (
            Pace(200, 20.0),
            False,
            "forward: 7 objects; 2 subvolumes; 600 fields of view, 200 of them now in 20 s (10 per second)",
        ),
        (None, True, "forward (done before): 7 objects; 2 subvolumes; 600 fields of view"),
    ],
)
def test_fields_of_view_per_second_are_those_of_this_run_over_its_time(pace, reused, says):
    assert stage_line(StageReport("forward", COUNTS, {}, reused, pace)) == says


class Clock:
    """A display whose stage has run for 8 s."""

    stage_elapsed_s = 8.0


def test_what_earlier_runs_made_does_not_count_for_the_pace():
    found = PieceReport({"fovs": 500, "seconds": 50.0}, reused=True)
    taken_up = PieceReport({"fovs": 100, "new_fovs": 40, "seconds": 9.0}, reused=False)
    assert pace_of(Clock(), [found, taken_up]) == Pace(40, 8.0)
    assert pace_of(Clock(), [found]) is None
