"""The networks that flood: their architecture as data, and the Keras models built from it.

A network sees one field of view at a time: a float32 array (n, z, y, x, 2) whose channels are the normalised
image and the current logits of the object. It returns float32 (n, z, y, x, 1), the *updated* logits: what the
convolutions propose plus the logits that came in. That sum is always taken in float32, so that a
logit passed through many visits does not lose its low bits to a bfloat16 network.

`Architecture` is all that is needed to build a model; it is what a network file stores. New kinds
of network are added to `_BUILDERS`.

Source of the method: Januszewski et al. 2018 (doi:10.1038/s41592-018-0049-4), the stack of residual modules
named ConvStack3D in google/ffn.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from configs.errors import ConfigError
from ffn.backend import COMPUTE_DTYPES, keep_unfused

if TYPE_CHECKING:
    import keras

CONVSTACK_3D = "convstack_3d"


@dataclass(frozen=True)
class Architecture:
    """What a network is, apart from its weights.

    Attributes:
        depth: number of modules of two 3x3x3 convolutions each (>= 1).
        features: channels of every convolution but the last (>= 1).
        fov_zyx: field of view in voxels, z, y, x; odd, so that it has a centre voxel.
        deltas_zyx: distance in voxels, z, y, x, between neighbouring fields of view; 0 = never moves
            along that axis; at most half the field of view, whose faces decide where to go next.
        name: kind of network, a key of the registry.

    Raises:
        ConfigError: a value that no network can have; names the field, the value and the valid ones.
    """

    depth: int
    features: int
    fov_zyx: tuple[int, int, int]
    deltas_zyx: tuple[int, int, int]
    name: str = CONVSTACK_3D

    def __post_init__(self) -> None:
        if self.name not in _BUILDERS:
            raise ConfigError(f"unknown network {self.name!r}; known are {', '.join(sorted(_BUILDERS))}")
        object.__setattr__(self, "depth", _positive("depth", self.depth))
        object.__setattr__(self, "features", _positive("features", self.features))
        object.__setattr__(self, "fov_zyx", _three_integers("fov_zyx", self.fov_zyx))
        object.__setattr__(self, "deltas_zyx", _three_integers("deltas_zyx", self.deltas_zyx))
        _check_geometry(self.fov_zyx, self.deltas_zyx)

    @property
    def fov_radius_zyx(self) -> tuple[int, int, int]:
        """Voxels (z, y, x) from the centre of the field of view to its border, the centre not counted."""
        z, y, x = self.fov_zyx
        return z // 2, y // 2, x // 2

    def to_dict(self) -> dict[str, Any]:
        """Plain values (JSON) that `from_dict` turns back into an equal architecture."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Architecture:
        """Inverse of `to_dict`.

        Raises:
            ConfigError: a field missing, unknown or out of range; names the field.
        """
        fields = set(cls.__dataclass_fields__)
        unknown, missing = sorted(set(values) - fields), sorted(fields - set(values))
        if unknown or missing:
            raise ConfigError(
                f"architecture has unknown fields {unknown} and lacks {missing}; valid are {sorted(fields)}"
            )
        return cls(**values)


def build_network(architecture: Architecture, compute_dtype: str = "float32") -> keras.Model:
    """A Keras model with fresh (random) weights.

    Args:
        architecture: which network.
        compute_dtype: 'float32' or 'bfloat16'. The variables are float32 in either case (Keras
            mixed_bfloat16), so a model of one type takes the weights of the other.

    Returns:
        A model mapping float32 (n, z, y, x, 2), channels [normalised image, logits], to float32
        (n, z, y, x, 1), the updated logits; z, y, x = `architecture.fov_zyx`.

    Raises:
        ConfigError: another compute type.
    """
    if compute_dtype not in COMPUTE_DTYPES:
        raise ConfigError(f"compute type {compute_dtype!r} is not one of {', '.join(COMPUTE_DTYPES)}")
    return _BUILDERS[architecture.name](architecture, compute_dtype)


def variable_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every variable of the network, in the order of the model's `weights`.

    Names are 'conv0_a/kernel', 'conv0_a/bias', …; kernels are (z, y, x, channels in, channels out).
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for name, size, channels_in, channels_out in _convolutions(architecture):
        shapes[f"{name}/kernel"] = (size, size, size, channels_in, channels_out)
        shapes[f"{name}/bias"] = (channels_out,)
    return shapes


def _convolutions(architecture: Architecture) -> list[tuple[str, int, int, int]]:
    """(layer name, kernel edge, channels in, channels out) from input to output."""
    features = architecture.features
    layers = [
        (f"conv{module}_{half}", 3, features, features)
        for module in range(architecture.depth)
        for half in "ab"
    ]
    layers[0] = ("conv0_a", 3, 2, features)
    return [*layers, ("conv_lom", 1, features, 1)]


def _convstack_3d(architecture: Architecture, compute_dtype: str) -> keras.Model:
    """Residual stack: x + conv_b(ReLU(conv_a(ReLU(x)))) per module, then ReLU and a 1x1x1 convolution.

    With bfloat16 the convolutions that take the time are computed in it. What runs through the whole network
    stays float32: image and logits, the sums of the residual modules, and the update. That halves the
    error of the logits and costs 2 % (33x33x33, 12 modules of 32 features) or less.
    """
    import keras

    exact = keras.DTypePolicy("float32")
    fast = exact if compute_dtype == "float32" else keras.DTypePolicy(f"mixed_{compute_dtype}")

    def convolve(name: str, x: Any, policy: Any, activation: str | None = None) -> Any:
        size, filters = (1, 1) if name == "conv_lom" else (3, architecture.features)
        layer = keras.layers.Conv3D(
            filters, size, padding="same", activation=activation, name=name, dtype=policy,
            kernel_initializer=_initializer(name, architecture.depth),
        )  # fmt: skip
        return layer(x)

    def rectify(name: str, x: Any) -> Any:
        return keras.layers.ReLU(name=name, dtype=exact)(x)

    inputs = keras.Input((*architecture.fov_zyx, 2), dtype="float32", name="image_and_logits")
    x = convolve("conv0_a", inputs, exact, "relu")
    x = convolve("conv0_b", x, fast)
    for module in range(1, architecture.depth):
        inside = rectify(f"relu{module}", x)
        inside = convolve(f"conv{module}_a", inside, fast, "relu")
        inside = convolve(f"conv{module}_b", inside, fast)
        inside = keras.layers.Lambda(keep_unfused, name=f"unfused{module}", dtype=fast)(inside)
        x = keras.layers.Add(name=f"module{module}", dtype=exact)([x, inside])
    update = convolve("conv_lom", rectify("relu_lom", x), exact)
    return keras.Model(inputs, update + inputs[..., 1:2], name=architecture.name)


def _initializer(layer: str, depth: int) -> Any:
    """Starts a residual stack as the identity: the output proposes nothing, modules add little."""
    import keras

    if layer == "conv_lom":
        return "zeros"
    return "he_normal" if layer.endswith("_a") else keras.initializers.VarianceScaling(1 / depth)


_BUILDERS: dict[str, Callable[[Architecture, str], keras.Model]] = {CONVSTACK_3D: _convstack_3d}


def _positive(name: str, value: int) -> int:
    number = _integer(name, value)
    if number < 1:
        raise ConfigError(f"network {name} is {value!r}; it must be at least 1")
    return number


def _integer(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise ConfigError(f"network {name} is {value!r}; it must be a whole number") from None


def _three_integers(name: str, values: Any) -> tuple[int, int, int]:
    try:
        z, y, x = values
    except (TypeError, ValueError):
        raise ConfigError(f"network {name} is {values!r}; it must be three whole numbers z, y, x") from None
    return _integer(name, z), _integer(name, y), _integer(name, x)


def _check_geometry(fov_zyx: tuple[int, int, int], deltas_zyx: tuple[int, int, int]) -> None:
    if any(edge < 1 or edge % 2 == 0 for edge in fov_zyx):
        raise ConfigError(f"network fov_zyx is {fov_zyx}; each edge must be odd (a centre voxel)")
    for edge, delta in zip(fov_zyx, deltas_zyx, strict=True):
        if not 0 <= delta <= edge // 2:
            raise ConfigError(f"network deltas_zyx is {deltas_zyx}; each must lie in 0 … fov//2 of {fov_zyx}")
