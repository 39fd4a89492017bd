"""What people decided becomes training data, and a calibration takes it where ground truth does not tell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sql
from exported_project import make_project

from agglomeration import calibrating
from agglomeration.calibrating import calibrate, first_known, labelled_pairs
from agglomeration.errors import AgglomerationError
from agglomeration.pair_answers import PairAnswers, load_answers
from agglomeration.pair_truth import PairTruth
from agglomeration.scoring import SCORES, ScoreTable
from jobs.pieces import PieceError, save_npz
from proofreading import ProofreadingState, open_state
from proofreading.export import export_project
from proofreading.queue_tables import tasks

BY = {"person": "ada"}


def answers(*rows: tuple[int, int, bool], supervoxels: str = "segmentation") -> PairAnswers:
    columns = [np.array([row[n] for row in rows]) for n in range(3)]
    return PairAnswers(
        columns[0].astype(np.uint64), columns[1].astype(np.uint64), columns[2].astype(bool), supervoxels
    )


@pytest.fixture
def state(tmp_path: Path) -> Iterator[ProofreadingState]:
    found = open_state(make_project(tmp_path))
    yield found
    found.close()


def settle(state: ProofreadingState, kind: str, a: int, b: int, verdict: str | None) -> None:
    """A task that people settled, or not yet."""
    row = {
        "id": 1000 * a + b,
        "kind": kind,
        "supervoxel_a": a,
        "supervoxel_b": b,
        **dict.fromkeys(("point_z_nm", "point_y_nm", "point_x_nm", "probability", "part_nm"), 0.0),
        "evidence": "{}",
        "run": 1,
        "state": "settled" if verdict else "open",
        "verdict": verdict,
    }
    with state.database.writing() as connection:
        connection.execute(sql.insert(tasks).values(row))


def exported(state: ProofreadingState, tmp_path: Path) -> dict[tuple[int, int], bool]:
    from configs import load_config

    export_project(load_config(str(tmp_path / "c.textproto")), ["decisions"], tmp_path / "e")
    found = load_answers(tmp_path / "e" / "decisions.npz")
    assert found.supervoxels == "segmentation"
    return {
        (a, b): truth
        for a, b, truth in zip(found.id_a.tolist(), found.id_b.tolist(), found.truth.tolist(), strict=True)
    }


def test_edits_and_settled_tasks_are_training_data(state: ProofreadingState, tmp_path: Path) -> None:
    state.merge(3, 2, client_key="merge 3 2", **BY)
    state.split(4, [(4, (70.0, 170.0, 50.0))], [(5, (70.0, 170.0, 500.0))], client_key="split 4 5", **BY)
    settle(state, "join", 3, 5, "reject")
    settle(state, "join", 1, 6, None)
    settle(state, "merger", 1, 2, "reject")
    settle(state, "end", 6, 0, "reject")
    assert exported(state, tmp_path) == {(2, 3): True, (4, 5): False, (3, 5): False, (1, 2): True}


def test_what_was_undone_or_contradicted_is_left_out(state: ProofreadingState, tmp_path: Path) -> None:
    undone = state.merge(1, 6, client_key="merge 1 6", **BY)
    state.undo(undone.id, client_key="undo 1 6", **BY)
    # Rejected, and joined all the same; accepted, and apart.
    state.merge(3, 5, client_key="merge 3 5", **BY)
    settle(state, "join", 3, 4, "reject")
    settle(state, "join", 2, 6, "accept")
    assert exported(state, tmp_path) == {(3, 5): True}


def test_parts_of_split_supervoxels_are_left_out(state: ProofreadingState, tmp_path: Path) -> None:
    low, high = (170.0, 120.0, 150.0), (170.0, 120.0, 450.0)
    state.split(6, [(6, low)], [(6, high)], client_key="split 6", **BY)
    settle(state, "join", 1, 6, "reject")
    assert exported(state, tmp_path) == {}


def test_a_file_gives_back_what_was_saved_and_damage_is_found(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    answers((1, 2, True), (1, 3, False), (2**62, 2**63 - 1, True)).save(path)
    found = load_answers(path)
    assert found.id_b.tolist() == [2, 3, 2**63 - 1] and found.truth.tolist() == [True, False, True]
    path.write_bytes(path.read_bytes().replace(b"id_a", b"id_x", 1))
    with pytest.raises(PieceError, match="does not agree with its digest"):
        load_answers(path)


@pytest.mark.parametrize(
    "rows", [[(2, 1, True)], [(1, 2, True), (1, 2, False)], [(3, 4, True), (1, 2, True)], [(2, 2, True)]]
)
def test_pairs_out_of_order_are_refused(rows: list[tuple[int, int, bool]]) -> None:
    with pytest.raises(AgglomerationError, match="no pairs that people decided about"):
        answers(*rows)


def test_another_piece_is_no_file_of_decisions(tmp_path: Path) -> None:
    save_npz(tmp_path / "map.npz", {"supervoxels": np.arange(3)})
    with pytest.raises(AgglomerationError, match="has no 'id_a', so it holds no decisions of people"):
        load_answers(tmp_path / "map.npz")


def test_pairs_are_looked_up_by_both_ids() -> None:
    found = answers((1, 2, True), (1, 2**62, False), (5, 7, True)).of_pairs(
        np.array([1, 1, 5, 2, 1], np.uint64), np.array([2**62, 2, 8, 7, 9], np.uint64)
    )
    assert found.known.tolist() == [True, True, False, False, False]
    assert found.same.tolist() == [False, True, False, False, False]
    nothing = answers().of_pairs(np.array([1], np.uint64), np.array([2], np.uint64))
    assert not nothing.known.any()


def test_the_first_source_that_knows_a_pair_counts() -> None:
    known = [
        PairTruth(np.array([True, False, False]), np.array([True, True, False])),
        PairTruth(np.array([False, True, True]), np.array([True, True, True])),
    ]
    found = first_known(known)
    assert found.same.tolist() == [True, False, True] and found.known.all()


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A scored project, without the scoring: four pairs, the truth of two of them known or of none."""
    truth: list[PairTruth | None] = [None]
    ids = np.array([1, 1, 2, 3], np.uint64), np.array([2, 3, 3, 4], np.uint64)
    scores = ScoreTable(*ids, np.zeros((4, 3), np.int64), {name: np.zeros(4) for name in SCORES})

    @contextmanager
    def nothing(*_: object) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(write=lambda _: None)

    monkeypatch.setattr(calibrating, "workers_of", nothing)
    monkeypatch.setattr(calibrating, "progress_of", nothing)
    monkeypatch.setattr(calibrating, "stages_of", lambda *_, **__: [])
    segmentation = SimpleNamespace(identity="segmentation")
    monkeypatch.setattr(calibrating, "scored", lambda *_: (segmentation, scores))
    found = SimpleNamespace(of_pairs=lambda *_: truth[0])
    monkeypatch.setattr(calibrating, "known_truth", lambda *_: found)
    return SimpleNamespace(config=SimpleNamespace(output_dir=str(tmp_path), name="tiny"), truth=truth)


def test_decisions_fill_in_what_ground_truth_does_not_tell(project: Any) -> None:
    project.truth[0] = PairTruth(np.array([True, False, False, False]), np.array([True, True, False, False]))
    decided = {"d": answers((1, 2, False), (2, 3, True)), "other": answers((3, 4, True), supervoxels="x")}
    found, used = labelled_pairs(project.config, "tiny", decided)
    assert used == {"d"}
    assert found.scores.id_b.tolist() == [2, 3, 3] and found.truth.tolist() == [True, False, True]
    assert found.left_out == 1 and found.groups.tolist() == ["tiny"] * 3


def test_decisions_alone_are_enough(project: Any) -> None:
    found, _ = labelled_pairs(project.config, "tiny", {"d": answers((1, 3, False), (3, 4, True))})
    assert found.truth.tolist() == [False, True] and found.left_out == 2
    with pytest.raises(AgglomerationError, match="or give --decisions of people"):
        labelled_pairs(project.config, "tiny", {})


def test_decisions_about_no_project_are_refused(
    project: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(calibrating, "prepared", lambda config, _: config)
    monkeypatch.setattr(calibrating, "_without_calibration", lambda config: config)
    monkeypatch.setattr(calibrating, "_require_alike", lambda _: {})
    project.truth[0] = PairTruth(np.ones(4, bool), np.ones(4, bool))
    answers((1, 2, True), supervoxels="of another").save(tmp_path / "d.npz")
    with pytest.raises(AgglomerationError, match="d.npz' are about the supervoxels of none of these"):
        calibrate([project.config], tmp_path / "c.json", decisions=[tmp_path / "d.npz"])
