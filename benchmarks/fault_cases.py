"""What the fault benchmark segments, and what it compares afterwards.

The project is small and has everything that may go wrong: eight overlapping subvolumes, two passes and their
consensus, reconciliation, figures, pyramids. Its network is a threshold, its image noisy bright blobs: where
all logits are alike, a flood has no reason to go anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy import ndimage

from ffn.network import Architecture, variable_shapes
from ffn.weights import NetworkFile, NetworkInfo, save_network
from jobs.pieces import load_npz
from volumes import open_volume

CONFIG = "c.textproto"
_ARCHITECTURE = Architecture(depth=1, features=2, fov_zyx=(5, 5, 5), deltas_zyx=(2, 2, 2))
_TEXT = """
name: "faults"
output_dir: "OUTPUT"
raw { spec: "data.h5:raw" }
network { weights: "net.ffn.h5" }
inference {
  passes { name: "forward" }
  passes { name: "reversed" seed_order: REVERSED }
  subvolumes { size { z: 28 y: 28 x: 28 } overlap { z: 8 y: 8 x: 8 } }
  options { min_segment_size: 20 }
  compute_dtype: FLOAT32
  batch_size: 1
  checkpoint_interval_seconds: 0.05
}
consensus { min_size: 20 }
outputs { hdf5: true png: false scales: 3 }
evaluation { labels { spec: "data.h5:labels" } }
"""
_SECONDS = "seconds"


def make_project(folder: Path, edge: int = 44, seed: int = 0) -> None:
    """Writes the network and the image with its labels, cubes of `edge` voxels that make 8 subvolumes."""
    info = NetworkInfo(_ARCHITECTURE, image_mean=128, image_stddev=64, pad_value=0.5, move_threshold=0.6)
    save_network(folder / "net.ffn.h5", NetworkFile(info, _threshold_weights()))
    raw, labels = _blobs(edge, seed)
    with h5py.File(folder / "data.h5", "w") as file:
        for name, array in {"raw": raw, "labels": labels}.items():
            file.create_dataset(name, data=array).attrs["resolution"] = (10.0, 10.0, 10.0)


def write_config(folder: Path, output: str) -> str:
    """Writes the config of a run into `output`; its file name."""
    name = f"{output}.textproto"
    (folder / name).write_text(_TEXT.replace("OUTPUT", output))
    return name


def decoded(output: Path) -> dict[str, np.ndarray]:
    """Everything a finished run left in its output directory, by name, without times.

    Arrays of all pieces, the voxels of all scales of the Precomputed volumes and of the HDF5 file, tables and
    figures. Raises what their readers raise when something is damaged or unfinished.
    """
    found: dict[str, np.ndarray] = {}
    for path in sorted(output.rglob("*")):
        if path.name.startswith(".") or not path.is_file():
            continue
        name = path.relative_to(output).as_posix()
        if path.suffix in (".npz", ".prob"):
            found.update({f"{name}:{key}": value for key, value in _arrays(path)})
        elif path.name == "info":
            found.update(_scales(path.parent, name))
        elif path.suffix == ".h5":
            found[name] = open_volume(f"{path}:segmentation").read()
        elif path.suffix == ".json":
            found[name] = np.array(_without_times(json.loads(path.read_text())))
        elif path.suffix == ".csv":
            found[name] = np.array(path.read_text())
    return found


def differences(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> list[str]:
    """Names of what is in only one of two results, or not equal in both."""
    missing = [f"{name} is missing" for name in expected if name not in found]
    extra = [f"{name} should not be there" for name in found if name not in expected]
    unlike = [
        f"{name} differs"
        for name in expected
        if name in found
        and (found[name].dtype != expected[name].dtype or not np.array_equal(found[name], expected[name]))
    ]
    return [*missing, *extra, *unlike]


def leftovers(output: Path) -> list[str]:
    """Files of the output directory that a finished run has no use for."""
    marks = (".tmp-", ".unfinished", "__lock")
    names = (path.relative_to(output).as_posix() for path in sorted(output.rglob("*")) if path.is_file())
    return [name for name in names if any(mark in name for mark in marks)]


def _threshold_weights() -> dict[str, np.ndarray]:
    """Weights that add a positive logit where the normalised image is positive: objects are bright."""
    shapes = variable_shapes(_ARCHITECTURE)
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    weights["conv0_a/kernel"][1, 1, 1, 0] = [1, -1]
    weights["conv0_b/kernel"][1, 1, 1] = np.eye(2)
    weights["conv_lom/kernel"][0, 0, 0, :, 0] = [6, -6]
    return weights


def _blobs(edge: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An image, uint8, of bright blobs, and their connected components, uint32; (edge, edge, edge)."""
    random = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(random.standard_normal((edge,) * 3), 2)
    bright = field > 0.9 * field.std()
    noise = random.integers(-25, 26, bright.shape)
    return (np.where(bright, 200, 40) + noise).astype(np.uint8), ndimage.label(bright)[0].astype(np.uint32)


def _arrays(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of a piece; of the counts of a flood, those that are no time."""
    for name, array in load_npz(path).items():
        yield name, np.array(_without_times(json.loads(str(array)))) if name == "counts" else array


def _scales(folder: Path, name: str) -> Iterator[tuple[str, np.ndarray]]:
    count = len(json.loads((folder / "info").read_text())["scales"])
    spec = f"precomputed://file://{folder.resolve()}"
    for scale in range(count):
        yield f"{name}#{scale}", open_volume(f"{spec}#{scale}").read()


def _without_times(content: Any) -> str:
    """JSON text of a value without what is called `seconds` at any depth."""

    def cleaned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: cleaned(inner) for key, inner in value.items() if key != _SECONDS}
        return value

    return json.dumps(cleaned(content), sort_keys=True)
