"""Flood-filling networks: the network, its weights, seeds, movement and the flooding of one subvolume."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ffn.canvas import Canvas, segment_all
    from ffn.flood import Flood, FloodOptions, FovRequest
    from ffn.network import Architecture, build_network
    from ffn.registry import register_network
    from ffn.seed_policies import SeedContext, check_seed_policy, make_seeds
    from ffn.seeds import peak_seeds
    from ffn.tf1_checkpoint import import_checkpoint
    from ffn.weights import NetworkFile, NetworkInfo, WeightsError, load_network, save_network

__all__ = [
    "Architecture",
    "Canvas",
    "Flood",
    "FloodOptions",
    "FovRequest",
    "NetworkFile",
    "NetworkInfo",
    "SeedContext",
    "WeightsError",
    "build_network",
    "check_seed_policy",
    "import_checkpoint",
    "load_network",
    "make_seeds",
    "peak_seeds",
    "register_network",
    "save_network",
    "segment_all",
]

# A name's module is loaded when the name is first used: what only reads network files compiles no kernels.
_HOMES = {
    "Architecture": "network",
    "Canvas": "canvas",
    "Flood": "flood",
    "FloodOptions": "flood",
    "FovRequest": "flood",
    "NetworkFile": "weights",
    "NetworkInfo": "weights",
    "SeedContext": "seed_policies",
    "WeightsError": "weights",
    "build_network": "network",
    "check_seed_policy": "seed_policies",
    "import_checkpoint": "tf1_checkpoint",
    "load_network": "weights",
    "make_seeds": "seed_policies",
    "peak_seeds": "seeds",
    "register_network": "registry",
    "save_network": "weights",
    "segment_all": "canvas",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'ffn' has no attribute '{name}'")
    return getattr(import_module(f"ffn.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
