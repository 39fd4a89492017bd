"""Fifty people at one server that is killed at random moments: nothing is lost, and nothing is done twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from proofreading_cases import emptied_postgresql

from benchmarks.proofreading_checks import findings
from benchmarks.proofreading_clients import Acknowledged, Held, Journal
from benchmarks.proofreading_load import Load, put_to
from benchmarks.proofreading_project import make_project
from configs import load_config
from proofreading.state import open_state

SMALL = {"supervoxels": 3000, "neurons": 900, "open_pairs": 2500, "bodies": 20}


@pytest.fixture(params=["sqlite", "postgresql"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A project whose leases end soon."""
    if request.param == "sqlite":
        yield make_project(tmp_path / "project", settings="lease_seconds: 5", **SMALL)
        return
    with emptied_postgresql() as url:
        yield make_project(tmp_path / "project", settings="lease_seconds: 5", url=url, **SMALL)


@pytest.mark.slow
def test_what_was_acknowledged_is_there_and_nothing_else_whenever_the_server_is_killed(config: Path) -> None:
    outcome = put_to(config, Load(clients=50, think_s=0.5, seconds=20, kills=3, seed=3))
    assert outcome.findings == []
    journal = outcome.journal
    acknowledged = [each for each in journal.answers if each.status == 200]
    assert {each.verdict for each in acknowledged} == {"accept", "reject", "unknown", "skip"}
    assert any(each.edit for each in acknowledged) and len({each.person for each in acknowledged}) > 40
    assert journal.lost > 0 and len(outcome.start_seconds) == 4
    assert journal.statuses.keys() <= {200, 409, 410}, "fifty people from one address are not too many"


def test_the_checks_notice_what_is_wrong(tmp_path: Path) -> None:
    config = load_config(
        str(make_project(tmp_path / "p", supervoxels=60, neurons=30, open_pairs=40, bodies=4))
    )
    told = Acknowledged("key-0001", 7, "join", (1, 2), "word", "ann", "accept", 200, True, 3)
    held = [Held(7, "word", 10.0, 12.0), Held(7, "other", 11.0, 13.0), Held(8, "third", 11.0, 13.0)]
    state = open_state(config)
    state.merge(1, 60, person="ben", client_key="unheard", task=9)
    found = findings(state.database, Journal(answers=[told], held=held, wrong=["500"]))
    state.close()
    assert found == [
        "500",
        "answer key-0001 was acknowledged and is not there",
        "task 7 is None; settled for its person: True",
        "edit 3 was acknowledged to ann for task 7 and is None",
        "edit 1 (merge, task 9) is there and nobody was told",
        "task 7 was with two people for 1.00 s",
    ]
