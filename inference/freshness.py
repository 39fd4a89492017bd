"""Whether what a worker keeps open is still what lies on disk.

The workers of a scheduler outlive the runs they work for. A network or volume may be replaced in between
under the same name, which a config does not show; the state of the files does.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from glob import glob
from pathlib import Path
from typing import TypeAlias

from configs import ConfigView

Stamp: TypeAlias = tuple[str, int, int, int]


def stamps_of(config: ConfigView) -> tuple[Stamp, ...]:
    """The state of the local files that a project opens, for comparison.

    Args:
      config: of the project.

    Returns:
      For each file or folder that is there its path, inode, size (bytes) and time of change (ns).
    """
    return _stamps(_paths(config))


def stamps_of_volume(spec: str) -> tuple[Stamp, ...]:
    """The state of a volume's local files: one file, all images of a stack, or a folder and its description.

    Args:
      spec: the SPEC.

    Returns:
      As `stamps_of`; nothing for a bucket.
    """
    stack = spec.removeprefix("stack:")
    return _stamps(map(Path, glob(stack)) if stack != spec else _files_of(spec))


def state_of_volume(spec: str) -> list[list[object]]:
    """All of the state of a volume's local files, for a record: other voxels give another state.

    A folder's own stamp does not show that a chunk in it was written anew, so that all files in it are
    looked at, which `stamps_of_volume` spares.

    Args:
      spec: the SPEC.

    Returns:
      As `stamps_of_volume`, and for each folder how many files are in it, their size together (bytes) and
      the latest of their changes (ns); nothing for a bucket.
    """
    found: list[list[object]] = []
    for path, *stamp in stamps_of_volume(spec):
        found.append([path, *stamp])
        if os.path.isdir(path):
            states = [os.stat(os.path.join(at, name)) for at, _, names in os.walk(path) for name in names]
            latest = max((state.st_mtime_ns for state in states), default=0)
            found.append([len(states), sum(state.st_size for state in states), latest])
    return found


def _stamps(paths: Iterable[Path]) -> tuple[Stamp, ...]:
    found = []
    for path in sorted(set(paths)):
        if path.exists():
            state = os.stat(path)
            found.append((str(path), state.st_ino, state.st_size, state.st_mtime_ns))
    return tuple(found)


def _paths(config: ConfigView) -> Iterator[Path]:
    passes = config.inference.passes
    for network in (config.network, *(each.network for each in passes)):
        if network is not None and network.weights is not None:
            yield Path(network.weights)
        if network is not None and network.checkpoint is not None:
            yield Path(f"{network.checkpoint.model_checkpoint_path}.index")
    evaluation = config.evaluation
    histogram = config.preprocessing.histogram
    volumes = (
        config.raw,
        *(each.image for each in passes),
        evaluation and evaluation.labels,
        histogram and histogram.reference,
    )
    for volume in volumes:
        if volume is not None:
            yield from _files_of(volume.spec)


def _files_of(spec: str) -> Iterator[Path]:
    """The file or folder of a local SPEC, and the file that describes a folder's volume."""
    if spec.startswith("stack:"):
        # Its images are too many to be looked at for every piece of work.
        yield Path(spec.removeprefix("stack:")).parent
        return
    location = spec.split("://", 1)[-1].removeprefix("file://").split("#")[0]
    for path in (Path(location), Path(location.rpartition(":")[0] or location)):
        yield path
        yield from (path / name for name in ("info", ".zarray", "zarr.json", "attributes.json"))
