"""The segmentation of one subvolume, and where it lies on disk.

Results lie where google/ffn puts them, `<directory>/<x>/<y>/seg-<x>_<y>_<z>.npz` named after the
corner of the subvolume, array `segmentation` (z, y, x); object probabilities beside it in
`seg-<x>_<y>_<z>.prob`, array `qprob`. Everything is plain arrays and JSON text; nothing is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jobs.pieces import CorruptPieceError, load_npz, save_npz
from volumes import Box

# Ends the name of the file in which an unfinished flood is kept.
UNFINISHED = ".unfinished"


@dataclass(frozen=True)
class SubvolumeResult:
    """Objects of one subvolume.

    Attributes:
      box: the subvolume, in voxels of the whole image at the resolution of its pass.
      segmentation: int32 (z, y, x), 0 = no object; IDs in order of creation. Of a consensus uint32, or uint64
        where IDs need it.
      probability: uint8 (z, y, x), 0 = unsegmented, else the quantised probability of belonging to the
        object, 1 + the 254ths reached.
      object_ids: int64 (n,), ascending.
      seeds_zyx: int64 (n, 3), the seed of each object, voxels from the corner of the box; (-1, -1, -1) for
        objects that were there before.
      fovs: int64 (n,), fields of view each object took; 0 for objects that were there before.
      counts: how many seeds were tried and why they gave no object, fields of view in all, seconds.
      settings: the resolved settings that made it, plain JSON values.
    """

    box: Box
    segmentation: np.ndarray
    probability: np.ndarray
    object_ids: np.ndarray
    seeds_zyx: np.ndarray
    fovs: np.ndarray
    counts: dict[str, float]
    settings: dict[str, object]


def subvolume_path(directory: str | Path, start_zyx: tuple[int, int, int]) -> Path:
    """Where the segmentation of the subvolume with this corner lies.

    Args:
      directory: of the results.
      start_zyx: absolute start of the subvolume's box.
    """
    z, y, x = start_zyx
    return Path(directory) / str(x) / str(y) / f"seg-{x}_{y}_{z}.npz"


def save_result(
    directory: str | Path, result: SubvolumeResult, corner_zyx: tuple[int, int, int] | None = None
) -> Path:
    """Writes the segmentation and the probabilities; returns the path of the segmentation.

    The segmentation appears last: where it is, everything is. The unfinished flood beside it goes after that.

    Args:
      directory: of all subvolumes.
      result: of one.
      corner_zyx: names the files; the corner of the result's box unless given. Passes at a coarser resolution
        give that of the subvolume in voxels of the raw volume, so that all passes use one name.
    """
    path = subvolume_path(directory, result.box.start if corner_zyx is None else corner_zyx)
    save_npz(path.with_suffix(".prob"), {"qprob": result.probability})
    save_npz(
        path,
        {
            "segmentation": result.segmentation,
            "box_zyx": np.array([result.box.start, result.box.stop]),
            "object_ids": result.object_ids,
            "seeds_zyx": result.seeds_zyx,
            "fovs": result.fovs,
            "counts": np.array(json.dumps(result.counts)),
            "settings": np.array(json.dumps(result.settings, sort_keys=True)),
        },
    )
    path.with_suffix(UNFINISHED).unlink(missing_ok=True)
    return path


def stored_settings(directory: Path) -> Iterator[tuple[Path, dict[str, object]]]:
    """Path and settings of every segmentation of a stage; damaged ones, which are made anew, are passed over.

    Args:
      directory: of the results.
    """
    for path in sorted(directory.rglob("seg-*.npz")):
        with suppress(CorruptPieceError):
            yield path, json.loads(str(load_npz(path, ("settings",))["settings"]))


class StoredLabels(NamedTuple):
    """Of a result, the objects alone: see `SubvolumeResult`."""

    box: Box
    segmentation: np.ndarray
    settings: dict[str, object]


def load_labels(directory: str | Path, start_zyx: tuple[int, int, int]) -> StoredLabels | None:
    """The objects of the subvolume with this corner; nothing else is inflated. None where there are none yet.

    Args:
      directory: of the results.
      start_zyx: absolute start of the subvolume's box.

    Raises:
      PieceError: a file that is damaged (names it).
    """
    path = subvolume_path(directory, start_zyx)
    if not path.exists():
        return None
    arrays = load_npz(path, ("box_zyx", "segmentation", "settings"))
    start, stop = arrays["box_zyx"].tolist()
    settings = json.loads(str(arrays["settings"]))
    return StoredLabels(Box(tuple(start), tuple(stop)), arrays["segmentation"], settings)


def load_result(directory: str | Path, start_zyx: tuple[int, int, int]) -> SubvolumeResult | None:
    """The result of the subvolume with this corner; None where there is none yet, or a part of it is gone.

    Args:
      directory: of the results.
      start_zyx: absolute start of the subvolume's box.

    Raises:
      PieceError: a file that is damaged (names it).
    """
    path = subvolume_path(directory, start_zyx)
    beside = path.with_suffix(".prob")
    if not path.exists() or not beside.exists():
        return None
    arrays = load_npz(path)
    start, stop = arrays["box_zyx"].tolist()
    return SubvolumeResult(
        box=Box(tuple(start), tuple(stop)),
        segmentation=arrays["segmentation"],
        probability=load_npz(beside)["qprob"],
        object_ids=arrays["object_ids"],
        seeds_zyx=arrays["seeds_zyx"],
        fovs=arrays["fovs"],
        counts=json.loads(str(arrays["counts"])),
        settings=json.loads(str(arrays["settings"])),
    )
