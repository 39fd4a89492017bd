"""How far two simple methods get on a volume: a yardstick for how hard a phantom is.

    python -m benchmarks.simple_methods --json out/simple_methods.json

Thresholding with connected components and a distance-transform watershed are swept over a few
settings each, and the best adapted Rand error (unsegmented voxels as one object) is reported for
default phantoms and, where `../shared` is at hand, for 128³ voxels of FIB-25.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from scipy import ndimage


def threshold_components(raw: np.ndarray, level: float, sigma: float) -> np.ndarray:
    """Connected components (6) of the voxels brighter than a percentile of the smoothed image.

    Args:
      raw: uint8 (z, y, x).
      level: percentile of the smoothed grey values.
      sigma: Gaussian smoothing, voxels.

    Returns:
      labels, integer (z, y, x), 0 = darker.
    """
    import cc3d

    smooth = ndimage.gaussian_filter(raw.astype(np.float32), sigma)
    return cc3d.connected_components(smooth > np.percentile(smooth, level), connectivity=6)


def distance_watershed(raw: np.ndarray, level: float, sigma: float, separation: int) -> np.ndarray:
    """Watershed of the distance to dark voxels, from its maxima; every voxel gets a label.

    Args:
      raw: uint8 (z, y, x).
      level: percentile below which a voxel counts as membrane.
      sigma: Gaussian smoothing of the image, voxels.
      separation: least distance between two maxima, voxels.

    Returns:
      labels, int32 (z, y, x).
    """
    import edt
    from skimage.feature import peak_local_max
    from skimage.segmentation import watershed

    smooth = ndimage.gaussian_filter(raw.astype(np.float32), sigma)
    distance = ndimage.gaussian_filter(edt.edt(smooth > np.percentile(smooth, level)), 1.0)
    peaks = peak_local_max(distance, min_distance=separation, exclude_border=False)
    markers = np.zeros(raw.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return watershed(-distance, markers)


def best_of_sweep(raw: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The least adapted Rand error each method reaches over its sweep.

    Returns:
      {"threshold": …, "watershed": …}; ground-truth 0 is ignored.
    """
    from evaluation import overlap_metrics

    def error(segmentation: np.ndarray) -> float:
        return overlap_metrics(segmentation, labels)["arand"]

    thresholds = itertools.product((20, 30, 40, 50, 60), (0.5, 1.0, 1.5))
    floods = itertools.product((20, 30, 40), (0.5, 1.0), (5, 10))
    return {
        "threshold": min(error(threshold_components(raw, *setting)) for setting in thresholds),
        "watershed": min(error(distance_watershed(raw, *setting)) for setting in floods),
    }


def run_sweeps(
    description: str, methods: Iterable[str], best: Callable[..., dict[str, float]], output: str
) -> None:
    """The command: what methods reach on a crop of FIB-25, where it is there, and on phantoms.

    Args:
      description: of the command.
      methods: names, in the order of the table.
      best: gives the least error of each from raw and labels.
      output: the JSON file unless told otherwise.
    """
    from volumes import Box, open_volume
    from volumes.phantom import PhantomSpec, make_phantom

    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seeds", default="1,2,3", help="phantom seeds, comma-separated")
    parser.add_argument("--fib25", type=Path, default=Path("../shared/data/fib25_training2_dev.h5"))
    parser.add_argument("--json", type=Path, default=Path(output))
    options = parser.parse_args()
    rows = {}
    if options.fib25.exists():
        box = Box.from_shape((128, 128, 128))
        read = [open_volume(f"{options.fib25}:{name}").read(box) for name in ("raw", "labels")]
        rows["FIB-25, first 128³"] = best(*read)
    for seed in (int(s) for s in options.seeds.split(",")):
        phantom = make_phantom(PhantomSpec(seed=seed))
        rows[f"phantom, seed {seed}"] = best(phantom.raw, phantom.labels)
    columns = list(methods)
    print(f"{'best ARAND of a sweep':24s}" + "".join(f"{method:>12s}" for method in columns))
    for name, row in rows.items():
        print(f"{name:24s}" + "".join(f"{row[method]:12.2f}" for method in columns))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    run_sweeps(__doc__.splitlines()[0], ("threshold", "watershed"), best_of_sweep, "out/simple_methods.json")
