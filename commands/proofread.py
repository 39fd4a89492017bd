"""proofread: people decide what the agglomeration left open, on a page in their browser.

  proofread serve --config C
      opens the page of a project: tasks in the order of what they are worth, edits, the log of all of them
  proofread user add|change|remove|token|logout|list --config C [--name N] [--role read|proofread|admin]
      who may log in, and what they may do
  proofread backup --config C [--output DIR]
      copies what people decided, also while the server runs
  proofread restore --config C --backup DIR
      puts such a copy in the place of what people decided since
  proofread export --config C --kind K …
      writes the neurons as people left them, for other programs
  proofread simulate --config C
      an oracle works through the queue of a project with ground truth, in several orders

C is a path or a shipped name. The project must have been through `run_agglomeration`. `proofread SUBCOMMAND
--help` lists the flags.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from commands._entry import run_command

FLAGS = flags.FlagValues()
_SUBCOMMANDS = {
    "serve": "commands._serve",
    "user": "commands._user",
    "backup": "commands._backup",
    "restore": "commands._restore",
    "export": "commands._export",
    "simulate": "commands._simulate",
}


def run(arguments: Sequence[str] | None = None) -> int:
    """The console script; returns the exit code."""
    return run_command(FLAGS, __doc__ or "", _main, arguments, _SUBCOMMANDS)


def _main(rest: Sequence[str]) -> None:
    """Only without a subcommand that is known."""
    wrong = f"{rest[0]!r} is no subcommand" if rest else "no subcommand is given"
    raise flags.Error(f"{wrong}; use one of {', '.join(_SUBCOMMANDS)}, see --help")
