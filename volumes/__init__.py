"""Where voxels and skeletons come from and go to: boxes, volumes of every format, skeletons, phantoms."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from volumes.base import Volume
    from volumes.box import Box
    from volumes.derived import preprocess_array, preprocessed, resampled, to_coarse, upsample_labels
    from volumes.errors import VolumeError
    from volumes.opening import create_volume, open_volume
    from volumes.resample import downsample_image, downsample_labels, whole_factors
    from volumes.skeleton_sets import read_skeletons, write_skeletons
    from volumes.skeletons import Skeleton, resample_skeleton
    from volumes.swc import read_swc, write_swc

__all__ = [
    "Box",
    "Skeleton",
    "Volume",
    "VolumeError",
    "create_volume",
    "downsample_image",
    "downsample_labels",
    "open_volume",
    "preprocess_array",
    "preprocessed",
    "read_skeletons",
    "read_swc",
    "resample_skeleton",
    "resampled",
    "to_coarse",
    "upsample_labels",
    "whole_factors",
    "write_skeletons",
    "write_swc",
]

# A name's module is loaded when the name is first used: `import volumes` stays as light as its docstring.
_HOMES = {
    "Box": "box",
    "Skeleton": "skeletons",
    "Volume": "base",
    "VolumeError": "errors",
    "create_volume": "opening",
    "downsample_image": "resample",
    "downsample_labels": "resample",
    "open_volume": "opening",
    "preprocess_array": "derived",
    "preprocessed": "derived",
    "read_skeletons": "skeleton_sets",
    "read_swc": "swc",
    "resample_skeleton": "skeletons",
    "resampled": "derived",
    "to_coarse": "derived",
    "upsample_labels": "derived",
    "whole_factors": "resample",
    "write_skeletons": "skeleton_sets",
    "write_swc": "swc",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'volumes' has no attribute '{name}'")
    return getattr(import_module(f"volumes.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
