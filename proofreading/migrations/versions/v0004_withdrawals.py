"""Answers that were taken back."""

from __future__ import annotations

import sqlalchemy as sql
from alembic import op

revision = "0004"
down_revision = "0003"

_NUMBER = sql.BigInteger().with_variant(sql.Integer, "sqlite")


def upgrade() -> None:
    """Makes the table."""
    op.create_table(
        "withdrawals",
        sql.Column("answer", _NUMBER, sql.ForeignKey("answers.id"), primary_key=True, autoincrement=False),
        sql.Column("client_key", sql.String(200), nullable=False, unique=True),
        sql.Column("person", sql.String(200), nullable=False),
        sql.Column("at", sql.String(32), nullable=False),
        sql.Column("reason", sql.Text, nullable=False),
    )
