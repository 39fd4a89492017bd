"""Results on disk that are either whole or absent.

Work is cut in pieces, and a rerun after a kill at any moment redoes only the pieces that are missing. That
holds as long as a piece's file appears in one step: it is written under another name in the same directory,
flushed to the disk and renamed. An `.npz` piece also ends in a digest of all its bytes, kept in the archive's
comment where every other reader passes over it, so that a file which was damaged later is found and named
before anything in it is parsed.

Inputs and outputs: file paths and NumPy arrays of any shape and dtype except objects.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import secrets
import threading
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from math import prod
from pathlib import Path

import numpy as np

from configs.errors import ReconstructionError

DIGEST_LABEL = b"blake2b-256 "
_DIGEST_LENGTH = 64
_TEMPORARY = ".tmp-"
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
_READ_AT_ONCE = 2**20
# Before 3.11.8 CPython counts the depth of all syntax trees that are being built in one place, so that two
# threads that parse at the same time can end in a SystemError (gh-106905). NumPy parses an array's header as
# Python; here one thread at a time does so.
_headers_lock = threading.Lock()
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class PieceError(ReconstructionError):
    """A result that cannot be written, or a stored one that is missing or damaged."""


class CorruptPieceError(PieceError):
    """A stored piece whose contents do not agree with its digest, or that is no archive at all."""


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path to write to; rename it to `path` when the block ends without an error.

    The parent directory is made when missing. The temporary file lies beside `path`, ends in the same
    suffix (writers that look at it keep working), and exists and is empty when the block begins. It is
    removed when the block raises; `path` then stays as it was.

    Args:
        path: the file to make or to replace.

    Yields:
        The path to write to.

    Raises:
        PieceError: the directory cannot be written to, or the disk is full.
    """
    target = Path(path)
    temporary = target.with_name(f"{_TEMPORARY}{secrets.token_hex(4)}-{target.name}")
    _reserve(temporary, target)
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, target)
        _flush(target.parent)
    except OSError as error:
        if error.errno in _FULL_DISK:
            mend = "free some space and run again"
            raise PieceError(f"cannot write {target}: {error.strerror}; {mend}") from error
        raise
    finally:
        with suppress(OSError):
            temporary.unlink()


def remove_leftovers(directory: str | os.PathLike[str], before: float, besides: Collection[str] = ()) -> None:
    """Remove the temporary files of writers that were killed.

    Args:
        directory: whatever lies in it at any depth is looked at.
        before: seconds since the epoch; younger files may be somebody's who still writes.
        besides: names of folders that are passed over, like all whose name begins with a dot.
    """
    for folder, inner, files in os.walk(directory):
        inner[:] = [name for name in inner if name not in besides and not name.startswith(".")]
        for path in (Path(folder, name) for name in files if name.startswith(_TEMPORARY)):
            with suppress(OSError):
                if path.stat().st_mtime < before:
                    path.unlink()


def require_writable_file(path: str | os.PathLike[str]) -> None:
    """Notices before any work that a file could not be written in the end; leaves nothing behind.

    Args:
        path: the file to be made or replaced later.

    Raises:
        PieceError: its folder cannot be made or written.
    """
    probe = Path(path).with_name(f".probe-{secrets.token_hex(4)}")
    made = [folder for folder in probe.parents if not folder.exists()]
    with atomic_path(probe):
        pass
    probe.unlink()
    for folder in made:
        # Another process may have put something there in the meantime.
        with suppress(OSError):
            folder.rmdir()


def save_npz(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], *, compress: bool = True
) -> None:
    """Write named arrays as one `.npz` file that appears whole and ends in a digest of its bytes.

    Args:
        path: the file to make or to replace; ends in `.npz`.
        arrays: arrays of any shape and dtype except objects, by name.
        compress: deflate the arrays. Off, a file of labels is 20 to 100 times larger and faster to write.

    Raises:
        PieceError: the file cannot be written.
        ValueError: an array holds Python objects, which only pickle could store.
    """
    for name, array in arrays.items():
        if np.asanyarray(array).dtype.hasobject:
            raise ValueError(f"array '{name}' holds Python objects and cannot be a part of a piece")
    with atomic_path(path) as temporary:
        _write_archive(temporary, arrays, zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED)
        _seal(temporary)


def load_npz(path: str | os.PathLike[str], only: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Read the arrays of a piece after checking its digest.

    Args:
        path: a file written by `save_npz`.
        only: names of the arrays wanted; the others are not inflated.

    Returns:
        The arrays by name; never unpickled.

    Raises:
        PieceError: there is no such file, or it cannot be read.
        CorruptPieceError: the file is truncated, damaged, or not one that `save_npz` wrote.
    """
    try:
        sealed = Path(path).read_bytes()
    except OSError as error:
        mend = "run the stage that writes it"
        raise PieceError(f"cannot read piece {path}: {error.strerror}; {mend}") from error
    # A view, since a copy of a piece of labels is large.
    body, digest = memoryview(sealed)[:-_DIGEST_LENGTH], sealed[-_DIGEST_LENGTH:]
    if body[-len(DIGEST_LABEL) :] != DIGEST_LABEL:
        raise CorruptPieceError(f"piece {path} is cut short or carries no digest; delete it and run again")
    if digest != _digest(body):
        raise CorruptPieceError(f"piece {path} does not agree with its digest; delete it and run again")
    with zipfile.ZipFile(io.BytesIO(sealed)) as archive:
        names = {name.removesuffix(".npy"): name for name in archive.namelist()}
        wanted = {array: name for array, name in names.items() if only is None or array in only}
        return {array: _read_array(archive, name, path) for array, name in wanted.items()}


def _read_array(archive: zipfile.ZipFile, name: str, path: str | os.PathLike[str]) -> np.ndarray:
    """What `np.load` does with an array, safe in threads (see `_headers_lock`)."""
    with archive.open(name) as member:
        version = np.lib.format.read_magic(member)
        if version not in _HEADERS:
            raise CorruptPieceError(f"piece {path} holds an array of format {version}; make it anew")
        with _headers_lock:
            shape, by_columns, dtype = _HEADERS[version](member)
        if dtype.hasobject:
            raise CorruptPieceError(f"piece {path} holds Python objects, which are not read; make it anew")
        values = np.empty(prod(shape), dtype)
        for start in range(0, values.nbytes, _READ_AT_ONCE):
            part = np.frombuffer(member.read(_READ_AT_ONCE), np.uint8)
            values.view(np.uint8)[start : start + _READ_AT_ONCE] = part
    return values.reshape(shape, order="F" if by_columns else "C")


def _write_archive(path: Path, arrays: Mapping[str, np.ndarray], compression: int) -> None:
    """What `np.savez` does, which however refuses an array named 'file'; the digest's place stays open."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
        archive.comment = DIGEST_LABEL + b"0" * _DIGEST_LENGTH


def _seal(path: Path) -> None:
    """Fill in the digest of all bytes before it as the end of the archive's comment."""
    with path.open("r+b") as stream:
        body = memoryview(stream.read())[:-_DIGEST_LENGTH]
        stream.seek(len(body))
        stream.write(_digest(body))


def _digest(body: memoryview) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_LENGTH // 2).hexdigest().encode()


def _reserve(temporary: Path, target: Path) -> None:
    """Make the empty temporary file, so that an unwritable place is found before the work is done."""
    try:
        temporary.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a directory")
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise PieceError(f"cannot write {target}: {error.strerror}; choose another output path") from error


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
