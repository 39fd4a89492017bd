"""How work survives and shows itself: results that appear whole, and the progress of a long run."""

from jobs.pieces import CorruptPieceError, PieceError, atomic_path, load_npz, save_npz
from jobs.progress import Progress

__all__ = ["CorruptPieceError", "PieceError", "Progress", "atomic_path", "load_npz", "save_npz"]
