"""How many fields of view one call of the network takes: measured, not guessed.

Larger batches keep an accelerator busy; a processor is as fast with one. The smallest batch within a few
percent of the best rate is taken, since it also needs the fewest subvolumes in flight.
"""

from __future__ import annotations

import time

import numpy as np

from ffn.backend import Predictor, has_accelerator, make_predictor
from ffn.weights import NetworkFile, instantiate

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
_SECONDS = 0.4
_GAIN = 1.05
# Below this share of the best rate larger batches will not catch up.
_GIVE_UP = 0.6
_NOTHING_TO_CHOOSE = (
    "batch size 1: so few subvolumes can be in flight that there is nothing to choose; to keep the "
    "accelerator busy raise inference.subvolumes_in_flight, say to 32, and inference.subvolumes.memory_gb"
)


def measured_batch_size(network: NetworkFile, compute_dtype: str, most: int) -> tuple[int, str]:
    """Measures the network at growing batch sizes, for a few seconds at most.

    Args:
      network: what will run.
      compute_dtype: float32 or bfloat16.
      most: subvolumes that share a batch, which takes no more than one field of view of each.

    Returns:
      The batch size, and a line that says what was measured. When there was nothing to choose it is empty; on
      an accelerator it then says what to ask for.
    """
    sizes = [size for size in BATCH_SIZES if size <= most]
    if len(sizes) == 1:
        return 1, _NOTHING_TO_CHOOSE if has_accelerator() else ""
    predictor = make_predictor(instantiate(network, compute_dtype))
    rates: dict[int, float] = {}
    for size in sizes:
        rates[size] = _rate(predictor, network.info.architecture.fov_zyx, size)
        if rates[size] < _GIVE_UP * max(rates.values()):
            break
    chosen = smallest_good(rates)
    shown = ", ".join(f"{size}: {rate:.0f}" for size, rate in rates.items())
    return chosen, f"batch size {chosen} (fields of view per second by batch size: {shown})"


def smallest_good(rates: dict[int, float]) -> int:
    """The smallest batch size that is within five percent of the best rate.

    Args:
      rates: fields of view per second, by batch size.
    """
    best = max(rates.values())
    return min(size for size, rate in rates.items() if rate * _GAIN >= best)


def _rate(predictor: Predictor, fov_zyx: tuple[int, int, int], size: int) -> float:
    """Fields of view per second at one batch size, the first call, which compiles, not counted."""
    image = np.random.default_rng(0).standard_normal((size, *fov_zyx)).astype(np.float32)
    logits = np.zeros_like(image)
    predictor.predict(image, logits)
    calls, started = 0, time.monotonic()
    while time.monotonic() - started < _SECONDS:
        predictor.predict(image, logits)
        calls += 1
    return calls * size / (time.monotonic() - started)
