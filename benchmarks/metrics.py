"""What measuring takes: voxels per second of overlap figures, nodes per second of run lengths, memory.

    python -m benchmarks.metrics --json out/metrics.json
    python -m benchmarks.metrics --parts overlap --edge 256

True labels are a dense segmentation of mouse cortex (`connectomics_labels_512.h5` of the shared data), or
those of a phantom where there is none. The segmentation is a copy of them, moved by one voxel along every
axis, with one object in five cut at every 48th section and one in ten given the ID of another.

Times are those of the processor, medians of several rounds after a first one that loads the code; nothing
runs in more than one thread. The peak is that of the arrays and objects made meanwhile (`tracemalloc`, in a
round of its own), so beyond the labels themselves where those lie in memory. Rows:

- `arrays`: contingency table and all figures of both conventions, labels in memory;
- `volumes`: the same block by block from two HDF5 files (chunks of 64 voxels along each axis, gzip), reading
  included;
- `volumes, tolerance`: and with the voxels within 64 nm of a true boundary left out, on a crop;
- `arrays, crop` and `scikit-image, crop`: the plain figures of one convention, next to what
  `variation_of_information` and `adapted_rand_error` take for the same;
- `look-up` of the segments of nodes in the HDF5 file, and `run lengths` from these: all figures of
  `erl_metrics` in three tolerant variants. Nodes lie on a grid of 5 voxels; those of one true object, strung
  together in the order of the grid, are one skeleton.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from skimage import metrics

from evaluation import contingency, overlap_metrics
from evaluation.blockwise import compare_volumes
from evaluation.erl import erl_metrics
from evaluation.node_labels import look_up_nodes
from evaluation.overlap import adapted_rand, table_metrics, variation_of_information
from volumes import Box, Skeleton, create_volume, open_volume
from volumes.phantom import PhantomSpec, make_phantom

_REPOSITORY = Path(__file__).resolve().parent.parent
_LABELS = "connectomics_labels_512.h5"
_SIZE_NM = (40.0, 32.0, 32.0)
_TOLERANCE_NM = 64.0
_NODE_STEP = 5
_MB = 1e6

Row = dict[str, Any]
Labels = np.ndarray


def true_labels(shared: Path, edge: int) -> tuple[str, Labels]:
    """What the labels are, and the middle (edge, edge, edge) of them.

    Args:
        shared: folder of the shared data.
        edge: voxels along each axis, at most 512.
    """
    path = shared / "data" / _LABELS
    if not path.exists():
        return "phantom", make_phantom(PhantomSpec(shape=(edge,) * 3, seed=7)).labels
    with h5py.File(path) as file:
        return path.name, _middle(file["labels"], edge)


def perturbed(labels: Labels, seed: int = 0) -> Labels:
    """A segmentation with the errors that the module names.

    Args:
        labels: (z, y, x), unsigned integers, 0 = none.
        seed: of the choice of objects.

    Returns:
        uint32 labels of the same shape.
    """
    random = np.random.default_rng(seed)
    count = int(labels.max()) + 1
    names = np.arange(count, dtype=np.uint32)
    merged = random.random(count) < 0.1
    names[merged] = random.permutation(count)[merged]
    names[0] = 0
    halved = (random.random(count) < 0.2) & (names > 0)
    other_names = np.where(halved, names + np.uint32(count), names)
    moved = np.pad(labels, ((1, 0),) * 3, mode="edge")[:-1, :-1, :-1]
    of_section = np.arange(len(labels)) // 48 % 2
    return np.stack([(other_names if odd else names)[s] for odd, s in zip(of_section, moved, strict=True)])


def overlap_rows(truth: Labels, segmentation: Labels, folder: Path, rounds: int) -> Iterator[Row]:
    """Time the overlap figures.

    Args:
        truth: (z, y, x) integers.
        segmentation: of the same shape.
        folder: holds the HDF5 files of `stored`.
        rounds: of each measurement.
    """
    shown = {"pairs": contingency(segmentation, truth).counts.size}
    voxels = truth.size
    yield {**_timed("arrays", lambda: overlap_metrics(segmentation, truth), voxels, rounds), **shown}
    with _opened(folder, "segmentation") as first, _opened(folder, "truth") as second:
        crop = Box.from_shape([max(1, n // 2) for n in truth.shape])
        yield _timed("volumes", lambda: table_metrics(compare_volumes(first, second)), voxels, rounds)
        yield _timed(
            "volumes, tolerance",
            lambda: compare_volumes(first, second, crop, boundary_tolerance_nm=_TOLERANCE_NM),
            crop.size,
            rounds,
        )
    of_truth, of_segmentation = (labels[crop.slices()].astype(np.int64) for labels in (truth, segmentation))
    ours = _timed("arrays, crop", lambda: _ours(of_segmentation, of_truth), crop.size, rounds)
    theirs = _timed("scikit-image, crop", lambda: _theirs(of_segmentation, of_truth), crop.size, 1)
    np.testing.assert_allclose(
        _ours(of_segmentation, of_truth), _theirs(of_segmentation, of_truth), rtol=0, atol=1e-9
    )
    yield {**ours, "times_faster": theirs["seconds"] / ours["seconds"]}
    yield theirs


def node_rows(truth: Labels, folder: Path, rounds: int) -> Iterator[Row]:
    """Time the look-up of nodes, and the run lengths from what was found.

    Args:
        truth: (z, y, x) integers.
        folder: holds the HDF5 files of `stored`.
        rounds: of each measurement.
    """
    skeletons = strung(truth)
    nodes = sum(len(skeleton.nodes_nm) for skeleton in skeletons.values())
    with _opened(folder, "segmentation") as volume:
        yield _timed("look-up", lambda: look_up_nodes(volume, skeletons), nodes, rounds)
        found = look_up_nodes(volume, skeletons)
    yield {
        **_timed(
            "run lengths", lambda: erl_metrics(skeletons, found, tolerance_nodes=(2, 10)), nodes, rounds
        ),
        "skeletons": len(skeletons),
    }


def strung(truth: Labels) -> dict[int, Skeleton]:
    """A skeleton for each object of at least two nodes, as the module says."""
    grid = truth[::_NODE_STEP, ::_NODE_STEP, ::_NODE_STEP]
    ids = grid.ravel()
    order = np.argsort(ids, kind="stable")
    order = order[ids[order] > 0]
    places = np.stack(np.unravel_index(order, grid.shape), axis=1)
    nodes_nm = (places * _NODE_STEP + 0.5) * _SIZE_NM
    labels, firsts = np.unique(ids[order], return_index=True)
    skeletons = {}
    for label, nodes in zip(labels.tolist(), np.split(nodes_nm, firsts[1:]), strict=True):
        if len(nodes) > 1:
            index = np.arange(len(nodes))
            skeletons[label] = Skeleton(nodes, np.stack([index[:-1], index[1:]], axis=1))
    return skeletons


def stored(folder: Path, **labels: Labels) -> None:
    """Write labels into `folder/<name>.h5:labels`.

    Args:
        folder: a folder.
        labels: by name, (z, y, x) integers.
    """
    for name, values in labels.items():
        bounds = Box.from_shape(values.shape)
        spec = f"{folder / name}.h5:labels"
        with create_volume(spec, bounds=bounds, dtype=values.dtype, voxel_size_nm=_SIZE_NM) as volume:
            volume.write(bounds, values)


def _opened(folder: Path, name: str) -> Any:
    return open_volume(f"{folder / name}.h5:labels")


def _ours(segmentation: Labels, truth: Labels) -> tuple[float, ...]:
    table = contingency(segmentation, truth)
    return (*variation_of_information(table), adapted_rand(table).error)


def _theirs(segmentation: Labels, truth: Labels) -> tuple[float, ...]:
    split, merge = metrics.variation_of_information(truth, segmentation)
    return split, merge, metrics.adapted_rand_error(truth, segmentation, ignore_labels=())[0]


def _timed(what: str, run: Callable[[], object], size: int, rounds: int) -> Row:
    run()
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    seconds = float(np.median([_processor_seconds(run) for _ in range(rounds)]))
    return {"what": what, "size": size, "seconds": seconds, "per_s": size / seconds, "peak_bytes": peak}


def _processor_seconds(run: Callable[[], object]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def _middle(have: h5py.Dataset, edge: int) -> Labels:
    start = [(length - edge) // 2 for length in have.shape]
    return have[Box.from_shape((edge,) * 3, start).slices()]


def _print(row: Row) -> None:
    faster = f"{row['times_faster']:.1f} x scikit-image" if "times_faster" in row else ""
    print(
        f"{row['what']:22s}{row['size'] / 1e6:10.2f}{row['seconds']:10.3f}{row['per_s'] / 1e6:12.1f}"
        f"{row['peak_bytes'] / _MB:10.1f}  {faster}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default="overlap,nodes", help="overlap, nodes")
    parser.add_argument("--edge", type=int, default=512, help="voxels along each axis, at most 512")
    parser.add_argument("--rounds", type=int, default=3, help="of each measurement")
    parser.add_argument("--shared", type=Path, default=_REPOSITORY.parent / "shared", help="shared data")
    parser.add_argument("--json", type=Path, default=Path("out/metrics.json"))
    options = parser.parse_args()
    parts = options.parts.split(",")
    name, truth = true_labels(options.shared, options.edge)
    segmentation = perturbed(truth)
    rows: list[Row] = []
    print(f"{name}, {options.edge} voxels along each axis")
    print(f"{'what':22s}{'10^6':>10s}{'seconds':>10s}{'10^6 per s':>12s}{'peak MB':>10s}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        stored(folder, truth=truth, segmentation=segmentation)
        for part, measured in (
            ("overlap", lambda: overlap_rows(truth, segmentation, folder, options.rounds)),
            ("nodes", lambda: node_rows(truth, folder, options.rounds)),
        ):
            for row in measured() if part in parts else ():
                _print(row)
                rows.append(row)
    content = {"labels": name, "edge": options.edge, "rows": rows}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
