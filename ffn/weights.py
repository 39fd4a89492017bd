"""Network files: weights together with all that is needed to use them rightly.

A network works only under the settings it was trained with (normalisation, pad value, move threshold),
so they travel in one HDF5 file, `NAME.ffn.h5`:

- attributes of the root: `format` = 'ffn-network', `version` = 1, `info` = JSON of `NetworkInfo`;
- one float32 dataset per variable, with checksums, named as in `ffn.network.variable_shapes`:
  'conv0_a/kernel' (z, y, x, channels in, channels out), 'conv0_a/bias' (channels out), ….

Networks shipped with the package lie in `ffn/networks` and are named `builtin:NAME`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from configs.errors import ConfigError, ReconstructionError
from ffn.network import Architecture, build_network, variable_shapes
from jobs.pieces import atomic_path

if TYPE_CHECKING:
    import keras

FORMAT = "ffn-network"
VERSION = 1
SUFFIX = ".ffn.h5"
BUILTIN = "builtin:"


class WeightsError(ReconstructionError):
    """A network file or checkpoint that cannot be used: names the file, the variable and the mend."""


@dataclass(frozen=True)
class NetworkInfo:
    """What a network is and the settings it was trained under.

    Attributes:
        architecture: kind, depth, features, field of view and deltas.
        image_mean: grey value subtracted from the image …
        image_stddev: … and the one it is then divided by.
        init_activation: probability the seed voxel starts with.
        pad_value: probability unvisited voxels show to the network.
        move_threshold: probability from which a field of view moves on.
        segment_threshold: probability from which a voxel belongs to the object.
        voxel_size_nm: z, y, x of the images it was trained on; None = not known.
        training: data, settings and figures of the training (JSON values).
        licence: of the weights, e.g. 'Apache-2.0'.

    Raises:
        ConfigError: a value out of range; names the field.
    """

    architecture: Architecture
    image_mean: float
    image_stddev: float
    init_activation: float = 0.95
    pad_value: float = 0.05
    move_threshold: float = 0.9
    segment_threshold: float = 0.6
    voxel_size_nm: tuple[float, float, float] | None = None
    training: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""

    def __post_init__(self) -> None:
        if not self.image_stddev > 0:
            raise ConfigError(f"network image_stddev is {self.image_stddev!r}; it must be above 0")
        for name in ("init_activation", "pad_value", "move_threshold", "segment_threshold"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(f"network {name} is {getattr(self, name)!r}; it must lie between 0 and 1")
        if self.voxel_size_nm is not None:
            object.__setattr__(self, "voxel_size_nm", tuple(float(edge) for edge in self.voxel_size_nm))

    def to_dict(self) -> dict[str, Any]:
        """Plain values (JSON) that `from_dict` turns back into equal information."""
        return {**asdict(self), "architecture": self.architecture.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NetworkInfo:
        """Inverse of `to_dict`.

        Raises:
            ConfigError: a field missing, unknown or out of range; names the field.
        """
        known = {entry.name for entry in fields(cls)}
        unknown = sorted(set(values) - known)
        missing = sorted({"architecture", "image_mean", "image_stddev"} - set(values))
        if unknown or missing:
            raise ConfigError(
                f"network info has unknown fields {unknown} and lacks {missing}; valid are {sorted(known)}"
            )
        return cls(**{**values, "architecture": Architecture.from_dict(values["architecture"])})


@dataclass(frozen=True)
class NetworkFile:
    """A network at rest.

    Attributes:
        info: what it is and how to use it.
        weights: variable name -> float32 array, as `ffn.network.variable_shapes` lists them.
    """

    info: NetworkInfo
    weights: Mapping[str, np.ndarray]


def save_network(path: str | Path, network: NetworkFile) -> None:
    """Writes a network file whole or not at all.

    Args:
        path: the file to make or to replace; its folder is made when missing.
        network: weights (any float dtype, written as float32) and what is said of them.

    Raises:
        WeightsError: weights that are not the stated architecture's, or a place that cannot be written.
    """
    path = Path(path)
    check_weights(network, f"network file {path}")
    try:
        with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
            file.attrs.update(format=FORMAT, version=VERSION, info=json.dumps(network.info.to_dict()))
            for name, values in network.weights.items():
                values = np.asarray(values, np.float32)
                # Checksums need chunks, and the ones h5py would choose more than double the file.
                file.create_dataset(name, data=values, chunks=values.shape, fletcher32=True)
    except OSError as error:
        raise WeightsError(f"network file {path} cannot be written: {_first_line(error)}") from error


def load_network(path: str | Path) -> NetworkFile:
    """Reads a network file, or the shipped network that `builtin:NAME` names.

    Raises:
        WeightsError: no such file or shipped network, not a network file, one of a newer format, a truncated
            one, or weights that are not the stated architecture's (says which, expected and found).
    """
    if str(path).startswith(BUILTIN):
        with _builtin(str(path).removeprefix(BUILTIN)) as builtin:
            return _read(builtin)
    return _read(Path(path))


def builtin_networks() -> list[str]:
    """Names of the shipped networks, sorted; `builtin:NAME` loads one."""
    folder = resources.files("ffn") / "networks"
    if not folder.is_dir():
        return []
    names = (entry.name for entry in folder.iterdir())
    return sorted(name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX))


def instantiate(network: NetworkFile, compute_dtype: str = "float32") -> keras.Model:
    """A Keras model of the network with its weights set; see `ffn.network.build_network`.

    Args:
        network: weights and architecture.
        compute_dtype: float32 or bfloat16; variables stay float32.

    Raises:
        WeightsError: weights that are not the stated architecture's.
        ConfigError: a compute type that does not exist.
    """
    check_weights(network, "network")
    model = build_network(network.info.architecture, compute_dtype)
    model.set_weights([network.weights[name] for name in variable_shapes(network.info.architecture)])
    return model


def weights_of(model: keras.Model, architecture: Architecture) -> dict[str, np.ndarray]:
    """Variable name -> float32 array (a copy) of all weights of a model.

    Args:
        model: of `ffn.network.build_network`.
        architecture: what it was built of.
    """
    import keras

    values = [np.array(keras.ops.convert_to_numpy(variable), np.float32) for variable in model.weights]
    return dict(zip(variable_shapes(architecture), values, strict=True))


def check_weights(network: NetworkFile, where: str) -> None:
    """Refuses weights that are not the stated architecture's.

    Args:
        network: weights and architecture.
        where: what it is or where it lies, which begins the message.

    Raises:
        WeightsError: a variable that is missing, of another shape, unknown, or not finite.
    """
    architecture = network.info.architecture
    expected = variable_shapes(architecture)
    stated = f"{architecture.name} of depth {architecture.depth} with {architecture.features} features"
    for name, shape in expected.items():
        if name not in network.weights:
            raise WeightsError(f"{where} lacks variable {name!r} of {stated}; check depth and features")
        found = np.shape(network.weights[name])
        if found != shape:
            raise WeightsError(f"{where}: {name!r} has shape {found}, but {stated} expects {shape}")
    extra = sorted(set(network.weights) - set(expected))
    if extra:
        raise WeightsError(f"{where} has variables {extra} that {stated} does not; check depth")
    infinite = [name for name, values in network.weights.items() if not np.isfinite(values).all()]
    if infinite:
        raise WeightsError(f"{where} has values that are not finite in {infinite}; train it again")


@contextmanager
def _builtin(name: str) -> Iterator[Path]:
    if name not in builtin_networks():
        known = ", ".join(builtin_networks()) or "none"
        raise WeightsError(f"there is no shipped network {name!r}; shipped: {known}")
    with resources.as_file(resources.files("ffn") / "networks" / f"{name}{SUFFIX}") as path:
        yield path


def _read(path: Path) -> NetworkFile:
    if not path.is_file():
        raise WeightsError(f"network file {path} does not exist; shipped networks: {_shipped()}")
    try:
        with h5py.File(path, "r") as file:
            info = _read_info(file, path)
            weights = _read_variables(file)
    except (OSError, RuntimeError, KeyError) as error:
        raise WeightsError(f"{path} is truncated or not HDF5: {_first_line(error)}; copy it again") from error
    network = NetworkFile(info, weights)
    check_weights(network, f"network file {path}")
    return network


def _read_info(file: h5py.File, path: Path) -> NetworkInfo:
    if file.attrs.get("format") != FORMAT:
        raise WeightsError(f"{path} is HDF5 but not a network file; train_ffn writes them as NAME{SUFFIX}")
    version = file.attrs.get("version")
    if version != VERSION:
        raise WeightsError(f"{path} has format version {version}; this release reads {VERSION}, upgrade it")
    try:
        return NetworkInfo.from_dict(json.loads(file.attrs["info"]))
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path} describes its network wrongly: {error}") from error


def _read_variables(file: h5py.File) -> dict[str, np.ndarray]:
    weights: dict[str, np.ndarray] = {}

    def collect(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):
            weights[name] = item.astype(np.float32)[()]

    file.visititems(collect)
    return weights


def _shipped() -> str:
    return ", ".join(f"{BUILTIN}{name}" for name in builtin_networks()) or "none"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
