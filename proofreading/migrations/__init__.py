"""The tables of proofreading from release to release; `versions` has a module for every change."""

from __future__ import annotations

from proofreading.migrations.upgrading import VERSION_TABLE, bring_up_to_date

__all__ = ["VERSION_TABLE", "bring_up_to_date"]
