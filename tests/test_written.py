"""A rerun leaves files alone that are what the run before wrote, and writes all others again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_project import CUT, contents, make_bars, metrics, run, supervoxels, write_config

from inference.written import write_unless_there
from volumes import open_volume

# Whole projects are run.
pytestmark = pytest.mark.slow

FILES = ["supervoxels.npz", "supervoxels.csv", "supervoxels.h5", "slices.png", "supervoxels.zarr"]
SETTINGS = {"inference": CUT + "batch_size: 2", "outputs": "{ hdf5: true zarr: true }"}


def states(names: list[str], output: str = "out") -> dict[str, tuple[int, int]]:
    """Inode and time of change of files, and of all files in folders."""
    paths = [Path(output, name) for name in names]
    files = [each for path in paths for each in (path.rglob("*") if path.is_dir() else [path])]
    return {str(path): (os.stat(path).st_ino, os.stat(path).st_mtime_ns) for path in files}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has run; tests leave its output as it was."""
    folder = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make_bars(**SETTINGS)
        assert run("--config", "c.textproto") == 0
    return folder


@pytest.fixture
def place(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    return project


def test_a_rerun_leaves_finished_files_alone(place: Path) -> None:
    before, told = states(FILES), metrics()
    assert run("--config", "c.textproto") == 0
    assert states(FILES) == before and metrics() == told


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def change(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"x")


HARM = [
    *[(name, cut_short) for name in FILES],
    *[(name, Path.unlink) for name in ("supervoxels.csv", "supervoxels.zarr", "supervoxels.h5")],
    *[(name, change) for name in ("supervoxels.npz", "slices.png")],
]


@pytest.mark.parametrize(("name", "harm"), HARM, ids=lambda each: getattr(each, "__name__", each))
def test_what_is_not_as_it_was_written_is_written_again(
    place: Path, name: str, harm: Callable[[Path], None]
) -> None:
    whole = contents(f"out/{name}") or {Path("out", name): Path("out", name).read_bytes()}
    victim = max(whole, key=lambda path: len(whole[path]))
    others = [each for each in FILES if Path(each).suffix not in {Path(name).suffix, ".npz", ".csv"}]
    before = states(others)
    harm(victim)
    assert run("--config", "c.textproto") == 0
    assert states(others) == before
    if name == "supervoxels.h5":
        np.testing.assert_array_equal(open_volume("out/supervoxels.h5:segmentation").read(), supervoxels())
    else:
        assert {path: path.read_bytes() for path in whole} == whole


def test_other_supervoxels_are_written_in_the_place_of_those_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_bars(**SETTINGS)
    assert run("--config", "c.textproto") == 0
    first = supervoxels()
    write_config(**SETTINGS, reconciliation="{ min_size: 1900 }")
    for folder in Path("out/reconciliation").iterdir():
        (folder / "settings.json").unlink()
    assert run("--config", "c.textproto") == 0
    second = supervoxels()
    assert second.any() and not np.array_equal(first, second)
    np.testing.assert_array_equal(open_volume("out/supervoxels.h5:segmentation").read(), second)
    np.testing.assert_array_equal(open_volume(f"zarr://{tmp_path}/out/supervoxels.zarr").read(), second)
    np.testing.assert_array_equal(np.load("out/supervoxels.npz")["ids"], np.unique(second)[1:])


def test_a_table_that_was_damaged_unseen_is_made_anew(place: Path) -> None:
    path = Path("out/supervoxels.npz")
    whole, times = path.read_bytes(), os.stat(path)
    path.write_bytes(whole[:-1] + b"x")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert run("--config", "c.textproto") == 0
    assert path.read_bytes() == whole


def test_a_note_that_cannot_be_read_is_no_note(tmp_path: Path) -> None:
    def write() -> None:
        (tmp_path / "a.txt").write_text("a")

    asked = (tmp_path, ["a.txt"], {"of": 1}, write)
    assert write_unless_there(*asked) and not write_unless_there(*asked)
    for damaged in ("", "[1, 2]", '{"a.txt": 3}', "\0"):
        (tmp_path / ".written.json").write_text(damaged)
        assert write_unless_there(*asked) and not write_unless_there(*asked)
    assert write_unless_there(tmp_path, ["a.txt"], {"of": 2}, write)


def test_an_error_while_writing_leaves_no_note(tmp_path: Path) -> None:
    def fail() -> None:
        (tmp_path / "a.txt").write_text("half")
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        write_unless_there(tmp_path, ["a.txt"], {}, fail)
    assert write_unless_there(tmp_path, ["a.txt"], {}, lambda: None)
