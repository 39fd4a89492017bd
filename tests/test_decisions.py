"""Decisions in the database: written once or twice, killed, explained, undone; and what it refuses."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sql
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from agglomeration import AgglomerationError, tables
from agglomeration.database import Database, DatabaseError, open_database
from agglomeration.decisions import (
    ScoredEdges,
    certainty_of,
    concatenated,
    decide,
    load_merges,
    read_edges,
    write_scored_edges,
)
from agglomeration.explanations import explain, explain_neuron
from agglomeration.merging import accepted_in, apply_constraint, undo_merges
from agglomeration.rows import replace_rows, upsert
from agglomeration.runs import (
    finish_run,
    finished_run,
    read_neurons,
    read_supervoxel_ids,
    start_run,
    write_supervoxels,
)
from agglomeration.scoring import SCORES
from agglomeration.tables import AcceptedBy, State
from inference.supervoxel_table import SupervoxelTable

NM = (20.0, 10.0, 10.0)
# id_a, id_b, certainty; all accepted by the rule unless the certainty is below 0.5, then open.
CHAIN = [(1, 2, 0.99), (2, 3, 0.7), (3, 4, 0.9), (5, 6, 0.4)]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with open_database(tmp_path / "decisions.sqlite") as opened:
        yield opened


def supervoxel_table(ids: list[int]) -> SupervoxelTable:
    n = len(ids)
    corners = np.arange(3 * n).reshape(n, 3)
    voxels = np.full(n, 8)
    return SupervoxelTable(
        np.array(ids, np.uint64), voxels, corners, corners + 2, 8 * corners + 4, corners, voxels
    )


def edges_of(rows: list[tuple[int, int, float]]) -> ScoredEdges:
    a, b, certainty = (np.array(column) for column in zip(*rows, strict=True))
    rule = certainty >= 0.5
    state, accepted_by = decide(rule, None)
    return ScoredEdges(
        a.astype(np.uint64),
        b.astype(np.uint64),
        np.stack([a * 10.0, b * 10.0, a + 0.5], axis=1),
        {"iou": certainty, "fovs": np.arange(a.size), "direction_agreement": np.full(a.size, np.nan)},
        np.full(a.size, np.nan),
        certainty,
        accepted_by,
        state,
    )


def filled(database: Database, rows: list[tuple[int, int, float]] = CHAIN, ids: int = 6) -> int:
    write_supervoxels(database, supervoxel_table(list(range(1, ids + 1))), NM, "segmentation-1")
    run = start_run(database, "digest", "raw {}", {"ffn": "0.1"})
    write_scored_edges(database, run, edges_of(rows))
    return run


def place_somas(database: Database, run: int, somas: dict[int, int]) -> None:
    """Cell bodies by the supervoxel that holds them."""
    lengths = ("centre_z_nm", "centre_y_nm", "centre_x_nm", "radius_nm")
    with database.writing() as connection:
        columns: dict[str, list[object]] = {"run": [run] * len(somas), "id": [*somas.values()]}
        columns |= {"supervoxel": [*somas]}
        columns |= {name: [1.0] * len(somas) for name in lengths}
        replace_rows(connection, tables.somas, columns | {"source": ["table"] * len(somas)})


def dump(database: Database) -> dict[str, list[tuple[object, ...]]]:
    """The sorted rows of every table without times."""
    times = {"applied", "started", "finished", "at"}
    with database.reading() as connection:
        return {
            table.name: sorted(
                map(tuple, connection.execute(sql.select(*(c for c in table.c if c.name not in times)))),
                key=repr,
            )
            for table in tables.METADATA.tables.values()
        }


@pytest.mark.parametrize(
    "rule, probability, state, reason",
    [
        (True, 0.01, State.ACCEPTED, AcceptedBy.RULE),
        (False, 0.98, State.ACCEPTED, AcceptedBy.PROBABILITY),
        (True, 0.99, State.ACCEPTED, AcceptedBy.RULE),
        (False, 0.979, State.OPEN, AcceptedBy.NOTHING),
        (False, 0.05, State.OPEN, AcceptedBy.NOTHING),
        (False, 0.049, State.REJECTED, AcceptedBy.NOTHING),
        (False, np.nan, State.OPEN, AcceptedBy.NOTHING),
        (True, np.nan, State.ACCEPTED, AcceptedBy.RULE),
    ],
)
def test_a_pair_is_decided_by_rule_and_probability(
    rule: bool, probability: float, state: State, reason: AcceptedBy
) -> None:
    found = decide(np.array([rule]), np.array([probability]))
    assert [column.tolist() for column in found] == [[state], [reason]]


def test_without_probabilities_a_pair_is_accepted_or_open() -> None:
    state, reason = decide(np.array([True, False]), None)
    assert state.tolist() == [State.ACCEPTED, State.OPEN]
    assert reason.tolist() == [AcceptedBy.RULE, AcceptedBy.NOTHING]


def test_certainty_is_the_probability_or_the_smallest_of_overlap_and_shares() -> None:
    names = ("iou", "a_from_a", "a_from_b", "b_from_a", "b_from_b")
    evidence = {name: np.array([0.9, 0.8, 0.7]) for name in names} | {
        "b_from_a": np.array([0.6, 0.95, np.nan])
    }
    assert certainty_of(evidence, None).tolist() == [0.6, 0.8, 0.0]
    assert certainty_of(evidence, np.array([np.nan, 0.3, 0.4])).tolist() == [0.6, 0.3, 0.4]


def test_edges_are_read_as_they_were_written_in_order(database: Database) -> None:
    filled(database)
    shuffled = edges_of(CHAIN).select(np.array([2, 0, 3, 1]))
    run = start_run(database, "digest", "raw {}", {})
    write_scored_edges(database, run, shuffled, chunk_rows=2)
    chunks = list(read_edges(database, run, chunk_rows=3))
    assert [len(chunk) for chunk in chunks] == [3, 1]
    found, wanted = concatenated(chunks), edges_of(CHAIN)
    for name in ("id_a", "id_b", "points_nm", "probability", "certainty", "accepted_by", "state"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
        assert getattr(found, name).dtype == getattr(wanted, name).dtype
    assert found.evidence["iou"].tolist() == [0.99, 0.7, 0.9, 0.4]
    assert found.evidence["fovs"].tolist() == [0, 1, 2, 3]
    assert np.isnan(found.evidence["direction_agreement"]).all()
    assert np.isnan(found.evidence["distance_nm"]).all()


def test_only_states_and_scores_asked_for_are_read(database: Database) -> None:
    run = filled(database)
    (found,) = read_edges(database, run, evidence=["iou"], states=[State.OPEN])
    assert (found.id_a.tolist(), list(found.evidence)) == ([5], ["iou"])


def test_merges_to_be_tried_come_without_open_pairs(database: Database) -> None:
    run = filled(database)
    assert load_merges(database, run, {"id_b": np.uint64})["id_b"].tolist() == [2, 3, 4]


def test_without_cell_bodies_the_neurons_are_the_components(database: Database) -> None:
    run = filled(database)
    counts = apply_constraint(database, run)
    supervoxels, neurons = read_neurons(database, run)
    assert (supervoxels.tolist(), neurons.tolist()) == ([1, 2, 3, 4, 5, 6], [1, 1, 1, 1, 5, 6])
    assert counts == (3, 3, 0, 3, 0)


def test_a_refused_merge_is_recorded_with_the_cheapest_cut(database: Database) -> None:
    run = filled(database)
    place_somas(database, run, {1: 10, 4: 20})
    assert apply_constraint(database, run) == (3, 2, 1, 4, 2)
    assert dump(database)["refusals"] == [(run, 2, 3, 10, 20, 3, 4)]
    (refused,) = read_edges(database, run, states=[State.REFUSED])
    assert (refused.id_a.tolist(), refused.accepted_by.tolist()) == ([2], [AcceptedBy.RULE])
    assert read_neurons(database, run)[1].tolist() == [1, 1, 3, 3, 5, 6]


def test_touching_cell_bodies_are_recorded_without_a_cut(database: Database) -> None:
    run = filled(database)
    place_somas(database, run, {2: 10, 3: 20})
    apply_constraint(database, run)
    assert dump(database)["refusals"] == [(run, 2, 3, 10, 20, None, None)]


def test_a_cell_body_that_went_away_frees_what_it_had_kept_apart(database: Database) -> None:
    run = filled(database)
    apply_constraint(database, run)
    without = dump(database)
    place_somas(database, run, {1: 10, 4: 20})
    apply_constraint(database, run)
    with database.writing() as connection:
        connection.execute(sql.delete(tables.somas))
    apply_constraint(database, run)
    assert dump(database) == without


def complete_run(database: Database, *, chunk_rows: int = 2) -> None:
    """Everything a run writes, in small transactions."""
    table = supervoxel_table(list(range(1, 7)))
    write_supervoxels(database, table, NM, "segmentation-1", chunk_rows=chunk_rows)
    run = start_run(database, "digest", "raw {}", {"ffn": "0.1"})
    write_scored_edges(database, run, edges_of(CHAIN), chunk_rows=chunk_rows)
    place_somas(database, run, {1: 10, 4: 20})
    apply_constraint(database, run)
    finish_run(database, run)


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.mark.parametrize("transactions", range(10))
def test_a_run_that_was_killed_and_run_again_gives_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transactions: int
) -> None:
    with open_database(tmp_path / "whole.sqlite") as database:
        complete_run(database)
        wanted = dump(database)
    writing, left = Database.writing, transactions

    def failing(self: Database):  # type: ignore[no-untyped-def]
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return writing(self)

    with open_database(tmp_path / "killed.sqlite") as database:
        monkeypatch.setattr(Database, "writing", failing)
        pytest.raises(Killed, complete_run, database)
        monkeypatch.undo()
    with open_database(tmp_path / "killed.sqlite") as database:
        complete_run(database)
        assert dump(database) == wanted
        complete_run(database)
        assert dump(database) == wanted


def test_a_transaction_that_is_interrupted_leaves_nothing(database: Database) -> None:
    run = filled(database)
    before = dump(database)
    with pytest.raises(Killed), database.writing() as connection:
        connection.execute(sql.delete(tables.edges))
        raise Killed
    assert dump(database) == before
    assert run == start_run(database, "digest", "raw {}", {})


def test_a_run_counts_once_it_is_finished_and_takes_the_place_of_others(database: Database) -> None:
    with pytest.raises(DatabaseError, match="holds no finished run"):
        finished_run(database)
    complete_run(database)
    first = finished_run(database)
    second = start_run(database, "other", "raw {}", {})
    write_scored_edges(database, second, edges_of(CHAIN[:1]))
    apply_constraint(database, second)
    assert finished_run(database) == first
    assert len(read_neurons(database, first)[0]) == 6
    finish_run(database, second)
    assert finished_run(database) == second
    assert {row[0] for name in ("runs", "edges", "neurons", "somas") for row in dump(database)[name]} == {
        second
    }


def test_the_chain_between_two_supervoxels_is_the_most_certain_way(database: Database) -> None:
    #   1 -0.9- 2 -0.8- 4,  1 -0.95- 3 -0.6- 4,  1 -0.7- 4
    run = filled(database, [(1, 2, 0.9), (2, 4, 0.8), (1, 3, 0.95), (3, 4, 0.6), (1, 4, 0.7)])
    apply_constraint(database, run)
    found = explain(database, run, 4, 1)
    assert list(zip(found.chain.id_a.tolist(), found.chain.id_b.tolist(), strict=True)) == [(1, 2), (2, 4)]
    assert (found.neuron_a, found.neuron_b, found.weakest) == (1, 1, (2, 4))
    assert found.pair.certainty.tolist() == [0.7]
    assert found.lines() == [
        "supervoxels 1 and 4: one neuron, 1",
        "  1-2 accepted by rule at (10, 20, 2) nm (z, y, x): certainty 0.9, iou 0.9, fovs 0",
        "  2-4 accepted by rule at (20, 40, 2) nm (z, y, x): certainty 0.8, iou 0.8, fovs 1",
    ]


def test_two_neurons_are_explained_by_what_was_refused_between_them(database: Database) -> None:
    run = filled(database)
    place_somas(database, run, {1: 10, 4: 20})
    apply_constraint(database, run)
    found = explain(database, run, 1, 4)
    assert (found.neuron_a, found.neuron_b, len(found.chain), len(found.pair)) == (1, 3, 0, 0)
    assert found.refusals == ((2, 3, 10, 20, (3, 4)),)
    assert found.lines() == [
        "supervoxels 1 and 4: neurons 1 and 3",
        "  2-3 refused: would have joined cell bodies 10 and 20; cheapest other cut 3-4",
    ]
    assert explain(database, run, 1, 5).refusals == ()


def test_a_neuron_is_explained_by_its_members_and_merges(database: Database) -> None:
    run = filled(database)
    place_somas(database, run, {1: 10, 4: 20})
    apply_constraint(database, run)
    found = explain_neuron(database, run, 4)
    assert (found.neuron, found.supervoxels.tolist(), found.somas) == (3, [3, 4], (20,))
    assert (found.merges.id_a.tolist(), found.merges.id_b.tolist()) == ([3], [4])
    assert found.refusals == ((2, 3, 10, 20, (3, 4)),)


def test_an_unknown_supervoxel_is_not_explained(database: Database) -> None:
    run = filled(database)
    apply_constraint(database, run)
    for unknown in (77, 2**63 + 5):
        with pytest.raises(DatabaseError, match=f"supervoxel {unknown} is in no neuron of run {run}"):
            explain(database, run, 1, unknown)


def test_a_merge_that_is_undone_parts_its_neuron_and_stays_undone(database: Database) -> None:
    run = filled(database)
    apply_constraint(database, run)
    changed = undo_merges(database, run, [(3, 2)], "crosses a glia sheath")
    assert changed.tolist() == [[1, 1], [2, 1], [3, 3], [4, 3]]
    assert read_neurons(database, run)[1].tolist() == [1, 1, 3, 3, 5, 6]
    found = explain(database, run, 2, 3)
    assert found.undone == "crosses a glia sheath"
    assert found.pair.state.tolist() == [State.REJECTED]
    before = dump(database)
    apply_constraint(database, run)
    assert dump(database) == before
    later = start_run(database, "other", "raw {}", {})
    write_scored_edges(database, later, edges_of(CHAIN))
    apply_constraint(database, later)
    assert read_neurons(database, later)[1].tolist() == [1, 1, 3, 3, 5, 6]


@pytest.mark.parametrize("pair, words", [((5, 6), "is open"), ((1, 4), "was never looked at")])
def test_only_accepted_merges_can_be_undone(database: Database, pair: tuple[int, int], words: str) -> None:
    run = filled(database)
    apply_constraint(database, run)
    before = dump(database)
    with pytest.raises(DatabaseError, match=f"pair {pair[0]}-{pair[1]} {words} in run {run}"):
        undo_merges(database, run, [(1, 2), pair], "")
    assert dump(database) == before


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_the_database_ends_as_merging_from_arrays_does_whatever_the_order(data: st.DataObject) -> None:
    pairs = [(a, b) for a in range(1, 9) for b in range(a + 1, 9)]
    chosen = data.draw(st.lists(st.sampled_from(pairs), unique=True, min_size=1))
    rows = [(a, b, data.draw(st.sampled_from([0.4, 0.6, 0.8]))) for a, b in chosen]
    somas = data.draw(st.dictionaries(st.integers(1, 8), st.integers(1, 3), max_size=4))
    dumps = []
    for order in (rows, data.draw(st.permutations(rows))):
        with open_database(":memory:") as database:
            run = filled(database, list(order), ids=8)
            place_somas(database, run, somas)
            apply_constraint(database, run)
            dumps.append({k: v for k, v in dump(database).items() if k != "edges"})
            states = concatenated(read_edges(database, run, evidence=[]))
            dumps[-1]["edges"] = list(zip(*(c.tolist() for c in (states.id_a, states.id_b, states.state))))  # noqa: B905
            neurons = dict(zip(*(column.tolist() for column in read_neurons(database, run)), strict=True))
            for neuron in set(neurons.values()):
                assert len({soma for held, soma in somas.items() if neurons[held] == neuron}) <= 1
    assert dumps[0] == dumps[1]


def test_an_unknown_supervoxel_in_an_edge_is_named(database: Database) -> None:
    run = filled(database)
    with pytest.raises(AgglomerationError, match="supervoxel 99 stands in a merge but not in the table"):
        write_scored_edges(database, run, edges_of([(1, 99, 0.9)]))


def test_a_pair_with_the_larger_id_first_is_refused(database: Database) -> None:
    run = filled(database)
    with pytest.raises(DatabaseError, match="edges_smaller_id_first"):
        write_scored_edges(database, run, edges_of([(2, 1, 0.9)]))


def test_a_score_without_a_column_is_refused(database: Database) -> None:
    run = filled(database)
    edges = edges_of(CHAIN)
    edges.evidence["beauty"] = edges.certainty  # type: ignore[index]
    with pytest.raises(DatabaseError, match="score 'beauty' has no column"):
        write_scored_edges(database, run, edges)


def test_an_id_that_does_not_fit_is_refused(database: Database) -> None:
    write_supervoxels(database, supervoxel_table([1, 2**63 - 1]), NM, "segmentation-1")
    assert read_supervoxel_ids(database).tolist() == [1, 2**63 - 1]
    with pytest.raises(DatabaseError, match=f"supervoxels.id = {2**63} does not fit"):
        write_supervoxels(database, supervoxel_table([2**63]), NM, "segmentation-1")


def test_supervoxels_of_another_project_are_refused(database: Database) -> None:
    filled(database)
    with pytest.raises(DatabaseError, match="holds decisions on other supervoxels .segmentation-1."):
        write_supervoxels(database, supervoxel_table([1, 2]), NM, "segmentation-2")


def test_a_supervoxel_is_stored_in_nanometres(database: Database) -> None:
    write_supervoxels(database, supervoxel_table([4]), NM, "segmentation-1")
    # Corner (0, 1, 2), voxels 0 to 1 of each axis: the centre of mass lies half a voxel behind the first.
    corner = ((0, 1, 2), (2, 3, 4))
    row = (4, 8, *corner[0], *corner[1], 0.5 * 20 + 10, 1.5 * 10 + 5, 2.5 * 10 + 5, 10.0, 15.0, 25.0)
    assert dump(database)["supervoxels"] == [row]


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "decisions.sqlite"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(
        DatabaseError, match=f"cannot read decisions database {path}: file is not a database; move"
    ):
        open_database(path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "decisions.sqlite"
    with open_database(path) as database:
        filled(database, [(a, b, 0.9) for a in range(1, 60) for b in range(a + 1, 60)], ids=60)
    content = bytearray(path.read_bytes())
    content[3 * 4096 : -4096] = b"\xff" * (len(content) - 4 * 4096)
    path.write_bytes(content)
    malformed = pytest.raises(DatabaseError, match="database disk image is malformed; the file is damaged")
    with malformed, open_database(path) as database:
        list(read_edges(database, 1))


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseError, match="cannot write decisions database .*choose another output_dir"):
        open_database(tmp_path / "file" / "decisions.sqlite")
    with pytest.raises(DatabaseError, match="unable to open database file; make its folder"):
        open_database(tmp_path)


def test_a_locked_database_is_refused_after_a_while(tmp_path: Path) -> None:
    path = tmp_path / "decisions.sqlite"
    open_database(path).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with open_database(path, busy_timeout_s=0.01) as database:
        assert read_supervoxel_ids(database).size == 0
        with pytest.raises(DatabaseError, match="database is locked; another process writes to it"):
            start_run(database, "digest", "", {})
    other.close()


def test_a_database_that_is_not_there_is_only_made_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "decisions.sqlite"
    with pytest.raises(DatabaseError, match=f"there is no decisions database {path}"):
        open_database(path, create=False)
    sqlite3.connect(path).close()
    path.touch()
    with pytest.raises(DatabaseError, match=f"{path} holds no decisions"):
        open_database(path, create=False)


@pytest.mark.parametrize(
    "url, words",
    [
        ("nonsense://host/name", "no driver for database nonsense://host/name"),
        ("://", "is no database URL"),
        ("postgresql+psycopg://me:secret@host:port/name", "is no database URL"),
    ],
)
def test_a_wrong_url_is_refused_without_its_password(url: str, words: str) -> None:
    with pytest.raises(DatabaseError, match=words) as refused:
        open_database(url)
    assert "secret" not in str(refused.value)


def test_a_database_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "decisions.sqlite"
    open_database(path, version=2).close()
    with pytest.raises(DatabaseError, match="has tables of version 2, this release knows version 1"):
        open_database(path)


def test_an_older_database_is_brought_up_to_date_a_version_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "decisions.sqlite"
    with open_database(path) as database:
        filled(database)
        before = dump(database)["edges"]

    def add_tasks(connection: sql.Connection) -> None:
        connection.execute(sql.text("CREATE TABLE tasks (id INTEGER PRIMARY KEY)"))

    def add_owner(connection: sql.Connection) -> None:
        connection.execute(sql.text("ALTER TABLE tasks ADD COLUMN owner TEXT"))

    open_database(path, version=3, migrations={1: add_tasks, 2: add_owner}).close()
    with open_database(path, version=3) as database:
        found = dump(database)
        assert (found["edges"], found["schema_version"]) == (before, [(1,), (2,), (3,)])
        with database.reading() as connection:
            assert [c["name"] for c in sql.inspect(connection).get_columns("tasks")] == ["id", "owner"]


def test_a_migration_that_fails_leaves_the_older_version(tmp_path: Path) -> None:
    path = tmp_path / "decisions.sqlite"
    open_database(path).close()

    def halfway(connection: sql.Connection) -> None:
        connection.execute(sql.text("CREATE TABLE tasks (id INTEGER PRIMARY KEY)"))
        raise Killed

    with pytest.raises(Killed):
        open_database(path, version=2, migrations={1: halfway})
    with open_database(path) as database, database.reading() as connection:
        assert not sql.inspect(connection).has_table("tasks")


def test_all_statements_are_understood_by_postgresql() -> None:
    dialect = postgresql.dialect()
    texts = [str(CreateTable(table).compile(dialect=dialect)) for table in tables.METADATA.sorted_tables]
    texts += [
        str(CreateIndex(index).compile(dialect=dialect))
        for table in tables.METADATA.sorted_tables
        for index in table.indexes
    ]
    names = [column.name for column in tables.edges.columns]
    texts.append(str(upsert(tables.edges, names, "postgresql").compile(dialect=dialect, column_keys=names)))
    texts.append(str(sql.select(tables.edges).where(accepted_in(1, 2)).compile(dialect=dialect)))
    text = "\n".join(texts)
    assert "BIGINT NOT NULL" in text and "DOUBLE PRECISION" in text and "SERIAL" in text
    assert "ON CONFLICT (run, id_a, id_b) DO UPDATE SET point_z_nm = excluded.point_z_nm" in text
    assert "WITHOUT ROWID" not in text and "PRAGMA" not in text


def test_every_score_has_a_column() -> None:
    assert set(tables.EVIDENCE) == set(SCORES)
