"""Columns of arrays into rows of a database and back, many at a time.

Rows go in by the driver's own `executemany`, which is twice as fast as the same through SQLAlchemy's
dictionaries. A row whose key is there already is replaced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sql
from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

from agglomeration.database import Database, DatabaseError

CHUNK_ROWS = 100_000
_TOO_LARGE = 2**63
# Columns of a query in the order asked for, by name, as arrays of these dtypes.
Dtypes = Mapping[str, Any]


def replace_rows(
    connection: Connection, table: Table, columns: Mapping[str, np.ndarray | Sequence[Any]]
) -> None:
    """Adds rows, those with a key that is there in place of the old ones.

    Args:
      connection: in a transaction that writes.
      table: to write to.
      columns: (n,) each, by name: arrays of numbers (NaN becomes NULL), or sequences of plain values.

    Raises:
      DatabaseError: a number from 2^63 on.
    """
    values = {name: plain_values(column, f"{table.name}.{name}") for name, column in columns.items()}
    if not all(map(len, values.values())):
        return
    compiled = upsert(table, list(values), connection.dialect.name).compile(
        dialect=connection.dialect, column_keys=list(values)
    )
    # Its parameters are in the order of the table, whatever ours.
    names = compiled.positiontup or list(values)
    rows: Any = list(zip(*(values[name] for name in names), strict=True))
    if not compiled.positional:
        rows = [dict(zip(names, row, strict=True)) for row in rows]
    connection.exec_driver_sql(str(compiled), rows)


def write_in_chunks(
    database: Database, table: Table, columns: Mapping[str, Any], chunk_rows: int = CHUNK_ROWS
) -> None:
    """`replace_rows` with so many rows that each chunk has a transaction of its own.

    Args:
      database: to write to.
      table: the table.
      columns: (n,) each, by name.
      chunk_rows: rows of a chunk.

    Raises:
      DatabaseError: a row that is not allowed, or a database that cannot be written.
    """
    for start in range(0, len(next(iter(columns.values()))), chunk_rows):
        part = {name: column[start : start + chunk_rows] for name, column in columns.items()}
        with database.writing() as connection:
            replace_rows(connection, table, part)


def upsert(table: Table, names: Sequence[str], dialect: str) -> sql.Insert:
    """The statement that adds a row or replaces the one with its key.

    Args:
      table: to write to.
      names: of the columns that are given, those of the key among them.
      dialect: name of the database's; "sqlite" or "postgresql".
    """
    insert = (postgresql if dialect == "postgresql" else sqlite).insert(table)
    key = [column.name for column in table.primary_key]
    others = {name: insert.excluded[name] for name in names if name not in key}
    if not others:
        return insert.on_conflict_do_nothing(index_elements=key)
    return insert.on_conflict_do_update(index_elements=key, set_=others)


def plain_values(column: np.ndarray | Sequence[Any], name: str) -> Sequence[Any]:
    """A column as Python's own numbers, None for NaN.

    Args:
      column: (n,) numbers, or plain values, which stay as they are.
      name: of the column, for messages.

    Raises:
      DatabaseError: a number from 2^63 on.
    """
    if not isinstance(column, np.ndarray):
        return column
    if column.dtype == np.uint64 and column.size and int(column.max()) >= _TOO_LARGE:
        raise DatabaseError(
            f"{name} = {column.max()} does not fit the signed 64 bits of a database; number the supervoxels "
            "below 2^63"
        )
    values: list[Any] = column.tolist()
    if column.dtype.kind == "f":
        for i in np.flatnonzero(np.isnan(column)).tolist():
            values[i] = None
    return values


def read_arrays(
    database: Database, query: sql.Select[Any], dtypes: Dtypes, *, chunk_rows: int = CHUNK_ROWS
) -> Iterator[dict[str, np.ndarray]]:
    """The rows of a query as arrays, a chunk at a time; all of one state of the database.

    Args:
      database: to read.
      query: its columns in the order of `dtypes`.
      dtypes: by name; NULL becomes NaN in floats, and None in objects.
      chunk_rows: rows of a chunk.

    Raises:
      DatabaseError: the database cannot be read.
    """
    with database.reading() as connection:
        result = connection.execution_options(yield_per=chunk_rows).execute(query)
        for rows in result.partitions():
            columns = zip(*rows, strict=True)
            yield {
                name: np.array(column, dtype)
                for (name, dtype), column in zip(dtypes.items(), columns, strict=True)
            }


def joined(chunks: Iterator[dict[str, np.ndarray]], dtypes: Dtypes) -> dict[str, np.ndarray]:
    """Chunks as one array for each column; empty ones where there is no chunk.

    Args:
      chunks: of `read_arrays`.
      dtypes: the same.
    """
    parts = list(chunks)
    return {
        name: np.concatenate([np.zeros(0, dtype), *(part[name] for part in parts)])
        for name, dtype in dtypes.items()
    }
