"""The files a user opens after a run: Precomputed, HDF5, a picture. Each appears whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

import numpy as np

from configs import ConfigError, ConfigView
from evaluation.slices import write_slices_png
from inference.inputs import Inputs
from inference.results import SubvolumeResult
from jobs.pieces import atomic_path
from volumes import Box, create_volume


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


def require_supported(asked: ConfigView) -> None:
    """Refuses what the `outputs` section cannot have.

    Raises:
      ConfigError: passes without .npz files.
    """
    if not asked.npz:
        raise ConfigError("outputs.npz cannot be off: a rerun picks finished passes up from these files")


def write_outputs(config: ConfigView, inputs: Inputs, result: SubvolumeResult) -> None:
    """Writes what the config's `outputs` section asks for.

    Args:
      config: its `outputs` and `output_dir` count.
      inputs: image and box.
      result: the objects to write, as uint64.
    """
    asked, output, size = config.outputs, Path(config.output_dir), inputs.image.voxel_size_nm
    ids, raw = result.segmentation.astype(np.uint64), inputs.image.read(inputs.box)
    if asked.precomputed:
        for name, array in (("supervoxels", ids), ("image", raw)):
            _write_precomputed(output / name, inputs.box, array, size)
    if asked.hdf5:
        _write_hdf5(output / "supervoxels.h5", inputs.box, ids, size)
    if asked.png:
        title = f"{config.name}: {inputs.image.spec}, {inputs.box}"
        write_slices_png(output / "slices.png", raw, ids, size, title, inputs.box.start)


def _write_precomputed(folder: Path, box: Box, array: np.ndarray, voxel_size_nm: tuple) -> None:
    """A folder is written beside its place and then takes it, so that it never shows a part."""
    temporary = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    try:
        _write(f"precomputed://file://{temporary.resolve()}", box, array, voxel_size_nm)
        if folder.is_dir():
            shutil.rmtree(folder)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_hdf5(path: Path, box: Box, array: np.ndarray, voxel_size_nm: tuple) -> None:
    with atomic_path(path) as temporary:
        temporary.unlink()
        _write(f"{temporary}:segmentation", box, array, voxel_size_nm)


def _write(spec: str, box: Box, array: np.ndarray, voxel_size_nm: tuple) -> None:
    with create_volume(spec, bounds=box, dtype=array.dtype, voxel_size_nm=voxel_size_nm) as volume:
        volume.write(box, array)
