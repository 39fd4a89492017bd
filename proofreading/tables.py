"""The tables of proofreading, which lie in the decisions database beside those of the agglomeration.

They have a version of their own (`proofreading_version`) and are brought up to date by Alembic
(`proofreading.migrations`). Those of the agglomeration are read, never changed.

| table | a row is |
| --- | --- |
| `edits` | something a person did to the neurons; never changed, never deleted |
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, MetaData, String, Table, Text

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
    CheckConstraint(
        "kind IN ('merge', 'split', 'supervoxel_split', 'undo', 'redo')", name="edits_known_kind"
    ),
)
