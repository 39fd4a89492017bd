"""Chunks of finished volumes that are damaged or gone are named and written again, in every scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_project import contents, make_bars, run, write_config

from volumes import open_volume

# Whole projects are run.
pytestmark = pytest.mark.slow

VOLUMES = ("supervoxels", "image")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished project with two scales."""
    monkeypatch.chdir(tmp_path)
    make_bars(outputs="{ scales: 2 png: false }")
    assert run("--config", "c.textproto") == 0
    return tmp_path


def everything() -> list[np.ndarray]:
    return [
        open_volume(f"precomputed://file://{Path('out', name).resolve()}#{scale}").read()
        for name in VOLUMES
        for scale in (0, 1)
    ]


def chunks(name: str) -> list[Path]:
    """One chunk of each scale, finest first."""
    return [next(path for path in folder.iterdir()) for folder in sorted(Path("out", name).glob("*_*_*"))]


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


HARM = {
    "labels": {("supervoxels", 0): cut_short, ("supervoxels", 1): Path.unlink},
    "image": {("image", 0): Path.unlink, ("image", 1): cut_short},
    "a finest chunk that others follow from": {("supervoxels", 0): Path.unlink},
    "everything": dict.fromkeys([(name, scale) for name in VOLUMES for scale in (0, 1)], Path.unlink),
}


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM)
def test_damaged_chunks_are_named_and_written_again(place, capsys, harm):
    before, files = everything(), contents("out")
    for path, function in [(chunks(name)[scale], function) for (name, scale), function in harm.items()]:
        function(path)
    assert run("--config", "c.textproto") == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "written again" in line]
    assert len(told) == len({(name, scale) if scale else "the block" for name, scale in harm})
    assert all(any(f"{name}" in line for line in told) for name, _ in harm)
    for array, expected in zip(everything(), before, strict=True):
        np.testing.assert_array_equal(array, expected)
    for name in VOLUMES:
        assert {p: files[p] for p in files if name in p.parts} == contents(f"out/{name}")
    assert run("--config", "c.textproto") == 0
    assert "written again" not in capsys.readouterr().err


def test_a_run_without_precomputed_volumes_leaves_those_that_are_there(place):
    before = contents("out/supervoxels")
    write_config(outputs="{ precomputed: false png: false }")
    assert run("--config", "c.textproto") == 0
    assert contents("out/supervoxels") == before
    write_config(outputs="{ scales: 2 png: false }")
    assert run("--config", "c.textproto") == 0
    assert contents("out/supervoxels") == before


INFOS = {
    "cut short": cut_short,
    "no text": lambda path: path.write_bytes(b"\xff\x00\xff"),
    "no scales": lambda path: path.write_text("{}"),
    "empty": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("harm", INFOS.values(), ids=INFOS)
@pytest.mark.parametrize("name", VOLUMES)
def test_a_damaged_info_is_named_and_written_again_and_no_chunk_is(place, capsys, name, harm):
    before = contents("out")
    times = {path: path.stat().st_mtime_ns for path in Path("out", name).rglob("*_*_*/*")}
    harm(Path("out", name, "info"))
    assert run("--config", "c.textproto") == 0
    (told,) = [line for line in capsys.readouterr().err.splitlines() if "written again" in line]
    assert f"out/{name}/info is damaged" in told
    after = contents("out")
    assert (
        after.keys() == before.keys()
        and after[Path("out", name, "info")] == before[Path("out", name, "info")]
    )
    assert times == {path: path.stat().st_mtime_ns for path in times}
