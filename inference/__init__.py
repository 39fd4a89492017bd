"""From the network to a segmented volume: many floods in batches, box by box."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inference.executor import run_floods
    from inference.google_request import run_request
    from inference.project import run_project
    from inference.results import SubvolumeResult, load_result, save_result, subvolume_path
    from inference.subvolume import PassSettings, segment_subvolume

__all__ = [
    "PassSettings",
    "SubvolumeResult",
    "load_result",
    "run_floods",
    "run_project",
    "run_request",
    "save_result",
    "segment_subvolume",
    "subvolume_path",
]

_HOMES = {
    "PassSettings": "subvolume",
    "SubvolumeResult": "results",
    "load_result": "results",
    "run_floods": "executor",
    "run_project": "project",
    "run_request": "google_request",
    "save_result": "results",
    "segment_subvolume": "subvolume",
    "subvolume_path": "results",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'inference' has no attribute '{name}'")
    return getattr(import_module(f"inference.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
