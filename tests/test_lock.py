"""Two runs never work in one output directory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from configs.errors import ReconstructionError
from jobs.lock import only_run_in


def test_a_second_run_is_refused_and_a_later_one_is_not(tmp_path: Path) -> None:
    with (
        only_run_in(tmp_path),
        pytest.raises(ReconstructionError, match=f"another run works in {tmp_path}"),
        only_run_in(tmp_path),
    ):
        pass
    with only_run_in(tmp_path):
        pass


def test_the_lock_of_a_killed_process_is_gone(tmp_path: Path) -> None:
    script = (
        "import os, pathlib, signal, sys\n"
        "from jobs.lock import only_run_in\n"
        "with only_run_in(pathlib.Path(sys.argv[1])):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    repository = Path(__file__).resolve().parents[1]
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=repository)
    assert killed.returncode < 0 and (tmp_path / ".lock").exists()
    with only_run_in(tmp_path):
        pass
