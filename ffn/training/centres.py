"""Where the centres of training examples may lie, by class, in volumes of any size.

Classes (`ffn.training.partitions`) are made block by block and kept as bricks of 32³ voxels, with the number
of voxels of each class in each brick. A voxel is found by its class and its number in it, for which one brick
is read: memory does not grow with the number of voxels.

With a folder, the bricks lie in a file there, mapped into memory, beside a piece (`jobs.pieces`) with the
counts and the digest of that file. Its name is a digest of all that classes follow from, the contents of
labels and mask included, so that the next start finds it.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path

import edt
import fastremap
import numpy as np

from ffn.training.partitions import NO_OBJECT, THRESHOLDS, block_classes
from ffn.training.volume_parts import BLOCK, blocks_of
from jobs.pieces import PieceError, atomic_path, load_npz, save_npz
from volumes.base import Volume
from volumes.box import Box, Zyx

BRICK = 32
# Counts up when the same inputs give other classes.
_VERSION = 2


@dataclass(frozen=True)
class CentreRule:
    """What voxels may be centres, and of what class.

    Attributes:
      radius_zyx: half size of the box over which the share of same-object voxels is taken.
      margin_zyx: voxels that an example needs on either side of its centre.
      thresholds: ascending shares between classes.
      min_object_voxels: of the whole volume; no centre lies in a smaller object.
      clearance: to the nearest voxel of another label at least, 0 included, in units of a voxel's smallest
        edge; objects that have no voxel so deep keep their deepest.
      edges_zyx: of a voxel, the smallest is 1.
    """

    radius_zyx: Zyx
    margin_zyx: Zyx
    thresholds: tuple[float, ...] = THRESHOLDS
    min_object_voxels: int = 10_000
    clearance: float = 2.0
    edges_zyx: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @property
    def clearance_zyx(self) -> Zyx:
        """The clearance in voxels along each axis, rounded up."""
        z, y, x = (math.ceil(self.clearance / edge) for edge in self.edges_zyx)
        return z, y, x


@dataclass(frozen=True)
class Survey:
    """What one pass over labels and mask finds.

    Attributes:
      sizes: voxels of each label, 0 included.
      masked: voxels under the mask.
      digest: of labels and mask.
    """

    sizes: dict[int, int]
    masked: int
    digest: str

    def large(self, min_object_voxels: int) -> np.ndarray:
        """IDs of the objects of at least so many voxels, ascending."""
        return np.array(
            sorted(label for label, n in self.sizes.items() if label and n >= min_object_voxels), np.uint64
        )


class Centres:
    """Voxels that may be centres, to draw from.

    Attributes:
      counts: (classes,) int64, how many voxels of each class there are.
      without: how many large objects have no centre.

    Args:
      shape_zyx: of the volume.
      bricks: uint8 (bricks, 32, 32, 32), the classes; brick by brick in (z, y, x) order.
      counts: int64 (bricks, classes), voxels of each class in each brick.
      without: as the attribute.
    """

    def __init__(self, shape_zyx: Zyx, bricks: np.ndarray, counts: np.ndarray, without: int) -> None:
        self._bricks, self.without = bricks, without
        self._grid = _grid(shape_zyx)
        # By class, since a draw searches along the bricks of one.
        self._up_to = np.ascontiguousarray(np.cumsum(counts, axis=0).T)
        self.counts: np.ndarray = self._up_to[:, -1]

    def __len__(self) -> int:
        """How many voxels may be centres."""
        return int(self.counts.sum())

    def voxel(self, of_class: int, number: int) -> Zyx:
        """A voxel (z, y, x) of a class, by its number in it: brick by brick, and within each in order.

        Args:
          of_class: from 0.
          number: from 0, below `counts[of_class]`.
        """
        up_to = self._up_to[of_class]
        brick = int(np.searchsorted(up_to, number, side="right"))
        within = number - (int(up_to[brick - 1]) if brick else 0)
        flat = int(np.flatnonzero(self._bricks[brick] == of_class)[within])
        corner, inner = np.unravel_index(brick, self._grid), np.unravel_index(flat, (BRICK,) * 3)
        z, y, x = (int(c) * BRICK + int(i) for c, i in zip(corner, inner, strict=True))
        return z, y, x


def survey(labels: Volume, mask: Volume | None, block: Zyx = BLOCK) -> Survey:
    """Counts labels and masked voxels, block by block, and takes the digest of what is read.

    Args:
      labels: integer, 0 = no object.
      mask: numbers or bool on the same grid, or None.
      block: voxels (zyx) that are read at a time.
    """
    sizes: Counter[int] = Counter()
    masked, digest = 0, hashlib.blake2b(digest_size=16)
    for box in blocks_of(labels.bounds, block):
        read = labels.read(box)
        ids, counts = fastremap.unique(read, return_counts=True)
        sizes.update(dict(zip(ids.tolist(), counts.tolist(), strict=True)))
        digest.update(read.dtype.str.encode() + read.tobytes())
        if mask is not None:
            hidden = mask.read(box) != 0
            masked += int(np.count_nonzero(hidden))
            digest.update(np.packbits(hidden).tobytes())
    return Survey(dict(sizes), masked, digest.hexdigest())


def find_centres(
    labels: Volume,
    mask: Volume | None,
    rule: CentreRule,
    found: Survey,
    folder: Path | None = None,
    block: Zyx = BLOCK,
) -> Centres:
    """The centres of a volume, made block by block, or read from the folder where they were made already.

    Args:
      labels: integer, 0 = no object; bounds begin at (0, 0, 0).
      mask: numbers or bool on the same grid; no centre lies where it is not 0.
      rule: see `CentreRule`.
      found: by `survey` of the same labels and mask.
      folder: where the classes are kept; None: in memory, one byte per voxel.
      block: voxels (zyx) of a block, multiples of 32; memory while working is some 20 bytes for each and for
        those around it within the radius.

    Raises:
      PieceError: the folder cannot be written.
    """
    shape = labels.shape
    bricks, classes = math.prod(_grid(shape)), len(rule.thresholds) + 1
    if folder is None:
        kept = np.full((bricks, BRICK, BRICK, BRICK), NO_OBJECT, np.uint8)
        return Centres(shape, kept, *_fill(kept, labels, mask, rule, found, block))
    key = _key(shape, rule, found)
    data, piece = folder / f"{key}.classes", folder / f"{key}.npz"
    with suppress(PieceError):
        counts, without = _counts_kept(data, piece)
        return Centres(shape, _mapped(data, bricks, "r"), counts, without)
    with atomic_path(data) as temporary:
        kept = _mapped(temporary, bricks, "w+")
        counts, without = _fill(kept, labels, mask, rule, found, block)
        kept.flush()
        del kept
        digest = _digest_of_file(temporary)
    parts = {"counts": counts.reshape(bricks, classes), "without": np.array(without)}
    save_npz(piece, {**parts, "digest": np.array(digest)})
    return Centres(shape, _mapped(data, bricks, "r"), counts, without)


def _key(shape: Zyx, rule: CentreRule, found: Survey) -> str:
    named = repr((_VERSION, shape, astuple(rule), found.digest))
    return hashlib.blake2b(named.encode(), digest_size=12).hexdigest()


def _counts_kept(data: Path, piece: Path) -> tuple[np.ndarray, int]:
    """Counts, and objects without a centre, of a file that is whole; PieceError: it is missing or damaged."""
    kept = load_npz(piece)
    if not data.exists() or _digest_of_file(data) != str(kept["digest"]):
        raise PieceError(f"{data} is damaged; it is made anew")
    return kept["counts"], int(kept["without"])


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _mapped(path: Path, bricks: int, mode: str) -> np.memmap:
    return np.memmap(path, np.uint8, mode, shape=(bricks, BRICK, BRICK, BRICK))  # type: ignore[call-overload,no-any-return]


def _grid(shape: Zyx) -> Zyx:
    """Bricks along each axis."""
    z, y, x = (-(-n // BRICK) for n in shape)
    return z, y, x


def _fill(
    bricks: np.ndarray, labels: Volume, mask: Volume | None, rule: CentreRule, found: Survey, block: Zyx
) -> tuple[np.ndarray, int]:
    """Writes all bricks; returns the counts (bricks, classes), and how many large objects have no centre."""
    classes = len(rule.thresholds) + 1
    counts = np.zeros((len(bricks), classes), np.int64)
    large, grid = found.large(rule.min_object_voxels), _grid(labels.shape)
    deepest = _deepest(labels, mask, rule, large, block)
    for core in blocks_of(labels.bounds, block):
        of_core = _classes_of(core, labels, mask, rule, large, deepest)
        for number, brick in _bricks_of(of_core, core, grid):
            bricks[number] = brick
            counts[number] = np.bincount(brick.ravel(), minlength=NO_OBJECT + 1)[:classes]
    return counts, len(large) - len(deepest)


def _deepest(
    labels: Volume, mask: Volume | None, rule: CentreRule, large: np.ndarray, block: Zyx
) -> dict[int, float]:
    """The depth of the deepest voxel that can be a centre, of every large object that has any."""
    deepest: dict[int, float] = {}
    for core in blocks_of(labels.bounds, block):
        inner = _inner(core, labels, rule)
        if inner.is_empty:
            continue
        read, here = _with_context(labels, inner, rule.clearance_zyx)
        ids, depth = read[here.slices()], _depth(read, here, rule)
        free = ids != 0 if mask is None else (ids != 0) & (mask.read(inner) == 0)
        found, places = np.unique(ids[free], return_inverse=True)
        most = np.zeros(len(found))
        np.maximum.at(most, places.ravel(), depth[free])
        for label, depth_of in zip(found.tolist(), most.tolist(), strict=True):
            deepest[label] = max(depth_of, deepest.get(label, 0.0))
    return {label: deepest[label] for label in large.tolist() if label in deepest}


def _inner(core: Box, labels: Volume, rule: CentreRule) -> Box:
    """The part of a block in which examples fit."""
    return labels.bounds.grow([-margin for margin in rule.margin_zyx]).intersect(core)


def _with_context(labels: Volume, inner: Box, context: Sequence[int]) -> tuple[np.ndarray, Box]:
    """Labels of a box and of what is around it, and where in them the box lies."""
    around = inner.grow(context).intersect(labels.bounds)
    return labels.read(around), inner.shift([-start for start in around.start])


def _depth(read: np.ndarray, here: Box, rule: CentreRule) -> np.ndarray:
    """float32 of the box's shape: distances to other labels, at most the clearance."""
    return np.minimum(edt.edt(read, anisotropy=rule.edges_zyx)[here.slices()], rule.clearance)


def _classes_of(
    core: Box,
    labels: Volume,
    mask: Volume | None,
    rule: CentreRule,
    large: np.ndarray,
    deepest: Mapping[int, float],
) -> np.ndarray:
    """uint8 of the core's shape: classes of the voxels that may be centres, else `NO_OBJECT`."""
    classes = np.full(core.shape, NO_OBJECT, np.uint8)
    inner = _inner(core, labels, rule)
    if inner.is_empty:
        return classes
    context = [max(both) for both in zip(rule.radius_zyx, rule.clearance_zyx, strict=True)]
    read, here = _with_context(labels, inner, context)
    of_inner = block_classes(read, here, large, rule.radius_zyx, rule.thresholds)
    if rule.clearance > 0:
        of_inner[_depth(read, here, rule) < _limits(read[here.slices()], rule, deepest)] = NO_OBJECT
    if mask is not None:
        of_inner[mask.read(inner) != 0] = NO_OBJECT
    classes[inner.slices(core.start)] = of_inner
    return classes


def _limits(ids: np.ndarray, rule: CentreRule, deepest: Mapping[int, float]) -> np.ndarray:
    """How deep each voxel must lie: the clearance, or as deep as any of its object if none is so deep."""
    limits = np.full(ids.shape, rule.clearance, np.float32)
    thin = sorted((label, depth) for label, depth in deepest.items() if depth < rule.clearance)
    if thin:
        labels = np.array([label for label, _ in thin], np.uint64)
        # What is rounded differs with the block that a distance was taken in.
        depths = np.array([depth for _, depth in thin], np.float32) - np.float32(1e-3)
        places = np.minimum(np.searchsorted(labels, ids.astype(np.uint64)), len(labels) - 1)
        limits = np.where(labels[places] == ids, depths[places], limits)
    return limits


def _bricks_of(classes: np.ndarray, core: Box, grid: Zyx) -> Iterator[tuple[int, np.ndarray]]:
    """Every brick of a block with its number; voxels beyond the volume have no class."""
    for box in blocks_of(Box.from_shape(classes.shape), (BRICK,) * 3):
        brick = np.full((BRICK,) * 3, NO_OBJECT, np.uint8)
        brick[box.slices(box.start)] = classes[box.slices()]
        corner = [(a + b) // BRICK for a, b in zip(box.start, core.start, strict=True)]
        yield int(np.ravel_multi_index(corner, grid)), brick
