"""What all commands share: flags of their own, errors on one line, exit codes.

Each command keeps its flags in its own `absl.flags.FlagValues`, so that several commands can live in one
process. Exit codes: 0 done; 1 the work itself failed; 2 something the user can mend; 130 interrupted; 141
when nobody reads any more what is printed (`… | head`).
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import TextIO

from absl import flags

from configs import ConfigView
from configs.errors import ReconstructionError, WorkError

_HELP = {"-h", "--help", "-help"}
# The exit code of a command that SIGPIPE ended.
_UNREAD = 141


def run_command(
    flag_values: flags.FlagValues,
    usage: str,
    main: Callable[[Sequence[str]], int | None],
    arguments: Sequence[str] | None = None,
    subcommands: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Parses the flags, runs the command, and turns errors into a line and an exit code.

    Args:
      flag_values: where the command defined its flags.
      usage: shown with the flags on --help.
      main: gets the arguments that are no flags; returns an exit code (None = 0).
      arguments: without the program's name; those of the process by default.
      subcommands: by the word that comes first, modules with FLAGS, `main` and a docstring that says how they
        are used; imported when they are chosen.

    Returns:
      The exit code.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments and arguments[0] in subcommands:
        chosen = import_module(subcommands[arguments[0]])
        return run_command(chosen.FLAGS, chosen.__doc__ or "", chosen.main, arguments[1:])
    try:
        code = _carried_out(flag_values, usage, main, arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        unread = [stream for stream in (sys.stdout, sys.stderr) if _is_unread(stream)]
        if not unread:
            raise
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in unread:  # Python writes what is left when it ends, which must not fail either.
            os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        return _UNREAD


def _carried_out(
    flag_values: flags.FlagValues,
    usage: str,
    main: Callable[[Sequence[str]], int | None],
    arguments: Sequence[str],
) -> int:
    """`run_command`, as long as what it prints is read."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if _HELP & set(arguments):
        print(f"{usage}\n\nflags:\n{_describe(flag_values)}")
        return 0
    flag_values.unparse_flags()
    try:
        rest = flag_values(["command", *arguments])[1:]
        return main(rest) or 0
    except WorkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (flags.Error, ReconstructionError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except MemoryError:
        print("error: the box does not fit into memory; give a smaller one (inference.box)", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return 130


def _is_unread(stream: TextIO) -> bool:
    """Whether a stream is a pipe that nobody reads any more."""
    try:
        watched = select.poll()
        watched.register(stream.fileno(), 0)
        return any(event & select.POLLERR for _, event in watched.poll(0))
    except (AttributeError, OSError, ValueError):  # No such call here, or a stream without a file.
        return False


def load_keras_quietly() -> None:
    """Imports Keras and its backend without the notices they print about the machine.

    Raises:
      ConfigError: a backend that cannot be used.
    """
    from ffn.backend import load_quietly

    load_quietly()


def _describe(flag_values: flags.FlagValues) -> str:
    lines = []
    for name in sorted(flag_values):
        flag = flag_values[name]
        if name == flag.name:
            default = "" if flag.default in (None, "") else f" (default {flag.default})"
            lines.append(f"  --{name}\n      {flag.help}{default}")
    return "\n".join(lines)


def caution(line: str) -> None:
    """Prints a line about something that is allowed but probably not meant."""
    print(f"note: {line}", file=sys.stderr)


def no_arguments(rest: Sequence[str]) -> None:
    """Refuses arguments that no flag took.

    Raises:
      flags.Error: there are some.
    """
    if rest:
        raise flags.Error(f"unexpected argument {rest[0]!r}; see --help")


class RunFlags:
    """The flags that say how work is done, and not what: the same for all commands that run a network.

    Args:
      flag_values: where the command keeps its flags; they are defined there.
      compute_help: what `--compute_dtype` does; None: the command does not take it.
    """

    def __init__(
        self, flag_values: flags.FlagValues, compute_help: str | None = "overrides the config"
    ) -> None:
        self._compute: flags.FlagHolder[str | None] | None = None
        if compute_help is not None:
            self._compute = flags.DEFINE_enum(
                "compute_dtype", None, ["float32", "bfloat16", "auto"], compute_help, flag_values=flag_values
            )
        self._workers = flags.DEFINE_integer(
            "workers",
            None,
            "worker processes on this machine; overrides the config",
            lower_bound=1,
            flag_values=flag_values,
        )
        self._scheduler = flags.DEFINE_string(
            "scheduler",
            None,
            "address of a running Dask scheduler, whose workers are used",
            flag_values=flag_values,
        )

    @property
    def compute_dtype(self) -> str | None:
        """What the flag says; None without it."""
        return None if self._compute is None else self._compute.value

    def over(self, config: ConfigView) -> ConfigView:
        """A config with what the flags say in the place of what it says."""
        if self.compute_dtype:
            config = config.replace(inference=config.inference.replace(compute_dtype=self.compute_dtype))
        if self._workers.value:
            config = config.replace(run=config.run.replace(workers=self._workers.value))
        if self._scheduler.value:
            config = config.replace(run=config.run.replace(scheduler=self._scheduler.value))
        return config
