"""How long one field of view takes: the bare network, our whole engine, and a plain TensorFlow loop.

    python -m benchmarks.fov_throughput --json out/fov_throughput.json

Three things are timed, in milliseconds per field of view:

- bare: the compiled network alone, again and again on one batch that stays in place;
- engine: flooding a subvolume, seeds and segment masks included. At batch 1 all of it; above, that many
  floods of the same subvolume side by side for a number of steps, and the share of finding the seeds
  that these steps have of all;
- plain: the same subvolume flooded by `benchmarks.plain_loop`, float32, batch 1.

Machines drift, so every engine and plain run stops now and then to time the bare network, and `overhead`
is the run's time over the median of the bare network's *of the same minutes*. `host` is the time the engine
spends outside the network, measured within the run.

VOI (bits) compares the bfloat16 segmentation with the float32 one. Floods amplify: a logit that differs in
its last bit may move a field of view by a voxel. How much of the difference is that shows a third one,
by the float32 network with its weights changed by a millionth.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Generator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.flood_cases import Case, fib25_case, phantom_case
from benchmarks.plain_loop import PlainNetwork, segment
from benchmarks.stopwatch import Stopwatch, WatchedPredictor
from evaluation import contingency, variation_of_information
from ffn.backend import COMPUTE_DTYPES, Predictor, backend_name, make_predictor
from ffn.canvas import Canvas, segment_all
from ffn.flood import FovRequest
from ffn.network import Architecture
from ffn.seeds import peak_seeds
from ffn.weights import NetworkFile, instantiate
from inference.executor import run_floods

_SMALLEST_CHANGE = 1e-6  # of the weights, relative: about what float32 itself rounds away


def bare_call(case: Case, predictor: Predictor, batch: int) -> Callable[[], float]:
    """A function that runs one batch and returns its seconds; the first, slower run is behind it."""
    z, y, x = case.network.info.architecture.fov_zyx
    image = np.ascontiguousarray(np.broadcast_to(case.image[:z, :y, :x], (batch, z, y, x)))
    logits = np.full_like(image, -3)

    def call() -> float:
        started = time.perf_counter()
        predictor.predict(image, logits)
        return time.perf_counter() - started

    call()
    return call


def time_bare(case: Case, predictors: dict[str, Predictor], batches: list[int], seconds: float) -> list[dict]:
    """Rows {dtype, batch, bare_ms}: medians over rounds in which every combination has its turn."""
    calls = {
        (dtype, n): bare_call(case, predictor, n) for n in batches for dtype, predictor in predictors.items()
    }
    samples: dict[tuple[str, int], list[float]] = {key: [] for key in calls}
    started = time.perf_counter()
    while time.perf_counter() - started < seconds or len(samples["float32", batches[0]]) < 3:
        for (dtype, n), call in calls.items():
            samples[dtype, n].append(call() / n)
    return [{"dtype": d, "batch": n, "bare_ms": 1e3 * median(s)} for (d, n), s in samples.items()]


def time_engine(case: Case, predictor: Predictor) -> tuple[dict[str, float], np.ndarray]:
    """Floods the whole subvolume at batch 1; the stopwatch's reading and the segmentation."""
    time_side_by_side(case, predictor, 1, steps=2, of_fovs=1)  # compiles what has to be
    watch = Stopwatch(bare_call(case, predictor, 1), 1)
    canvas = Canvas(case.image, case.options)
    watched = WatchedPredictor(predictor)
    floods = [segment_all(canvas, peak_seeds(case.image, case.options.fov_zyx))]
    list(run_floods(floods, watched, case.options.fov_zyx, on_batch=watch))
    host_ms = 1e3 * (watch.seconds - watched.clock.seconds) / watch.fovs
    return {**watch.reading(), "host_ms": host_ms}, canvas.segmentation


def time_side_by_side(
    case: Case, predictor: Predictor, batch: int, steps: int, of_fovs: int
) -> dict[str, float]:
    """Floods `batch` copies of the subvolume for `steps` fields of view each; the stopwatch's reading.

    A subvolume takes `of_fovs` of them, so `steps` bear that share of the time its seeds and canvas took.
    """
    started = time.perf_counter()
    seeds = peak_seeds(case.image, case.options.fov_zyx)
    canvases = [Canvas(case.image, case.options) for _ in range(batch)]
    seeds_s = (time.perf_counter() - started) / batch
    watch = Stopwatch(bare_call(case, predictor, batch), batch)
    floods = [first_steps(segment_all(canvas, seeds), steps) for canvas in canvases]
    watched = WatchedPredictor(predictor)
    list(run_floods(floods, watched, case.options.fov_zyx, batch_size=batch, on_batch=watch))
    seeds_s = seeds_s * watch.fovs / of_fovs
    host_ms = 1e3 * (watch.seconds + seeds_s - watched.clock.seconds) / watch.fovs
    return {**watch.reading(extra_s=seeds_s), "host_ms": host_ms}


def first_steps(
    task: Generator[FovRequest, np.ndarray, Canvas], steps: int
) -> Generator[FovRequest, np.ndarray, None]:
    """A flood that ends after a number of fields of view."""
    try:
        request = next(task)
        for _ in range(steps):
            request = task.send((yield request))
    except StopIteration:
        return


def time_plain(case: Case, predictor: Predictor) -> tuple[dict[str, float], np.ndarray]:
    """The plain loop on the subvolume; the reading, over *our* bare network, and the segmentation."""
    network = PlainNetwork(case.network)
    segment(network, case.image, peak_seeds(case.image, case.options.fov_zyx)[:1], case.options, int)
    watch = Stopwatch(bare_call(case, predictor, 1), 1)
    seeds = peak_seeds(case.image, case.options.fov_zyx)
    segmentation = segment(network, case.image, seeds, case.options, watch)
    return watch.reading(), segmentation


def measure(case: Case, batches: list[int], seconds: float) -> dict[str, Any]:
    """All figures of one network; `seconds` for the bare network and for each run above batch 1."""
    predictors = {dtype: make_predictor(instantiate(case.network, dtype)) for dtype in COMPUTE_DTYPES}
    rows = time_bare(case, predictors, batches, seconds)
    whole = {dtype: time_engine(case, predictor) for dtype, predictor in predictors.items()}
    for row in rows:
        reading, _ = whole[row["dtype"]]
        if row["batch"] > 1:
            steps = max(8, round(1e3 * seconds / row["bare_ms"] / row["batch"]))
            reading = time_side_by_side(
                case, predictors[row["dtype"]], row["batch"], steps, int(reading["fovs"])
            )
        row.update({"engine_ms": reading["ms"], **{k: reading[k] for k in ("overhead", "host_ms", "fovs")}})
    plain, plain_segmentation = time_plain(case, predictors["float32"])
    exact, rounded = (whole[dtype][1] for dtype in ("float32", "bfloat16"))
    return {
        "weights": case.weights,
        "architecture": case.network.info.architecture.to_dict(),
        "subvolume_zyx": case.image.shape,
        "rows": rows,
        "plain": plain,
        "plain_equal_voxels": float((plain_segmentation == exact).mean()),
        "bfloat16_speed": bfloat16_speed(rows),
        "voi_from_float32": {
            "bfloat16": voi(rounded, exact),
            "float32, weights changed by 1e-6": voi(perturbed_segmentation(case), exact),
        },
        "objects": {"float32": int(exact.max()), "bfloat16": int(rounded.max())},
    }


def perturbed_segmentation(case: Case) -> np.ndarray:
    """What the float32 network finds when its weights are changed about as much as float32 rounds."""
    random = np.random.default_rng(0)
    weights = {
        name: (values * (1 + _SMALLEST_CHANGE * random.standard_normal(values.shape))).astype(np.float32)
        for name, values in case.network.weights.items()
    }
    predictor = make_predictor(instantiate(NetworkFile(case.network.info, weights)))
    canvas = Canvas(case.image, case.options)
    flood = segment_all(canvas, peak_seeds(case.image, case.options.fov_zyx))
    list(run_floods([flood], predictor, case.options.fov_zyx))
    return canvas.segmentation


def voi(segmentation: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """VOI (bits) of two segmentations: unsegmented voxels as one object, and where both are segmented."""
    both = (segmentation > 0) & (other > 0)
    return {
        "all": sum(variation_of_information(contingency(segmentation + 1, other + 1))),
        "segmented_only": sum(variation_of_information(contingency(segmentation[both], other[both]))),
    }


def bfloat16_speed(rows: list[dict[str, Any]]) -> dict[int, dict[str, float]]:
    """Batch -> how many times as many fields of view per second bfloat16 makes, bare and engine.

    The engine's share is taken from the overheads, since its two runs lie minutes apart.
    """
    by_key = {(row["dtype"], row["batch"]): row for row in rows}
    speeds = {}
    for batch in sorted({row["batch"] for row in rows}):
        exact, rounded = by_key["float32", batch], by_key["bfloat16", batch]
        bare = exact["bare_ms"] / rounded["bare_ms"]
        speeds[batch] = {"bare": bare, "engine": bare * exact["overhead"] / rounded["overhead"]}
    return speeds


def print_table(name: str, result: dict[str, Any]) -> None:
    """One network's figures."""
    architecture = Architecture.from_dict(result["architecture"])
    size = "x".join(map(str, architecture.fov_zyx))
    print(f"\n{name}: {size}, {architecture.depth} modules x {architecture.features}, {result['weights']}")
    columns = "".join(f"{c:>11s}" for c in ("bare ms", "engine ms", "overhead", "host ms", "bf16 speed"))
    print(f"{'':10s}{'batch':>6s}{columns}")
    for row in result["rows"]:
        speed = result["bfloat16_speed"][row["batch"]]
        shown = f"{speed['bare']:.2f} / {speed['engine']:.2f}" if row["dtype"] == "bfloat16" else ""
        print(
            f"{row['dtype']:10s}{row['batch']:6d}{row['bare_ms']:11.2f}{row['engine_ms']:11.2f}"
            f"{row['overhead']:11.3f}{row['host_ms']:11.3f}  {shown}"
        )
    plain, equal = result["plain"], result["plain_equal_voxels"]
    print(f"{'plain loop':10s}{1:6d}{'':11s}{plain['ms']:11.2f}{plain['overhead']:11.3f}", end="")
    print(f"  ({100 * equal:.2f} % of voxels equal to the engine's)")
    print(f"objects: {result['objects']}; VOI to float32, all voxels and where both are segmented:")
    for which, figures in result["voi_from_float32"].items():
        print(f"  {which}: {figures['all']:.3f}, {figures['segmented_only']:.3f}")


def machine() -> dict[str, str]:
    """What the figures were measured with."""
    import keras

    models = [line for line in _cpu_lines() if line.startswith("model name")]
    return {
        "processor": models[0].split(":")[1].strip() if models else platform.processor(),
        "cores": str(len(models)),
        "backend": backend_name(),
        "keras": keras.__version__,
    }


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default="fib25,phantom", help="comma-separated, of: fib25, phantom")
    parser.add_argument("--batches", default="1,4,16", help="batch sizes, comma-separated, beginning with 1")
    parser.add_argument("--edge", type=int, help="of the subvolume in voxels (80 for fib25, 96 for phantom)")
    parser.add_argument("--seconds", type=float, default=12, help="for the bare network and each batched run")
    parser.add_argument("--quick", action="store_true", help="the small network alone, for half a minute")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="folder of the FIB-25 data")
    parser.add_argument("--json", type=Path, default=Path("out/fov_throughput.json"))
    options = parser.parse_args(arguments)
    if options.quick:
        options.networks, options.edge, options.seconds = "phantom", options.edge or 56, 2
    cases = {
        "fib25": lambda: fib25_case(options.shared, options.edge or 80),
        "phantom": lambda: phantom_case(options.edge or 96),
    }
    batches = [int(n) for n in options.batches.split(",")]
    networks = {}
    for name in options.networks.split(","):
        networks[name] = measure(cases[name](), batches, options.seconds)
        print_table(name, networks[name])
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"machine": machine(), "networks": networks}, indent=2) + "\n")


if __name__ == "__main__":
    main()
