"""Import of the networks that google/ffn trained with TensorFlow 1.

Such a checkpoint is a pair of files, `PREFIX.index` and `PREFIX.data-00000-of-00001`. It holds weights but
not the architecture, which comes from `model_name` and `model_args` of the inference request beside it. The
variables are 'seed_update/conv0_a/weights' (z, y, x, channels in, channels out),
'seed_update/conv0_a/biases', …; those outside 'seed_update/' are bookkeeping of the training and left out.

Sizes in `model_args` are x, y, z; they are turned here, and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import ConfigError
from ffn.network import Architecture, variable_shapes
from ffn.weights import NetworkFile, NetworkInfo, WeightsError

CONVSTACK_3D_MODEL = "convstack_3d.ConvStack3DFFNModel"
_SCOPE = "seed_update/"
_TF1_NAMES = {"kernel": "weights", "bias": "biases"}
_DEFAULT_ARGS = {"depth": 9, "features": 32}
_KNOWN_ARGS = {"depth", "features", "fov_size", "deltas", "batch_size"}


def import_checkpoint(
    prefix: str | Path,
    model_name: str,
    model_args: str | Mapping[str, Any],
    *,
    image_mean: float,
    image_stddev: float,
    **settings: Any,
) -> NetworkFile:
    """Reads a google/ffn TensorFlow 1 checkpoint.

    Args:
        prefix: path of the checkpoint without `.index` or `.data-…`.
        model_name: 'convstack_3d.ConvStack3DFFNModel', the one this system knows.
        model_args: JSON text, or the mapping it stands for: `depth` (9 unless given), `features` (32),
            `fov_size` and `deltas` (x, y, z, voxels).
        image_mean, image_stddev: grey values the network was trained with.
        **settings: further fields of `NetworkInfo` (thresholds, voxel size, …).

    Returns:
        The network, float32, under our variable names.

    Raises:
        WeightsError: no such checkpoint, a truncated one, or one of another architecture (names the tensor,
            its shape there and the expected one).
        ConfigError: another model, or arguments that are not JSON, unknown or out of range.
    """
    architecture = architecture_from_args(model_name, model_args)
    info = NetworkInfo(architecture, image_mean=image_mean, image_stddev=image_stddev, **settings)
    return NetworkFile(info, _read_weights(Path(prefix), architecture))


def architecture_from_args(model_name: str, model_args: str | Mapping[str, Any]) -> Architecture:
    """The architecture that google/ffn's `model_name` and `model_args` (x, y, z) describe.

    Args:
        model_name: `convstack_3d.ConvStack3DFFNModel`, with or without packages before it.
        model_args: `depth` (9 if missing), `features` (32 if missing), `fov_size` and `deltas` (x, y, z), and
            `batch_size`, which is passed over; a mapping or JSON text.

    Returns:
        The architecture, field of view and deltas turned to z, y, x.

    Raises:
        ConfigError: another model, or arguments that are not JSON, unknown, missing or out of range.
    """
    if model_name != CONVSTACK_3D_MODEL and not model_name.endswith(f".{CONVSTACK_3D_MODEL}"):
        raise ConfigError(f"model_name {model_name!r} is not known; only {CONVSTACK_3D_MODEL} is")
    args = {**_DEFAULT_ARGS, **_parsed(model_args)}
    unknown = sorted(set(args) - _KNOWN_ARGS)
    if unknown:
        raise ConfigError(f"model_args has unknown entries {unknown}; valid are {sorted(_KNOWN_ARGS)}")
    return Architecture(
        depth=args["depth"],
        features=args["features"],
        fov_zyx=_zyx(args, "fov_size"),
        deltas_zyx=_zyx(args, "deltas"),
    )


def _parsed(model_args: str | Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(model_args, str):
        return model_args
    try:
        args = json.loads(model_args)
    except json.JSONDecodeError as error:
        raise ConfigError(f"model_args is not JSON ({error}): {model_args!r}") from error
    if not isinstance(args, dict):
        raise ConfigError(f"model_args must be a JSON object, not {model_args!r}")
    return args


def _zyx(args: Mapping[str, Any], name: str) -> tuple[int, int, int]:
    sizes_xyz = args.get(name)
    if not isinstance(sizes_xyz, list | tuple) or len(sizes_xyz) != 3:
        raise ConfigError(f"model_args {name} is {sizes_xyz!r}; it must be three whole numbers x, y, z")
    x, y, z = sizes_xyz
    return z, y, x


def _read_weights(prefix: Path, architecture: Architecture) -> dict[str, np.ndarray]:
    import tensorflow as tf

    if not Path(f"{prefix}.index").is_file():
        raise WeightsError(f"there is no {prefix}.index; give a checkpoint's path without .index or .data-…")
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        found = reader.get_variable_to_shape_map()
        _check_shapes(prefix, found, architecture)
        # All of them, also those not needed: reading is what finds a truncated file.
        tensors = {name: reader.get_tensor(name) for name in found}
    # TensorFlow gives its status codes several Python types; a short read comes as an IndexError.
    except (tf.errors.OpError, IndexError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"checkpoint {prefix} is truncated or damaged: {reason}; copy it again") from error
    return {name: np.asarray(tensors[_tf1_name(name)], np.float32) for name in variable_shapes(architecture)}


def _check_shapes(prefix: Path, found: Mapping[str, list[int]], architecture: Architecture) -> None:
    """Raises WeightsError unless the network's tensors in the checkpoint are those of the architecture."""
    expected = {_tf1_name(name): shape for name, shape in variable_shapes(architecture).items()}
    where = f"checkpoint {prefix} is of another architecture"
    stated = f"depth {architecture.depth} and {architecture.features} features in model_args"
    for name, shape in expected.items():
        if name not in found:
            raise WeightsError(f"{where}: it lacks {name!r}, which {stated} call for")
        if tuple(found[name]) != shape:
            raise WeightsError(f"{where}: {name!r} has shape {tuple(found[name])}; {stated} call for {shape}")
    extra = sorted(name for name in found if name.startswith(_SCOPE) and name not in expected)
    if extra:
        raise WeightsError(f"{where}: it has {extra[0]!r}, which {stated} leave out")


def _tf1_name(name: str) -> str:
    layer, kind = name.split("/")
    return f"{_SCOPE}{layer}/{_TF1_NAMES[kind]}"
