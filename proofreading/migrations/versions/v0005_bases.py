"""Agglomerations that edits were made on, and what they left out of them; what each edit did at its time."""

from __future__ import annotations

import sqlalchemy as sql
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Makes the tables and columns."""
    op.create_table(
        "bases",
        sql.Column("number", sql.Integer, primary_key=True, autoincrement=False),
        sql.Column("run", sql.Integer, nullable=False),
        sql.Column("digest", sql.String(64), nullable=False, unique=True),
        sql.Column("edit", sql.BigInteger, nullable=False),
        sql.Column("at", sql.String(32), nullable=False),
    )
    op.create_table(
        "base_changes",
        sql.Column(
            "base", sql.Integer, sql.ForeignKey("bases.number"), primary_key=True, autoincrement=False
        ),
        sql.Column("id_a", sql.BigInteger, primary_key=True, autoincrement=False),
        sql.Column("id_b", sql.BigInteger, primary_key=True, autoincrement=False),
        sql.Column("joined", sql.Boolean, nullable=False),
        sql.Column("because", sql.String(40), nullable=False),
    )
    op.add_column("edits", sql.Column("run", sql.Integer))
    op.add_column("edits", sql.Column("neurons_before", sql.Text))
    op.add_column("edits", sql.Column("neurons_after", sql.Text))
