"""People who may log in, and their sessions."""

from __future__ import annotations

import sqlalchemy as sql
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Makes the tables."""
    op.create_table(
        "proofread_persons",
        sql.Column("name", sql.String(64), primary_key=True),
        sql.Column("role", sql.String(16), nullable=False),
        sql.Column("password", sql.Text),
        sql.Column("token", sql.Text),
        sql.Column("added", sql.String(32), nullable=False),
    )
    op.create_table(
        "proofread_sessions",
        sql.Column("digest", sql.String(64), primary_key=True),
        sql.Column(
            "person",
            sql.String(64),
            sql.ForeignKey("proofread_persons.name", ondelete="CASCADE"),
            nullable=False,
        ),
        sql.Column("ends", sql.Double, nullable=False),
    )
    op.create_index("proofread_sessions_by_person", "proofread_sessions", ["person"])
