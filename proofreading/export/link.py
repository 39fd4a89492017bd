"""A Neuroglancer link: the state of a view as JSON, and as an address that opens it.

The view has the image and the neurons, some of them selected. Where the neurons were not written as a volume
the supervoxels are shown, and `equivalences` tell Neuroglancer which of them are one. IDs are text: a
browser's numbers are exact only to 2^53. Axes are x, y, z.

Neuroglancer reads data over HTTP, so the output directory has to be served, with the header
`Access-Control-Allow-Origin` where the viewer comes from elsewhere.
Source: https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/README.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from agglomeration.neurons import NeuronMap
from jobs.pieces import atomic_path
from proofreading.errors import ProofreadingError
from volumes.box import Zyx

VIEWER = "https://neuroglancer-demo.appspot.com/"
ADDRESS = "http://127.0.0.1:8080"
# What a browser still takes as an address.
_LONGEST_LINK = 60_000


def view(
    name: str,
    layers: Mapping[str, str],
    voxel_size_nm: Sequence[float],
    position: Sequence[float],
    neurons: Sequence[int],
    equivalences: Mapping[int, np.ndarray] | None = None,
) -> dict[str, Any]:
    """The state of a view.

    Args:
      name: shown as its title.
      layers: addresses of `image` and `segmentation`; one may be missing.
      voxel_size_nm: zyx.
      position: of the middle, voxels (zyx).
      neurons: that are selected.
      equivalences: supervoxels (k,) uint64 by neuron, where the segmentation is one of supervoxels.
    """
    shown: list[dict[str, Any]] = []
    if "image" in layers:
        shown.append({"type": "image", "name": "image", "source": _source(layers["image"])})
    if "segmentation" in layers:
        layer: dict[str, Any] = {
            "type": "segmentation",
            "name": "neurons",
            "source": _source(layers["segmentation"]),
            "segments": [str(neuron) for neuron in neurons],
        }
        if equivalences is not None:
            layer["equivalences"] = [[str(each) for each in ids.tolist()] for ids in equivalences.values()]
        shown.append(layer)
    return {
        "title": name,
        "dimensions": {
            axis: [size * 1e-9, "m"] for axis, size in zip("xyz", reversed(voxel_size_nm), strict=True)
        },
        "position": list(reversed(position)),
        "layers": shown,
        "selectedLayer": {"layer": shown[-1]["name"], "visible": True} if shown else {},
        "layout": "4panel",
    }


def link_of(state: Mapping[str, Any], viewer: str = VIEWER) -> str:
    """The address that opens a view; empty where it would be too long for a browser.

    Args:
      state: of the view.
      viewer: address of a Neuroglancer.
    """
    found = f"{viewer}#!{quote(json.dumps(state, separators=(',', ':')), safe='')}"
    return found if len(found) <= _LONGEST_LINK else ""


def write_link(folder: Path, state: Mapping[str, Any], viewer: str = VIEWER) -> list[Path]:
    """Writes `neuroglancer.json` and, unless it is too long, `neuroglancer_link.txt`.

    Args:
      folder: where they go.
      state: of the view.
      viewer: address of a Neuroglancer.

    Returns:
      The files.

    Raises:
      PieceError: one cannot be written.
    """
    found = {folder / "neuroglancer.json": json.dumps(state, indent=2) + "\n"}
    link = link_of(state, viewer)
    if link:
        found[folder / "neuroglancer_link.txt"] = link + "\n"
    for path, text in found.items():
        with atomic_path(path) as temporary:
            temporary.write_text(text, "utf-8")
    return list(found)


def address_of(folder: Path, output_dir: Path, address: str) -> str:
    """The address of a folder of the output directory, once that is served.

    Args:
      folder: in it.
      output_dir: of the project.
      address: where it is served.

    Raises:
      ProofreadingError: the folder is not in it.
    """
    try:
        inside = folder.resolve().relative_to(output_dir.resolve())
    except ValueError as error:
        raise ProofreadingError(
            f"'{folder}' is not in '{output_dir}', which --address serves; export to a folder in it"
        ) from error
    return f"{address.rstrip('/')}/{quote(inside.as_posix())}"


def supervoxels_by_neuron(neurons: NeuronMap, chosen: Sequence[int]) -> dict[int, np.ndarray]:
    """The supervoxels (k,) uint64 of some neurons.

    Args:
      neurons: of every supervoxel.
      chosen: some of them.

    Raises:
      ProofreadingError: there is no such neuron.
    """
    found = {neuron: neurons.supervoxels[neurons.neurons == np.uint64(neuron)] for neuron in chosen}
    missing = [neuron for neuron, ids in found.items() if not ids.size]
    if missing:
        raise ProofreadingError(f"there is no neuron {missing[0]}; name one that is there now")
    return found


def middle_of(point: Zyx | None, shape: Sequence[int], start: Sequence[int]) -> list[float]:
    """Where a view looks: at a voxel, or at the middle of the volume.

    Args:
      point: voxel (zyx); None = the middle.
      shape: of the volume.
      start: of it.
    """
    if point is not None:
        return [n + 0.5 for n in point]
    return [low + edge / 2 for low, edge in zip(start, shape, strict=True)]


def _source(address: str) -> str:
    return f"precomputed://{address}"
