"""Candidate pairs of a volume of any size: decision points found block by block.

A block is the work of one piece. It is read with as much around it as supervoxels grow, plus the voxel that
its last contacts lead to, so that all that is found in it is what would be found in the whole; each contact
belongs to one block. Pieces keep the pairs, what adds up of them and the places of tied contacts in
`<directory>/<x>_<y>_<z>.npz`, named by the block's lowest corner; a damaged file, or one of other labels or
settings, is made anew. At the end they are merged, first the pairs, then the places one block at a time: the
table depends neither on the blocks nor on their order, and memory is that of the pairs and of one block.

Inputs: supervoxels (zyx, integers), 0 = empty. Outputs: `CandidatePairs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path

import numpy as np

from agglomeration.candidate_pairs import CandidatePairs
from agglomeration.contacts import Contacts, find_contacts, merge_contacts
from agglomeration.decision_points import Part, pairs_of
from agglomeration.errors import AgglomerationError
from agglomeration.expansion import expand, reach_voxels, require_labels
from agglomeration.merge_graph import positions_of
from configs import ConfigView
from inference.flooding import PieceReport
from inference.freshness import Stamp, stamps_of_volume
from inference.identity import array_digest, settings_digest
from inference.label_stages import kept_piece
from inference.reconciliation import object_voxels
from inference.supervoxel_table import SupervoxelTable
from jobs.dispatch import Piece
from jobs.in_worker import per_worker
from jobs.pieces import load_npz
from jobs.run_progress import RunProgress
from jobs.workers import Pool
from volumes import Box, Volume, open_volume
from volumes.base import SizeNm
from volumes.box import Zyx


@dataclass(frozen=True)
class CandidateSource:
    """What a worker needs to look for pairs in a block.

    Attributes:
      spec: of the supervoxels.
      voxel_size_nm: zyx.
      region: where pairs are looked for (absolute); voxels beyond it are not seen.
      max_distance_nm: see `find_decision_points`.
      directory: where pieces are kept.
      identity: names the supervoxels, such as the digest of what they were made from: other labels, another
        name. Empty: each block is read and a digest made of its voxels.
    """

    spec: str
    voxel_size_nm: SizeNm
    region: Box
    max_distance_nm: float
    directory: Path
    identity: str = ""

    def window(self, block: Box) -> Box:
        """What is read for a block: all that its contacts follow from."""
        z, y, x = reach_voxels(self.voxel_size_nm, self.max_distance_nm)
        return block.grow((z + 1, y + 1, x + 1)).intersect(self.region)

    def path(self, block: Box) -> Path:
        """Where the piece of a block is kept."""
        z, y, x = block.start
        return self.directory / f"{x}_{y}_{z}.npz"


def find_candidates(
    volume: Volume,
    box: Box,
    *,
    section: ConfigView,
    directory: Path,
    sizes: SupervoxelTable | None = None,
    identity: str = "",
    pool: Pool | None = None,
    progress: RunProgress | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> CandidatePairs:
    """Finds the pairs of supervoxels that are worth asking about.

    Args:
      volume: supervoxels, integers >= 0; opened again by their SPEC in every worker.
      box: where pairs are looked for (absolute), inside the volume.
      section: `Candidates`.
      directory: where pieces are kept; a rerun makes those that are missing.
      sizes: table of all supervoxels; None: those of the box are counted.
      identity: see `CandidateSource`.
      pool: workers; None: this process does it.
      progress: has begun a stage; the pool advances it by voxels of the box.
      tell: takes a line about each piece that had to be made anew.

    Returns:
      The pairs whose supervoxels both have `min_size` voxels and that meet on `min_contact_faces` faces.

    Raises:
      AgglomerationError: a box that leaves the volume, an array instead of a stored volume, labels that are
        none, or a pair that is not in the table of sizes.
      PieceFailures: blocks that could not be worked on.
    """
    source = _source(volume, box, section.max_distance_nm, directory, identity)
    blocks = candidate_blocks(box, section.block)
    pieces = [Piece(f"candidates at {block}", (source, block), block.size) for block in blocks]
    if pool is None:
        reports = [candidates_block(*piece.arguments) for piece in pieces]
    else:
        reports = pool.map(candidates_block, pieces, progress=progress)
    for line in (report.note for report in reports):
        if line:
            tell(line)
    contacts = merge_contacts(_contacts(arrays) for arrays in _stored(source, blocks, _CONTACTS))
    ids, voxels = (sizes.ids, sizes.voxels) if sizes is not None else _counted(source, blocks)
    wanted = contacts.faces >= section.min_contact_faces
    for members in (contacts.id_a, contacts.id_b):
        wanted &= voxels[positions_of(ids, members)] >= section.min_size
    return pairs_of(contacts.select(wanted), _parts(source, blocks), source.voxel_size_nm, (ids, voxels))


def candidate_blocks(box: Box, shape: Zyx) -> list[Box]:
    """A box cut into blocks, from its lowest corner on; z slowest.

    Args:
      box: absolute, not empty.
      shape: voxels (zyx) of a block; those at the end are smaller.
    """
    grid = (range(low, high, n) for low, high, n in zip(box.start, box.stop, shape, strict=True))
    return [Box.from_shape(shape, corner).intersect(box) for corner in product(*grid)]


def candidates_block(source: CandidateSource, block: Box) -> PieceReport:
    """Pairs, tied contacts and sizes of supervoxels in one block; a piece of work.

    Args:
      source: the volume and the distance.
      block: absolute, a part of the region.

    Raises:
      AgglomerationError: labels that are none.
      VolumeError: voxels that cannot be read.
    """
    window = source.window(block)
    read = _once(lambda: _opened(source).read(window))

    def find() -> dict[str, np.ndarray]:
        labels = read()
        expanded = expand(labels, source.voxel_size_nm, source.max_distance_nm)
        contacts, tied = find_contacts(expanded, window.start, block)
        ids, voxels = object_voxels(labels[block.slices(window.start)])
        return {**vars(contacts), "tied": tied, "ids": ids, "voxels": voxels}

    made_from = {
        "labels": source.identity or array_digest(read()),
        "voxel_size_nm": source.voxel_size_nm,
        "max_distance_nm": source.max_distance_nm,
        "block_zyx": str(block),
        "window_zyx": str(window),
    }
    return kept_piece(source.path(block), settings_digest(made_from), find)


_CONTACTS = tuple(each.name for each in fields(Contacts))
_ROWS_AT_ONCE = 1 << 16


def _source(
    volume: Volume, box: Box, max_distance_nm: float, directory: Path, identity: str
) -> CandidateSource:
    from volumes.arrays import ArrayVolume

    if isinstance(volume, ArrayVolume):
        raise AgglomerationError(
            "candidates of an array cannot be found by workers, which open what is stored; write it to a "
            "file, or call find_decision_points"
        )
    if box.is_empty or not volume.bounds.contains_box(box):
        raise AgglomerationError(
            f"candidates are looked for in {box}, but supervoxels '{volume.spec}' are {volume.bounds}; give "
            "a box inside that is not empty"
        )
    return CandidateSource(volume.spec, volume.voxel_size_nm, box, max_distance_nm, directory, identity)


def _opened(source: CandidateSource) -> Volume:
    """The supervoxels, opened once per worker, and anew when their files were replaced."""
    stamps = stamps_of_volume(source.spec)

    def open_it() -> tuple[Volume, tuple[Stamp, ...]]:
        return open_volume(source.spec, voxel_size_nm=source.voxel_size_nm), stamps

    key = ("supervoxels", source.spec, source.voxel_size_nm)
    return per_worker(key, open_it, usable=lambda kept: kept[1] == stamps)[0]


def _once(read: Callable[[], np.ndarray]) -> Callable[[], np.ndarray]:
    """Labels that are read when first asked for, and checked."""
    kept: list[np.ndarray] = []

    def get() -> np.ndarray:
        if not kept:
            kept.append(read())
            require_labels(kept[0])
        return kept[0]

    return get


def _stored(
    source: CandidateSource, blocks: Iterable[Box], names: Iterable[str]
) -> Iterator[dict[str, np.ndarray]]:
    """Some arrays of every block, one block at a time."""
    wanted = [*names]
    return (load_npz(source.path(block), wanted) for block in blocks)


def _contacts(arrays: dict[str, np.ndarray]) -> Contacts:
    return Contacts(**{name: arrays[name] for name in _CONTACTS})


def _parts(source: CandidateSource, blocks: Iterable[Box]) -> Iterator[Part]:
    return ((_contacts(arrays), arrays["tied"]) for arrays in _stored(source, blocks, [*_CONTACTS, "tied"]))


def _counted(source: CandidateSource, blocks: Iterable[Box]) -> tuple[np.ndarray, np.ndarray]:
    """IDs of all supervoxels, ascending, and how many voxels all blocks together hold of each."""
    table, waiting, rows = _summed([]), [], 0
    for arrays in _stored(source, blocks, ["ids", "voxels"]):
        waiting.append((arrays["ids"], arrays["voxels"]))
        rows += arrays["ids"].size
        if rows > max(table[0].size, _ROWS_AT_ONCE):
            table, waiting, rows = _summed([table, *waiting]), [], 0
    return _summed([table, *waiting])


def _summed(tables: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    ids = np.concatenate([np.zeros(0, np.uint64), *(each for each, _ in tables)])
    together, place = np.unique(ids, return_inverse=True)
    voxels = np.zeros(together.size, np.int64)
    np.add.at(voxels, place, np.concatenate([np.zeros(0, np.int64), *(each for _, each in tables)]))
    return together, voxels
