"""The files a user opens after a run: Precomputed, HDF5, Zarr, a picture. Each appears whole or not at all.

Precomputed folders are filled block by block by many workers under an unfinished name, their coarser scales
after the finest, and then take their place. The other formats are streamed from there, one block at a time.
"""

from __future__ import annotations

import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from configs import ConfigError, ConfigView
from evaluation.slices import write_slices_png
from inference.run_plan import FORMATS
from inference.workspace import Workspace
from inference.written import write_unless_there
from jobs.pieces import atomic_path, remove_leftovers
from jobs.run_progress import RunProgress
from volumes import Box, create_volume

_PICTURE_EDGE = 256
_HDF5, _ZARR = "supervoxels.h5", "supervoxels.zarr"
ReadBlock = Callable[[Box], np.ndarray]


def require_writable(directory: Path) -> None:
    """Makes a directory, and notices before any work that nothing can be written there.

    Raises:
      ConfigError: it cannot be made or written.
    """
    probe = directory / f".writable-{secrets.token_hex(4)}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"output directory '{directory}' cannot be written ({error.strerror}); choose another output_dir"
        ) from error


def require_places(directory: Path, asked: ConfigView, folders: Iterable[str]) -> None:
    """Notices before any work that something lies where a file or a folder is to be written in the end.

    Args:
      directory: of all outputs; it need not exist.
      asked: the `outputs` section.
      folders: those of stages, by their path in the directory.

    Raises:
      ConfigError: a folder where a file belongs, or the other way round.
    """
    files = {
        "config.textproto": True,
        "project.json": True,
        "metrics.json": True,
        "supervoxels.npz": True,
        "supervoxels.csv": True,
        "slices.png": asked.png,
        _HDF5: asked.hdf5,
    }
    volumes = {"supervoxels": asked.precomputed, "image": asked.precomputed, _ZARR: asked.zarr}
    for path in (directory / name for name, wanted in files.items() if wanted):
        if path.is_dir():
            raise ConfigError(_in_the_way(path, "a directory", "a file"))
    for path in (directory / name for name in (*folders, *(n for n, wanted in volumes.items() if wanted))):
        if path.exists() and not path.is_dir():
            raise ConfigError(_in_the_way(path, "a file", "a directory"))


def _in_the_way(path: Path, what: str, instead: str) -> str:
    return f"'{path}' is {what}, where a run writes {instead}; move it away or choose another output_dir"


def require_supported(asked: ConfigView) -> None:
    """Refuses what the `outputs` section cannot have.

    Raises:
      ConfigError: passes without .npz files.
    """
    if not asked.npz:
        raise ConfigError("outputs.npz cannot be off: a rerun picks finished passes up from these files")


def unfinished(folder: Path) -> Path:
    """Where a folder is filled before it takes its place."""
    return folder.with_name(f".{folder.name}.unfinished")


def remove_what_kills_left(workspace: Workspace, started: float) -> None:
    """Removes temporary files in a project's directory once its workers have ended.

    Workers of a scheduler go on, perhaps with a piece that another one has done; what they write since the
    run began stays.

    Args:
      workspace: of the project.
      started: when the run began, seconds since the epoch.
    """
    before = started if workspace.config.run.scheduler else math.inf
    remove_leftovers(workspace.output, before, besides=(*workspace.volumes_written, _ZARR))


def put_in_place(folder: Path) -> None:
    """An unfinished folder takes its place; one that is there gives way, like any that gave way before."""
    for retired in folder.parent.glob(f".{folder.name}-*"):
        shutil.rmtree(retired)
    if folder.is_dir():
        retired = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
        os.replace(folder, retired)
        os.replace(unfinished(folder), folder)
        shutil.rmtree(retired)
    else:
        os.replace(unfinished(folder), folder)


def write_streams(
    workspace: Workspace,
    made_from: Mapping[str, object],
    read: ReadBlock,
    blocks: Iterable[Box],
    progress: RunProgress,
) -> None:
    """The supervoxels in the formats that one process writes: HDF5 and Zarr, unless they are there.

    Args:
      workspace: the project.
      made_from: plain values that the supervoxels follow from.
      read: gives the supervoxels of a block.
      blocks: tile the region.
      progress: of the run; counts voxels written.
    """
    asked, output, blocks = workspace.config.outputs, workspace.output, list(blocks)
    writers = {_HDF5: (asked.hdf5, _write_hdf5), _ZARR: (asked.zarr, _write_zarr)}
    wanted = {name: write for name, (is_wanted, write) in writers.items() if is_wanted}
    units = sum(block.size for block in blocks)
    if wanted:
        progress.begin(FORMATS, units=len(wanted) * units, pieces=len(wanted))
    for name, write in wanted.items():
        fill = partial(_fill, workspace, read, blocks, progress)
        if not write_unless_there(output, [name], made_from, partial(write, output / name, fill)):
            progress.advance(units, found=units)
        progress.end_piece()


def write_picture(workspace: Workspace, made_from: Mapping[str, object], read: ReadBlock) -> None:
    """Three slices through the middle of the first box; of a large one, of the part around its middle.

    One that is there stays.

    Args:
      workspace: of the project.
      made_from: plain values that the supervoxels follow from.
      read: gives the supervoxels, uint64 (z, y, x), of a box (absolute).
    """
    box = _middle(workspace.inputs.boxes[0])
    image, path = workspace.inputs.image, workspace.output / "slices.png"
    title = f"{workspace.config.name}: {image.spec}, {box}"

    def write() -> None:
        write_slices_png(path, image.read(box), read(box), image.voxel_size_nm, title, box.start)

    write_unless_there(workspace.output, [path.name], {**made_from, "title": title}, write)


def _middle(region: Box) -> Box:
    shape = [min(n, _PICTURE_EDGE) for n in region.shape]
    start = [s + (n - m) // 2 for s, n, m in zip(region.start, region.shape, shape, strict=True)]
    return Box.from_shape(shape, start)


def _write_hdf5(path: Path, fill: Callable[[str], None]) -> None:
    with atomic_path(path) as temporary:
        temporary.unlink()
        fill(f"{temporary}:segmentation")


def _write_zarr(folder: Path, fill: Callable[[str], None]) -> None:
    shutil.rmtree(unfinished(folder), ignore_errors=True)
    fill(f"zarr://{unfinished(folder).resolve()}")
    put_in_place(folder)


def _fill(
    workspace: Workspace, read: ReadBlock, blocks: Iterable[Box], progress: RunProgress, spec: str
) -> None:
    """Makes the volume that a SPEC names and writes all blocks."""
    region, size = workspace.inputs.box, workspace.inputs.image.voxel_size_nm
    with create_volume(spec, bounds=region, dtype=np.uint64, voxel_size_nm=size) as volume:
        for block in blocks:
            volume.write(block, read(block))
            progress.advance(block.size)
