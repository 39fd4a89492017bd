"""Blocks are whole chunks of a workable size, tile their box, and keep to memory with their context."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.blocks import block_shape, slabs, tiles, voxels_read
from volumes import Box

edges = st.tuples(*(st.integers(1, 40) for _ in range(3)))


@pytest.mark.parametrize(
    ("chunk", "shape", "most", "block"),
    [
        ((64, 64, 64), (512, 512, 512), 2**24, (64, 64, 64)),
        ((32, 32, 32), (512, 512, 512), 2**24, (64, 64, 64)),
        ((1, 1024, 1024), (99, 1024, 1024), 2**24, (1, 1024, 1024)),
        ((1, 1, 1), (10, 20, 30), 2**24, (10, 20, 30)),
        ((512, 512, 512), (4096, 4096, 4096), 2**24, (256, 256, 256)),
        ((170, 250, 251), (170, 250, 251), 2**22, (170, 125, 126)),
    ],
    ids=["as it is", "put together", "sections", "small volume", "shards", "no chunks"],
)
def test_blocks_are_chunks_of_a_workable_size(chunk: tuple, shape: tuple, most: int, block: tuple) -> None:
    assert block_shape(chunk, shape, most, least=64**3) == block


def test_without_a_least_size_blocks_are_as_large_as_can_be() -> None:
    assert block_shape((32, 32, 32), (512, 512, 512), 2**22) == (256, 128, 128)
    assert block_shape((16, 24, 32), (66, 94, 123), 2**15) == (32, 24, 32)


def test_a_context_lengthens_blocks_along_its_own_axes() -> None:
    shape = block_shape((1, 1, 1), (4096, 4096, 4096), 2**20, context=(2, 20, 20))
    assert shape[0] < shape[1] / 4 and shape[1] <= 1.2 * shape[2] and shape[2] <= 1.2 * shape[1]
    assert voxels_read(shape, (4096,) * 3, (2, 20, 20)) > 2**19


@given(
    chunk=edges,
    limit=edges,
    context=st.tuples(*(st.integers(0, 9) for _ in range(3))),
    most=st.integers(1, 40000),
)
def test_a_block_and_its_context_are_no_more_than_may_be_read(
    chunk: tuple, limit: tuple, context: tuple, most: int
) -> None:
    shape = block_shape(chunk, limit, most, context=context, extent=limit)
    around = [min(min(n, m) + 2 * c, m) for n, m, c in zip(shape, limit, context, strict=True)]
    assert voxels_read(shape, limit, context, limit) == math.prod(around)
    assert math.prod(around) <= most or shape == (1, 1, 1)
    whole = [min(c, m) for c, m in zip(chunk, limit, strict=True)]
    if math.prod(min(n + 2 * c, m) for n, c, m in zip(whole, context, limit, strict=True)) <= most:
        assert all(n % c == 0 for n, c in zip(shape, chunk, strict=True))


@given(shape=edges, start=st.tuples(*(st.integers(-50, 50) for _ in range(3))), block=edges)
def test_tiles_hold_every_voxel_once_and_lie_on_the_grid(shape: tuple, start: tuple, block: tuple) -> None:
    box, origin = Box.from_shape(shape, start), (3, -7, 0)
    block = tuple(max(n, m // 4 + 1) for n, m in zip(block, shape, strict=True))
    seen = np.zeros(shape, int)
    for tile in tiles(box, block, origin):
        seen[tile.slices(start)] += 1
        cells = [
            (low - o) // n == (high - 1 - o) // n
            for low, high, o, n in zip(tile.start, tile.stop, origin, block, strict=True)
        ]
        assert all(cells)
    assert (seen == 1).all()


def test_slabs_are_sections_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluation.blocks.SLAB_VOXELS", 50)
    assert list(slabs((5, 4, 6))) == [slice(0, 2), slice(2, 4), slice(4, 6)]
    assert list(slabs((2, 100))) == [slice(0, 1), slice(1, 2)]
    assert list(slabs((0, 3))) == []
