"""The page over HTTP: who may do what, tasks, edits, data and the viewer's files."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proofreading.server.app import make_app
    from proofreading.server.served import ServedProject, open_project
    from proofreading.server.serving import serve

__all__ = ["ServedProject", "make_app", "open_project", "serve"]

# A name's module is loaded when the name is first used: the commands that serve nothing load no server.
_HOMES = {
    "ServedProject": "served",
    "make_app": "app",
    "open_project": "served",
    "serve": "serving",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'proofreading.server' has no attribute '{name}'")
    return getattr(import_module(f"proofreading.server.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
