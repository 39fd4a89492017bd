"""Many floods through one network: in batches, with the same results whatever the batches."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np
import pytest
from fake_network import FakeNetwork, dim_blobs, drive

from ffn.canvas import Canvas, segment_all
from ffn.flood import FloodOptions, FovRequest
from ffn.seeds import peak_seeds
from inference.executor import run_floods

FOV = (9, 9, 9)
OPTIONS = FloodOptions(FOV, (4, 4, 4), min_segment_size=30)
SHAPE = (32, 32, 32)
IMAGES = [dim_blobs(SHAPE, number) for number in range(6)]
SEEDS = [peak_seeds(image, FOV) for image in IMAGES]


def subvolumes() -> list[Generator[FovRequest, np.ndarray, Canvas]]:
    return [segment_all(Canvas(i, OPTIONS), s) for i, s in zip(IMAGES, SEEDS, strict=True)]


@pytest.fixture(scope="module")
def alone() -> dict[bytes, dict[str, np.ndarray]]:
    """The outcome of each subvolume flooded without an executor, by its image."""
    canvases = [drive(task, FOV) for task in subvolumes()]
    assert sum(len(canvas.origins) for canvas in canvases) > 10
    return {canvas.flood.image.tobytes(): canvas.snapshot() for canvas in canvases}


@pytest.mark.parametrize("batches_in_flight", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 4, 16])
def test_results_do_not_depend_on_the_batches(
    alone: dict[bytes, dict[str, np.ndarray]], batch_size: int, batches_in_flight: int
) -> None:
    options = {"batch_size": batch_size, "batches_in_flight": batches_in_flight}
    canvases = list(run_floods(subvolumes(), FakeNetwork(), FOV, **options))
    assert len(canvases) == len(IMAGES)
    for canvas in canvases:
        expected, found = alone[canvas.flood.image.tobytes()], canvas.snapshot()
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


class Counted:
    """A flood of a number of steps, all at one place, that counts how many like it are under way."""

    running = 0
    most = 0
    image = np.zeros(FOV, np.float32)
    request = FovRequest(image, image, (4, 4, 4), np.float32(0))

    @classmethod
    def flood(cls, steps: int) -> Generator[FovRequest, np.ndarray, int]:
        cls.running += 1
        cls.most = max(cls.most, cls.running)
        for _ in range(steps):
            yield cls.request
        cls.running -= 1
        return steps


@pytest.fixture(autouse=True)
def _count_from_zero() -> Iterator[None]:
    Counted.running = Counted.most = 0
    yield


def test_batches_are_full_while_enough_floods_wait() -> None:
    network = FakeNetwork()
    floods = (Counted.flood(10) for _ in range(8))
    assert list(run_floods(floods, network, FOV, batch_size=4)) == [10] * 8
    assert network.batch_sizes == [4] * 20


def test_a_single_flood_goes_step_by_step() -> None:
    network = FakeNetwork()
    assert list(run_floods([Counted.flood(5)], network, FOV, batch_size=8)) == [5]
    assert network.batch_sizes == [1] * 5


def test_floods_are_taken_only_as_earlier_ones_end() -> None:
    assert sum(run_floods((Counted.flood(3) for _ in range(50)), FakeNetwork(), FOV, batch_size=2)) == 150
    assert Counted.most == 4
    Counted.most = 0
    floods = (Counted.flood(3) for _ in range(50))
    assert sum(run_floods(floods, FakeNetwork(), FOV, batch_size=2, tasks_in_flight=7)) == 150
    assert Counted.most == 7


def test_results_come_as_soon_as_a_flood_ends() -> None:
    """An endless supply of floods does not hold results back, not even of floods without a step."""
    endless = (Counted.flood(steps) for steps in iter(lambda: 0, 1))
    results = run_floods(endless, FakeNetwork(), FOV, batch_size=2)
    assert [next(results) for _ in range(5)] == [0] * 5


def test_floods_of_different_length_all_end() -> None:
    floods = (Counted.flood(steps) for steps in [0, 7, 1, 0, 3, 12, 2])
    results = list(run_floods(floods, FakeNetwork(), FOV, batch_size=3))
    assert sorted(results) == [0, 0, 1, 2, 3, 7, 12]


def test_nothing_to_do_is_no_error() -> None:
    assert list(run_floods([], FakeNetwork(), FOV)) == []


def test_every_field_of_view_is_reported_once() -> None:
    seen: list[int] = []
    list(
        run_floods(
            [Counted.flood(7), Counted.flood(4)], FakeNetwork(), FOV, batch_size=2, on_batch=seen.append
        )
    )
    assert sum(seen) == 11 and max(seen) == 2


def test_a_flood_that_fails_ends_the_run_with_its_error() -> None:
    def broken() -> Generator[FovRequest, np.ndarray, int]:
        yield Counted.request
        raise RuntimeError("torn")

    with pytest.raises(RuntimeError, match="torn"):
        list(run_floods([Counted.flood(3), broken()], FakeNetwork(), FOV, batch_size=2))


def test_a_subvolume_stored_between_batches_can_be_continued() -> None:
    """`on_batch` sees every flood at rest, also those whose batch is still on its way."""
    canvases = [Canvas(image, OPTIONS) for image in IMAGES[:3]]
    stored: list[list[dict[str, np.ndarray]]] = []

    def store(_: int) -> None:
        if len(stored) < 20:
            stored.append([{n: a.copy() for n, a in canvas.snapshot().items()} for canvas in canvases])

    floods = [segment_all(canvas, seeds) for canvas, seeds in zip(canvases, SEEDS, strict=False)]
    list(run_floods(floods, FakeNetwork(), FOV, batch_size=1, batches_in_flight=3, on_batch=store))
    for image, seeds, canvas, snapshot in zip(IMAGES, SEEDS, canvases, stored[-1], strict=False):
        fresh = Canvas(image, OPTIONS)
        fresh.restore(snapshot)
        drive(segment_all(fresh, seeds), FOV)
        np.testing.assert_array_equal(fresh.segmentation, canvas.segmentation)
        assert fresh.origins == canvas.origins and fresh.overlaps == canvas.overlaps
