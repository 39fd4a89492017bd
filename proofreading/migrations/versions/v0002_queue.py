"""The queue: tasks, leases, answers, comments."""

from __future__ import annotations

import sqlalchemy as sql
from alembic import op

revision = "0002"
down_revision = "0001"

_NUMBER = sql.BigInteger().with_variant(sql.Integer, "sqlite")


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "tasks",
        sql.Column("id", sql.BigInteger, primary_key=True, autoincrement=False),
        sql.Column("kind", sql.String(16), nullable=False),
        sql.Column("supervoxel_a", sql.BigInteger, nullable=False),
        sql.Column("supervoxel_b", sql.BigInteger, nullable=False),
        sql.Column("point_z_nm", sql.Double, nullable=False),
        sql.Column("point_y_nm", sql.Double, nullable=False),
        sql.Column("point_x_nm", sql.Double, nullable=False),
        sql.Column("probability", sql.Double, nullable=False),
        sql.Column("evidence", sql.Text, nullable=False),
        sql.Column("part_nm", sql.Double, nullable=False),
        sql.Column("run", sql.Integer, nullable=False),
        sql.Column("state", sql.String(16), nullable=False),
        sql.Column("verdict", sql.String(16)),
        sql.Column("edit", sql.BigInteger),
        sql.CheckConstraint("state IN ('open', 'settled', 'retired')", name="tasks_known_state"),
        sql.CheckConstraint("kind IN ('join', 'refused', 'merger', 'end')", name="tasks_known_kind"),
    )
    op.create_table(
        "leases",
        sql.Column("task", sql.BigInteger, sql.ForeignKey("tasks.id"), primary_key=True, autoincrement=False),
        sql.Column("lease", sql.String(32), nullable=False, unique=True),
        sql.Column("person", sql.String(200), nullable=False),
        sql.Column("until", sql.Double, nullable=False),
    )
    op.create_table(
        "answers",
        sql.Column("id", _NUMBER, primary_key=True, autoincrement=True),
        sql.Column("client_key", sql.String(200), nullable=False, unique=True),
        sql.Column("task", sql.BigInteger, sql.ForeignKey("tasks.id"), nullable=False),
        sql.Column("lease", sql.String(32), nullable=False),
        sql.Column("person", sql.String(200), nullable=False),
        sql.Column("at", sql.String(32), nullable=False),
        sql.Column("verdict", sql.String(16), nullable=False),
        sql.Column("versions", sql.Text, nullable=False),
        sql.Column("partner", sql.BigInteger),
        sql.Column("forced", sql.Boolean, nullable=False),
        sql.Column("seconds", sql.Double),
        sql.Column("comment", sql.Text, nullable=False),
        sql.Column("state", sql.String(16), nullable=False),
        sql.Column("edit", sql.BigInteger),
        sql.Column("gained_nm", sql.Double, nullable=False),
        sql.CheckConstraint("state IN ('pending', 'counted', 'void')", name="answers_known_state"),
        sql.CheckConstraint(
            "verdict IN ('accept', 'reject', 'unknown', 'skip')", name="answers_known_verdict"
        ),
    )
    op.create_index("answers_by_task", "answers", ["task"])
    op.create_index("answers_by_person", "answers", ["person", "at"])
    op.create_table(
        "comments",
        sql.Column("id", _NUMBER, primary_key=True, autoincrement=True),
        sql.Column("task", sql.BigInteger, sql.ForeignKey("tasks.id"), nullable=False),
        sql.Column("person", sql.String(200), nullable=False),
        sql.Column("at", sql.String(32), nullable=False),
        sql.Column("words", sql.Text, nullable=False),
    )
    op.create_index("comments_by_task", "comments", ["task"])
