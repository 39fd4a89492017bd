"""One network for the threads of a worker: shared batches, the same results, errors told to who waits."""

from __future__ import annotations

import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from threading import Semaphore

import numpy as np
import pytest
from fake_network import FakeNetwork, LateAnswer, dim_blobs, drive
from tiny_project import TINY, threshold_network

from ffn.canvas import Canvas, segment_all
from ffn.flood import FloodOptions, FovRequest
from ffn.seeds import peak_seeds
from ffn.weights import NetworkFile, NetworkInfo
from inference import batching
from inference.batching import measured_batch_size, smallest_good
from inference.service import FloodService

FOV = (9, 9, 9)
OPTIONS = FloodOptions(FOV, (4, 4, 4), min_segment_size=30)
SHAPE = (28, 28, 28)


def subvolume(number: int) -> Generator[FovRequest, np.ndarray, Canvas]:
    image = dim_blobs(SHAPE, number)
    return segment_all(Canvas(image, OPTIONS), peak_seeds(image, FOV))


class Patient(FakeNetwork):
    """Answers when five floods have been begun, so that batches can be full however threads are scheduled."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = Semaphore(0)

    def submit(self, image: np.ndarray, logits: np.ndarray) -> LateAnswer:
        if not self.batch_sizes:
            for _ in range(5):
                assert self.begun.acquire(timeout=30)
            time.sleep(0.1)
        return super().submit(image, logits)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_floods_of_many_threads_end_as_they_do_alone(batch_size: int) -> None:
    alone = [drive(subvolume(number), FOV).segmentation for number in range(5)]
    network = Patient()

    def begin(number: int) -> np.ndarray:
        flood = subvolume(number)
        network.begun.release()
        return service.run(flood).segmentation

    service = FloodService(network, FOV, batch_size=batch_size)
    with ThreadPoolExecutor(5) as threads:
        together = list(threads.map(begin, range(5)))
    service.close()
    for expected, found in zip(alone, together, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert max(network.batch_sizes) == batch_size


def test_it_can_be_used_again_after_it_was_idle() -> None:
    service = FloodService(FakeNetwork(), FOV)
    first, second = (service.run(subvolume(1)).segmentation for _ in range(2))
    np.testing.assert_array_equal(first, second)
    service.close()


def failing(steps: int) -> Generator[FovRequest, np.ndarray, None]:
    image = np.zeros(FOV, np.float32)
    for _ in range(steps):
        yield FovRequest(image, image, (4, 4, 4), np.float32(0))
    raise ValueError("no such voxel")


def test_a_flood_that_fails_harms_no_other() -> None:
    service = FloodService(FakeNetwork(), FOV, batch_size=2)
    with ThreadPoolExecutor(2) as threads:
        good, bad = threads.submit(service.run, subvolume(2)), threads.submit(service.run, failing(3))
        with pytest.raises(ValueError, match="no such voxel"):
            bad.result(30)
        assert len(good.result(30).origins) > 0
    assert service.is_alive
    service.close()
    assert not service.is_alive


class Broken(FakeNetwork):
    def submit(self, image: np.ndarray, logits: np.ndarray) -> object:  # type: ignore[override]
        raise MemoryError("device")


def test_a_network_that_fails_ends_the_service_and_everybody_hears_of_it() -> None:
    service = FloodService(Broken(), FOV)  # type: ignore[arg-type]
    with pytest.raises(MemoryError, match="device"):
        service.run(subvolume(1))
    service.close()
    assert not service.is_alive
    with pytest.raises(RuntimeError, match="has ended"):
        service.run(subvolume(1))


def test_the_smallest_batch_near_the_best_rate_is_taken() -> None:
    assert smallest_good({1: 100.0, 2: 103.0, 4: 104.0}) == 1
    assert smallest_good({1: 100.0, 2: 190.0, 4: 360.0, 8: 370.0}) == 4


def test_nothing_to_choose_is_said_where_there_is_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    network = NetworkFile(NetworkInfo(TINY, image_mean=128, image_stddev=64), threshold_network())
    for there, words in ((False, ""), (True, "inference.subvolumes_in_flight")):
        monkeypatch.setattr(batching, "has_accelerator", lambda there=there: there)
        size, line = measured_batch_size(network, "float32", most=1)
        assert size == 1 and words in line and bool(line) == there
