"""What Alembic runs for `proofreading.migrations.upgrading`, on the connection that this hands to it.

Alembic loads it by its path; imported as a module of the package it does nothing.
"""

from __future__ import annotations

from alembic import context

if __name__ != "proofreading.migrations.env":
    context.configure(**context.config.attributes["context"])
    context.run_migrations()
