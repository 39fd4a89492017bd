"""Pieces on disk are whole or absent, and the progress counter counts whether it is seen or not."""

from __future__ import annotations

import gc
import io
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jobs import CorruptPieceError, PieceError, Progress, atomic_path, load_npz, save_npz
from jobs.pieces import remove_leftovers

DTYPES = st.sampled_from([np.dtype(name) for name in ("bool", "u1", "i2", "u8", "f4", ">i4", "U3")])


def test_a_written_file_appears_under_its_name_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "table.txt"
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
        assert temporary.suffix == ".txt"
    assert target.read_text() == "whole"
    assert os.listdir(target.parent) == ["table.txt"]


def test_an_error_keeps_the_old_file_and_removes_the_new_one(tmp_path: Path) -> None:
    target = tmp_path / "table.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="halfway"), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError("halfway")
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.txt"]


def test_what_killed_writers_left_is_removed_but_nothing_that_is_still_written(tmp_path: Path) -> None:
    names = ["a/.tmp-1-piece.npz", "a/b/.tmp-2-piece.npz", "a/piece.npz", "volume/.tmp-3", ".other/.tmp-4"]
    for name in [*names, "a/.tmp-5-young.npz"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (100, 100 if name in names else 200))
    remove_leftovers(tmp_path, 150, besides=["volume"])
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"a/piece.npz", "volume/.tmp-3", ".other/.tmp-4", "a/.tmp-5-young.npz"}


def test_a_place_that_cannot_be_written_is_named_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PieceError, match="file/piece.npz.*choose another output path"):
        save_npz(tmp_path / "file" / "piece.npz", {"labels": np.zeros(3)})
    with pytest.raises(PieceError, match="it is a directory"), atomic_path(tmp_path):
        pass


@given(array=hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)))
def test_a_piece_reads_back_as_it_was_written(
    array: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("piece") / "piece.npz"
    save_npz(path, {"array": array, "file": np.arange(2)}, compress=False)
    read = load_npz(path)
    assert sorted(read) == ["array", "file"]
    assert read["array"].dtype == array.dtype
    np.testing.assert_array_equal(read["array"], array)


def test_a_piece_of_another_memory_order_reads_back_the_same(tmp_path: Path) -> None:
    labels = np.arange(24, dtype=np.uint64).reshape(2, 3, 4).transpose(2, 0, 1)
    save_npz(tmp_path / "piece.npz", {"labels": labels})
    np.testing.assert_array_equal(load_npz(tmp_path / "piece.npz")["labels"], labels)


def test_of_a_piece_only_the_arrays_asked_for_are_read(tmp_path: Path) -> None:
    save_npz(tmp_path / "p.npz", {"a": np.arange(3), "b": np.ones(2)})
    found = load_npz(tmp_path / "p.npz", only=("a", "there is no such array"))
    assert list(found) == ["a"] and found["a"].tolist() == [0, 1, 2]
    with (tmp_path / "p.npz").open("r+b") as stream:
        stream.seek(-80, os.SEEK_END)
        stream.write(b"x")
    with pytest.raises(CorruptPieceError):
        load_npz(tmp_path / "p.npz", only=("a",))


@pytest.mark.parametrize("compress", [True, False])
def test_any_truncation_or_flipped_byte_is_found(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "piece.npz"
    labels = np.arange(60, dtype=np.uint16)
    save_npz(path, {"labels": labels}, compress=compress)
    np.testing.assert_array_equal(np.load(path)["labels"], labels)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(CorruptPieceError, match="piece.npz"):
            load_npz(path)
    for position in range(0, len(whole), 5):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(CorruptPieceError, match="piece.npz"):
            load_npz(path)


def test_a_piece_that_is_missing_or_foreign_is_named(tmp_path: Path) -> None:
    with pytest.raises(PieceError, match="absent.npz: No such file"):
        load_npz(tmp_path / "absent.npz")
    np.savez(tmp_path / "foreign.npz", labels=np.zeros(2))
    with pytest.raises(CorruptPieceError, match="foreign.npz is cut short or carries no digest"):
        load_npz(tmp_path / "foreign.npz")


def test_objects_are_neither_written_nor_unpickled(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'names' holds Python objects"):
        save_npz(tmp_path / "piece.npz", {"names": np.array([{}], dtype=object)})
    np.savez(tmp_path / "pickled.npz", names=np.array([{}], dtype=object))
    with pytest.raises(CorruptPieceError, match="pickled.npz"):
        load_npz(tmp_path / "pickled.npz")


@pytest.fixture
def restless_threads() -> Iterator[None]:
    """Threads take turns as often as can be, in the middle of allocations too, where garbage is collected."""
    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()

    def give_way(phase: str, info: dict[str, int]) -> None:
        time.sleep(0)

    sys.setswitchinterval(1e-6)
    gc.set_threshold(1)
    gc.callbacks.append(give_way)
    yield
    gc.callbacks.remove(give_way)
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval)


def test_many_threads_read_many_pieces(tmp_path: Path, restless_threads: None) -> None:
    named = np.dtype([(name, "<f4", (2, 2)) for name in "abcdefgh"])
    for index in range(40):
        arrays = {f"array {n}": np.full((n, 2), index) for n in range(4)}
        save_npz(tmp_path / f"{index}.npz", {**arrays, "named": np.zeros(2, named)})

    def read(turn: int) -> list[int]:
        arrays = load_npz(tmp_path / f"{turn % 40}.npz")
        assert arrays.pop("named").dtype == named
        return [int(array.sum()) for array in arrays.values()]

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(read, range(400))) == [[2 * n * (i % 40) for n in range(4)] for i in range(400)]


def test_progress_counts_in_silence_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    with Progress(total=10, unit="voxel", stream=stream) as progress:
        progress.advance(4)
        progress.advance()
        progress.note(fov_per_s=3.5)
    assert progress.done == 5
    assert stream.getvalue() == ""


def test_progress_shows_unit_description_and_figures_when_asked() -> None:
    stream = io.StringIO()
    with Progress(total=10, unit="voxel", description="flood", enabled=True, stream=stream) as progress:
        progress.note(fov_per_s=3.5)
        progress.advance(10)
        progress.write("a line above the bar")
    shown = stream.getvalue()
    assert "flood: 100%" in shown and "voxel/s" in shown
    assert "a line above the bar" in shown
