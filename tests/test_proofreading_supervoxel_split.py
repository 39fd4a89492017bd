"""Splitting a supervoxel: its voxels, edges and cell bodies, and reading labels with the split in them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from proofreading_cases import VOXEL_NM, agglomerated, scored_edges

from agglomeration.database import open_database
from agglomeration.decisions import write_scored_edges
from agglomeration.merging import apply_constraint
from agglomeration.runs import finish_run, start_run
from inference.supervoxel_table import block_statistics
from jobs.pieces import PieceError
from proofreading import answers, task_rows
from proofreading.accepting import carry_out
from proofreading.agenda import Agenda
from proofreading.answers import Answer
from proofreading.crossings import joined_crossings
from proofreading.edits import Kind, Point
from proofreading.errors import ConflictError, ProofreadingError
from proofreading.graph import new_supervoxel
from proofreading.lengths import Lengths
from proofreading.state import ProofreadingState
from proofreading.supervoxel_split import contacts, side_at, split_supervoxel
from proofreading.tasks import Candidate, TaskKind, Verdict
from proofreading.timing import ExpectedSeconds
from proofreading.value import Beyond
from volumes import Box, Volume
from volumes.arrays import ArrayVolume

START = (100, 20, 30)


def dumbbell() -> np.ndarray:
    """Two balls of supervoxel 3 at x 6 and 18, joined by a thin bridge; 5 under the left one, 7 on the right
    one, 9 far away."""
    z, y, x = np.indices((13, 13, 32))
    labels = np.zeros((13, 13, 32), np.uint64)
    for centre in (6, 18):
        labels[(z - 6) ** 2 + (y - 6) ** 2 + (x - centre) ** 2 <= 16] = 3
    labels[6, 6, 6:18] = 3
    labels[11, 4:9, 4:9] = 5
    labels[10, 6, 6] = 3
    labels[6, 6, 23:26] = 7
    labels[0, 0, 29:] = 9
    return labels


def nm(z: int, y: int, x: int) -> tuple[float, float, float]:
    """The middle of a voxel of `dumbbell`, in the volume."""
    at = (np.array((z, y, x)) + START + 0.5) * VOXEL_NM
    return float(at[0]), float(at[1]), float(at[2])


# The rest of an answer: partner, forced, seconds, comment, state, edit, gained_nm.
GIVEN = (None, False, None, "", "counted", None, 0.0)
LEFT, RIGHT = nm(6, 6, 6), nm(6, 6, 18)


@pytest.fixture
def state(tmp_path: Path) -> ProofreadingState:
    return opened(tmp_path)


def opened(
    folder: Path,
    edges: tuple[tuple[int, int, float], ...] = ((3, 5, 0.9), (3, 7, 0.8)),
    somas: Mapping[int, int] | None = None,
) -> ProofreadingState:
    labels, place = dumbbell(), folder / "decisions.sqlite"
    table = block_statistics(labels, START)
    database = agglomerated(place, (*edges, (3, 9, 0.3)), {}, somas, table, RIGHT)

    def volume() -> Volume:
        return ArrayVolume(labels, voxel_size_nm=VOXEL_NM, start=START)

    return ProofreadingState(database, folder, volume)


def parts_of(state: ProofreadingState, edit: int = 1) -> tuple[int, int]:
    return new_supervoxel(edit, 0), new_supervoxel(edit, 1)


def test_a_supervoxel_is_parted_at_its_neck() -> None:
    inside = dumbbell() == 3
    sides = split_supervoxel(inside, np.array([[6, 6, 6]]), np.array([[6, 6, 18]]), (1, 1, 1))
    assert np.array_equal(sides > 0, inside)
    x = np.indices(inside.shape)[2]
    assert np.all(sides[inside & (x <= 10)] == 1)
    assert np.all(sides[inside & (x >= 14)] == 2)


def test_a_supervoxel_without_a_neck_is_parted_in_the_middle() -> None:
    inside = np.zeros((9, 9, 24), bool)
    inside[1:8, 1:8, 2:22] = True
    sides = split_supervoxel(inside, np.array([[4, 4, 4]]), np.array([[4, 4, 19]]), (1, 1, 1))
    assert np.count_nonzero(sides == 1) == np.count_nonzero(sides == 2)
    # Points off its axis, and a longer way to one of them.
    sides = split_supervoxel(inside, np.array([[1, 1, 3]]), np.array([[6, 4, 19]]), (1, 1, 1))
    assert np.count_nonzero(sides == 1) > 300 and np.count_nonzero(sides == 2) > 300


def test_pieces_that_no_point_reaches_go_with_the_nearer_part() -> None:
    inside = np.zeros((1, 1, 12), bool)
    inside[0, 0, [0, 1, 2, 5, 6, 9, 11]] = True
    sides = split_supervoxel(inside, np.array([[0, 0, 0]]), np.array([[0, 0, 11]]), (1, 1, 1))
    assert sides[0, 0].tolist() == [1, 1, 1, 0, 0, 1, 1, 0, 0, 2, 0, 2]


def test_points_beside_the_supervoxel_stand_for_its_nearest_voxel() -> None:
    inside = np.zeros((1, 3, 8), bool)
    inside[0, 1] = True
    sides = split_supervoxel(inside, np.array([[0, 0, 0]]), np.array([[0, 2, 9]]), (1, 1, 1))
    assert sides[0, 1, 0] == 1 and sides[0, 1, 7] == 2


def test_points_of_both_sides_at_one_voxel_are_refused() -> None:
    point = np.array([[0, 0, 1]])
    with pytest.raises(ProofreadingError, match="move them apart"):
        split_supervoxel(np.ones((1, 1, 3), bool), point, point, (1, 1, 1))


@given(st.integers(0, 2**32 - 1))
def test_every_voxel_of_any_object_gets_a_side(seed: int) -> None:
    rng = np.random.default_rng(seed)
    inside = rng.random((4, 5, 6)) < 0.5
    at = np.argwhere(inside)
    if len(at) < 2:
        return
    a, b = at[rng.permutation(len(at))[:2]]
    sides = split_supervoxel(inside, a[None], b[None], VOXEL_NM)
    assert np.array_equal(sides > 0, inside)
    assert (sides[tuple(a)], sides[tuple(b)]) == (1, 2)


def test_contacts_are_counted_in_faces_by_side() -> None:
    labels = np.array([[[5, 3, 3, 7], [5, 3, 3, 0], [0, 9, 9, 0]]], np.uint64)
    sides = np.array([[[0, 1, 2, 0], [0, 1, 2, 0], [0, 0, 0, 0]]], np.uint8)
    assert contacts(labels, sides) == {5: (2, 0), 7: (0, 1), 9: (1, 1)}


def test_a_point_belongs_to_the_part_whose_voxel_is_nearest() -> None:
    sides = np.array([[[1, 1, 0, 0, 2]]], np.uint8)
    assert side_at(sides, (0, 0, 10), (0.5, 0.5, 12.5), (1, 1, 1)) == 0
    assert side_at(sides, (0, 0, 10), (0.5, 0.5, 13.5), (1, 1, 1)) == 1


def test_a_preview_shows_voxels_and_neurons_and_changes_nothing(state: ProofreadingState) -> None:
    preview = state.preview_split(3, [(3, LEFT)], [(3, RIGHT)])
    a, b = parts_of(state)
    assert preview.needs_supervoxel_split == 3
    assert [part.tolist() for part in preview.parts] == [[5, a], [7, b]]
    assert preview.edges.size == 0 and preview.cost == 0
    assert preview.supervoxel_parts is not None
    assert np.unique(preview.supervoxel_parts.sides).tolist() == [0, 1, 2]
    assert state.last_edit == 0 and state.supervoxels_of(3).tolist() == [3, 5, 7]
    assert not (state.output_dir / "proofreading").exists()


def test_a_split_supervoxel_is_two_in_the_graph_and_in_the_labels(state: ProofreadingState) -> None:
    edit = state.split(3, [(3, LEFT)], [(3, RIGHT)], person="ada", client_key="1")
    a, b = parts_of(state)
    assert edit.kind is Kind.SUPERVOXEL_SPLIT and edit.supervoxels == (3,)
    assert state.neuron_of(5) == state.neuron_of(a) != state.neuron_of(7) == state.neuron_of(b)
    assert edit.neurons_before == (3,) and set(edit.neurons_after) == {state.neuron_of(5), state.neuron_of(7)}
    labels = state.read_labels(Box.from_shape((13, 13, 32), START))
    old = dumbbell()
    assert np.array_equal(labels[old != 3], old[old != 3])
    assert set(np.unique(labels[old == 3]).tolist()) == {a, b}
    assert labels[6, 6, 6] == a and labels[6, 6, 18] == b
    assert state.voxels_of(state.neuron_of(a)) == np.count_nonzero((labels == a) | (labels == 5))
    assert np.array_equal(state.at(0).supervoxels, [3, 5, 7, 9])
    assert np.array_equal(state.neurons().supervoxels, [5, 7, 9, a, b])


def test_part_of_a_box_is_read_as_from_the_whole(state: ProofreadingState) -> None:
    state.split(3, [(3, LEFT)], [(3, RIGHT)], person="ada", client_key="1")
    whole = Box.from_shape((13, 13, 32), START)
    inner = Box((103, 24, 34), (109, 30, 50))
    assert np.array_equal(state.read_labels(inner), state.read_labels(whole)[inner.slices(START)])


def test_a_split_supervoxel_is_undone_and_done_again(state: ProofreadingState) -> None:
    before = state.neurons()
    state.split(3, [(3, LEFT)], [(3, RIGHT)], person="ada", client_key="1")
    after, labels = state.neurons(), state.read_labels(Box.from_shape((13, 13, 32), START))
    state.undo(1, person="ada", client_key="2")
    assert state.neurons().digest == before.digest and state.supervoxel_splits() == ()
    assert np.array_equal(state.read_labels(Box.from_shape((13, 13, 32), START)), dumbbell())
    state.redo(1, person="ada", client_key="3")
    assert state.neurons().digest == after.digest
    assert np.array_equal(state.read_labels(Box.from_shape((13, 13, 32), START)), labels)


def test_a_part_is_split_again(state: ProofreadingState) -> None:
    state.split(3, [(3, LEFT)], [(3, RIGHT)], person="ada", client_key="1")
    a, b = parts_of(state)
    neuron = state.neuron_of(a)
    state.split(neuron, [(a, nm(4, 6, 6))], [(a, nm(8, 6, 6))], person="ada", client_key="2")
    c, d = parts_of(state, 2)
    labels = state.read_labels(Box.from_shape((13, 13, 32), START))
    assert labels[4, 6, 6] == c and labels[8, 6, 6] == d and labels[6, 6, 18] == b
    assert state.neuron_of(5) == state.neuron_of(d) != state.neuron_of(c)
    with pytest.raises(ProofreadingError, match="undo edit 2 first"):
        state.undo(1, person="ada", client_key="3")


def test_the_rest_of_the_neuron_is_cut_where_it_still_joins_the_parts(tmp_path: Path) -> None:
    state = opened(tmp_path, ((3, 5, 0.9), (3, 7, 0.8), (5, 7, 0.6)))
    preview = state.preview_split(3, [(3, LEFT)], [(3, RIGHT)])
    assert preview.edges.tolist() == [[5, 7]]
    state.split(3, [(3, LEFT)], [(3, RIGHT)], person="ada", client_key="1")
    assert state.neuron_of(5) != state.neuron_of(7)


def test_a_person_who_merges_a_split_part_stops_its_undo(state: ProofreadingState) -> None:
    state.split(3, [(3, LEFT)], [(3, RIGHT)], person="ada", client_key="1")
    _, b = parts_of(state)
    state.merge(b, 9, person="ada", client_key="2")
    with pytest.raises(ProofreadingError, match="undo edit 2 first"):
        state.undo(1, person="ada", client_key="3")
    assert state.last_edit == 2


def test_a_merge_made_before_the_split_is_undone_after_it(state: ProofreadingState) -> None:
    state.merge(3, 9, RIGHT, nm(0, 0, 30), person="ada", client_key="1")
    state.split(3, [(3, LEFT)], [(3, RIGHT)], person="ada", client_key="2")
    a, b = parts_of(state, 2)
    assert state.neuron_of(9) == state.neuron_of(b)
    state.undo(1, person="ada", client_key="3")
    assert state.neuron_of(9) == 9
    assert state.neuron_of(7) == state.neuron_of(b) != state.neuron_of(a)


def test_a_cell_body_stays_with_the_part_at_its_centre(tmp_path: Path) -> None:
    state = opened(tmp_path, somas={3: 8})
    state.split(3, [(3, LEFT)], [(3, RIGHT)], person="ada", client_key="1")
    a, b = parts_of(state)
    assert state.somas_of(state.neuron_of(a)) == ()
    assert state.somas_of(state.neuron_of(b)) == (8,)


def test_tasks_of_a_split_supervoxel_are_about_the_part_at_their_point(state: ProofreadingState) -> None:
    left, right = (
        Candidate(TaskKind.JOIN, (3, 9), point, 0.5, {"side_a": [["3", list(point)]]})
        for point in (LEFT, RIGHT)
    )
    end = Candidate(TaskKind.END, (3, 0), RIGHT, 0.3)
    agenda = agenda_of(state)
    agenda.fill([left, end])
    state.split(3, [(3, LEFT)], [(3, RIGHT)], person="ada", client_key="1")
    a, b = parts_of(state)
    agenda.refresh(state.edit(1).neurons_before + state.edit(1).neurons_after)
    assert agenda.entries[left.id].now.supervoxels == (a, 9)
    assert agenda.entries[left.id].now.evidence["side_a"] == [[str(a), list(LEFT)]]
    assert agenda.entries[left.id].neurons == (state.neuron_of(a), 9)
    assert agenda.entries[end.id].neurons == (state.neuron_of(b), 0)
    assert not any(entry.is_stale for entry in agenda.entries.values())
    given = Answer(*(1, "k", left.id, "l", "ada", "", Verdict.ACCEPT, {}), *GIVEN)
    carry_out(state, right, given)
    assert state.neuron_of(9) == state.neuron_of(b) != state.neuron_of(a)


def test_a_split_that_parts_the_sides_of_a_task_answers_it(state: ProofreadingState) -> None:
    sides = {"side_a": [["3", list(LEFT)]], "side_b": [["3", list(RIGHT)]]}
    crossing = Candidate(TaskKind.MERGER, (3, 0), LEFT, 0.5, sides)
    agenda = agenda_of(state)
    agenda.fill([crossing])
    state.split(3, [(3, LEFT)], [(3, RIGHT)], person="ada", client_key="1")
    agenda.refresh([3])
    assert agenda.entries[crossing.id].is_stale


def agenda_of(state: ProofreadingState) -> Agenda:
    """Supervoxels 3, 5, 7 and 9 are 1000, 100, 100 and 100 nm long."""
    ids, nm_ = np.array([3, 5, 7, 9], np.uint64), np.array([1000.0, 100, 100, 100])
    lengths = Lengths(ids, nm_, np.zeros(0, np.uint64), np.zeros((0, 3)), joined_crossings([]))
    return Agenda(
        state, lengths, ExpectedSeconds(dict.fromkeys(TaskKind, 1.0)), Beyond(np.zeros(0), np.ones(1), 0.25)
    )


def test_parts_have_the_share_of_the_length_that_they_have_of_the_voxels(state: ProofreadingState) -> None:
    agenda, whole = agenda_of(state), state.voxels_of(3)
    agenda.fill([])
    assert agenda.length_of(3) == 1200
    state.split(3, [(3, LEFT)], [(3, RIGHT)], person="ada", client_key="1")
    a, b = parts_of(state)
    agenda.refresh([3])
    share = state.shares_of(np.array([a, b], np.uint64))[1]
    alone = int(np.count_nonzero(dumbbell() == 3))
    assert share.sum() == pytest.approx(1) and 0.3 < share[0] < 0.7 and whole > alone
    assert agenda.length_of(state.neuron_of(a)) == pytest.approx(1000 * share[0] + 100)
    # A part of a part has its share of the whole.
    near = nm(6, 6, 4)
    state.split(state.neuron_of(a), [(a, near)], [(a, LEFT)], person="ada", client_key="2")
    c, d = parts_of(state, 2)
    origins, shares = state.shares_of(np.array([c, d, b, 5], np.uint64))
    assert origins.tolist() == [3, 3, 3, 5] and shares[:3].sum() == pytest.approx(1) and shares[3] == 1


def test_a_part_has_a_place(state: ProofreadingState, tmp_path: Path) -> None:
    state.split(3, [(3, LEFT)], [(3, RIGHT)], person="ada", client_key="1")
    again = opened_again(tmp_path)
    for part in parts_of(state):
        point = again.point_of(again.neuron_of(part))
        assert point is not None
        at = np.floor(np.array(point) / VOXEL_NM).astype(int)
        assert again.read_labels(Box(tuple(at), tuple(at + 1))).item() == part


@pytest.mark.parametrize(
    ("place", "clicked", "part"),
    # The bridge is thin: nearly all ways from its middle are longer than those from inside the left ball.
    [(RIGHT, RIGHT, 1), (nm(6, 6, 9), nm(6, 6, 11), 0)],
)
def test_a_no_about_a_supervoxel_that_was_split_binds_the_part_at_its_point(
    tmp_path: Path, place: Point, clicked: Point, part: int
) -> None:
    state = opened(tmp_path)
    no = Candidate(TaskKind.JOIN, (3, 9), place, 0.5)
    with state.database.writing() as connection:
        task_rows.write(connection, state.run, [no])
        given = Answer(*(1, "key", no.id, "l", "ada", "2026", Verdict.REJECT, {}), *GIVEN)
        answers.add(connection, given)
        answers.settle(connection, no.id, Verdict.REJECT, None)
    state.split(3, [(3, LEFT)], [(3, clicked)], person="ada", client_key="1")
    run = start_run(state.database, "another digest", "", {})
    write_scored_edges(
        state.database, run, scored_edges([(3, 5, 0.9), (3, 7, 0.8), (5, 9, 0.7), (7, 9, 0.6)])
    )
    finish_run(state.database, run)
    again = opened_again(tmp_path)
    bound, other = parts_of(again)[part], parts_of(again)[1 - part]
    assert again.now_at(3, place) == bound
    with_it, without = ((7, 5), (5, 7))[part]
    assert again.neuron_of(other) == again.neuron_of(with_it) == again.neuron_of(9)
    assert again.neuron_of(bound) == again.neuron_of(without)
    assert {each.pair for each in again.base.changes} == {(without, 9)}
    assert again.neuron_of(bound) != again.neuron_of(9)


def opened_again(folder: Path) -> ProofreadingState:
    labels = dumbbell()
    database = open_database(folder / "decisions.sqlite")
    return ProofreadingState(
        database, folder, lambda: ArrayVolume(labels, voxel_size_nm=VOXEL_NM, start=START)
    )


def finish_another_run(state: ProofreadingState) -> None:
    """Another agglomeration, which takes the rows of the one before away."""
    run = start_run(state.database, "another digest", "", {})
    write_scored_edges(state.database, run, scored_edges([(3, 5, 0.9), (3, 9, 0.3)]))
    apply_constraint(state.database, run)
    finish_run(state.database, run)


def test_no_supervoxel_is_split_while_a_newer_agglomeration_waits(tmp_path: Path) -> None:
    state = opened(tmp_path, somas={3: 8})
    assert not state.has_newer_run
    finish_another_run(state)
    assert state.has_newer_run
    for split in (state.preview_split, partial(state.split, person="ada", client_key="1")):
        with pytest.raises(ProofreadingError, match="newer agglomeration waits; restart the server"):
            split(3, [(3, LEFT)], [(3, RIGHT)])
    assert state.somas_of(3) == (8,) and state.last_edit == 0


def test_a_supervoxel_whose_cell_body_has_no_place_is_not_split(tmp_path: Path) -> None:
    state = opened(tmp_path, somas={3: 8})
    state._soma_centres.clear()
    with pytest.raises(ProofreadingError, match="where cell body 8 in it lies is not known"):
        state.split(3, [(3, LEFT)], [(3, RIGHT)], person="ada", client_key="1")


def test_another_process_sees_the_same(tmp_path: Path) -> None:
    state = opened(tmp_path)
    state.split(3, [(3, LEFT)], [(3, RIGHT)], person="ada", client_key="1")
    again = ProofreadingState(state.database, tmp_path, state.labels)
    assert again.neurons().digest == state.neurons().digest
    whole = Box.from_shape((13, 13, 32), START)
    assert np.array_equal(again.read_labels(whole), state.read_labels(whole))


def test_two_supervoxels_with_points_of_both_sides_are_refused(state: ProofreadingState) -> None:
    points = [(3, LEFT), (5, nm(11, 6, 6))]
    with pytest.raises(ProofreadingError, match="split one after the other"):
        state.preview_split(3, points, points)


def test_a_supervoxel_of_another_neuron_is_refused(state: ProofreadingState) -> None:
    with pytest.raises(ConflictError, match="supervoxel 9 is in neuron 9, not in 3"):
        state.preview_split(3, [(3, LEFT)], [(9, LEFT)])


def test_a_split_whose_voxels_are_lost_is_named(state: ProofreadingState) -> None:
    state.split(3, [(3, LEFT)], [(3, RIGHT)], person="ada", client_key="1")
    (kept,) = state.supervoxel_splits()
    kept.path.unlink()
    with pytest.raises(PieceError, match="1.npz"):
        state.read_labels(Box.from_shape((13, 13, 32), START))
