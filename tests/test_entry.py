"""What all commands share: they end quietly once nobody reads what they print."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags

from commands._entry import run_command

PRINTS = """
import sys
from absl import flags
from commands._entry import run_command
lines = int(sys.argv.pop())
sys.exit(run_command(flags.FlagValues(), "usage", lambda rest: print("line\\n" * lines)))
"""


@pytest.mark.parametrize("lines", [1, 100_000], ids=["at the end", "in the middle"])
@pytest.mark.parametrize("arguments", [(), ("--help",)], ids=["work", "help"])
def test_a_command_that_nobody_reads_ends_without_a_word(lines: int, arguments: tuple[str, ...]) -> None:
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(
        [sys.executable, "-c", PRINTS, *arguments, str(lines)],
        stdout=write,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
        check=False,
    )
    os.close(write)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_a_broken_pipe_of_the_work_itself_is_no_quiet_end() -> None:
    def main(rest: object) -> None:
        raise BrokenPipeError("a worker has gone")

    with pytest.raises(BrokenPipeError, match="a worker has gone"):
        run_command(flags.FlagValues(), "usage", main, [])
