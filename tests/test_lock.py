"""Two runs never work in one output directory, and two writers never in one file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from configs.errors import ReconstructionError
from jobs.lock import only_run_in, only_writer_of


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


def test_writers_of_one_file_wait_for_each_other(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys\n"
        "from evaluation.result_files import update_metrics\n"
        "for number in range(30):\n"
        "    update_metrics(sys.argv[1], {f'{sys.argv[2]} {number}': {'nerl': 1}})\n"
    )
    path = tmp_path / "new" / "metrics.json"
    repository = Path(__file__).resolve().parents[1]
    writers = [
        subprocess.Popen([sys.executable, "-c", script, str(path), name], cwd=repository) for name in "ab"
    ]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len(json.loads(path.read_text())["stages"]) == 60


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(ReconstructionError, match="cannot write .*metrics.json.*choose another output path"),
        only_writer_of(tmp_path / "file" / "metrics.json"),
    ):
        pass
