"""A backup in the place of what people decided since: after kills, half-way, of other projects, damaged."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from served_project import served, write_project
from source_tree import REPOSITORY

from commands import proofread
from configs import load_config
from jobs.lock import only_run_in
from proofreading.server.backup import back_up
from proofreading.server.restoring import finish_restore
from proofreading.state import open_state

# Makes edits and is killed, with the database open and its log beside it.
EDITS = """
import os, signal, sys
from configs import load_config
from proofreading.state import open_state
state = open_state(load_config(sys.argv[1]))
state.merge(3, 4, person="ann", client_key="later-0001")
sides = [[(3, (110.0, y, x))] for y, x in ((60.0, 380.0), (160.0, 500.0))]
state.split(3, *sides, person="ann", client_key="later-0002")
os.kill(os.getpid(), signal.SIGKILL)
"""
# Restores, and is killed as the nth file or folder is moved.
KILLED = """
import os, signal, sys
from pathlib import Path
from configs import load_config
from proofreading.server import restoring
left, replace = int(sys.argv[3]), os.replace
def move(*paths):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    replace(*paths)
config = load_config(sys.argv[1])
os.replace = move
restoring.restore(config, Path(sys.argv[2]))
"""


def ran(program: str, *arguments: str) -> int:
    return subprocess.run([sys.executable, "-c", program, *arguments], cwd=REPOSITORY, check=False).returncode


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A project with a split supervoxel, its backup, and two more edits in the log beside the database."""
    project = served(tmp_path)
    split = [[(2, (110.0, y, x))] for y, x in ((60.0, 210.0), (160.0, 330.0))]
    project.state.split(1, *split, person="ann", client_key="first-0001")
    back_up(project.config, project.state.database, tmp_path / "backup")
    project.close()
    path = tmp_path / "c.textproto"
    assert ran(EDITS, str(path)) == -signal.SIGKILL
    assert (tmp_path / "out/decisions.sqlite-wal").stat().st_size > 0
    return path


def restored(path: Path) -> None:
    """The database and the voxels are those of the backup, and nothing of others lies beside them."""
    out = path.parent / "out"
    assert not [*out.glob("decisions.sqlite-*"), *(out / "proofreading").glob(".restore-*")]
    with sqlite3.connect(out / "decisions.sqlite") as database:
        assert database.execute("SELECT client_key FROM edits").fetchall() == [("first-0001",)]
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    pieces = {each.name: each.read_bytes() for each in (out / "proofreading/supervoxel_splits").iterdir()}
    backup = path.parent / "backup/supervoxel_splits"
    assert pieces == {each.name: each.read_bytes() for each in backup.iterdir()} and set(pieces) == {"1.npz"}
    state = open_state(load_config(str(path)))
    assert state.last_edit == 1
    state.close()


def test_what_was_restored_stays_after_a_kill_with_a_log_beside_the_database(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["restore", "--config", str(config), "--backup", str(tmp_path / "backup")]
    assert proofread.run(arguments) == 0
    printed = capsys.readouterr().out
    restored(config)
    (kept,) = (tmp_path / "out/proofreading/backups").iterdir()
    assert str(kept) in printed and {each.name for each in kept.iterdir()} >= {
        "decisions.sqlite",
        "supervoxel_splits",
    }
    with sqlite3.connect(kept / "decisions.sqlite") as before:
        assert before.execute("SELECT count(*) FROM edits").fetchone() == (3,), "nothing is lost"
    assert proofread.run(arguments) == 0, "and again"
    restored(config)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, 8))
def test_a_restore_that_is_killed_is_as_before_or_is_finished(
    config: Path, tmp_path: Path, number: int
) -> None:
    code = ran(KILLED, str(config), str(tmp_path / "backup"), str(number))
    # The move by which the copy is ready; five or six more, as the kill left files beside the database.
    if code == 0:
        assert number > 5
        return restored(config)
    finish_restore(load_config(str(config)))
    if number > 1:
        return restored(config)
    with sqlite3.connect(tmp_path / "out/decisions.sqlite") as database:
        assert database.execute("SELECT count(*) FROM edits").fetchone() == (3,)


def refusal(config: Path, backup: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The line of a restore that is refused; nothing was changed."""
    assert proofread.run(["restore", "--config", str(config), "--backup", str(backup)]) == 2
    state = open_state(load_config(str(config)))
    assert state.last_edit == 3
    state.close()
    folder = config.parent / "out/proofreading"
    assert not [*folder.glob(".restore-*"), *folder.glob(".unfinished-*")]
    return capsys.readouterr().err


def test_a_backup_that_is_none_is_refused(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is no backup" in refusal(config, tmp_path, capsys)
    backup = tmp_path / "backup"
    (backup / "supervoxel_splits/1.npz").write_bytes(b"no piece")
    assert "1.npz" in refusal(config, backup, capsys)
    (backup / "supervoxel_splits/1.npz").unlink()
    assert "1.npz" in refusal(config, backup, capsys)
    pages = bytearray((backup / "decisions.sqlite").read_bytes())
    pages[4096 : 4096 * 20] = b"\xff" * (4096 * 19)
    (backup / "decisions.sqlite").write_bytes(pages)
    assert refusal(config, backup, capsys).count("\n") == 1


def test_a_backup_of_another_project_is_refused(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(tmp_path / "backup/decisions.sqlite") as database:
        database.execute("UPDATE project SET value = 'another' WHERE name = 'supervoxels'")
    assert "other supervoxels" in refusal(config, tmp_path / "backup", capsys)


@pytest.mark.parametrize("is_moved", [False, True])
def test_without_a_database_in_place_the_voxels_tell_the_project(
    config: Path, tmp_path: Path, is_moved: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    for each in (tmp_path / "out").glob("decisions.sqlite*"):
        each.unlink()
    if is_moved:
        with sqlite3.connect(tmp_path / "backup/decisions.sqlite") as database:
            database.execute("UPDATE supervoxels SET point_x_nm = 5")
    code = proofread.run(["restore", "--config", str(config), "--backup", str(tmp_path / "backup")])
    if is_moved:
        assert code == 2 and "of another project" in capsys.readouterr().err
        return
    assert code == 0
    restored(config)


@pytest.mark.parametrize("folder", ["out/proofreading", "out"])
def test_nothing_is_restored_while_a_server_or_a_run_works(
    config: Path, tmp_path: Path, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with only_run_in(tmp_path / folder):
        assert "another run works" in refusal(config, tmp_path / "backup", capsys)


def test_a_postgresql_database_is_restored_by_its_own_tool(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_project(tmp_path)
    path.write_text(path.read_text() + 'database { url: "postgresql+psycopg://host/name" }')
    assert proofread.run(["restore", "--config", str(path), "--backup", str(tmp_path)]) == 2
    assert "pg_restore" in capsys.readouterr().err
