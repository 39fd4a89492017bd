"""What people made of the neurons, in files that other programs read."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proofreading.export.project import KINDS, ExportOptions, export_project

__all__ = ["ExportOptions", "KINDS", "export_project"]

_HOMES = {"ExportOptions": "project", "KINDS": "project", "export_project": "project"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'proofreading.export' has no attribute '{name}'")
    return getattr(import_module(f"proofreading.export.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
