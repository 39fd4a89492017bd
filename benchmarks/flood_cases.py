"""What the throughput benchmark floods: networks and subvolumes, real where there are any."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ffn.flood import FloodOptions
from ffn.network import Architecture, variable_shapes
from ffn.tf1_checkpoint import CONVSTACK_3D_MODEL, import_checkpoint
from ffn.weights import NetworkFile, NetworkInfo, builtin_networks, load_network

FIB25_ARCHITECTURE = Architecture(12, 32, fov_zyx=(33, 33, 33), deltas_zyx=(8, 8, 8))
SMALL_ARCHITECTURE = Architecture(8, 16, fov_zyx=(17, 17, 17), deltas_zyx=(5, 5, 5))


@dataclass(frozen=True)
class Case:
    """A network and the subvolume it floods.

    Attributes:
      network: weights and settings.
      weights: where they come from, for the table.
      image: normalised image, float32 (z, y, x).
      options: of the flood.
    """

    network: NetworkFile
    weights: str
    image: np.ndarray
    options: FloodOptions


def fib25_case(shared: Path, edge: int) -> Case:
    """The published FIB-25 network on real tissue; random weights on noise where `shared` is absent."""
    checkpoint = shared / "models" / "fib25" / "model.ckpt-27465036"
    if not Path(f"{checkpoint}.index").exists():
        return random_case(FIB25_ARCHITECTURE, edge)
    import h5py

    args = {"depth": 12, "fov_size": [33] * 3, "deltas": [8] * 3}
    network = import_checkpoint(checkpoint, CONVSTACK_3D_MODEL, args, image_mean=128, image_stddev=33)
    with h5py.File(shared / "data" / "fib25_training2_dev.h5") as file:
        raw = file["raw"][40 : 40 + edge, 80 : 80 + edge, 80 : 80 + edge]
    case = _case(network, "FIB-25 checkpoint", raw, min_segment_size=1000)
    # A google/ffn request that does not say otherwise has the disconnected-seed rule on.
    return replace(case, options=replace(case.options, disco_seed_threshold=0.0))


def phantom_case(edge: int) -> Case:
    """The shipped network on a phantom; random weights on noise before there is one."""
    if "phantom" not in builtin_networks():
        return random_case(SMALL_ARCHITECTURE, edge)
    from volumes.phantom import PhantomSpec, make_phantom

    raw = make_phantom(PhantomSpec(shape=(edge,) * 3, seed=7)).raw
    return _case(load_network("builtin:phantom"), "builtin:phantom", raw, min_segment_size=100)


def random_case(architecture: Architecture, edge: int) -> Case:
    """Random weights that fill whatever they see, on noise: as much work, no segmentation to speak of."""
    random = np.random.default_rng(0)
    shapes = variable_shapes(architecture)
    weights = {
        name: random.normal(0, 0.5 / math.sqrt(math.prod(shape[:-1])), shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    weights["conv_lom/bias"] = np.full(1, 8, np.float32)
    network = NetworkFile(NetworkInfo(architecture, 128, 33), weights)
    return _case(network, "random", random.normal(128, 33, (edge,) * 3), min_segment_size=100)


def _case(network: NetworkFile, weights: str, raw: np.ndarray, min_segment_size: int) -> Case:
    info = network.info
    options = FloodOptions(
        fov_zyx=info.architecture.fov_zyx,
        deltas_zyx=info.architecture.deltas_zyx,
        init_activation=info.init_activation,
        pad_value=info.pad_value,
        move_threshold=info.move_threshold,
        segment_threshold=info.segment_threshold,
        min_segment_size=min_segment_size,
    )
    image = (raw.astype(np.float32) - np.float32(info.image_mean)) / np.float32(info.image_stddev)
    return Case(network, weights, image, options)
