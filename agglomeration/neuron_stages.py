"""The neurons of a finished agglomeration as stages to read, such as for evaluation; no voxel is stored.

| file in `agglomeration/` | holds |
| --- | --- |
| `agglomerated_map.npz` | the neuron of every supervoxel after all accepted merges |
| `neuron_map.npz` | the same after the soma constraint |
| `neuron_maps.json` | which supervoxels they are of |

Maps of supervoxels that were made anew since are passed over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from agglomeration.neurons import NeuronMap
from inference.supervoxels import written_ids
from inference.workspace import Workspace
from jobs.pieces import atomic_path
from volumes import Box, Volume, open_volume

AGGLOMERATED, CONSTRAINED = "agglomerated", "constrained"
FILES = {AGGLOMERATED: "agglomerated_map.npz", CONSTRAINED: "neuron_map.npz"}
_NOTE = "neuron_maps.json"


class NeuronStage(Volume):
    """The neurons of supervoxels, uint64, for reading only.

    Args:
      supervoxels: their voxels.
      neurons: of all of them.
      stage: what the neurons are called.
    """

    def __init__(self, supervoxels: Volume, neurons: NeuronMap, stage: str) -> None:
        super().__init__(
            f"{supervoxels.spec}, stage {stage}",
            bounds=supervoxels.bounds,
            dtype=np.uint64,
            voxel_size_nm=supervoxels.voxel_size_nm,
            chunk_shape=supervoxels.chunk_shape,
            writable=False,
        )
        self.stage = stage
        self._supervoxels, self._neurons = supervoxels, neurons

    def _load(self, box: Box) -> np.ndarray:
        return self._neurons.relabelled(self._supervoxels.read(box))


def keep_neurons(folder: Path, neurons: Mapping[str, NeuronMap], supervoxels: str) -> None:
    """Writes the neurons of all stages.

    Args:
      folder: what an agglomeration keeps for itself.
      neurons: by stage.
      supervoxels: names their voxels.

    Raises:
      PieceError: a file cannot be written.
    """
    # While maps change, none belong to any supervoxels.
    (folder / _NOTE).unlink(missing_ok=True)
    for stage, each in neurons.items():
        each.save(folder / FILES[stage])
    with atomic_path(folder / _NOTE) as temporary:
        temporary.write_text(json.dumps({"supervoxels": supervoxels}) + "\n")


def neuron_stages(workspace: Workspace, folder: Path) -> list[NeuronStage]:
    """The stages that an agglomeration of a project's own supervoxels ended with.

    Args:
      workspace: of the project.
      folder: what its agglomeration keeps for itself.

    Returns:
      Both of `FILES`, or none where it did not end, or was of other supervoxels.

    Raises:
      PieceError: a damaged map.
    """
    identity = written_ids(workspace)
    try:
        noted = json.loads((folder / _NOTE).read_text("utf-8"))
    except (OSError, ValueError):
        return []
    if identity is None or noted != {"supervoxels": identity}:
        return []
    volume = open_volume(f"precomputed://file://{(workspace.output / 'supervoxels').resolve()}")
    return [NeuronStage(volume, NeuronMap.load(folder / name), stage) for stage, name in FILES.items()]
