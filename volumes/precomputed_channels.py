"""One channel of a Precomputed layer that has several.

The finest scale is opened, through tensorstore, on a disk (plain chunk files), in a bucket or on the web; x,
y, z is turned to z, y, x here. A layer of one channel is opened as `volumes.precomputed` does. Layers of
several channels are images, so that a missing chunk is an error, as it is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tensorstore as ts

from volumes.base import Volume, require_mode, voxel_size_of
from volumes.channels import require_channel
from volumes.errors import mended
from volumes.precomputed import open_precomputed
from volumes.tensorstores import TensorStoreVolume, read_json, url_of


def open_precomputed_channel(
    location: str, spec: str, voxel_size_nm: Iterable[float] | None, mode: str, channel: int
) -> Volume:
    """Open one channel of the finest scale of a Precomputed layer.

    Args:
        location: `file:///dir`, `gs://…`, `s3://…`, `https://…`, or a folder.
        spec: the SPEC, for messages.
        voxel_size_nm: zyx; takes the place of the stored resolution.
        mode: 'r' or 'r+'.
        channel: counted from 0.

    Raises:
        VolumeError: no layer there, a damaged `info`, or no such channel.
    """
    url = url_of(location)
    info = _read_info(url, spec)
    with mended(f"cannot open '{spec}'", "check its file 'info'", TypeError, ValueError):
        count = 1 if info is None else int(info.get("num_channels", 1))
    if info is None or count == 1:
        volume = open_precomputed(location, spec, voxel_size_nm, mode)
        require_channel(spec, channel, 1)
        return volume
    require_channel(spec, channel, count)
    writable = require_mode(mode)
    description = {"driver": "neuroglancer_precomputed", "kvstore": url, "scale_index": 0}
    with mended(f"cannot open '{spec}'", "check its file 'info'", KeyError, TypeError, ValueError, OSError):
        store = ts.open(
            {**description, "fill_missing_data_reads": writable}, open=True, read=True, write=writable
        ).result()
        scale = info["scales"][0]
        x, y, z = map(int, scale.get("voxel_offset", (0, 0, 0)))
        return TensorStoreVolume(
            spec,
            store[..., channel].T[ts.d[:].translate_to[0]],
            start=(z, y, x),
            voxel_size_nm=voxel_size_of(spec, voxel_size_nm, scale["resolution"][::-1]),
            writable=writable,
        )


def _read_info(url: str, spec: str) -> dict[str, Any] | None:
    if url.startswith("file://"):
        return read_json(url, "info")
    from volumes.precomputed_cloud import read_cloud_info

    return read_cloud_info(url, spec)
