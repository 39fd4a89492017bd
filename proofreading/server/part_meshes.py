"""Meshes of the parts of split supervoxels, made when the viewer asks for them.

The folder of meshes is of the segmentation as it was agglomerated. A part has one fragment, named after it;
format and marching cubes are those of `agglomeration.meshes`.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache

import numpy as np

from agglomeration.meshes import encoded, fragments
from proofreading.server.layers import Layer
from proofreading.state import ProofreadingState
from proofreading.supervoxel_split import EditedVolume
from volumes import Box, Volume

_MANIFEST = re.compile(r"(\d{1,19}):0")
_FRAGMENT = re.compile(r"(\d{1,19}):0:part")


def part_mesh(state: ProofreadingState, layer: Layer, name: str) -> bytes | None:
    """A file of the mesh of a part.

    Args:
      state: of the project.
      layer: its segmentation.
      name: of the file.

    Returns:
      Its content; None for what is no part of a supervoxel that is split now.

    Raises:
      ReconstructionError: zmesh is not installed, or voxels cannot be read.
    """
    found = _MANIFEST.fullmatch(name) or _FRAGMENT.fullmatch(name)
    if found is None:
        return None
    number = int(found[1])
    for split in state.supervoxel_splits():
        for part in split.split.parts:
            if part.id == number and _MANIFEST.fullmatch(name):
                return json.dumps({"fragments": [f"{number}:0:part"]}).encode()
            if part.id == number:
                return _surface(state, layer.volume, part.box, number, state.last_edit)
    return None


@lru_cache(maxsize=32)
def _surface(state: ProofreadingState, segmentation: Volume, box: Box, number: int, edit: int) -> bytes:
    """Of one object; the last edit is part of the key, since it may have split the part again."""
    volume = EditedVolume(segmentation, state.supervoxel_splits())
    around = Box(
        tuple(n - 1 for n in box.start),  # type: ignore[arg-type]
        tuple(n + 1 for n in box.stop),  # type: ignore[arg-type]
    ).intersect(volume.bounds)
    found = fragments(volume, around, np.array([number], np.uint64))
    vertices, faces = found.get(number, (np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint32)))
    return encoded(vertices, faces)
