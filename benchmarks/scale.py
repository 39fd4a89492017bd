"""What whole runs take at growing sizes: voxels per second, memory of a worker, bytes on disk.

    python -m benchmarks.scale --json out/scale.json
    python -m benchmarks.scale --parts flood --sizes 128,256 --cuts whole,0.5gb
    python -m benchmarks.scale --parts labels
    python -m benchmarks.scale --parts memory

`flood` runs `run_inference --config` in processes of its own: one forward pass of the shipped network through
to supervoxels, table and pyramids. Images are the middle of `fib25_validation_raw.h5` of the shared data, and
phantoms; a size is an edge in voxels, or `ZxYxX`. Each is cut in several ways: `whole` is one subvolume, a
number the largest edge of a subvolume, `0.5gb` what the plan makes of that much memory per worker. Rates
count every voxel of the image once, over the wall time of the whole command, start of the workers included.
The memory of a worker is the highest resident memory that the kernel noted for any of them; it holds what
Python and TensorFlow take before any image is read. Bytes are those of the output directory in the end.

`labels` times consensus, reconciliation, table and coarser scales on labels alone, in one thread, see
`benchmarks.label_stages`. `memory` is what these stages take in a whole run whose passes are made up, see
`benchmarks.label_memory`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks.label_memory import label_memory_rows
from benchmarks.label_stages import label_stage_rows
from benchmarks.processes import measured
from volumes.box import Zyx
from volumes.phantom import PhantomSpec, make_phantom

_REPOSITORY = Path(__file__).resolve().parent.parent
_RAW = "fib25_validation_raw.h5"
# Mean and standard deviation of FIB-25's validation sample, from the README of the shared data.
_GREY = {"fib25": "image_mean: 128.7 image_stddev: 34.0", "phantom": ""}
_PHANTOM_SEED = 7
_MB = 1e6
_TEXT = """
name: "scale"
output_dir: "out"
raw {{ spec: "raw.h5:raw" }}
network {{ weights: "builtin:phantom" {grey} }}
inference {{
  passes {{ name: "forward" }}
  subvolumes {{ {cut} }}
  options {{ min_segment_size: {min_size} }}
  edge_context: MIRROR
}}
outputs {{ png: false }}
run {{ workers: {workers} progress: false }}
"""

Row = dict[str, Any]


def flood_row(image: str, shape: Zyx, cut: str, workers: int, min_size: int, shared: Path) -> Row:
    """Runs one volume; what it took.

    Args:
        image: "fib25" or "phantom".
        shape: voxels (z, y, x).
        cut: see the module.
        workers: processes.
        min_size: smaller objects (voxels) are dropped.
        shared: folder of the shared data.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _write_image(folder / "raw.h5", image, shape, shared)
        text = _TEXT.format(grey=_GREY[image], cut=_cut(cut, shape), min_size=min_size, workers=workers)
        (folder / "c.textproto").write_text(text)
        peaks = measured("c.textproto", folder, f"{image} {shape} {cut}")
        counts = json.loads((folder / "out" / "metrics.json").read_text())["stages"]["forward"]
        sizes = {entry.name: _bytes_in(entry) for entry in (folder / "out").iterdir()}
    voxels = math.prod(shape)
    return {
        "image": image,
        "shape_zyx": shape,
        "cut": cut,
        "workers": workers,
        "subvolumes": counts["subvolumes"],
        "objects": counts["objects"],
        "fovs": counts["fovs"],
        "seconds": peaks.seconds,
        "voxel_per_s": voxels / peaks.seconds,
        "fov_per_s": counts["fovs"] / peaks.seconds,
        "worker_peak_bytes": peaks.leader_bytes if workers == 1 else peaks.worker_bytes,
        "leader_peak_bytes": peaks.leader_bytes,
        "bytes_written": sum(sizes.values()),
        "bytes_of": sizes,
    }


def _cut(cut: str, shape: Zyx) -> str:
    """The `subvolumes` section of a config."""
    if cut.endswith("gb"):
        return f"memory_gb: {float(cut.removesuffix('gb'))}"
    z, y, x = shape if cut == "whole" else (int(cut),) * 3
    return f"size {{ z: {z} y: {y} x: {x} }}"


def _write_image(path: Path, image: str, shape: Zyx, shared: Path) -> None:
    """An HDF5 file with `raw`, uint8 (z, y, x) of 10 nm."""
    if image == "phantom":
        raw = make_phantom(PhantomSpec(shape=shape, seed=_PHANTOM_SEED)).raw
    else:
        with h5py.File(shared / "data" / _RAW) as file:
            raw = _middle(file["raw"], shape)
    with h5py.File(path, "w") as file:
        file.create_dataset("raw", data=raw, chunks=True).attrs["resolution"] = (10.0, 10.0, 10.0)


def _middle(stored: h5py.Dataset, shape: Zyx) -> np.ndarray:
    if any(want > have for want, have in zip(shape, stored.shape, strict=True)):
        sys.exit(f"error: {_RAW} has {stored.shape} voxels, less than {shape}; take a smaller size")
    start = [(have - want) // 2 for have, want in zip(stored.shape, shape, strict=True)]
    return stored[tuple(slice(s, s + n) for s, n in zip(start, shape, strict=True))]


def _bytes_in(path: Path) -> int:
    return sum(each.stat().st_size for each in [path, *path.rglob("*")] if each.is_file())


def _shape(text: str) -> Zyx:
    """`128` or `96x128x160`."""
    edges = [int(edge) for edge in text.split("x")]
    z, y, x = edges * 3 if len(edges) == 1 else edges
    return z, y, x


def _images(asked: str, shared: Path) -> list[str]:
    """The images asked for; those that are not there are left out, which is said."""
    images = asked.split(",")
    if "fib25" in images and not (shared / "data" / _RAW).exists():
        images.remove("fib25")
        print(f"note: {shared / 'data' / _RAW} is not there; phantoms only", file=sys.stderr)
    return images


def _flood_rows(options: argparse.Namespace) -> list[Row]:
    rows = []
    shapes = [_shape(size) for size in options.sizes.split(",")]
    for shape, image, cut in product(
        shapes, _images(options.images, options.shared), options.cuts.split(",")
    ):
        rows.append(flood_row(image, shape, cut, options.workers, options.min_size, options.shared))
        _print_floods(rows[-1:], heading=len(rows) == 1)
    return rows


def _print_floods(rows: Iterable[Row], heading: bool) -> None:
    if heading:
        print(
            f"{'image':9s}{'voxels':>13s}{'cut':>7s}{'subvol.':>9s}{'fovs':>9s}{'seconds':>9s}{'voxel/s':>9s}"
            f"{'fov/s':>7s}{'worker MB':>11s}{'leader MB':>11s}{'written MB':>12s}"
        )
    for row in rows:
        shape = "x".join(map(str, row["shape_zyx"]))
        print(
            f"{row['image']:9s}{shape:>13s}{row['cut']:>7s}{row['subvolumes']:9d}{row['fovs']:9d}"
            f"{row['seconds']:9.1f}{row['voxel_per_s']:9.0f}{row['fov_per_s']:7.0f}"
            f"{row['worker_peak_bytes'] / _MB:11.0f}{row['leader_peak_bytes'] / _MB:11.0f}"
            f"{row['bytes_written'] / _MB:12.1f}",
            flush=True,
        )


def _print_labels(rows: Iterable[dict[str, Any]]) -> None:
    print(f"{'stage':18s}{'labels':28s}{'Mvoxel':>8s}{'objects':>9s}{'Mvoxel/s per core':>19s}")
    for row in rows:
        print(
            f"{row['stage']:18s}{row['labels']:28s}{row['mvoxels']:8.1f}{row['objects']:9d}"
            f"{row['mvoxel_per_s']:19.1f}",
            flush=True,
        )


def _print_memory(rows: Iterable[Row]) -> None:
    print(f"{'subvolumes':>11s}{'voxels':>17s}{'objects':>11s}{'seconds':>9s}{'peak MB':>9s}")
    for row in rows:
        shape = "x".join(map(str, row["shape_zyx"]))
        print(
            f"{row['subvolumes']:11d}{shape:>17s}{row['objects']:11d}{row['seconds']:9.1f}"
            f"{row['peak_bytes'] / _MB:9.0f}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default="flood,labels,memory", help="flood, labels, memory")
    parser.add_argument("--images", default="fib25,phantom", help="fib25, phantom")
    parser.add_argument("--sizes", default="128,256,320", help="edges in voxels, or ZxYxX")
    parser.add_argument("--cuts", default="whole,0.5gb", help="whole, an edge in voxels, or memory: 0.5gb")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--min-size", type=int, default=300, help="smaller objects (voxels) are dropped")
    parser.add_argument("--label-edge", type=int, default=256, help="voxels of the crop of labels")
    parser.add_argument("--shared", type=Path, default=_REPOSITORY.parent / "shared", help="shared data")
    parser.add_argument("--json", type=Path, default=Path("out/scale.json"))
    options = parser.parse_args()
    parts = options.parts.split(",")
    content: dict[str, list[Row]] = {}
    if "flood" in parts:
        content["flood"] = _flood_rows(options)
    if "labels" in parts:
        content["labels"] = label_stage_rows(options.shared, options.label_edge)
        _print_labels(content["labels"])
    if "memory" in parts:
        content["memory"] = label_memory_rows(options.label_edge)
        _print_memory(content["memory"])
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(content, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
