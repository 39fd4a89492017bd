"""The exported graph, read as PyChunkedGraph reads it, has the neurons as people left them.

Files are decoded here by hand, and active edges and components follow the rules of its ingest: an edge
inside a chunk or to another one is active where the chunk's components have both ends in one, an edge between
parts of one supervoxel always is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from cloudfiles.compression import decompress
from exported_project import SHAPE, make_project, pieces
from hypothesis import given
from hypothesis import strategies as st
from proofreading_cases import scored_edges

from agglomeration.decisions import write_scored_edges
from agglomeration.runs import finish_run, start_run
from configs import ConfigView
from proofreading import ProofreadingState, answers, open_state, task_rows
from proofreading.answers import Answer
from proofreading.errors import ProofreadingError
from proofreading.export import ExportOptions, export_project
from proofreading.export.chunk_contacts import contacts_inside
from proofreading.export.chunk_ids import ChunkGrid
from proofreading.tasks import Candidate, TaskKind, Verdict
from volumes import Box, open_volume

BY = {"person": "ada"}
CHUNK = (12, 12, 16)
KINDS = {1: "in", 2: "cross", 3: "between"}


@pytest.fixture
def config(tmp_path: Path) -> ConfigView:
    return make_project(tmp_path)


@pytest.fixture
def state(config: ConfigView) -> Iterator[ProofreadingState]:
    found = open_state(config)
    yield found
    found.close()


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def fields(data: bytes) -> dict[int, bytes]:
    """The length-delimited fields of a message, by number."""
    found, at = {}, 0
    while at < len(data):
        key, at = varint(data, at)
        assert key & 7 == 2
        size, at = varint(data, at)
        found[key >> 3], at = data[at : at + size], at + size
    return found


def read_edges(path: Path) -> dict[str, list[tuple[int, int, float, int]]]:
    message = fields(decompress(path.read_bytes(), "zstd"))
    found = {}
    for number, kind in KINDS.items():
        columns = fields(message.get(number, b""))
        dtypes = {1: "<u8", 2: "<u8", 3: "<f4", 4: "<u8"}
        arrays = [np.frombuffer(columns.get(n, b""), dtype).tolist() for n, dtype in dtypes.items()]
        found[kind] = list(zip(*arrays, strict=True))
    return found


def read_components(path: Path) -> list[list[int]]:
    packed, at, numbers = fields(path.read_bytes()).get(1, b""), 0, []
    while at < len(packed):
        number, at = varint(packed, at)
        numbers.append(number)
    found = []
    while numbers:
        size = numbers[0]
        found.append(numbers[1 : 1 + size])
        numbers = numbers[1 + size :]
    return found


def chunk_of(number: int, bits: int) -> tuple[int, int, int]:
    """x, y, z, of the number of a supervoxel."""
    assert number >> 56 == 1
    shifts = [56 - (n + 1) * bits for n in range(3)]
    x, y, z = (number >> shift & (1 << bits) - 1 for shift in shifts)
    return x, y, z


class Ingested:
    """A graph as PyChunkedGraph would have it."""

    def __init__(self, folder: Path, bits: int) -> None:
        self.parent: dict[int, int] = {}
        self.edges: dict[str, dict[tuple[int, int], tuple[float, int]]] = defaultdict(dict)
        for path in sorted((folder / "edges").iterdir()):
            name = path.name.removeprefix("edges_").removesuffix(".proto.zst")
            chunk = tuple(map(int, name.split("_")))
            component = {
                number: n
                for n, members in enumerate(
                    read_components(folder / "components" / f"components_{name}.proto")
                )
                for number in members
            }
            for kind, edges in read_edges(path).items():
                for a, b, affinity, area in edges:
                    assert chunk_of(a, bits) == chunk
                    assert (chunk_of(b, bits) == chunk) == (kind == "in")
                    self.edges[kind][a, b] = affinity, area
                    active = kind == "cross" or (a in component and component.get(a) == component.get(b))
                    self.root(a), self.root(b)
                    if active:
                        self.parent[self.root(a)] = self.root(b)

    def root(self, number: int) -> int:
        self.parent.setdefault(number, number)
        while self.parent[number] != number:
            number = self.parent[number]
        return number


def ingest(
    config: ConfigView, output: Path, chunk: tuple[int, int, int] = CHUNK
) -> tuple[Ingested, np.ndarray]:
    """The graph, and its numbered supervoxels (z, y, x)."""
    export_project(config, ["chunkedgraph"], output, ExportOptions(chunk=chunk))
    bits = ChunkGrid(Box.from_shape(SHAPE), chunk).bits
    with open_volume(f"precomputed://file://{output}/chunkedgraph/watershed") as volume:
        return Ingested(output / "chunkedgraph", bits), volume.read()


def assert_same_objects(graph: Ingested, numbered: np.ndarray, neurons: np.ndarray) -> None:
    """Each component is one neuron, and the other way round."""
    pairs = {
        (graph.root(number), neuron)
        for number, neuron in zip(numbered[neurons > 0].tolist(), neurons[neurons > 0].tolist(), strict=True)
    }
    assert len({root for root, _ in pairs}) == len({neuron for _, neuron in pairs}) == len(pairs)


def neurons_of(state: ProofreadingState) -> np.ndarray:
    labels = state.read_labels(state.labels().bounds)
    found = np.zeros_like(labels)
    for supervoxel in np.unique(labels[labels > 0]).tolist():
        found[labels == supervoxel] = state.neuron_of(supervoxel)
    return found


def test_the_graph_begins_with_the_neurons_of_the_agglomeration(
    config: ConfigView, state: ProofreadingState, tmp_path: Path
) -> None:
    graph, numbered = ingest(config, tmp_path / "e")
    assert_same_objects(graph, numbered, neurons_of(state))


def test_the_graph_begins_with_the_neurons_as_people_left_them(
    config: ConfigView, state: ProofreadingState, tmp_path: Path
) -> None:
    state.merge(2, 3, client_key="merge 2 3", **BY)
    state.split(4, [(4, (70.0, 170.0, 50.0))], [(5, (70.0, 170.0, 500.0))], client_key="split 4 5", **BY)
    low, high = (170.0, 120.0, 150.0), (170.0, 120.0, 450.0)
    state.split(6, [(6, low)], [(6, high)], client_key="split 6", **BY)
    # 6 and 4 touch nowhere.
    state.merge(state.supervoxel_splits()[0].split.parts[0].id, 4, client_key="merge 6 4", **BY)
    graph, numbered = ingest(config, tmp_path / "e")
    assert_same_objects(graph, numbered, neurons_of(state))


def test_the_graph_has_what_people_confirmed_and_a_later_agglomeration_lacks(
    config: ConfigView, state: ProofreadingState, tmp_path: Path
) -> None:
    merger = Candidate(TaskKind.MERGER, (1, 2), (1.0, 1.0, 1.0), 0.5)
    told = (
        1,
        "key",
        merger.id,
        "l",
        "ada",
        "2026",
        Verdict.REJECT,
        {},
        None,
        False,
        None,
        "",
        "counted",
        None,
        0.0,
    )
    with state.database.writing() as connection:
        task_rows.write(connection, state.run, [merger])
        answers.add(connection, Answer(*told))
        answers.settle(connection, merger.id, Verdict.REJECT, None)
    run = start_run(state.database, "another", "", {})
    write_scored_edges(state.database, run, scored_edges([(2, 3, 0.9), (4, 5, 0.8)]))
    finish_run(state.database, run)
    again = open_state(config)
    assert again.neuron_of(1) == again.neuron_of(2) == again.neuron_of(3)
    graph, numbered = ingest(config, tmp_path / "e")
    assert_same_objects(graph, numbered, neurons_of(again))
    again.close()


def test_numbers_tell_the_chunk_and_are_parts_of_supervoxels(config: ConfigView, tmp_path: Path) -> None:
    _, numbered = ingest(config, tmp_path / "e")
    bits = 2  # Four chunks along x.
    np.testing.assert_array_equal(numbered > 0, pieces() > 0)
    parts = {}
    for (z, y, x), number in np.ndenumerate(numbered):
        if number:
            assert chunk_of(int(number), bits) == (x // 16, y // 12, z // 12)
            assert parts.setdefault(int(number), pieces()[z, y, x]) == pieces()[z, y, x]
    rows = (tmp_path / "e/chunkedgraph/numbers.csv").read_text().splitlines()
    assert rows[0] == "number,supervoxel,neuron"
    assert {int(row.split(",")[0]): int(row.split(",")[1]) for row in rows[1:]} == parts
    assert {row.split(",")[2] for row in rows[1:]} == {"1", "3", "4", "6"}


def test_edges_by_hand(config: ConfigView, tmp_path: Path) -> None:
    graph, numbered = ingest(config, tmp_path / "e")
    # 1 ends at x 20 in the chunk 16 to 32, where 2 begins: 6 by 6 faces, scored 0.9.
    one, two = int(numbered[5, 5, 19]), int(numbered[5, 5, 20])
    assert graph.edges["in"][min(one, two), max(one, two)] == (pytest.approx(0.9), 36)
    # 2 goes on behind x 32, where 36 faces are cut.
    left, right = int(numbered[5, 5, 31]), int(numbered[5, 5, 32])
    assert graph.edges["cross"][left, right] == graph.edges["cross"][right, left] == (np.inf, 36)
    # 4 ends at x 30 and 5 begins at 34, in the next chunk; the decision lies at x 4.5 nm, in the first one.
    between = {pair: edge for pair, edge in graph.edges["between"].items() if edge[1] == 1}
    ends = {tuple(sorted({int(pieces()[numbered == each][0]) for each in pair})) for pair in between}
    assert ends == {(4, 5)} and [edge[0] for edge in between.values()] == pytest.approx([0.8, 0.8])
    assert {pair[::-1] for pair in between} == set(between)


def test_a_pair_that_nobody_scored_has_an_edge_of_no_affinity(config: ConfigView, tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "data.h5", "r+") as file:
        file["pieces"][10:14, 4:10, 12:16] = 6
    graph, numbered = ingest(config, tmp_path / "e")
    one, six = int(numbered[9, 5, 14]), int(numbered[10, 5, 14])
    assert graph.edges["in"][min(one, six), max(one, six)] == (0.0, 24)


def test_a_supervoxel_in_several_pieces_stays_one(config: ConfigView, tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "data.h5", "r+") as file:
        file["pieces"][20:, 20:, :4] = 3
    graph, numbered = ingest(config, tmp_path / "e")
    assert graph.root(int(numbered[22, 22, 1])) == graph.root(int(numbered[5, 5, 59]))
    assert graph.root(int(numbered[22, 22, 1])) != graph.root(int(numbered[5, 5, 1]))


def test_one_chunk_is_enough(config: ConfigView, state: ProofreadingState, tmp_path: Path) -> None:
    graph, numbered = ingest(config, tmp_path / "e", (64, 64, 64))
    assert {path.name for path in (tmp_path / "e/chunkedgraph/edges").iterdir()} == {"edges_0_0_0.proto.zst"}
    assert not graph.edges["cross"] and not graph.edges["between"]
    # 6 touches nothing and has no edge.
    neurons = np.where(pieces() == 6, 0, neurons_of(state))
    assert_same_objects(graph, numbered, neurons)


def test_the_settings_say_how_numbers_are_made(config: ConfigView, tmp_path: Path) -> None:
    ingest(config, tmp_path / "e")
    text = (tmp_path / "e/chunkedgraph/dataset.yml").read_text()
    assert "CHUNK_SIZE: [16, 12, 12]" in text and "SPATIAL_BITS: 2" in text
    assert f'EDGES: "file://{tmp_path}/e/chunkedgraph/edges"' in text


def test_voxels_without_a_neuron_are_refused_and_nothing_is_left(config: ConfigView, tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "data.h5", "r+") as file:
        file["pieces"][0, 0, 0] = 99
    with pytest.raises(ProofreadingError, match="supervoxel 99 has no neuron"):
        ingest(config, tmp_path / "e")
    assert not (tmp_path / "e" / "chunkedgraph").exists()


@given(st.tuples(*[st.integers(1, 40)] * 3), st.tuples(*[st.integers(1, 16)] * 3), st.integers(-5, 5))
def test_chunks_tile_the_volume_and_have_numbers_of_their_own(
    shape: tuple[int, int, int], chunk: tuple[int, int, int], offset: int
) -> None:
    grid = ChunkGrid(Box.from_shape(shape, (offset, 0, 2 * offset)), chunk)
    chunks = list(grid)
    assert sum(grid.box(at).size for at in chunks) == grid.bounds.size
    assert [grid.at(grid.index(at)) for at in chunks] == chunks
    assert len({grid.base(at) for at in chunks}) == len(chunks)
    assert all(chunk_of(grid.base(at), grid.bits) == at[::-1] for at in chunks)
    for at in chunks:
        for axis, side, other in grid.neighbours(at):
            assert (axis, 1 - side, at) in set(grid.neighbours(other))


@given(st.integers(0, 2**32), st.tuples(*[st.integers(1, 5)] * 3))
def test_contacts_are_counted_as_one_by_one(seed: int, shape: tuple[int, int, int]) -> None:
    labels = np.random.default_rng(seed).integers(0, 4, shape).astype(np.uint64)
    expected: dict[tuple[int, int], int] = defaultdict(int)
    for place, label in np.ndenumerate(labels):
        for axis in range(3):
            other = list(place)
            other[axis] += 1
            if other[axis] < shape[axis]:
                pair = sorted((int(label), int(labels[tuple(other)])))
                if pair[0] and pair[0] != pair[1]:
                    expected[pair[0], pair[1]] += 1
    found = contacts_inside(labels)
    rows = zip(found.first.tolist(), found.second.tolist(), found.faces.tolist(), strict=True)
    assert {(a, b): faces for a, b, faces in rows} == dict(expected)
