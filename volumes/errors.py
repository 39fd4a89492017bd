"""The error of everything that holds voxels or skeletons, and how a library's error becomes one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from configs.errors import ReconstructionError


class VolumeError(ReconstructionError):
    """A volume, a box or a skeleton that is missing, malformed, of the wrong kind or outside its bounds."""


@contextmanager
def mended(problem: str, mend: str, *kinds: type[BaseException]) -> Iterator[None]:
    """Turn errors of the given kinds into a `VolumeError` of one line.

    Args:
        problem: what could not be done and where, e.g. "cannot read 'file.h5:raw'".
        mend: what the user can do about it.
        kinds: the exceptions to translate; a `VolumeError` passes as it is.

    Raises:
        VolumeError: "<problem>: <the library's message on one line>; <mend>".
    """
    try:
        yield
    except VolumeError:
        raise
    except kinds as error:
        raise VolumeError(f"{problem}: {one_line(error)}; {mend}") from error


def one_line(error: BaseException) -> str:
    """The message of an exception without line breaks, at most 200 characters, never empty."""
    text = " ".join(str(error).split()).rstrip(".")
    return (text[:197] + "…" if len(text) > 198 else text) or type(error).__name__
