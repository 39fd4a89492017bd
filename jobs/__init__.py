"""How work is cut, spread, survives and shows itself: subvolumes, workers, whole results, and progress."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobs.dispatch import Failure, Piece, PieceFailures, WorkerError
    from jobs.in_worker import PieceStopped, current_reporter, per_worker, report_found, report_progress
    from jobs.pieces import CorruptPieceError, PieceError, atomic_path, load_npz, save_npz
    from jobs.plan import Subvolume, largest_size, neighbours, plan_subvolumes
    from jobs.progress import Progress
    from jobs.run_progress import RunProgress, Stage, Work
    from jobs.workers import Pool, WorkerSettings, worker_pool

__all__ = [
    "CorruptPieceError",
    "Failure",
    "Piece",
    "PieceError",
    "PieceFailures",
    "PieceStopped",
    "Pool",
    "Progress",
    "RunProgress",
    "Stage",
    "Subvolume",
    "Work",
    "WorkerError",
    "WorkerSettings",
    "atomic_path",
    "current_reporter",
    "largest_size",
    "load_npz",
    "neighbours",
    "per_worker",
    "plan_subvolumes",
    "report_found",
    "report_progress",
    "save_npz",
    "worker_pool",
]

_HOMES = {
    "CorruptPieceError": "pieces",
    "Failure": "dispatch",
    "Piece": "dispatch",
    "PieceError": "pieces",
    "PieceFailures": "dispatch",
    "PieceStopped": "in_worker",
    "Pool": "workers",
    "Progress": "progress",
    "RunProgress": "run_progress",
    "Stage": "run_progress",
    "Subvolume": "plan",
    "Work": "run_progress",
    "WorkerError": "dispatch",
    "WorkerSettings": "workers",
    "atomic_path": "pieces",
    "current_reporter": "in_worker",
    "largest_size": "plan",
    "load_npz": "pieces",
    "neighbours": "plan",
    "per_worker": "in_worker",
    "plan_subvolumes": "plan",
    "report_found": "in_worker",
    "report_progress": "in_worker",
    "save_npz": "pieces",
    "worker_pool": "workers",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'jobs' has no attribute '{name}'")
    return getattr(import_module(f"jobs.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
