"""The `info` of a Precomputed layer that a run fills: written again where it was damaged.

Chunks say nothing of their volume, so that a layer without its `info` is unreadable, though all of its voxels
are there. What a run fills follows from its config: the same `info` is made beside the layer and takes the
place of the damaged one. Whether the chunks fit it is found out where their digests are compared.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from jobs.pieces import atomic_path
from volumes import VolumeError, open_volume


def mend_info(folder: Path, create: Callable[[Path], None]) -> str:
    """Writes the `info` of a layer again where it cannot be used.

    Args:
      folder: of the layer.
      create: makes an empty layer like it in another folder.

    Returns:
      A line about a damaged one; empty when it is whole.
    """
    flaw = _flaw_of(folder)
    if not flaw:
        return ""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".tmp-") as beside:
        create(Path(beside, folder.name))
        with atomic_path(folder / "info") as temporary:
            temporary.write_bytes(Path(beside, folder.name, "info").read_bytes())
    return f"{folder / 'info'} is damaged ({flaw}); it is written again"


def _flaw_of(folder: Path) -> str:
    """Why a layer's `info` cannot be used, in a line; empty when all its scales open."""
    try:
        scales = len(json.loads((folder / "info").read_text())["scales"])
        for scale in range(scales):
            open_volume(f"precomputed://file://{folder.resolve()}#{scale}").close()
    except (ValueError, KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}"
    except VolumeError as error:
        return str(error).split(";")[0]
    return "" if scales else "no scales"
