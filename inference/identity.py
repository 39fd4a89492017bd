"""What a result follows from, so that results of different settings are never mixed.

Whatever determines the voxels of a result is written beside it as plain JSON values. Before a result that
lies there already is taken for a run's own, both descriptions are compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np

from configs.errors import ReconstructionError
from ffn.weights import NetworkFile
from jobs.pieces import atomic_path

Pieces: TypeAlias = Iterable[tuple[Path, Mapping[str, object]]]
# Names under which a piece says what it was made from in another way than its directory.
_OF_PIECES = {"passes", "fill_from"}


def network_digest(network: NetworkFile) -> str:
    """A short name of a network's weights: equal weights, equal name."""
    digest = hashlib.blake2b(digest_size=8)
    for name in sorted(network.weights):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(network.weights[name], np.float32).tobytes())
    return digest.hexdigest()


def array_digest(array: np.ndarray) -> str:
    """A short name of an array's values: equal values, shape and dtype, equal name."""
    array = np.ascontiguousarray(array)
    digest = hashlib.blake2b(f"{array.dtype.str}{array.shape}".encode(), digest_size=8)
    digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def settings_digest(settings: Mapping[str, object]) -> str:
    """A short name of a description: equal descriptions, equal name."""
    text = json.dumps(settings, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def require_same_settings(theirs: Mapping[str, object], mine: Mapping[str, object], path: Path) -> None:
    """Refuses to take a result that other settings made for this run's own.

    Args:
      theirs: description stored with the result.
      mine: description of this run.
      path: of the result.

    Raises:
      ReconstructionError: names the first setting that differs, both values and the mend.
    """
    differs = difference(theirs, mine)
    if differs is not None:
        name, found, wanted = differs
        raise ReconstructionError(
            f"{path} was made with {name} = {json.dumps(found)}, this run has {json.dumps(wanted)}; write to "
            "another output directory or delete the old result"
        )


def difference(theirs: Mapping[str, object], mine: Mapping[str, object]) -> tuple[str, object, object] | None:
    """The first setting, by its dotted name, in which two descriptions differ, and both values; or None.

    Args:
      theirs: plain values as stored, nested by name.
      mine: plain values to compare with, turned to what JSON makes of them.

    Returns:
      The name, their value, my value; a name that one of them lacks counts as None.
    """
    wanted, found = _flat(json.loads(json.dumps(mine))), _flat(theirs)
    for name in sorted(set(wanted) | set(found)):
        if wanted.get(name) != found.get(name):
            return name, found.get(name), wanted.get(name)
    return None


def claim_directory(directory: Path, settings: Mapping[str, object], pieces: Pieces | None = None) -> str:
    """Writes the description of a directory's results to its `settings.json`, once it is known to fit.

    Args:
      directory: where the results lie or will lie; made when missing.
      settings: plain values that JSON can hold.
      pieces: see `check_directory`.

    Returns:
      A line about a damaged one that was written again; empty otherwise.

    Raises:
      ReconstructionError: see `check_directory`.
    """
    note = check_directory(directory, settings, pieces)
    path = directory / "settings.json"
    if note or not path.exists():
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
    return note


def check_directory(directory: Path, settings: Mapping[str, object], pieces: Pieces | None = None) -> str:
    """Refuses a directory whose `settings.json` describes other results; one without is free.

    Args:
      directory: where the results lie; need not be there.
      settings: plain values that JSON can hold.
      pieces: paths and descriptions of the results there, looked at where `settings.json` is damaged: what
        they name alike has to be alike. None: they say nothing, and a damaged file is an error.

    Returns:
      A line about a damaged file whose results fit; empty otherwise.

    Raises:
      ReconstructionError: see `require_same_settings`; or the file is damaged.
    """
    path = directory / "settings.json"
    if not path.exists():
        return ""
    try:
        theirs = dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        damaged = f"{path} is damaged ({error})"
        if pieces is None:
            raise ReconstructionError(f"{damaged}; delete {directory} and run again") from error
    else:
        require_same_settings(theirs, settings, path)
        return ""
    for piece, made_from in pieces:
        alike = (made_from.keys() & settings.keys()) - _OF_PIECES
        require_same_settings({n: made_from[n] for n in alike}, {n: settings[n] for n in alike}, piece)
    return f"{damaged}; it is written again"


def _flat(settings: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested settings by dotted names."""
    flat: dict[str, object] = {}
    for name, value in settings.items():
        flat.update(
            _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
        )
    return flat
