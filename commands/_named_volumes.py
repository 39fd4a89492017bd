"""Volumes and files that flags name: voxel sizes where volumes state none, and the metrics.json."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from configs import ConfigError

if TYPE_CHECKING:
    from volumes import Volume


def voxel_size_of_flag(values: Sequence[str] | None) -> tuple[float, float, float] | None:
    """The size (zyx, nm) that --voxel_size_nm says, or None without it.

    Raises:
      ConfigError: not three numbers.
    """
    if not values:
        return None
    try:
        z, y, x = map(float, values)
    except ValueError:
        raise ConfigError(
            f"--voxel_size_nm {','.join(values)} is not three numbers; give z,y,x in nm"
        ) from None
    return z, y, x


def needed_voxel_size(
    spec: str, given_nm: tuple[float, float, float] | None, opener: Callable[[str], Volume] | None = None
) -> tuple[float, float, float] | None:
    """The voxel size to open a volume with: the given one if the volume does not say its own, else None.

    Args:
      spec: the SPEC.
      given_nm: zyx, by --voxel_size_nm; None: not given.
      opener: opens it; `open_volume` if None.

    Raises:
      ConfigError: it says none and none is given, or another one.
      VolumeError: it cannot be opened.
    """
    from volumes import open_volume
    from volumes.errors import NoVoxelSizeError

    try:
        with (opener or open_volume)(spec) as volume:
            stated = volume.voxel_size_nm
    except NoVoxelSizeError as error:
        if given_nm is None:
            raise ConfigError(
                f"volume '{spec}' does not say its voxel size; add --voxel_size_nm z,y,x"
            ) from error
        return given_nm
    if given_nm is not None and not all(map(partial(math.isclose, rel_tol=1e-3), given_nm, stated)):
        raise ConfigError(
            f"--voxel_size_nm is {given_nm}, but volume '{spec}' says that its voxels have {stated} nm "
            "(zyx); leave the flag out, or correct the volume"
        )
    return None


def open_named(spec: str, given_nm: tuple[float, float, float] | None) -> Volume:
    """Opens a volume, with the given voxel size (zyx, nm) if it does not say its own.

    Raises:
      ConfigError: see `needed_voxel_size`.
      VolumeError: it cannot be opened.
    """
    from volumes import open_volume

    return open_volume(spec, voxel_size_nm=needed_voxel_size(spec, given_nm))


def metrics_file(value: str | None) -> Path | None:
    """The metrics.json that --output names; its ending keeps it from being one of the files beside it.

    Raises:
      flags.Error: another ending.
    """
    if not value:
        return None
    output = Path(value)
    if output.suffix != ".json":
        raise flags.Error(
            f"--output {output} is the file of figures, which is JSON; end it in .json (the report and the "
            "tables are written beside it)"
        )
    return output


def require_stage_name(value: str | None) -> None:
    """Refuses a --name that cannot be part of a file's name.

    Raises:
      flags.Error: it cannot.
    """
    if value is not None and not re.fullmatch(r"\w[\w.-]*", value):
        raise flags.Error(f"--name {value!r} names files; use letters, digits, '_', '-' and '.'")
