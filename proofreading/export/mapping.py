"""The neuron of every supervoxel as a table: CSV, `.npz`, and Parquet where pyarrow is installed.

| file | columns |
| --- | --- |
| `mapping.csv` | `supervoxel`, `neuron` |
| `mapping.npz` | `supervoxels`, `neurons`, uint64 (`agglomeration.neurons.NeuronMap`) |
| `mapping.parquet` | `supervoxel`, `neuron`, uint64 |

Rows ascend by supervoxel. CSV and Parquet are written a part at a time.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec

from agglomeration.neurons import NeuronMap
from jobs.pieces import atomic_path
from proofreading.errors import ProofreadingError

CSV_COLUMNS = ("supervoxel", "neuron")
_ROWS_AT_ONCE = 1_000_000


def write_mapping_csv(path: str | os.PathLike[str], neurons: NeuronMap) -> None:
    """Writes the table as text.

    Args:
      path: the file to make or to replace.
      neurons: of every supervoxel.

    Raises:
      PieceError: the file cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="ascii") as stream:
        stream.write(",".join(CSV_COLUMNS) + "\n")
        for start in range(0, len(neurons), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            pairs = zip(neurons.supervoxels[part].tolist(), neurons.neurons[part].tolist(), strict=True)
            stream.writelines(f"{supervoxel},{neuron}\n" for supervoxel, neuron in pairs)


def can_write_parquet() -> bool:
    """Whether pyarrow is installed (the extra `parquet`)."""
    return find_spec("pyarrow") is not None


def write_mapping_parquet(path: str | os.PathLike[str], neurons: NeuronMap) -> None:
    """Writes the table as Parquet.

    Args:
      path: the file to make or to replace.
      neurons: of every supervoxel.

    Raises:
      ProofreadingError: pyarrow is not installed.
      PieceError: the file cannot be written.
    """
    if not can_write_parquet():
        raise ProofreadingError(
            "Parquet needs pyarrow, which is not installed; run pip install 'ffn-reconstruction[parquet]', "
            "or export csv or npz"
        )
    arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    schema = arrow.schema([(name, arrow.uint64()) for name in CSV_COLUMNS])
    with atomic_path(path) as temporary, parquet.ParquetWriter(str(temporary), schema) as writer:
        for start in range(0, len(neurons), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            columns = [arrow.array(each[part]) for each in (neurons.supervoxels, neurons.neurons)]
            writer.write_table(arrow.table(columns, schema=schema))
