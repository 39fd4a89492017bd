"""A project in miniature: a network that finds bright voxels, an image of bright objects, and its config.

Everything lies in the working directory, which is a folder of the test's own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy import ndimage

from commands import run_inference
from ffn.network import Architecture, variable_shapes
from ffn.weights import NetworkFile, NetworkInfo, save_network
from volumes import open_volume

TINY = Architecture(depth=1, features=2, fov_zyx=(5, 5, 5), deltas_zyx=(2, 2, 2))
# Its field of view spans a bar of `bars` and, centred in one, reaches no other.
WIDE = Architecture(depth=1, features=2, fov_zyx=(7, 7, 7), deltas_zyx=(3, 3, 3))
BARS_SHAPE = (40, 44, 48)
BARS = 15
# Eight subvolumes of `bars`, cut at z 20, y 22 and x 24.
CUT = "subvolumes { size { z: 24 y: 26 x: 28 } overlap { z: 8 y: 8 x: 8 } }"


def threshold_network(architecture: Architecture = TINY) -> dict[str, np.ndarray]:
    """Weights that add a positive logit where the normalised image is positive: objects are bright."""
    weights = {name: np.zeros(shape, np.float32) for name, shape in variable_shapes(architecture).items()}
    weights["conv0_a/kernel"][1, 1, 1, 0] = [1, -1]
    weights["conv0_b/kernel"][1, 1, 1] = np.eye(2)
    weights["conv_lom/kernel"][0, 0, 0, :, 0] = [6, -6]
    return weights


def save_threshold_network(path: str = "net.ffn.h5", architecture: Architecture = TINY, **info: Any) -> None:
    """Writes such a network; grey values above 128 are bright unless `info` says otherwise."""
    stated = {"image_mean": 128, "image_stddev": 64, "pad_value": 0.5, "move_threshold": 0.6, **info}
    save_network(path, NetworkFile(NetworkInfo(architecture, **stated), threshold_network(architecture)))


def bars() -> np.ndarray:
    """Fifteen straight bars of 7 x 7 voxels, of which some cross each of the cuts of `CUT`."""
    labels = np.zeros(BARS_SHAPE, np.uint32)
    names = iter(range(1, BARS + 1))
    across = (2, 13, 24, 35)
    for z in (3, 27):
        for y in across:
            labels[z : z + 7, y : y + 7, :37] = next(names)
    for x in across[:3]:
        labels[14:21, :, x : x + 7] = next(names)
    for y in across:
        labels[:, y : y + 7, 40:47] = next(names)
    return labels


def lit_bars(labels: np.ndarray) -> np.ndarray:
    """An image of bars, uint8, brightest along their axes: a flood that follows these fills all of a bar."""
    noise = np.random.default_rng(0).integers(-3, 4, labels.shape)
    depth = ndimage.distance_transform_cdt(labels > 0)
    return (np.where(labels > 0, 150 + 12 * depth, 40) + noise).astype(np.uint8)


def make_bars(**config: str) -> None:
    """The files of a project with `bars`: volumes, network and config."""
    labels = bars()
    write_volumes("data.h5", raw=lit_bars(labels), labels=labels)
    save_threshold_network(architecture=WIDE)
    write_config(**config)


def grey_of(labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """An image, uint8: objects bright, the rest dark.

    There is some noise: where all logits are alike, the flood has no reason to go anywhere.
    """
    noise = np.random.default_rng(seed).integers(-25, 26, labels.shape)
    return (np.where(labels > 0, 200, 40) + noise).astype(np.uint8)


def write_volumes(
    path: str,
    start_zyx: tuple[int, ...] = (0, 0, 0),
    size_nm: tuple[float, ...] = (10, 10, 10),
    **arrays: Any,
) -> None:
    """Writes datasets of an HDF5 file in the CREMI layout, all at one place."""
    with h5py.File(path, "a") as file:
        for name, array in arrays.items():
            dataset = file.create_dataset(name, data=array)
            dataset.attrs["resolution"] = size_nm[: array.ndim]
            if any(start_zyx):
                dataset.attrs["offset"] = [n * size for n, size in zip(start_zyx, size_nm, strict=True)]


def write_config(
    raw: str = "data.h5:raw", inference: str = "", network: str = "net.ffn.h5", **top: str
) -> None:
    """Writes `c.textproto`; sections given take the place of the usual ones, empty ones are left out."""
    sections = {
        "name": '"tiny"',
        "output_dir": '"out"',
        "raw": f'{{ spec: "{raw}" }}',
        "network": f'{{ weights: "{network}" }}',
        "inference": f"{{ options {{ min_segment_size: 10 }} compute_dtype: FLOAT32 {inference} }}",
        "evaluation": '{ labels { spec: "data.h5:labels" } }',
        **top,
    }
    text = "\n".join(
        f"{name}{':' if value.startswith(chr(34)) else ''} {value}"
        for name, value in sections.items()
        if value
    )
    Path("c.textproto").write_text(text)


def run(*arguments: str) -> int:
    """Runs the command; its exit code."""
    return run_inference.run([*arguments])


def metrics(output: str = "out") -> dict[str, Any]:
    """The figures of all stages."""
    stages: dict[str, Any] = json.loads(Path(output, "metrics.json").read_text())["stages"]
    return stages


def supervoxels(output: str = "out", scale: int = 0) -> np.ndarray:
    """What a run wrote, uint64 (z, y, x)."""
    with open_volume(f"precomputed://file://{Path(output).resolve()}/supervoxels#{scale}") as volume:
        return volume.read()


def stored(stage: str, corner_xyz: str = "0_0_0", output: str = "out") -> dict[str, np.ndarray]:
    """The arrays of one subvolume's result, and its `settings` and `counts`, of a pass or a consensus."""
    folder = Path(output, "passes", stage)
    x, y, _ = corner_xyz.split("_")
    path = (folder if folder.exists() else Path(output, stage)) / x / y / f"seg-{corner_xyz}.npz"
    with np.load(path) as file:
        return {
            name: json.loads(str(file[name])) if name in ("settings", "counts") else file[name]
            for name in file.files
        }


def corners(stage: str = "forward", output: str = "out") -> list[str]:
    """The subvolumes that have a result, `x_y_z`."""
    folder = Path(output, "passes", stage)
    found = (folder if folder.exists() else Path(output, stage)).rglob("seg-*.npz")
    return sorted(path.stem.removeprefix("seg-") for path in found)


def contents(folder: str) -> dict[Path, bytes]:
    """All files in a folder."""
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def write_checkpoint(prefix: str, architecture: Architecture) -> None:
    """A TensorFlow checkpoint as google/ffn writes it, with the weights of the threshold network."""
    import tensorflow as tf

    weights = threshold_network(architecture)
    names = [f"seed_update/{n.replace('kernel', 'weights').replace('bias', 'biases')}" for n in weights]
    tf.raw_ops.SaveV2(
        prefix=prefix, tensor_names=names, shape_and_slices=[""] * len(names), tensors=list(weights.values())
    )


REQUEST = """
image { hdf5: "data.h5:raw" }
image_mean: 128
image_stddev: 64
checkpoint_interval: 1800
seed_policy: "PolicyPeaks"
model_checkpoint_path: "model.ckpt-7"
model_name: "convstack_3d.ConvStack3DFFNModel"
model_args: "{\\"depth\\": DEPTH, \\"fov_size\\": [5, 5, 5], \\"deltas\\": [2, 2, 2], \\"features\\": 2}"
segmentation_output_dir: "results"
inference_options {
  init_activation: 0.95 pad_value: 0.5 move_threshold: 0.6 segment_threshold: 0.6
  min_boundary_dist { x: 1 y: 1 z: 1 } min_segment_size: 10 disco_seed_threshold: -1
}
"""
