"""The networks that flood: their architecture as data, and the Keras models built from it.

A network sees one field of view at a time: a float32 array (n, z, y, x, 2) whose channels are the normalised
image and the current logits of the object. It returns float32 (n, z, y, x, 1), the *updated* logits: what the
convolutions propose plus the logits that came in. That sum is always taken in float32, so that a
logit passed through many visits does not lose its low bits to a bfloat16 network.

`Architecture` is all that is needed to build a model; it is what a network file stores. The kinds of
network are in `ffn.registry`, to which a user adds their own.
"""

from __future__ import annotations

import operator
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from configs.errors import ConfigError
from ffn import convstack, registry
from ffn.backend import COMPUTE_DTYPES

if TYPE_CHECKING:
    import keras

NORMALISATIONS = ("unnormalised", "layer")
# Absent from what earlier releases wrote, and from what this one writes where they say nothing.
_LATER_FIELDS = {"normalisation": "unnormalised", "arguments": ()}


@dataclass(frozen=True)
class Architecture:
    """What a network is, apart from its weights.

    Attributes:
        depth: number of modules of two 3x3x3 convolutions each (>= 1).
        features: channels of every convolution but the last (>= 1).
        fov_zyx: field of view in voxels, z, y, x; odd, so that it has a centre voxel.
        deltas_zyx: distance in voxels, z, y, x, between neighbouring fields of view; 0 = never moves
            along that axis; at most half the field of view, whose faces decide where to go next.
        name: kind of network, a key of the registry. What depth and features mean to another network than
            convstack_3d is for its builder to say.
        normalisation: 'layer', each voxel's channels for themselves, or 'unnormalised'.
        arguments: what else the kind of network takes, each 'name=value'; convstack_3d takes none.

    Raises:
        ConfigError: a value that no network can have; names the field, the value and the valid ones.
    """

    depth: int
    features: int
    fov_zyx: tuple[int, int, int]
    deltas_zyx: tuple[int, int, int]
    name: str = registry.CONVSTACK_3D
    normalisation: str = "unnormalised"
    arguments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not registry.is_known(self.name):
            known = ", ".join(registry.known_networks())
            raise ConfigError(f"unknown network {self.name!r}; known are {known}")
        if self.normalisation not in NORMALISATIONS:
            valid = ", ".join(NORMALISATIONS)
            raise ConfigError(f"network normalisation is {self.normalisation!r}; it is one of {valid}")
        object.__setattr__(self, "depth", _positive("depth", self.depth))
        object.__setattr__(self, "features", _positive("features", self.features))
        object.__setattr__(self, "fov_zyx", _three_integers("fov_zyx", self.fov_zyx))
        object.__setattr__(self, "deltas_zyx", _three_integers("deltas_zyx", self.deltas_zyx))
        _check_geometry(self.fov_zyx, self.deltas_zyx)
        object.__setattr__(self, "arguments", _named("arguments", self.arguments))
        if self.arguments and self.name == registry.CONVSTACK_3D:
            raise ConfigError(f"network arguments are {list(self.arguments)}, but {self.name} takes none")

    @property
    def named_arguments(self) -> dict[str, str]:
        """The arguments as name -> value."""
        return {name: value for name, _, value in (each.partition("=") for each in self.arguments)}

    @property
    def fov_radius_zyx(self) -> tuple[int, int, int]:
        """Voxels (z, y, x) from the centre of the field of view to its border, the centre not counted."""
        z, y, x = self.fov_zyx
        return z // 2, y // 2, x // 2

    def to_dict(self) -> dict[str, Any]:
        """Plain values (JSON) that `from_dict` turns back into an equal architecture."""
        values = {key: v for key, v in asdict(self).items() if _LATER_FIELDS.get(key) != v}
        return {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Architecture:
        """Inverse of `to_dict`.

        Raises:
            ConfigError: a field missing, unknown or out of range; names the field.
        """
        fields = set(cls.__dataclass_fields__)
        unknown, missing = sorted(set(values) - fields), sorted(fields - {*values, *_LATER_FIELDS})
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
        ConfigError: another compute type, or a network of a user's that is not as `ffn.registry` says.
    """
    if compute_dtype not in COMPUTE_DTYPES:
        raise ConfigError(f"compute type {compute_dtype!r} is not one of {', '.join(COMPUTE_DTYPES)}")
    model = registry.builder(architecture.name)(architecture, compute_dtype)
    registry.require_usable(model, architecture)
    return model


def variable_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every variable of the network, in the order of the model's `weights`.

    Names of a convstack_3d are 'conv0_a/kernel', 'conv0_a/bias', … (see `ffn.convstack`). Keras numbers
    layers without a name as they come in a process, so that the variables of other networks are counted
    instead: 'variable_000', ….
    """
    if architecture.name == registry.CONVSTACK_3D:
        return convstack.variable_shapes(architecture)
    return dict(_counted_shapes(architecture))


@lru_cache(maxsize=16)
def _counted_shapes(architecture: Architecture) -> tuple[tuple[str, tuple[int, ...]], ...]:
    weights = build_network(architecture).weights
    return tuple((f"variable_{i:03d}", tuple(variable.shape)) for i, variable in enumerate(weights))


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


def _named(name: str, values: Any) -> tuple[str, ...]:
    found = tuple(values)
    names = [str(each).partition("=")[0] for each in found]
    if not all("=" in str(each) and each[0] != "=" for each in found) or len(set(names)) < len(names):
        raise ConfigError(f"network {name} are {list(found)}; each must be 'name=value', no name twice")
    return found


def _check_geometry(fov_zyx: tuple[int, int, int], deltas_zyx: tuple[int, int, int]) -> None:
    if any(edge < 1 or edge % 2 == 0 for edge in fov_zyx):
        raise ConfigError(f"network fov_zyx is {fov_zyx}; each edge must be odd (a centre voxel)")
    for edge, delta in zip(fov_zyx, deltas_zyx, strict=True):
        if not 0 <= delta <= edge // 2:
            raise ConfigError(f"network deltas_zyx is {deltas_zyx}; each must lie in 0 … fov//2 of {fov_zyx}")
