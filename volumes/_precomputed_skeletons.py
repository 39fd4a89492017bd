"""Skeletons in Neuroglancer's Precomputed format: a folder with `info` and one file a segment ID.

Precomputed speaks x, y, z; it is turned here. A file holds the numbers of nodes and edges (uint32),
positions (float32), edges (pairs of uint32) and the attributes that `info` lists, all little-endian;
`transform` (3 x 4) leads from the stored positions to nanometres. What we write has the identity there, the
one attribute `radius` where radii are known, and plain files, which open in Neuroglancer and cloud-volume as
they lie. What others write is read through cloud-files: compressed files, buckets, and the shards of the
sharded form.
Source: https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/skeletons.md
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from volumes.errors import VolumeError, mended, one_line
from volumes.skeletons import Skeleton
from volumes.tensorstores import child_of, folder_of, url_of

KIND = "neuroglancer_skeletons"
_RADIUS = {"id": "radius", "data_type": "float32", "num_components": 1}
_IDENTITY = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]
_MEND = "check the address, the rights and that its files are intact"


def read_precomputed_skeletons(location: str, spec: str) -> Iterator[tuple[int, Skeleton | None]]:
    """The skeletons in a folder, or in the one that the `info` of a segmentation names.

    Args:
        location: `file:///dir`, `gs://…`, `s3://…`, `https://…`, or a folder.
        spec: the SPEC, for messages.

    Yields:
        Segment ID and skeleton, in no order; None for a skeleton without nodes.

    Raises:
        VolumeError: no skeletons there, or a damaged file.
    """
    url = url_of(location)
    info = _info_of(url, spec)
    if "scales" in info:
        if not info.get("skeletons"):
            raise VolumeError(
                f"the segmentation '{spec}' names no skeletons; give the folder that holds them"
            )
        url = child_of(url, info["skeletons"])
        info = _info_of(url, f"{spec}/{info['skeletons']}")
    if info.get("@type", KIND) != KIND:
        raise VolumeError(f"'{spec}' holds '{info['@type']}', not '{KIND}'; give a folder of skeletons")
    with mended(f"'info' of '{spec}'", "write the skeletons again", KeyError, TypeError, ValueError):
        transform = np.array(info.get("transform", _IDENTITY), np.float64).reshape(3, 4)
        attributes = [(each["id"], _format_of(each)) for each in info.get("vertex_attributes", [])]
    for segment, data in _files_of(url, info, spec):
        yield segment, _skeleton(segment, data, transform, attributes, spec)


def write_precomputed_skeletons(folder: Path, skeletons: Mapping[int, Skeleton]) -> None:
    """Fill a folder.

    Args:
        folder: there, and empty.
        skeletons: by segment ID. Positions are rounded to float32; unknown radii become 0 where others are
            known.
    """
    with_radii = any(skeleton.radii_nm is not None for skeleton in skeletons.values())
    info = {"@type": KIND, "transform": _IDENTITY, "vertex_attributes": [_RADIUS] if with_radii else []}
    for segment, skeleton in skeletons.items():
        (folder / str(segment)).write_bytes(_encoded(skeleton, with_radii))
    (folder / "info").write_text(json.dumps(info, indent=2), encoding="utf-8")


def holds_only_skeletons(folder: Path) -> bool:
    """Whether a folder holds unsharded skeletons as we write them, and nothing else."""
    names = {path.name for path in folder.iterdir()}
    if not names:
        return True
    try:
        info = json.loads((folder / "info").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    others = (name for name in names - {"info"} if not re.fullmatch(r"[0-9]+(\.gz)?", name))
    return isinstance(info, dict) and info.get("@type") == KIND and not any(others)


def _encoded(skeleton: Skeleton, with_radii: bool) -> bytes:
    nodes, edges, radii = skeleton.nodes_nm, skeleton.edges, skeleton.radii_nm
    parts = [
        struct.pack("<II", len(nodes), len(edges)),
        nodes[:, ::-1].astype("<f4").tobytes(),
        edges.astype("<u4").tobytes(),
    ]
    if with_radii:
        parts.append((np.zeros(len(nodes)) if radii is None else radii).astype("<f4").tobytes())
    return b"".join(parts)


def _skeleton(
    segment: int, data: bytes, transform: np.ndarray, attributes: list[tuple[str, np.dtype]], spec: str
) -> Skeleton | None:
    what = f"skeleton {segment} of '{spec}'"
    try:
        return _decoded(data, transform, attributes)
    except VolumeError as error:
        raise VolumeError(f"{what}: {error}") from error
    except (ValueError, struct.error) as error:
        raise VolumeError(f"{what} is damaged: {one_line(error)}; write it again") from error


def _decoded(data: bytes, transform: np.ndarray, attributes: list[tuple[str, np.dtype]]) -> Skeleton | None:
    n_nodes, n_edges = struct.unpack_from("<II", data)
    offset = 8 + 12 * n_nodes + 8 * n_edges
    starts = np.cumsum([offset, *(n_nodes * each.itemsize for _, each in attributes)]).tolist()
    # cloud-volume, too, accepts a file that ends before the attributes.
    if len(data) not in (offset, starts[-1]):
        raise ValueError(f"{len(data)} bytes where {n_nodes} nodes and {n_edges} edges need {starts[-1]}")
    if n_nodes == 0:
        return None
    xyz = np.frombuffer(data, "<f4", 3 * n_nodes, 8).reshape(-1, 3).astype(np.float64)
    edges = np.frombuffer(data, "<u4", 2 * n_edges, 8 + 12 * n_nodes).reshape(-1, 2)
    names = [name for name, _ in attributes]
    radii = None
    if "radius" in names and len(data) > offset:
        at = names.index("radius")
        radii = _radii(np.frombuffer(data, attributes[at][1], n_nodes, starts[at]), transform)
    model = xyz @ transform[:, :3].T + transform[:, 3]
    return Skeleton(model[:, ::-1], edges.astype(np.int64), radii)


def _radii(stored: np.ndarray, transform: np.ndarray) -> np.ndarray | None:
    """Radii in nm; cloud-volume writes -1 for one that is unknown."""
    if stored.ndim > 1:
        return None
    scale = abs(np.linalg.det(transform[:, :3])) ** (1 / 3)
    radii = np.where(stored > 0, stored, 0) * scale
    return radii if radii.any() else None


def _format_of(attribute: Mapping[str, Any]) -> np.dtype:
    dtype = np.dtype(attribute["data_type"]).newbyteorder("<")
    components = int(attribute.get("num_components", 1))
    return dtype if components == 1 else np.dtype((dtype, (components,)))


def _info_of(url: str, spec: str) -> dict[str, Any]:
    with mended(f"cannot read 'info' of '{spec}'", _MEND, Exception):
        info = _cloud_files(url).get_json("info")
    if not isinstance(info, dict):
        raise VolumeError(f"there are no Precomputed skeletons at '{spec}' (no file 'info'); check the path")
    return info


def _files_of(url: str, info: Mapping[str, Any], spec: str) -> Iterator[tuple[int, bytes]]:
    """Segment ID and stored bytes of every skeleton."""
    with mended(f"cannot read '{spec}'", _MEND, Exception):
        files = _cloud_files(url)
        names = [name for name in files.list(flat=True) if "/" not in name]
        if not info.get("sharding"):
            found = files.get([name for name in names if re.fullmatch("[0-9]+", name)])
            contents = {int(each["path"]): each["content"] for each in found}
        else:
            contents = {}
            for name in (name for name in names if name.endswith(".shard")):
                contents.update(_shard_reader(info).disassemble_shard(files.get(name)))
    yield from ((int(segment), bytes(data)) for segment, data in contents.items())


def _shard_reader(info: Mapping[str, Any]) -> Any:
    from cloudvolume.datasource.precomputed.sharding import ShardingSpecification, ShardReader

    return ShardReader(None, None, ShardingSpecification.from_dict(dict(info["sharding"])))


def _cloud_files(url: str) -> Any:
    from cloudfiles import CloudFiles

    return CloudFiles(f"file://{folder_of(url)}" if url.startswith("file://") else url, progress=False)
