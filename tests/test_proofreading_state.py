"""The state of edits in a database: acknowledged is committed, keys, versions, other writers, kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sql
from proofreading_cases import agglomerated, agglomerated_in, scored_edges

from agglomeration.database import Database, DatabaseError, open_database
from agglomeration.decisions import write_scored_edges
from agglomeration.runs import finish_run, start_run
from configs import load_config
from proofreading import edit_log, tables
from proofreading.edit_log import EditLog
from proofreading.edits import Edit, Kind
from proofreading.errors import ConflictError, ProofreadingError, SomaError, UnknownError
from proofreading.migrations import VERSION_TABLE, bring_up_to_date
from proofreading.state import ProofreadingState, open_state

ORIGIN = (0.0, 0.0, 0.0)
VOXELS = {i: 10 * i for i in range(1, 9)}
# Neurons 1-2-3-4 with cell body 1, 5-6 with cell body 2, 7, 8.
EDGES = [(1, 2, 0.9), (2, 3, 0.6), (3, 4, 0.95), (4, 5, 0.3), (5, 6, 0.8)]
SOMAS = {1: 1, 6: 2}


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with agglomerated_in(request.param, tmp_path, EDGES, VOXELS, SOMAS) as opened:
        yield opened


@pytest.fixture
def state(database: Database, tmp_path: Path) -> ProofreadingState:
    return ProofreadingState(database, tmp_path)


def merge(state: ProofreadingState, a: int, b: int, key: str | None = None, **more: object) -> Edit:
    return state.merge(a, b, person="ada", client_key=key or f"{a}-{b}", **more)  # type: ignore[arg-type]


def split(state: ProofreadingState, a: int, b: int, key: str | None = None, **more: object) -> Edit:
    points = [(a, ORIGIN)], [(b, ORIGIN)]
    neuron = state.neuron_of(a)
    return state.split(neuron, *points, person="ada", client_key=key or f"{a}|{b}", **more)  # type: ignore[arg-type]


def test_without_edits_neurons_are_those_of_the_agglomeration(state: ProofreadingState) -> None:
    assert state.neurons().neurons.tolist() == [1, 1, 1, 1, 5, 5, 7, 8]
    assert state.supervoxels_of(1).tolist() == [1, 2, 3, 4]
    assert state.supervoxels_of(1).dtype == np.uint64
    assert (state.voxels_of(5), state.somas_of(5), state.version_of(5)) == (110, (2,), 0)
    edges = state.edges_of(1)
    assert np.stack([edges.id_a, edges.id_b]).T.tolist() == [[1, 2], [2, 3], [3, 4]]
    assert edges.certainty.tolist() == [0.9, 0.6, 0.95]
    assert state.history() == [] and state.last_edit == 0


def test_a_merge_says_what_it_did(state: ProofreadingState) -> None:
    edit = merge(state, 4, 7, reason="same axon", task=12)
    assert edit == Edit(
        1, edit.at, "ada", Kind.MERGE, (4, 7), (1, 7), (1,), "same axon", False, "4-7", None, 12, run=1
    )
    assert state.neuron_of(7) == 1
    assert state.edit(1) == edit
    assert state.version_of(1) == 1
    assert state.edges_of(1).certainty.tolist()[-1] == 1.0


def test_a_split_is_done_as_its_preview_says(state: ProofreadingState) -> None:
    preview = state.preview_split(1, [(1, ORIGIN)], [(4, ORIGIN)])
    assert [part.tolist() for part in preview.parts] == [[1, 2], [3, 4]]
    assert preview.edges.tolist() == [[2, 3]]
    assert preview.cost == pytest.approx(-np.log(0.4))
    assert preview.needs_supervoxel_split is None and preview.supervoxel_parts is None
    assert state.last_edit == 0
    edit = split(state, 1, 4)
    assert (edit.kind, edit.supervoxels) == (Kind.SPLIT, (1, 4))
    assert (edit.neurons_before, edit.neurons_after) == ((1,), (1, 2))
    assert state.supervoxels_of(1).tolist() == [3, 4]
    assert state.supervoxels_of(2).tolist() == [1, 2]


def test_the_same_key_gives_the_same_edit_and_does_nothing_twice(state: ProofreadingState) -> None:
    first = merge(state, 4, 7, "key")
    assert merge(state, 4, 7, "key") == first
    assert state.last_edit == 1
    undone = state.undo(1, person="ada", client_key="u")
    assert state.undo(1, person="ada", client_key="u") == undone
    assert merge(state, 4, 7, "key").undone_by == undone.id
    assert state.last_edit == 2


def test_a_key_of_another_edit_is_refused(state: ProofreadingState) -> None:
    merge(state, 4, 7, "key")
    with pytest.raises(ConflictError, match="client key 'key' was used for edit 1"):
        split(state, 1, 4, "key")
    with pytest.raises(ConflictError, match="was used for edit 1"):
        state.merge(4, 7, person="eve", client_key="key")


def test_a_decision_on_a_neuron_that_changed_since_is_not_applied(state: ProofreadingState) -> None:
    merge(state, 4, 7, expected={1: 0, 7: 0})
    with pytest.raises(ConflictError, match="neuron 1 was changed by edit 1; look at it again"):
        merge(state, 4, 8, expected={1: 0, 8: 0})
    with pytest.raises(ConflictError, match="neuron 7 is no more"):
        merge(state, 4, 8, expected={7: 1})
    assert merge(state, 4, 8, expected={1: 1, 8: 0}).id == 2


def test_two_cell_bodies_come_together_only_by_force_and_that_is_logged(state: ProofreadingState) -> None:
    with pytest.raises(SomaError, match="neuron 5 would have cell bodies 1 and 2"):
        merge(state, 4, 5)
    assert state.last_edit == 0 and state.neuron_of(4) == 1
    assert merge(state, 7, 8, force=True).forced is False
    assert merge(state, 4, 5, force=True).forced is True
    assert state.somas_of(state.neuron_of(4)) == (1, 2)


def test_an_undo_may_join_cell_bodies_only_by_force(state: ProofreadingState) -> None:
    merge(state, 4, 5, force=True)
    split(state, 4, 5)
    with pytest.raises(SomaError):
        state.undo(2, person="ada", client_key="u")
    assert state.undo(2, person="ada", client_key="u", force=True).forced


def test_any_edit_is_undone_and_redone(state: ProofreadingState) -> None:
    merge(state, 4, 7)
    merge(state, 7, 8)
    before = state.neurons().digest
    undo = state.undo(1, person="bob", client_key="u", reason="no")
    assert (undo.kind, undo.target, undo.supervoxels, undo.person) == (Kind.UNDO, 1, (4, 7), "bob")
    assert state.neuron_of(8) == state.neuron_of(7) != 1
    assert state.edit(1).undone_by == undo.id
    redo = state.redo(1, person="bob", client_key="r")
    assert (redo.kind, redo.target) == (Kind.REDO, 1)
    assert state.edit(1).undone_by is None
    assert state.neurons().digest == before


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda s: s.undo(9, person="a", client_key="k"), UnknownError, "there is no edit 9"),
        (lambda s: s.redo(1, person="a", client_key="k"), ConflictError, "edit 1 is not undone"),
        (lambda s: merge(s, 4, 99), UnknownError, "there is no supervoxel 99"),
        (lambda s: merge(s, 4, 2**63), UnknownError, "there is no supervoxel"),
        (lambda s: merge(s, -1, 4), UnknownError, "there is no supervoxel -1"),
        (lambda s: merge(s, 1, 7), ConflictError, "in one neuron already"),
        (lambda s: merge(s, 4, 8, "k" * 201), ProofreadingError, "client key of an edit needs 1 to 200"),
        (lambda s: s.merge(4, 8, person="", client_key="k"), ProofreadingError, "person of an edit needs"),
        (lambda s: merge(s, 4, 8, point_a_nm=(0, float("nan"), 1)), ProofreadingError, "is no point"),
        (lambda s: s.preview_split(1, [(1, (1, 2))], [(4, ORIGIN)]), ProofreadingError, "is no point"),
        (lambda s: s.preview_split(1, [], [(1, ORIGIN)]), ProofreadingError, "at least one point"),
        (lambda s: s.preview_split(1, [(5, ORIGIN)], [(1, ORIGIN)]), ConflictError, "is in neuron 5"),
        (lambda s: s.preview_split(7, [(4, ORIGIN)], [(7, ORIGIN)]), UnknownError, "neuron 7 is no more"),
        (lambda s: s.supervoxels_of(99), UnknownError, "there is no neuron 99 and never was"),
        (lambda s: s.resolve(2**62 + 5), UnknownError, "never was"),
        (lambda s: s.at(2), UnknownError, "there is no edit 2; the last is 1"),
        (lambda s: s.edit(0), UnknownError, "there is no edit 0"),
        (lambda s: s.labels(), ProofreadingError, "without the voxels"),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(
    state: ProofreadingState,
    call: Callable[[ProofreadingState], object],
    kind: type[ProofreadingError],
    message: str,
) -> None:
    merge(state, 4, 7)
    before = state.neurons().digest
    with pytest.raises(kind, match=message):
        call(state)
    assert (state.last_edit, state.neurons().digest) == (1, before)


def test_the_state_at_any_edit_is_what_it_was_then(state: ProofreadingState) -> None:
    seen = [state.neurons().digest]
    for step in (
        lambda: merge(state, 4, 7),
        lambda: split(state, 1, 7),
        lambda: merge(state, 7, 8),
        lambda: state.undo(1, person="a", client_key="u"),
        lambda: state.redo(1, person="a", client_key="r"),
    ):
        step()
        seen.append(state.neurons().digest)
    assert [state.at(number).digest for number in range(6)] == seen


def test_a_neuron_had_supervoxels_at_any_edit(state: ProofreadingState) -> None:
    merge(state, 4, 7)
    split(state, 2, 3)
    state.undo(1, person="ada", client_key="undo")
    for edit in range(4):
        then = state.at(edit)
        for neuron in np.unique(then.neurons).tolist():
            expected = then.supervoxels[then.neurons == neuron].tolist()
            assert state.supervoxels_at(neuron, edit).tolist() == expected
    with pytest.raises(UnknownError, match="after edit 1 no neuron was called 7"):
        state.supervoxels_at(7, 1)


def test_a_time_names_the_last_edit_until_then(state: ProofreadingState) -> None:
    with state.database.writing() as connection:
        for number, at in ((1, "2026-01-01T09:00:00+00:00"), (2, "2026-01-02T09:00:00+00:00")):
            change = json.dumps({"supervoxels": ["7", str(8 - 4 * (number - 1))], "points_nm": [None, None]})
            row = {"id": number, "at": at, "person": "ada", "kind": "merge", "change": change, "reason": ""}
            connection.execute(tables.edits.insert().values(**row, forced=False, client_key=str(number)))
    state.refresh()
    assert [state.edit_named(each) for each in ("0", "2", "2025-12-31", "2026-01-01T09:00")] == [0, 2, 0, 1]
    assert state.edit_named("2026-01-02T10:30+02:00") == 1 and state.edit_named("2026-01-02T09:00:00Z") == 2
    with pytest.raises(UnknownError, match="there is no edit 3"):
        state.edit_named("3")


def test_history_says_what_edits_did_at_their_time(database: Database, tmp_path: Path) -> None:
    state = ProofreadingState(database, tmp_path)
    before = merge(state, 4, 7)
    assert (before.neurons_before, before.neurons_after, before.run) == ((1, 7), (1,), 1)
    run = start_run(database, "another", "", {})
    write_scored_edges(database, run, scored_edges([(4, 8, 0.9), (7, 8, 0.3)]))
    finish_run(database, run)
    again = ProofreadingState(database, tmp_path)
    assert again.neuron_of(7) == 4
    assert again.edit(1) == before
    assert [each.id for each in again.history(neuron=1)] == [1]
    assert merge(again, 1, 2).run == run != before.run


def test_history_is_paged_and_told_by_neuron(state: ProofreadingState) -> None:
    for b in (7, 8):
        merge(state, 4, b)
    split(state, 5, 6)
    assert [edit.id for edit in state.history()] == [3, 2, 1]
    assert [edit.id for edit in state.history(limit=2)] == [3, 2]
    assert [edit.id for edit in state.history(before=3, limit=1)] == [2]
    assert [edit.id for edit in state.history(neuron=8)] == [2]
    assert [edit.id for edit in state.history(neuron=5)] == [3]


def test_old_ids_lead_to_the_neurons_of_now(state: ProofreadingState) -> None:
    merge(state, 5, 7)
    assert state.resolve(7) == (5,)
    split(state, 5, 6)
    assert state.resolve(7) == (5,)
    state.undo(1, person="ada", client_key="u")
    assert state.resolve(7) == (7,)
    assert state.resolve(5) == (5,)


def test_subscribers_hear_of_edits_in_order_and_may_fail(
    state: ProofreadingState, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[tuple[int, tuple[int, ...]]] = []

    def fails(edit: Edit, _: tuple[int, ...]) -> None:
        raise ValueError("broken")

    state.subscribe(fails)
    state.subscribe(lambda edit, changed: heard.append((edit.id, changed)))
    merge(state, 4, 7)
    split(state, 1, 4)
    assert heard == [(1, (1, 7)), (2, (1, 2))]
    assert "a subscriber failed on edit 1" in caplog.text


def test_a_second_process_is_noticed(database: Database, tmp_path: Path) -> None:
    ours, theirs = (ProofreadingState(database, tmp_path) for _ in range(2))
    heard: list[int] = []
    ours.subscribe(lambda edit, _: heard.append(edit.id))
    merge(theirs, 4, 7)
    with pytest.raises(ConflictError, match="neuron 1 was changed by edit 1"):
        merge(ours, 4, 8, expected={1: 0})
    assert merge(ours, 4, 8).id == 2
    assert theirs.refresh() == 2
    assert theirs.neurons().digest == ours.neurons().digest
    assert merge(ours, 4, 7, "4-7") == theirs.edit(1)
    assert heard == [1, 2]


def test_a_row_appended_between_check_and_commit_is_noticed(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = (ProofreadingState(database, tmp_path) for _ in range(2))
    append, is_first = EditLog._append, [True]

    def interrupted(log: EditLog, *arguments: Any) -> bool:
        if is_first and is_first.pop():
            merge(theirs, 4, 7)
        return append(log, *arguments)

    monkeypatch.setattr(EditLog, "_append", interrupted)
    assert merge(ours, 4, 8).id == 2
    assert ours.neurons().digest == ProofreadingState(database, tmp_path).neurons().digest


def test_an_edit_that_cannot_be_written_is_not_done(
    state: ProofreadingState, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state.neurons().digest

    def full(*_: object) -> None:
        raise OSError("no space")

    with monkeypatch.context() as patched:
        patched.setattr(edit_log, "append", full)
        with pytest.raises(OSError, match="no space"):
            merge(state, 4, 7)
    assert (state.neurons().digest, state.last_edit, state.version_of(1)) == (before, 0, 0)
    assert merge(state, 4, 7).id == 1


def test_threads_do_not_lose_or_repeat_edits(database: Database, tmp_path: Path) -> None:
    state = ProofreadingState(database, tmp_path)
    acknowledged: list[int] = []

    def work(name: int) -> None:
        for turn in range(6):
            points = [(5, ORIGIN)], [(6, ORIGIN)]
            try:
                if turn % 2:
                    edit = state.merge(5, 6, person=str(name), client_key=f"{name}.{turn}")
                else:
                    neuron = state.neuron_of(5)
                    edit = state.split(neuron, *points, person=str(name), client_key=f"{name}.{turn}")
                acknowledged.append(edit.id)
            except ProofreadingError:
                continue

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(acknowledged) == list(range(1, state.last_edit + 1))
    assert ProofreadingState(database, tmp_path).neurons().digest == state.neurons().digest


WRITER = """
import sys
from pathlib import Path
from agglomeration.database import open_database
from proofreading.state import ProofreadingState
state = ProofreadingState(open_database(sys.argv[1]), Path(sys.argv[2]))
print("ready", flush=True)
turn = state.last_edit
while True:
    turn += 1
    if state.neuron_of(5) == state.neuron_of(6):
        points = [(5, (0., 0., 0.))], [(6, (0., 0., 0.))]
        edit = state.split(state.neuron_of(5), *points, person="a", client_key=str(turn))
    elif turn % 5:
        edit = state.merge(5, 6, person="a", client_key=str(turn))
    else:
        edit = state.undo(turn - 1, person="a", client_key=str(turn))
    print(edit.id, *state.neurons().neurons.tolist(), flush=True)
"""


@pytest.mark.slow
def test_a_kill_at_any_moment_loses_nothing_that_was_acknowledged(database: Database, tmp_path: Path) -> None:
    place = database.engine.url.render_as_string(hide_password=False)
    place = place if "postgresql" in place else database.name
    known = 0
    for seconds in (0.05, 0.4, 0.13):
        command = [sys.executable, "-c", WRITER, place, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            time.sleep(seconds)
            os.kill(writer.pid, signal.SIGKILL)
            lines = [line for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        state = ProofreadingState(database, tmp_path)
        acknowledged = [list(map(int, line.split())) for line in lines]
        assert [number for number, *_ in acknowledged] == list(range(known + 1, known + 1 + len(lines)))
        # One more may have been committed and not been told.
        assert known + len(lines) <= state.last_edit <= known + len(lines) + 1
        for number, *neurons in acknowledged:
            assert state.at(number).neurons.tolist() == neurons
        known = state.last_edit
    assert known > 0


def test_migrations_make_the_tables_that_the_code_knows(database: Database) -> None:
    assert bring_up_to_date(database) == bring_up_to_date(database)
    found = sql.inspect(database.engine)
    for table in tables.METADATA.sorted_tables:
        columns = {column["name"]: bool(column["nullable"]) for column in found.get_columns(table.name)}
        assert columns == {column.name: bool(column.nullable) for column in table.columns}


def test_tables_of_a_later_release_are_refused(database: Database, tmp_path: Path) -> None:
    bring_up_to_date(database)
    with database.writing() as connection:
        connection.execute(sql.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(DatabaseError, match="tables of version 9999, this release knows version"):
        ProofreadingState(database, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"change": "{}"}, "edit 1 cannot be read"),
        ({"change": "nonsense"}, "edit 1 cannot be read"),
        ({"id": 3}, "rows of the log of edits are missing"),
    ],
)
def test_a_damaged_log_is_named(
    database: Database, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    merge(ProofreadingState(database, tmp_path), 4, 7)
    with database.writing() as connection:
        connection.execute(sql.update(tables.edits).values(**change))
    with pytest.raises(DatabaseError, match=message):
        ProofreadingState(database, tmp_path)


def test_ids_are_text_in_the_log(database: Database, tmp_path: Path) -> None:
    merge(ProofreadingState(database, tmp_path), 4, 7)
    with database.reading() as connection:
        change = json.loads(connection.execute(sql.select(tables.edits.c.change)).scalar_one())
    assert change == {"supervoxels": ["4", "7"], "points_nm": [None, None]}


def test_a_project_is_opened_by_its_config(tmp_path: Path) -> None:
    agglomerated(tmp_path / "decisions.sqlite", EDGES, VOXELS, SOMAS).close()
    path = tmp_path / "project.textproto"
    path.write_text(f'name: "p"\noutput_dir: "{tmp_path}"\nagglomeration {{}}\n')
    state = open_state(load_config(str(path)))
    assert state.neuron_of(4) == 1
    state.close()


def test_a_project_without_an_agglomeration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "project.textproto"
    path.write_text(f'name: "p"\noutput_dir: "{tmp_path}"\nagglomeration {{}}\n')
    with pytest.raises(DatabaseError, match="run `run_agglomeration` first"):
        open_state(load_config(str(path)))
    open_database(tmp_path / "decisions.sqlite").close()
    with pytest.raises(DatabaseError, match="holds no finished run"):
        open_state(load_config(str(path)))
