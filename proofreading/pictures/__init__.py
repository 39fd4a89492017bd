"""Segment a picture: files that people upload, a queue of jobs in a process of its own, and its page."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proofreading.pictures.jobs import Job, JobState, Wanted
    from proofreading.pictures.queue import PictureLimits, PictureQueue, open_pictures
    from proofreading.pictures.reading import PictureError
    from proofreading.pictures.routes import picture_routes

__all__ = [
    "Job",
    "JobState",
    "PictureError",
    "PictureLimits",
    "PictureQueue",
    "Wanted",
    "open_pictures",
    "picture_routes",
]

_HOMES = {
    "Job": "jobs",
    "JobState": "jobs",
    "PictureError": "reading",
    "PictureLimits": "queue",
    "PictureQueue": "queue",
    "Wanted": "jobs",
    "open_pictures": "queue",
    "picture_routes": "routes",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'proofreading.pictures' has no attribute '{name}'")
    return getattr(import_module(f"proofreading.pictures.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
