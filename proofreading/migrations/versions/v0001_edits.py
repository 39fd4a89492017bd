"""The log of edits."""

from __future__ import annotations

import sqlalchemy as sql
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes the table."""
    op.create_table(
        "edits",
        sql.Column("id", sql.BigInteger, primary_key=True, autoincrement=False),
        sql.Column("at", sql.String(32), nullable=False),
        sql.Column("person", sql.String(200), nullable=False),
        sql.Column("kind", sql.String(16), nullable=False),
        sql.Column("change", sql.Text, nullable=False),
        sql.Column("reason", sql.Text, nullable=False),
        sql.Column("forced", sql.Boolean, nullable=False),
        sql.Column("client_key", sql.String(200), nullable=False, unique=True),
        sql.Column("task", sql.BigInteger),
        sql.CheckConstraint(
            "kind IN ('merge', 'split', 'supervoxel_split', 'undo', 'redo')", name="edits_known_kind"
        ),
    )
