"""After which edit an answer was given; a time does not say in which order things happened in a second."""

from __future__ import annotations

import sqlalchemy as sql
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Adds the column; it is empty for answers that were given before."""
    op.add_column("answers", sql.Column("after_edit", sql.BigInteger))
