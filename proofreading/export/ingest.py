"""The graph of supervoxels as CAVE's PyChunkedGraph ingests it: numbered voxels, edges and components.

Two passes over the chunks. The first numbers the supervoxels of each chunk, writes its voxels with these
numbers and finds what touches; the second writes edges and components. Every pair of supervoxels
that touches has an edge whose affinity is that of the scored pair, 0 where nobody looked; a merge of two
that touch nowhere has one between their parts nearest to the point of the decision. Edges inside a neuron
are the active ones, so that the graph begins with the neurons as people left them, and goes on from there.

A supervoxel that touches nothing has no edge and is in no file, as in PyChunkedGraph's own ingest.

| file in `chunkedgraph/` | holds |
| --- | --- |
| `watershed/` | Precomputed volume of the numbered supervoxels |
| `edges/`, `components/`, `dataset.yml` | see `proofreading.export.ingest_files` |
| `numbers.csv` | number, supervoxel and neuron of each part |
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from agglomeration.database import Database
from inference.outputs import put_in_place, unfinished
from jobs.pieces import load_npz, save_npz
from proofreading.export.chunk_contacts import (
    Contacts,
    contacts_across,
    contacts_inside,
    layer_beyond,
    layer_inside,
)
from proofreading.export.chunk_ids import ChunkGrid
from proofreading.export.chunk_parts import Joint, Parts, missing_links, nearest_parts, parts_of
from proofreading.export.ingest_files import (
    BETWEEN,
    CROSS,
    IN,
    ChunkEdges,
    components_path,
    dataset_text,
    edges_path,
    encode_components,
    encode_edges,
)
from proofreading.export.merge_pairs import MergePairs, key_of, merge_pairs, places_of
from proofreading.export.snapshot import Snapshot
from volumes import Volume
from volumes.box import Zyx
from volumes.pyramid import create_pyramid

FOLDER = "chunkedgraph"
CHUNK: Zyx = (256, 256, 256)
_WORK = ".facts"


class Facts(NamedTuple):
    """What the first pass finds out about a chunk.

    Attributes:
      members: (m,) uint64, supervoxels in it, ascending.
      inside: those of them that touch.
      above: by axis, how they touch those of the next chunk.
    """

    members: np.ndarray
    inside: Contacts
    above: Mapping[int, Contacts]


@dataclass(frozen=True)
class Survey:
    """The first pass' findings, kept in files.

    Attributes:
      grid: the chunks.
      folder: of the files.
    """

    grid: ChunkGrid
    folder: Path

    def save(self, at: Zyx, facts: Facts) -> None:
        """Keeps what was found about a chunk."""
        arrays = {"members": facts.members, **_named("inside", facts.inside)}
        for axis, contacts in facts.above.items():
            arrays |= _named(f"above{axis}", contacts)
        save_npz(self.folder / f"{self.grid.name(at)}.npz", arrays)

    def facts(self, at: Zyx) -> Facts:
        """What was found about a chunk."""
        arrays = load_npz(self.folder / f"{self.grid.name(at)}.npz")

        def contacts(name: str) -> Contacts:
            return Contacts(*(arrays[f"{name}_{column}"] for column in Contacts._fields))

        above = {axis: contacts(f"above{axis}") for axis in range(3) if f"above{axis}_faces" in arrays}
        return Facts(arrays["members"], contacts("inside"), above)

    def members(self, at: Zyx) -> np.ndarray:
        """(m,) uint64, the supervoxels in a chunk, ascending."""
        return load_npz(self.folder / f"{self.grid.name(at)}.npz", ["members"])["members"]


def write_ingest(database: Database, snapshot: Snapshot, folder: Path, chunk: Zyx = CHUNK) -> None:
    """Writes all files; the folder takes its place as a whole.

    Args:
      database: the decisions.
      snapshot: of the same project.
      folder: to make or to replace.
      chunk: voxels of a chunk (zyx).

    Raises:
      ReconstructionError: supervoxels that cannot be read or have no neuron, chunks that cannot be numbered,
        or files that cannot be written.
    """
    grid, begun = ChunkGrid(snapshot.labels.bounds, chunk), unfinished(folder)
    shutil.rmtree(begun, ignore_errors=True)
    survey = Survey(grid, begun / _WORK)
    members = _first_pass(snapshot, survey, begun)
    pairs, parts = merge_pairs(database, snapshot), parts_of(grid, members)
    joints = _joints(survey, snapshot, pairs, parts)
    _second_pass(survey, snapshot, pairs, joints, begun)
    _write_numbers(survey, snapshot, begun / "numbers.csv")
    (begun / "dataset.yml").write_text(dataset_text(grid, f"file://{folder.resolve()}"), "utf-8")
    shutil.rmtree(begun / _WORK)
    put_in_place(folder)


def _first_pass(snapshot: Snapshot, survey: Survey, begun: Path) -> list[np.ndarray]:
    """Writes the numbered voxels and surveys all chunks; the supervoxels in each."""
    found, source = [], snapshot.volume
    (target,) = create_pyramid(
        f"precomputed://file://{(begun / 'watershed').resolve()}",
        bounds=source.bounds,
        dtype=np.uint64,
        voxel_size_nm=source.voxel_size_nm,
        scales=1,
    )
    with target:
        for at in survey.grid:
            box = survey.grid.box(at)
            labels = source.read(box)
            facts = _facts(source, survey.grid, at, labels)
            places_of(snapshot.neurons, facts.members)
            # The numbers of 0 and of the members, which 0 precedes.
            numbers = np.append(np.uint64(0), survey.grid.numbers(at, facts.members, facts.members))
            target.write(box, numbers[np.searchsorted(facts.members, labels, side="right")])
            survey.save(at, facts)
            found.append(facts.members)
    return found


def _facts(source: Volume, grid: ChunkGrid, at: Zyx, labels: np.ndarray) -> Facts:
    members = np.unique(labels).astype(np.uint64)
    above = {
        axis: contacts_across(
            layer_inside(labels, axis, side), layer_beyond(source, grid.box(at), axis, side)
        )
        for axis, side, _ in grid.neighbours(at)
        if side == 1
    }
    return Facts(members[members > 0], contacts_inside(labels), above)


def _joints(
    survey: Survey, snapshot: Snapshot, pairs: MergePairs, parts: Parts
) -> dict[int, list[tuple[str, int, int, int]]]:
    """Edges besides those of contacts, by chunk: kind, supervoxel, the other one, and its chunk."""
    touching = np.zeros(pairs.keys.size, bool)
    linked: tuple[list[np.ndarray], list[np.ndarray]] = ([np.zeros(0, np.int64)], [np.zeros(0, np.int64)])
    for at in survey.grid:
        facts = survey.facts(at)
        for contacts in (facts.inside, *facts.above.values()):
            other = contacts.first != contacts.second
            keys = key_of(snapshot.neurons, contacts.first[other], contacts.second[other])
            places, known = pairs.find(keys)
            touching[places[known]] = True
        for axis, side, neighbour in survey.grid.neighbours(at):
            if side == 1:
                first, second, _ = facts.above[axis]
                same = first[first == second]
                linked[0].append(parts.rows(same, np.full(same.size, survey.grid.index(at))))
                linked[1].append(parts.rows(same, np.full(same.size, survey.grid.index(neighbour))))
    found: dict[int, list[tuple[str, int, int, int]]] = defaultdict(list)
    for joint in missing_links(parts, np.concatenate(linked[0]), np.concatenate(linked[1])):
        _add(found, parts, joint)
    apart = np.flatnonzero(pairs.merged & ~touching)
    size_nm = np.asarray(snapshot.labels.voxel_size_nm)
    for row, a, b in zip(apart.tolist(), *(each.tolist() for each in pairs.ends(apart)), strict=True):
        _add(found, parts, nearest_parts(parts, a, b, pairs.points_nm[row] / size_nm))
    return found


def _add(found: dict[int, list[tuple[str, int, int, int]]], parts: Parts, joint: Joint) -> None:
    """Notes an edge in the chunks of both its ends; one of a single chunk once."""
    a, b = (int(parts.supervoxels[row]) for row in joint)
    here, there = (int(parts.chunks[row]) for row in joint)
    if here == there:
        found[here].append((IN, a, b, here))
        return
    kind = CROSS if a == b else BETWEEN
    found[here].append((kind, a, b, there))
    found[there].append((kind, b, a, here))


def _second_pass(
    survey: Survey,
    snapshot: Snapshot,
    pairs: MergePairs,
    joints: Mapping[int, list[tuple[str, int, int, int]]],
    begun: Path,
) -> None:
    for name in ("edges", "components"):
        (begun / name).mkdir(parents=True)
    for at in survey.grid:
        members, edges, outside = _edges_of(survey, pairs, joints.get(survey.grid.index(at), []), at)
        if not members.size:
            continue
        edges_path(begun, survey.grid, at).write_bytes(encode_edges(edges))
        supervoxels = np.concatenate([members, *(ids for ids, _ in outside)])
        numbers = np.concatenate(
            [survey.grid.numbers(at, members, members), *(numbers for _, numbers in outside)]
        )
        numbers, first = np.unique(numbers, return_index=True)
        neurons = snapshot.neurons.neurons[places_of(snapshot.neurons, supervoxels[first])]
        components_path(begun, survey.grid, at).write_bytes(encode_components(numbers, neurons))


Outside = list[tuple[np.ndarray, np.ndarray]]


def _edges_of(
    survey: Survey, pairs: MergePairs, joints: list[tuple[str, int, int, int]], at: Zyx
) -> tuple[np.ndarray, dict[str, ChunkEdges], Outside]:
    """The supervoxels of a chunk, its edges, and supervoxels elsewhere with their numbers."""
    grid, facts = survey.grid, survey.facts(at)
    members, outside = facts.members, list[tuple[np.ndarray, np.ndarray]]()
    found: dict[str, list[ChunkEdges]] = {IN: [], BETWEEN: [], CROSS: []}

    def add(kind: str, contacts: Contacts, second: np.ndarray) -> None:
        affinity = (
            np.full(contacts.first.size, np.inf, np.float32)
            if kind == CROSS
            else pairs.affinity_of(contacts.first, contacts.second)
        )
        first = grid.numbers(at, members, contacts.first)
        found[kind].append(ChunkEdges(first, second, affinity, contacts.faces))

    add(IN, facts.inside, grid.numbers(at, members, facts.inside.second))
    for axis, side, neighbour in grid.neighbours(at):
        contacts = facts.above[axis] if side else _swapped(survey.facts(neighbour).above[axis])
        numbers = grid.numbers(neighbour, survey.members(neighbour), contacts.second)
        outside.append((contacts.second, numbers))
        same = contacts.first == contacts.second
        for kind, chosen in ((CROSS, same), (BETWEEN, ~same)):
            add(kind, Contacts(*(column[chosen] for column in contacts)), numbers[chosen])
    for kind, a, b, chunk in joints:
        contacts = Contacts(np.array([a], np.uint64), np.array([b], np.uint64), np.ones(1, np.int64))
        numbers = grid.numbers(grid.at(chunk), survey.members(grid.at(chunk)), contacts.second)
        add(kind, contacts, numbers)
        if grid.at(chunk) != at:
            outside.append((contacts.second, numbers))
    edges = {
        kind: ChunkEdges(*map(np.concatenate, zip(*parts, strict=True)))
        for kind, parts in found.items()
        if parts
    }
    return members, edges, outside


def _write_numbers(survey: Survey, snapshot: Snapshot, path: Path) -> None:
    with path.open("w", encoding="ascii") as stream:
        stream.write("number,supervoxel,neuron\n")
        for at in survey.grid:
            members = survey.members(at)
            neurons = snapshot.neurons.neurons[places_of(snapshot.neurons, members)]
            columns = (survey.grid.numbers(at, members, members), members, neurons)
            rows = zip(*(column.tolist() for column in columns), strict=True)
            stream.writelines(f"{number},{supervoxel},{neuron}\n" for number, supervoxel, neuron in rows)


def _swapped(contacts: Contacts) -> Contacts:
    """The same pairs, seen from the other side."""
    return Contacts(contacts.second, contacts.first, contacts.faces)


def _named(name: str, contacts: Contacts) -> dict[str, np.ndarray]:
    return {f"{name}_{column}": values for column, values in contacts._asdict().items()}
