"""The tables of the queue, which lie beside the log of edits (`proofreading.tables`).

| table | a row is |
| --- | --- |
| `tasks` | a task: what is asked, and how it was settled |
| `leases` | a task that is with a person, until when |
| `answers` | what somebody answered; never deleted |
| `withdrawals` | an answer that was taken back, by whom and when; never changed, never deleted |
| `comments` | what somebody wrote about a task |

A task has at most one lease, which is the key of the table: two people cannot hold one task, whatever their
servers do at the same time. An answer that changes neurons is written as pending before the edit and counted
after it; one that is found pending when the queue is opened is carried out then (`proofreading.answers`).

What follows from the neurons as they are now (value, staleness) is in no table.

IDs are signed 64-bit numbers, times seconds since the epoch (leases) or UTC as text, points nm (z, y, x).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
)

from agglomeration.tables import POINT_NM
from proofreading.tables import METADATA

# Counts by itself in both databases.
_NUMBER = BigInteger().with_variant(Integer, "sqlite")

tasks = Table(
    "tasks",
    METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", String(16), nullable=False),
    Column("supervoxel_a", BigInteger, nullable=False),
    # 0 where the task is about one alone.
    Column("supervoxel_b", BigInteger, nullable=False),
    *(Column(name, Double, nullable=False) for name in POINT_NM),
    Column("probability", Double, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("part_nm", Double, nullable=False),
    Column("run", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("verdict", String(16)),
    # Of `edits`; stays when that is undone, so that a redo settles the task again.
    Column("edit", BigInteger),
    CheckConstraint("state IN ('open', 'settled', 'retired')", name="tasks_known_state"),
    CheckConstraint("kind IN ('join', 'refused', 'merger', 'end')", name="tasks_known_kind"),
)

leases = Table(
    "leases",
    METADATA,
    Column("task", BigInteger, ForeignKey("tasks.id"), primary_key=True, autoincrement=False),
    Column("lease", String(32), nullable=False, unique=True),
    Column("person", String(200), nullable=False),
    Column("until", Double, nullable=False),
)

answers = Table(
    "answers",
    METADATA,
    Column("id", _NUMBER, primary_key=True, autoincrement=True),
    Column("client_key", String(200), nullable=False, unique=True),
    Column("task", BigInteger, ForeignKey("tasks.id"), nullable=False),
    Column("lease", String(32), nullable=False),
    Column("person", String(200), nullable=False),
    Column("at", String(32), nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("versions", Text, nullable=False),
    Column("partner", BigInteger),
    Column("forced", Boolean, nullable=False),
    Column("seconds", Double),
    Column("comment", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("edit", BigInteger),
    Column("gained_nm", Double, nullable=False),
    # The last of `edits` when it was written; empty in rows of earlier releases.
    Column("after_edit", BigInteger),
    CheckConstraint("state IN ('pending', 'counted', 'void')", name="answers_known_state"),
    CheckConstraint("verdict IN ('accept', 'reject', 'unknown', 'skip')", name="answers_known_verdict"),
    Index("answers_by_task", "task"),
    Index("answers_by_person", "person", "at"),
)

withdrawals = Table(
    "withdrawals",
    METADATA,
    # An answer is taken back once.
    Column("answer", _NUMBER, ForeignKey("answers.id"), primary_key=True, autoincrement=False),
    Column("client_key", String(200), nullable=False, unique=True),
    Column("person", String(200), nullable=False),
    Column("at", String(32), nullable=False),
    Column("reason", Text, nullable=False),
)

comments = Table(
    "comments",
    METADATA,
    Column("id", _NUMBER, primary_key=True, autoincrement=True),
    Column("task", BigInteger, ForeignKey("tasks.id"), nullable=False),
    Column("person", String(200), nullable=False),
    Column("at", String(32), nullable=False),
    Column("words", Text, nullable=False),
    Index("comments_by_task", "task"),
)
