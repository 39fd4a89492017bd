"""The OME-Zarr metadata of a volume: which axes an array has, how large its voxels are, where it lies.

Source: OME-NGFF, "multiscales" metadata, versions 0.4 (Zarr version 2, in `.zattrs`) and 0.5 (Zarr
version 3, under `ome` in `zarr.json`); https://ngff.openmicroscopy.org. Values in, values out; the
files are `volumes.zarr`'s.

A translation is read as the place of the first voxel. Writers of pyramids shift coarse levels by less
than half a voxel (they speak of voxel centres); rounding to the nearest voxel undoes that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from volumes.base import SizeNm
from volumes.box import Zyx
from volumes.units import nm_per_unit

ZYX = ("z", "y", "x")


@dataclass(frozen=True)
class Placement:
    """How an array lies in space.

    Args:
        axes: the name of each stored axis, e.g. ("t", "c", "z", "y", "x").
        voxel_size_nm: zyx, or None where a size or a unit is missing.
        start: the first voxel (zyx), whole voxels of this array.
    """

    axes: tuple[str, ...]
    voxel_size_nm: SizeNm | None
    start: Zyx


def dataset_paths(attributes: Mapping[str, Any]) -> list[str]:
    """The arrays the multiscales metadata lists, finest first; empty without such metadata."""
    return [str(dataset["path"]) for dataset in _multiscale(attributes).get("datasets", ())]


def placement(attributes: Mapping[str, Any], path: str) -> Placement:
    """How the array at `path` lies in space.

    Args:
        attributes: of the group, with multiscales metadata that lists `path`.
        path: of the array within the group.

    Raises:
        KeyError, TypeError, ValueError: the metadata is not as the specification has it.
    """
    multiscale = _multiscale(attributes)
    axes = [axis if isinstance(axis, Mapping) else {"name": axis} for axis in multiscale["axes"]]
    names = tuple(str(axis["name"]) for axis in axes)
    dataset = next(entry for entry in multiscale["datasets"] if entry["path"] == path)
    scale, translation = [1.0] * len(axes), [0.0] * len(axes)
    steps = [*dataset["coordinateTransformations"], *multiscale.get("coordinateTransformations", ())]
    for step in steps:
        if step["type"] == "scale":
            scale = [a * float(b) for a, b in zip(scale, step["scale"], strict=True)]
            translation = [a * float(b) for a, b in zip(translation, step["scale"], strict=True)]
        elif step["type"] == "translation":
            translation = [a + float(b) for a, b in zip(translation, step["translation"], strict=True)]
    order = [names.index(axis) for axis in ZYX]
    units = [nm_per_unit(axes[i].get("unit")) for i in order]
    z, y, x = (round(translation[i] / scale[i]) for i in order)
    size = [scale[i] * unit for i, unit in zip(order, units, strict=True) if unit is not None]
    return Placement(names, (size[0], size[1], size[2]) if len(size) == 3 else None, (z, y, x))


def group_attributes(voxel_size_nm: SizeNm, start: Zyx, path: str, version: str) -> dict[str, Any]:
    """Multiscales metadata of one level, an array at `path` with axes z, y, x.

    Args:
        voxel_size_nm: zyx.
        start: the first voxel (zyx).
        path: of the array within the group.
        version: "0.4" or "0.5".
    """
    translation = [first * size for first, size in zip(start, voxel_size_nm, strict=True)]
    multiscale = {
        "axes": [{"name": axis, "type": "space", "unit": "nanometer"} for axis in ZYX],
        "datasets": [
            {
                "path": path,
                "coordinateTransformations": [
                    {"type": "scale", "scale": list(voxel_size_nm)},
                    {"type": "translation", "translation": translation},
                ],
            }
        ],
    }
    if version == "0.5":
        return {"ome": {"version": version, "multiscales": [multiscale]}}
    return {"multiscales": [{"version": version, **multiscale}]}


def _multiscale(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    holder: Sequence[Mapping[str, Any]] = attributes.get("ome", attributes).get("multiscales", ())
    return holder[0] if holder else {}
