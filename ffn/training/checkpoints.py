"""Checkpoints: one piece with all that a run needs to go on, and what it must have in common with the run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import ConfigError
from jobs.pieces import load_npz, save_npz


def save_checkpoint(path: Path, identity: Mapping[str, Any], parts: Mapping[str, Any]) -> None:
    """Writes a checkpoint whole or not at all.

    Args:
      path: of the file.
      identity: all that the run follows from, as JSON values by name.
      parts: arrays by name, lists of arrays, or further mappings of arrays.
    """
    arrays = {"identity": np.array(json.dumps(identity))}
    for name, part in parts.items():
        if isinstance(part, Mapping):
            arrays.update({f"{name}/{key}": np.asarray(value) for key, value in part.items()})
        elif isinstance(part, list):
            arrays.update({f"{name}/{i:06d}": np.asarray(value) for i, value in enumerate(part)})
        else:
            arrays[name] = np.asarray(part)
    save_npz(path, arrays, compress=False)


class Checkpoint:
    """A checkpoint that was read.

    Args:
      path: of the file.
      identity: of the run that wants to go on from it.

    Raises:
      ConfigError: it is of another run; names the first difference.
      PieceError: the file is damaged.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self._arrays = load_npz(path)
        theirs, mine = json.loads(str(self._arrays["identity"])), json.loads(json.dumps(identity))
        for name in sorted({*theirs, *mine}):
            if theirs.get(name) != mine.get(name):
                raise ConfigError(
                    f"checkpoint {path} was made with {name} = {theirs.get(name)}, this run has "
                    f"{mine.get(name)}; train into another folder or delete the checkpoint"
                )

    def number(self, name: str) -> float:
        """A part that is one number."""
        return float(self._arrays[name])

    def text(self, name: str) -> str:
        """A part that is text."""
        return str(self._arrays[name])

    def arrays(self, name: str) -> list[np.ndarray]:
        """A part that is a list of arrays."""
        return list(self.named(name).values())

    def named(self, name: str) -> dict[str, np.ndarray]:
        """A part that is arrays by name."""
        prefix = f"{name}/"
        keys = [key for key in self._arrays if key.startswith(prefix)]
        return {key.removeprefix(prefix): self._arrays[key] for key in keys}


def start_of(initial: Mapping[str, np.ndarray] | None) -> str:
    """Names the weights that a run starts from; None: random ones."""
    return "random" if initial is None else digest_of(initial)


def stamp_of(identity: Mapping[str, Any]) -> str:
    """A short name of a run, the same wherever it goes on; 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def digest_of(weights: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names and values, in hexadecimal digits."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + np.ascontiguousarray(weights[name], np.float32).tobytes())
    return digest.hexdigest()
