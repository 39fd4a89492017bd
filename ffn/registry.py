"""The kinds of network there are: the own one, and those that a user's code or package adds.

A kind is a name and a function that builds its Keras model of an `ffn.network.Architecture`. A script names
its own with `register_network`. A package brings them along as entry points of the group `ffn.networks`
('name = "package.module:function"'): then commands and worker processes know the name too, since they
look there for names that are not registered.

A model takes one float32 tensor (n, z, y, x, 2), the normalised image and the current logits of the object,
and returns float32 (n, z, y, x, 1), the updated logits; z, y, x is `architecture.fov_zyx`. Nothing in it may
depend on what it saw before: a run is continued from its trained variables alone, and a field of view is
computed the same in every batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, TypeAlias

from configs.errors import ConfigError
from ffn import convstack

if TYPE_CHECKING:
    import keras

    from ffn.network import Architecture

Builder: TypeAlias = "Callable[[Architecture, str], keras.Model]"
GROUP = "ffn.networks"
CONVSTACK_3D = "convstack_3d"
_builders: dict[str, Builder] = {CONVSTACK_3D: convstack.build}


def register_network(name: str, build: Builder) -> None:
    """Makes a kind of network known in this process.

    Args:
        name: what `architecture.name` says to get it.
        build: makes a model of (architecture, compute_dtype), the latter 'float32' or 'bfloat16'; see the
            text of this module for what the model must be. `architecture.named_arguments` is what a config
            gave besides.

    Raises:
        ConfigError: the name belongs to another network already.
    """
    if _builders.setdefault(name, build) is not build:
        raise ConfigError(f"a network {name!r} is registered already; choose another name")


def is_known(name: str) -> bool:
    """Whether a network of this name is registered or brought by an installed package."""
    return name in _builders or name in entry_points(group=GROUP).names


def known_networks() -> list[str]:
    """Names of all kinds of network, sorted."""
    return sorted({*_builders, *entry_points(group=GROUP).names})


def builder(name: str) -> Builder:
    """The function that builds a kind of network.

    Raises:
        ConfigError: no such network, or a package that brings it and cannot be imported.
    """
    if name in _builders:
        return _builders[name]
    if not is_known(name):
        raise ConfigError(f"unknown network {name!r}; known are {', '.join(known_networks())}")
    (found, *_) = entry_points(group=GROUP, name=name)
    try:
        register_network(name, found.load())
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"network {name!r} ({found.value}) cannot be imported: {error}; mend it") from error
    return _builders[name]


def require_usable(model: keras.Model, architecture: Architecture) -> None:
    """Checks what a registered function built.

    Args:
        model: what it built.
        architecture: what it was asked for.

    Raises:
        ConfigError: other inputs or outputs, or variables that are not trained or not float32.
    """
    where = f"network {architecture.name!r}"
    tensors = [*(getattr(model, "inputs", None) or ()), *(getattr(model, "outputs", None) or ())]
    found = [(tuple(tensor.shape), str(tensor.dtype)) for tensor in tensors]
    z, y, x = architecture.fov_zyx
    wanted = [((None, z, y, x, channels), "float32") for channels in (2, 1)]
    if found != wanted:
        raise ConfigError(
            f"{where} maps {_shown(found[:1])} to {_shown(found[1:])}; it must map {_shown(wanted[:1])} to "
            f"{_shown(wanted[1:])}"
        )
    untrained = [variable.path for variable in model.non_trainable_variables]
    if untrained:
        raise ConfigError(f"{where} has variables that are not trained, {untrained}; leave such layers out")
    other = [variable.path for variable in model.weights if str(variable.dtype) != "float32"]
    if other:
        raise ConfigError(f"{where} has variables that are not float32, {other}; give them that dtype")


def _shown(tensors: Sequence[tuple[tuple[int | None, ...], str]]) -> str:
    return ", ".join(f"{dtype} {shape}" for shape, dtype in tensors) or "nothing"
