"""Files of edges and components that CAVE's PyChunkedGraph reads when it makes a graph.

| file | holds |
| --- | --- |
| `edges/edges_<x>_<y>_<z>.proto.zst` | message `ChunkEdgesMsg`, zstd |
| `components/components_<x>_<y>_<z>.proto` | message `ChunkComponentsMsg` |
| `dataset.yml` | where these lie and how numbers are made of chunks |

Edges of a chunk are of three kinds, each with numbers of supervoxels (uint64), affinities (float32) and
areas (uint64) as little-endian bytes: `in_chunk` between supervoxels of the chunk, `between_chunk` from one
of the chunk to one elsewhere, `cross_chunk` between parts of one supervoxel that a border divides. Components
are one list of numbers, each component after its size, with supervoxels of other chunks that edges lead to.

Source: CAVEconnectome/PyChunkedGraph, the layout of its versions 2 and 3 (docs/edges_and_components.md,
ingest/dataset_config.md, pychunkedgraph/io/edges.py, io/components.py and io/protobuf/*.proto).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from proofreading.export.chunk_ids import LAYER_BITS, ChunkGrid
from volumes.box import Zyx

IN, BETWEEN, CROSS = "in_chunk", "between_chunk", "cross_chunk"
_ZSTD_LEVEL = 17
# Fields of the messages, by their numbers.
_KINDS = {IN: 1, CROSS: 2, BETWEEN: 3}
_COLUMNS = {"node_ids1": "<u8", "node_ids2": "<u8", "affinities": "<f4", "areas": "<u8"}


class ChunkEdges(NamedTuple):
    """Edges of one kind in one chunk.

    Attributes:
      first: (n,) uint64, numbers of supervoxels of the chunk.
      second: (n,) uint64, those at the other ends.
      affinities: (n,) float, the higher the more likely both are one; infinite across a border.
      areas: (n,) whole numbers, faces of voxels that both share.
    """

    first: np.ndarray
    second: np.ndarray
    affinities: np.ndarray
    areas: np.ndarray


def no_edges() -> ChunkEdges:
    """None at all."""
    none = np.zeros(0, np.uint64)
    return ChunkEdges(none, none, np.zeros(0), np.zeros(0, np.int64))


def encode_edges(edges: Mapping[str, ChunkEdges]) -> bytes:
    """The contents of a file of edges.

    Args:
      edges: by kind; those left out are none.
    """
    from cloudfiles.compression import compress

    message = _messages()["ChunkEdgesMsg"]()
    for kind in _KINDS:
        columns = edges.get(kind, no_edges())
        into = getattr(message, kind)
        for (name, dtype), column in zip(_COLUMNS.items(), columns, strict=True):
            setattr(into, name, np.asarray(column).astype(dtype).tobytes())
    return bytes(compress(message.SerializeToString(deterministic=True), "zstd", compress_level=_ZSTD_LEVEL))


def encode_components(numbers: np.ndarray, neurons: np.ndarray) -> bytes:
    """The contents of a file of components.

    Args:
      numbers: (n,) uint64, of supervoxels, each once.
      neurons: (n,) uint64, of each; components of one supervoxel are left out.
    """
    order = np.lexsort((numbers, neurons))
    numbers, neurons = numbers[order], neurons[order]
    starts = np.flatnonzero(np.append(True, neurons[1:] != neurons[:-1])[: neurons.size])
    sizes = np.diff(np.append(starts, neurons.size))
    large = sizes > 1
    listed = numbers[np.repeat(large, sizes)]
    sizes = sizes[large]
    places = np.cumsum(np.append(0, sizes))[: sizes.size]
    message = _messages()["ChunkComponentsMsg"]()
    message.components.extend(np.insert(listed, places, sizes.astype(np.uint64)).tolist())
    return bytes(message.SerializeToString(deterministic=True))


def dataset_text(grid: ChunkGrid, folder: str) -> str:
    """The text of `dataset.yml`.

    Args:
      grid: the chunks.
      folder: address of the folder that holds the files.
    """
    chunk: Zyx = (grid.chunk[2], grid.chunk[1], grid.chunk[0])
    return "\n".join(
        [
            "# Copy the folder to a bucket and change the three addresses before `ingest graph`.",
            "data_source:",
            *(
                f"  {name}: {json.dumps(f'{folder}/{place}')}"
                for name, place in (
                    ("EDGES", "edges"),
                    ("COMPONENTS", "components"),
                    ("WATERSHED", "watershed"),
                )
            ),
            "graph_config:",
            f"  CHUNK_SIZE: {list(chunk)}",
            "  FANOUT: 2",
            f"  SPATIAL_BITS: {grid.bits}",
            f"  LAYER_ID_BITS: {LAYER_BITS}",
            "backend_client:",
            '  TYPE: "bigtable"',
            "  CONFIG:",
            "    ADMIN: true",
            "    READ_ONLY: false",
            "ingest_config: {}",
            "",
        ]
    )


def edges_path(folder: Path, grid: ChunkGrid, at: Zyx) -> Path:
    """Where the edges of a chunk go.

    Args:
      folder: of all files.
      grid: the chunks.
      at: the chunk (zyx).
    """
    return folder / "edges" / f"edges_{grid.name(at)}.proto.zst"


def components_path(folder: Path, grid: ChunkGrid, at: Zyx) -> Path:
    """Where the components of a chunk go.

    Args:
      folder: of all files.
      grid: the chunks.
      at: the chunk (zyx).
    """
    return folder / "components" / f"components_{grid.name(at)}.proto"


@lru_cache(maxsize=1)
def _messages() -> dict[str, Any]:
    """The classes of the messages, made from their description."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="proofreading_export_ingest.proto", package="proofreading.export", syntax="proto3"
    )
    edges = file.message_type.add(name="EdgesMsg")
    for number, name in enumerate(_COLUMNS, 1):
        edges.field.add(name=name, number=number, type=kinds.TYPE_BYTES, label=kinds.LABEL_OPTIONAL)
    chunk = file.message_type.add(name="ChunkEdgesMsg")
    for name, number in _KINDS.items():
        chunk.field.add(
            name=name,
            number=number,
            type=kinds.TYPE_MESSAGE,
            type_name=".proofreading.export.EdgesMsg",
            label=kinds.LABEL_OPTIONAL,
        )
    components = file.message_type.add(name="ChunkComponentsMsg")
    components.field.add(name="components", number=1, type=kinds.TYPE_UINT64, label=kinds.LABEL_REPEATED)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"proofreading.export.{name}"))
        for name in ("ChunkEdgesMsg", "ChunkComponentsMsg")
    }
