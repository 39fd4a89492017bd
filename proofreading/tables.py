"""The tables of proofreading, which lie in the decisions database beside those of the agglomeration.

They have a version of their own (`proofreading_version`) and are brought up to date by Alembic
(`proofreading.migrations`). Those of the agglomeration are read, never changed.

| table | a row is |
| --- | --- |
| `edits` | something a person did to the neurons; never changed, never deleted |
| `bases` | an agglomeration that edits are made on, from which edit on |
| `base_changes` | a merge that was left out of one, or put into it, because of what people said |
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

METADATA = MetaData()

edits = Table(
    "edits",
    METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("at", String(32), nullable=False),
    Column("person", String(200), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("change", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("forced", Boolean, nullable=False),
    Column("client_key", String(200), nullable=False, unique=True),
    Column("task", BigInteger),
    # What it did when it was made: on which run, to which neurons. None in rows of before 0005.
    Column("run", Integer),
    Column("neurons_before", Text),
    Column("neurons_after", Text),
    CheckConstraint(
        "kind IN ('merge', 'split', 'supervoxel_split', 'undo', 'redo')", name="edits_known_kind"
    ),
)

bases = Table(
    "bases",
    METADATA,
    # From 0, in the order in which they were opened first.
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("run", Integer, nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    # The last edit before it.
    Column("edit", BigInteger, nullable=False),
    Column("at", String(32), nullable=False),
)

base_changes = Table(
    "base_changes",
    METADATA,
    Column("base", Integer, ForeignKey("bases.number"), primary_key=True, autoincrement=False),
    Column("id_a", BigInteger, primary_key=True, autoincrement=False),
    Column("id_b", BigInteger, primary_key=True, autoincrement=False),
    # Put into it; else left out.
    Column("joined", Boolean, nullable=False),
    # The task whose answer it follows from, or the edit, or the cell bodies that it would have joined.
    Column("because", String(40), nullable=False),
)
