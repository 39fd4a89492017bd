"""What Alembic runs for `proofreading.migrations.upgrading`, on the connection that this hands to it."""

from __future__ import annotations

from alembic import context

context.configure(**context.config.attributes["context"])
context.run_migrations()
