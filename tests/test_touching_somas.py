"""Phantoms full of cell bodies that touch, cut into supervoxels, and the soma constraint on them."""

from __future__ import annotations

import cc3d
import numpy as np
import pytest

from benchmarks.crowded_somas import Pieces, crowded_phantom, cut
from benchmarks.touching_somas import COUNTS, Row, phantom_rows, pooled
from volumes.phantom import Phantom

pytestmark = pytest.mark.slow

RADIUS_NM = 600.0
OFF_NM = RADIUS_NM / 2


@pytest.fixture(scope="module")
def crowd() -> Phantom:
    return crowded_phantom(3, radius_nm=RADIUS_NM, shape=(70, 70, 70))


@pytest.fixture(scope="module")
def whole(crowd: Phantom) -> Pieces:
    return cut(crowd, 0.0, 1)


def touching(labels: np.ndarray) -> set[tuple[int, int]]:
    """Pairs of labels that share a face."""
    pairs = set()
    for axis in range(3):
        n = labels.shape[axis]
        low, high = (np.take(labels, at, axis) for at in (range(n - 1), range(1, n)))
        there = (low != high) & (low > 0) & (high > 0)
        pairs |= set(zip(low[there].tolist(), high[there].tolist(), strict=True))
    return pairs


def test_every_cell_body_is_one_piece_that_touches_another(crowd: Phantom, whole: Pieces) -> None:
    count = len(crowd.cell_body_ids)
    assert count >= 5
    assert whole.bodies[whole.main].tolist() == list(range(1, count + 1))
    assert np.count_nonzero(whole.bodies) == count
    np.testing.assert_allclose(whole.radius_nm, RADIUS_NM, rtol=0.15)
    bodies = np.append(0, whole.bodies)[whole.volume.read()]
    assert {body for pair in touching(bodies) for body in pair} == set(range(1, count + 1))
    centres = np.floor(crowd.cell_body_centres_nm / crowd.spec.voxel_size_nm).astype(int)
    assert bodies[tuple(centres.T)].tolist() == list(range(1, count + 1))


@pytest.mark.parametrize("halved", [0.0, 1.0], ids=["whole", "halved"])
def test_supervoxels_are_connected_pieces_of_one_neuron(crowd: Phantom, halved: float) -> None:
    pieces = cut(crowd, halved, 1)
    labels = pieces.volume.read()
    np.testing.assert_array_equal(np.append(0, pieces.neurons)[labels], crowd.labels)
    assert int(cc3d.connected_components(labels, connectivity=6).max()) == len(pieces.table.ids)
    sizes = [
        np.sort(pieces.table.voxels[pieces.bodies == body])[::-1]
        for body in range(1, pieces.bodies.max() + 1)
    ]
    assert all((each.size > 1 and each[1] > 0.15 * each.sum()) == bool(halved) for each in sizes)


@pytest.fixture(scope="module")
def rows(crowd: Phantom) -> dict[tuple[str, str, float], Row]:
    found = phantom_rows(crowd, draws=2, wrong_share=0.05, jitter_nm=OFF_NM, missing=0.2)
    return {(row["pieces"], row["merges"], row["thickness"]): row for row in found}


@pytest.mark.parametrize("merges", ["all", "few wrong"])
def test_no_two_true_cell_bodies_are_joined(rows: dict[tuple[str, str, float], Row], merges: str) -> None:
    """A fifth of the cell bodies is missing in the table, centres are off by half a radius."""
    row = rows["whole", merges, 0.6]
    assert row["joined_unconstrained"] > 0.5 * row["bodies"]
    assert row["missing"] > 0 and row["touching"] >= 0.5 * row["bodies"]
    assert (row["joined"], row["astray"], row["found"]) == (0, 0, row["missing"])
    assert 0 < row["true_lost"] <= row["refused"] < row["tried"]
    # Without the search by thickness those that are missing are with others.
    assert rows["whole", merges, 0.0]["joined"] > 0


def test_pooled_rows_are_added_up(rows: dict[tuple[str, str, float], Row]) -> None:
    twice = pooled([*rows.values(), *rows.values()])
    assert len(twice) == len(rows) == 8
    for row, one in zip(twice, rows.values(), strict=True):
        assert [row[name] for name in COUNTS] == [2 * one[name] for name in COUNTS]
        assert row["refused_share"] == row["refused"] / row["tried"] == one["refused_share"]
